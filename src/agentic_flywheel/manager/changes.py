"""What changed in a session since it was loaded or saved, and bringing it up to date after a save."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from ..codec import encode_head, later, merge_heads, missing
from ..commit import Committed
from ..errors import BadInput, Sealed
from ..jsontext import decode, encode
from ..recent import Recent
from ..secrecy import Form
from ..session import History, Turn, UniversalSession
from ..session.fingerprint import fingerprint
from ..session.history import text_id
from ..session.parts import unpack_head
from ..stores import Change, Mark, Store, Stored


@dataclass(slots=True)
class Origin:
    """What a session was when it was last loaded from or saved to a store.

    ``seen`` is the fingerprint that it had when ``head`` was made of it in ``form``; None where that is not known.
    """

    store: Store
    session_id: str
    mark: Mark | None = None
    head: bytes | None = None
    history: History | None = None
    shared_by: str = ""
    seen: bytes | None = None
    form: Form | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def saving(self) -> asyncio.Lock:
        """Held by a save. A lock belongs to one event loop; a session may see several, one after the other."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
        return self._lock

    def goes_on_from(self, done: Committed, draft: Draft) -> None:
        """Note what the store holds after a save."""
        self.mark, self.head, self.history = done.mark, done.head, draft.history
        self.seen, self.form = (draft.seen, draft.form) if done.head == draft.change.head else (None, None)


class Draft(Struct, frozen=True):
    """A change that is ready to be committed, and what it was made of.

    ``known`` are the lines before the new ones, ``written`` the lines of the turns that the history had not
    stored, ``fresh`` the turns that are new to the conversation.
    """

    change: Change
    known: Sequence[bytes]
    written: Sequence[bytes]
    fresh: Sequence[Turn]
    history: History
    edits: int
    form: Form
    seen: bytes | None


def origin_of(session: UniversalSession, store: Store) -> Origin:
    """What is remembered of a session; nothing if it is of another store, or has another id by now."""
    origin = session.origin
    if isinstance(origin, Origin) and origin.store is store and origin.session_id == session.id:
        return origin
    session.origin = origin = Origin(store, session.id)
    return origin


class OwnHeads:
    """The heads that this process encoded last. One that is loaded again need not be encoded to see that it stayed.

    Of any other head nobody knows whether it would be encoded, and masked, as it is.
    """

    def __init__(self) -> None:
        self._made: Recent[tuple[int, Form]] = Recent()

    def made(self, session_id: str, head: bytes, form: Form) -> None:
        """Note that a head was made in a form."""
        self._made.put(session_id, (hash(head), form))

    def has(self, session_id: str, head: bytes, form: Form) -> bool:
        """Whether a session's head was made here, in this form."""
        return self._made.get(session_id) == (hash(head), form)


def remember(
    session: UniversalSession, store: Store, stored: Stored, form: Form, heads: OwnHeads
) -> UniversalSession:
    """The session, just loaded from a store in a form."""
    origin = Origin(store, session.id, stored.mark, stored.head, session.history, stored.shared_by)
    if heads.has(session.id, stored.head, form):
        origin.seen, origin.form = fingerprint(session), form
    session.origin = origin
    return session


def stand_in(session_id: str, backend: str, store: Store, form: Form) -> UniversalSession:
    """An empty session for one that cannot be read now; only what is changed in it will be written."""
    session = UniversalSession(id=session_id, backend=backend, metadata={})
    head, _ = encode_head(session, form)
    session.origin = Origin(store, session_id, head=head, history=session.history)
    return session


def reseal(session: UniversalSession, origin: Origin, form: Form) -> None:
    """Have what is known of a session in another form: it has other keys by now.

    Raises:
        Sealed, Damaged: what is known cannot be opened any more.
    """
    if origin.head is not None:
        before = (origin.history or session.history).form
        origin.head = encode(form.write_head(before.read_head(decode(origin.head))))
        origin.seen = None
    session.history.rewrite(form)


