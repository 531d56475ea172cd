"""Turns of a conversation: load the session, run the flow once, record what came of it."""

from .asking import Reply
from .conversation import Flywheel
from .packet import LeftOut, Packet
from .resumed import Resumed

__all__ = ["Flywheel", "LeftOut", "Packet", "Reply", "Resumed"]
