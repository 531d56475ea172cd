"""Removing everything of one owner, and looking whether anything is left."""

from __future__ import annotations

from ..errors import StoreError
from ..session import now
from ..stores import Store
from ..stores.names import parts_of

TOMBSTONE_SECONDS = 30 * 24 * 3600
PASSES = 5  # whoever writes while we erase is found by the next one


async def erase_everything(store: Store, principal: str) -> int:
    """Remove what a principal has: sessions, executions, histories, shares, claims; here also what waits.

    Notes that sessions of these ids were deleted stay for 30 days, so that a process that still holds one does not
    write it again. What waits in journals of other machines is not reached from here.

    Args:
        store: where it is kept.
        principal: whose it is.

    Returns:
        How many things there were.

    Raises:
        StoreError: the store cannot be reached, or something was still there at the end.
    """
    await store.check()
    async for (name,) in store.names("session"):
        if parts_of(name)[0] == principal:
            await store.delete(name, deleted_at=now(), ttl=TOMBSTONE_SECONDS)
    erased = 0
    for _ in range(PASSES):
        found = await store.erase(principal)
        if not found:
            return erased
        erased += found
    raise StoreError("they are still writing: not all is erased. Take their tokens away, and erase again")
