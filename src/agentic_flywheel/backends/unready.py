"""Flows that cannot be asked as things are."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import FlowFailed
from .base import Answer, Flow, Question


class UnreadyFlow(Flow):
    """Stands for a flow whose server cannot be used. It is listed and chosen; asked, it says what it ``lacks``."""

    def __init__(self, id: str, backend: str, lacks: str, **options: Any) -> None:
        super().__init__(id, **options)
        self.backend = backend
        self.lacks = lacks

    async def ask(self, question: Question) -> Answer:
        self._refuse()

    async def check(self) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise FlowFailed(f"flow {self.id!r} was not asked: {self.lacks}")