def draft_of(session: UniversalSession, origin: Origin, older: Sequence[bytes], *, ttl: int, form: Form) -> Draft:
    """What a save has to write.

    Args:
        session: the session as it is now.
        origin: what it was.
        older: the lines of the turns that were not loaded; needed only where `rewrites` says so.
        ttl: seconds to keep it.
        form: how it is stored.

    Raises:
        Unstorable: a value has no JSON form; names the path.
    """
    history = session.history
    if origin.mark is None or origin.history is not history:  # it may come from another store, or another session
        history.rewrite(form)
    history.form = form
    known = history.stored_lines() or ()  # first: it notices edits, after which all lines are new ones
    written = history.new_lines()
    fresh = _fresh(history, origin)
    added: Sequence[bytes] = written[len(written) - history.fresh_at_end() :]
    if origin.mark is None:
        added = [*known, *written]
    elif origin.history is not history:
        added = ()
    seen = fingerprint(session)
    head, last_active = _head(session, origin, form, seen)
    change = Change(
        session.id,
        origin.mark,
        origin.head,
        head,
        last_active,
        created_at=session.metadata.get("handed_over_at") or session.metadata.get("created_at"),
        added=added,
        history=[*missing(older, [*known, *written]), *known, *written] if rewrites(session, origin) else None,
        ttl=ttl,
    )
    before = known if origin.mark is not None else ()  # a session that is to be created brings all as new
    return Draft(change, before, written, fresh, history, history.edits, form, seen)


def _head(session: UniversalSession, origin: Origin, form: Form, seen: bytes | None) -> tuple[bytes, str | None]:
    """The session's head and the moment of its last use; encoded again only where it is another one than it was."""
    if origin.head is None or seen is None or seen != origin.seen or form != origin.form:
        return encode_head(session, form)
    return origin.head, session.metadata.get("last_active")


def rewrites(session: UniversalSession, origin: Origin) -> bool:
    """Whether a save has to write the whole history again, since earlier turns are others now."""
    if origin.mark is None:
        return False
    return session.history is not origin.history or session.history.stored_lines() is None


def _fresh(history: History, origin: Origin) -> list[Turn]:
    if origin.history is None or origin.history is history:
        return history.fresh_turns()
    stored = origin.history.stored_ids()
    return [turn for turn in history if text_id(turn) not in stored]


def adopt(session: UniversalSession, origin: Origin, draft: Draft, done: Committed) -> None:
    """Bring a session up to date with what the store holds after a save.

    What its owner changed while the save was under way stays, and is written by the next one.
    """
    history = draft.history
    if session.origin is not origin:  # meanwhile it was saved to another store, too
        return
    if session.history is not history or history.edits != draft.edits:
        if done.mark.version == draft.change.version:  # nobody else wrote: the next save has only ours to change
            origin.goes_on_from(done, draft)
        return
    if done.head != draft.change.head:
        try:
            _take_over(session, draft.change.head, done.head, history.form)
        except (BadInput, Sealed):  # it cannot be stored, or read, as it is by now; the next save or load says so
            return
    history.adopt(done.start, done.lines, draft.written)
    moment = later(session.metadata.get("last_active"), done.last_active)
    if moment is not None:
        session.metadata["last_active"] = moment
    origin.goes_on_from(done, draft)


def _take_over(session: UniversalSession, sent: bytes, merged: bytes, form: Form) -> None:
    """Set what others changed, but for what changed here since we sent our head.

    What is stored of a value may be masked: what nobody changed stays in hand as it is.
    """
    head, last_active = encode_head(session, form)
    merged = merge_heads(sent, head, merged)
    ours, news = (
        UniversalSession.of_head(form.read_head(unpack_head(each, last_active)), History())
        for each in (head, merged)
    )
    for name in ("backend", "backend_session_id", "status", "current_flow_id"):
        setattr(session, name, getattr(news, name))
    for name in ("context", "metadata", "extra"):  # in place: callers may hold them, and what is in them
        mine, as_stored, values = getattr(session, name), getattr(ours, name), getattr(news, name)
        kept = {
            key: mine[key] if key in mine and as_stored.get(key) == value else value
            for key, value in values.items()
        }
        mine.clear()
        mine.update(kept)
