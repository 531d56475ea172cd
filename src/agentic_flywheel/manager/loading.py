"""Making a session of what a store has of it, or saying why there is none."""

from __future__ import annotations

from collections.abc import Awaitable

from ..codec import decode_session
from ..errors import Damaged, Newer, Sealed, StoreError, Unreadable
from ..session import UniversalSession
from ..stores import Store, Stored
from ..stores.owned import acting_as
from .changes import OwnHeads, remember
from .forms import Forms
from .owners import is_whose_name_it_bears
from .results import Loaded


class Loader:
    """Makes sessions of what is read from a store; they remember that store."""

    def __init__(self, store: Store, forms: Forms, heads: OwnHeads) -> None:
        self._store = store
        self._forms = forms
        self._heads = heads

    async def loaded(self, session_id: str, reading: Awaitable[Stored | None]) -> Loaded:
        """What comes of reading a session: never an error of the store."""
        try:
            stored = await reading
            session = await self._decoded(session_id, stored) if stored is not None else None
        except Newer as error:
            return Loaded("newer", reason=left_alone(session_id, error))
        except Damaged as error:
            return Loaded("damaged", reason=left_alone(session_id, error))
        except Sealed as error:
            return Loaded("sealed", reason=str(error))
        except StoreError as error:
            return Loaded("unavailable", reason=str(error))
        if stored is None or session is None:
            return Loaded("absent", reason=f"no session {session_id!r}: it has expired or never was")
        return Loaded("found", session, behind=stored.behind)

    async def _decoded(self, session_id: str, stored: Stored) -> UniversalSession | None:
        """The session; None if what lies under its name is somebody else's."""
        if stored.shared_by:  # then its owner has its keys
            with acting_as(stored.shared_by):
                form = await self._forms.of_stored(session_id, stored)
        else:
            form = await self._forms.of_stored(session_id, stored)
        session = decode_session(session_id, stored, form)
        if not is_whose_name_it_bears(session, stored):
            return None
        return remember(session, self._store, stored, form, self._heads)


def left_alone(session_id: str, error: Exception) -> str:
    """What an error says; of a stored session that is neither used nor overwritten, where to look too."""
    if not isinstance(error, Unreadable) or isinstance(error, Sealed):
        return str(error)
    what = "is newer than this version" if isinstance(error, Newer) else "is damaged"
    return (
        f"session {session_id!r} {what} and was left as it is: {error}. To see what is there: flywheel sessions "
        f"show --raw {session_id}"
    )
