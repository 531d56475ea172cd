"""In which form what belongs to a session is stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import FlywheelError
from ..jsontext import decode
from ..secrecy import Form, Mask
from ..secrecy.form import sealed_in
from ..secrecy.sealing import SEALED
from ..stores import Listed, Stored

if TYPE_CHECKING:
    from .vault import Vault

log = logging.getLogger(__name__)

AT_ONCE = 200  # sessions of a listing whose keys are read together; the last of more would not be answered in time


class Forms:
    """The form in which what belongs to a session is stored: masked, and sealed where there is a vault."""

    def __init__(self, mask: Mask, vault: Vault | None) -> None:
        self.vault = vault
        self.open = Form(mask)
        """For what is not sealed."""

    async def to_write(self, session_id: str, *, anew: bool = False) -> Form:
        """For what is stored from now on; for the errors see `Vault.to_write`."""
        if self.vault is None:
            return self.open
        return Form(self.open.mask, await self.vault.to_write(session_id, anew=anew))

    async def to_read(self, session_id: str, kind: str, *documents: bytes) -> Form:
        """For documents of a kind as they are stored; for the errors see `Vault.to_read`."""
        sealed = [text for data in documents if b'"sealed":' in data for text in _sealed_texts(kind, data)]
        if self.vault is None or not sealed:
            return self.open
        return Form(self.open.mask, await self.vault.to_read(session_id, sealed))

    async def of_stored(self, session_id: str, stored: Stored) -> Form:
        """For a stored session; for the errors see `Vault.to_read`."""
        if self.vault is None:
            return self.open
        form = await self.to_read(session_id, "head", stored.head)
        # The newest turn, too: it may be sealed with a key that was made after the head was written.
        of_turns = await self.to_read(session_id, "turn", *stored.lines[-1:])
        return form if of_turns.keys is None else of_turns

    async def of_listed(self, listed: Sequence[Listed]) -> list[Form]:
        """For the heads of a listing, whose keys are read together; where they cannot be had, `open`."""
        if self.vault is None:
            return [self.open] * len(listed)
        forms: list[Form] = []
        for first in range(0, len(listed), AT_ONCE):
            forms += await asyncio.gather(*map(self._of_listed, listed[first : first + AT_ONCE]))
        return forms

    async def _of_listed(self, listed: Listed) -> Form:
        try:
            return await self.to_read(listed.session_id, "head", listed.head)
        except FlywheelError as error:
            log.debug("session %s is listed without its title: %s", listed.session_id, type(error).__name__)
            return self.open


def _sealed_texts(kind: str, data: bytes) -> Iterable[str]:
    try:
        document = decode(data)
    except ValueError:
        return ()
    if not sealed_in(document, kind):
        return ()
    sealed = document[SEALED]
    return sealed.values() if isinstance(sealed, dict) else (sealed,)
