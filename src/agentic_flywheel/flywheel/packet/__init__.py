"""A session as a packet of bounded size: what a model needs to go on with it. Pure functions, no I/O."""

from .model import LeftOut, Packet
from .packing import LAST, TOKENS, pack, turns_within
from .scale import Form
from .tokens import estimate_tokens

__all__ = ["LAST", "TOKENS", "Form", "LeftOut", "Packet", "estimate_tokens", "pack", "turns_within"]
