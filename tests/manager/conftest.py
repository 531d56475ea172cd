"""Managers on a store of each kind."""

from __future__ import annotations

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from tests.stores.worlds import World
from tests.support.values import PUBLISHED


@pytest.fixture
def manager(world: World) -> SessionManager:
    """A manager on the world's store."""
    return SessionManager(world.store)


@pytest.fixture
def other(world: World) -> SessionManager:
    """Another manager that looks at the same place, as another process would."""
    return SessionManager(world.open())


@pytest.fixture
def published() -> UniversalSession:
    """The session that the specification shows, not saved yet."""
    return UniversalSession.from_json(PUBLISHED)
