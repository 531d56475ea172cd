"""Flows: what answers a question, given the session."""

from .base import Answer, Flow, Question
from .registry import FlowRegistry

__all__ = ["Answer", "Flow", "FlowRegistry", "Question"]
