"""Removing everything of one owner, and looking whether anything is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StoreError
from ..session import now
from ..stores.names import parts_of

if TYPE_CHECKING:
    from .sessions import SessionManager

TOMBSTONE_SECONDS = 30 * 24 * 3600
PASSES = 5  # whoever writes while we erase is found by the next one


async def erase_everything(sessions: SessionManager, principal: str) -> int:
    """Remove what a principal has: sessions, executions, histories, shares, claims; here also what waits.

    Notes that sessions of these ids were deleted stay for 30 days, so that a process that still holds one does not
    write it again. What waits in journals of other machines is not reached from here.

    Args:
        sessions: where it is kept; and where the keys are, if it is encrypted.
        principal: whose it is.

    Returns:
        How many things there were.

    Raises:
        StoreError: the store cannot be reached, or something was still there at the end.
    """
    store, vault = sessions.store, sessions.forms.vault
    await store.check()
    if vault is not None:  # first: without them the rest cannot be read any more, wherever there are copies
        await vault.erase_all(principal)
    async for (name,) in store.names("session"):
        if parts_of(name)[0] == principal:
            await store.delete(name, deleted_at=now(), ttl=TOMBSTONE_SECONDS)
    erased = 0
    for _ in range(PASSES):
        found = await store.erase(principal) + (await vault.erase_all(principal) if vault is not None else 0)
        if not found:
            return erased
        erased += found
    raise StoreError("they are still writing: not all is erased. Take their tokens away, and erase again")
