"""Flows: what answers a question, given the session."""

from .base import Answer, Flow, Message, Question
from .registry import FlowRegistry

__all__ = ["Answer", "Flow", "FlowRegistry", "Message", "Question"]
