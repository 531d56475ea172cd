"""Flows: what answers a question, given the session."""

from .base import Answer, Flow, Message, Question, Replay
from .registry import FlowRegistry

__all__ = ["Answer", "Flow", "FlowRegistry", "Message", "Question", "Replay"]
