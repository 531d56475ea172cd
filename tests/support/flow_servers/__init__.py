"""Flow servers for the tests: small, strict, and made to answer as the real products were seen to."""

from .faults import Huge, Late, Nth, Once, Slow, Zipped, bare, half, never, page, redirect, saying
from .flowise import FlowiseServer
from .langflow import LangflowServer
from .lfx import LfxServer
from .serving import Asked, ServedFlows

KEY = "sk-planted-0123456789abcdef"
"""What tests have them take."""

__all__ = [
    "KEY",
    "Asked",
    "FlowiseServer",
    "Huge",
    "LangflowServer",
    "Late",
    "LfxServer",
    "Nth",
    "Once",
    "ServedFlows",
    "Slow",
    "Zipped",
    "bare",
    "half",
    "never",
    "page",
    "redirect",
    "saying",
]
