"""Turns of a conversation: load the session, run the flow once, record what came of it."""

from .conversation import Flywheel, Reply, Resumed

__all__ = ["Flywheel", "Reply", "Resumed"]
