"""Ways in for other people's programs."""

from .redis_manager import RedisSessionManager

__all__ = ["RedisSessionManager"]
