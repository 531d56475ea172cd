"""Between sessions and what stores keep of them: encoding, decoding, and merging two states of one session."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from .errors import BadInput, Damaged, Sealed, Unstorable
from .jsontext import decode, encode
from .secrecy import PLAIN, Form
from .secrecy.sealing import SEALED
from .session import Execution, History, InFlight, UniversalSession
from .session.parts import pack_head, unpack_head
from .session.times import seconds
from .session.values import rich
from .stores import Listed, Record, Stored

_GONE: Any = object()


@dataclass(frozen=True, slots=True)
class Summary:
    """A session in a listing. ``turns`` counts them, ``size`` is in bytes; times are ISO 8601 in UTC."""

    id: str
    title: str | None
    backend: str
    status: str
    current_flow_id: str | None
    turns: int
    created_at: str | None
    last_active: str | None
    size: int = 0


def encode_head(session: UniversalSession, form: Form) -> tuple[bytes, str | None]:
    """The head of a session as bytes in a form, and apart from it the moment of its last use.

    Raises:
        Unstorable: a value has no JSON form; names the path.
    """
    return pack_head(form.write_head(session.head()))


def encode_note(turn: InFlight, form: Form) -> bytes:
    """What a claim says of the turn that is run under it."""
    return form.write("note", turn.to_dict())


def decode_note(data: bytes, form: Form) -> InFlight:
    """The turn that a claim's note tells of.

    Raises:
        Damaged: it tells of none.
        Sealed: it is encrypted, and its key is not in the form.
    """
    try:
        return InFlight.from_dict(form.read("note", data))
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"the note of a claim is damaged: {error}") from error


def decode_entries(entries: Iterable[bytes], form: Form) -> list[dict[str, Any]]:
    """The entries of a flow's history; for the errors see `decode_execution`."""
    return [rich(form.read("entry", entry)) for entry in entries]


def decode_session(session_id: str, stored: Stored, form: Form | None = None) -> UniversalSession:
    """The session that is stored under an id; its turns are not parsed yet.

    Without a ``form`` what is sealed stays so: that is enough to see whether it is a session.

    Raises:
        Sealed: it is encrypted, and its key is not in the form.
        Newer: it has a schema that this version does not know.
        Damaged: it is no session, or is another one than its name says.
    """
    try:
        head = unpack_head(stored.head, stored.last_active)
        head = form.read_head(head) if form is not None else head
        history = History.of_lines(stored.lines, older=stored.start, form=form or PLAIN)
        session = UniversalSession.of_head({"id": session_id, **head}, history)
    except (BadInput, ValueError, TypeError, LookupError) as error:
        raise Damaged(f"is not a session document: {error}") from error
    if session.id != session_id:
        raise Damaged(f"the document says that it is session {session.id!r}")
    return session


def summarize(listed: Listed, form: Form) -> Summary:
    """The summary of a stored session; without its title, if that is sealed and the form does not open it.

    Raises:
        Damaged: its head is no session's.
        Newer: it has a schema that this version does not know.
    """
    stored = Stored(None, listed.head, listed.last_active, ())  # type: ignore[arg-type]  # no mark needed
    session = decode_session(listed.session_id, stored)
    return Summary(
        id=session.id,
        title=_title(session, stored, form),
        backend=session.backend,
        status=session.status,
        current_flow_id=session.current_flow_id,
        turns=listed.total,
        created_at=_text(session.metadata.get("created_at")),
        last_active=_text(session.metadata.get("last_active")),
        size=listed.size,
    )


def _title(closed: UniversalSession, stored: Stored, form: Form) -> str | None:
    if SEALED in closed.extra:
        with suppress(Sealed, Damaged):
            return title_of(decode_session(closed.id, stored, form))
    return title_of(closed)


def title_of(session: UniversalSession) -> str | None:
    """What a session is called: ``metadata.title``, else the ``topic`` of its context."""
    for title in (session.metadata.get("title"), session.context.get("topic")):
        if isinstance(title, str) and title:
            return title
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def encode_execution(execution: Execution, form: Form, *, ttl: int, history_ttl: int) -> list[Record]:
    """What is stored of an execution, in a form: its document, and its entry in the history of its flow.

    Raises:
        Unstorable: a value has no JSON form, or an id is no name; says which.
    """
    for name in ("id", "session_id", "flow_id"):
        _check_name(getattr(execution, name), f"execution.{name}")
    records = [Record("execution", execution.id, form.write("execution", execution.to_dict()), ttl)]
    if execution.session_id and execution.flow_id:
        entry = form.write("entry", execution.entry())
        place = {"session_id": execution.session_id, "flow_id": execution.flow_id}
        records.append(Record("history", execution.id, entry, history_ttl, **place))
    return records


def _check_name(name: Any, path: str) -> None:
    if isinstance(name, str):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise Unstorable(path, "half a surrogate pair cannot be part of a name") from error
    elif name is not None:
        raise Unstorable(path, f"is {type(name).__name__}, not text")


def decode_execution(data: bytes, form: Form) -> Execution:
    """The execution of a stored document.

    Raises:
        Damaged: it is none.
        Sealed: it is encrypted, and its key is not in the form.
    """
    try:
        return Execution.from_dict(form.read("execution", data))
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"the execution is damaged: {error}") from error


def session_of(execution: bytes) -> str | None:
    """The session that an execution's document says it belongs to, sealed or not; None if it says none."""
    try:
        document = decode(execution)
    except ValueError:
        return None
    session_id = document.get("session_id") if isinstance(document, dict) else None
    return session_id if isinstance(session_id, str) else None


def merge_heads(base: bytes | None, ours: bytes, theirs: bytes) -> bytes:
    """One head of two that go back to ``base`` (None: to nothing).

    Each field, and each key of ``context`` and ``metadata`` (sealed or not), is taken from the side that changed
    it; from ours where both did.
    """
    if ours == theirs or theirs == base:
        return ours
    origin = decode(base) if base is not None else {}
    return encode(_merge(origin, decode(ours), decode(theirs), inner=("context", "metadata", SEALED)))


def _merge(base: Any, ours: Any, theirs: Any, inner: Sequence[str] = ()) -> Mapping[str, Any]:
    merged = {}
    for key in {**theirs, **ours}:
        was, mine, other = (side.get(key, _GONE) for side in (base, ours, theirs))
        changed = not _same(mine, was)
        value = mine if changed else other
        if key in inner and changed and isinstance(mine, dict) and isinstance(other, dict):
            value = _merge(was if isinstance(was, dict) else {}, mine, other)
        if value is not _GONE:
            merged[key] = value
    return dict(sorted(merged.items(), key=lambda item: item[0] != "metadata"))


def _same(a: Any, b: Any) -> bool:
    """Whether two values are written alike: to Python, 1 == True == 1.0."""
    return a is b or (a is not _GONE and b is not _GONE and encode(a) == encode(b))


def later(a: str | None, b: str | None) -> str | None:
    """The later of two timestamps."""
    return a if a == b else max((a, b), key=seconds)


def missing(ours: Iterable[bytes], theirs: Iterable[bytes]) -> list[bytes]:
    """The turn lines of ours that are not among theirs.

    A turn is known by its ``id``; one without (others write such) by what it says, and by how often.
    """
    there = Counter(_identity(line) for line in theirs)
    result = []
    for line in ours:
        identity = _identity(line)
        if not there[identity]:
            result.append(line)
        elif isinstance(identity, bytes):
            there[identity] -= 1
    return result


def interleave(theirs: Sequence[bytes], ours: Sequence[bytes]) -> list[bytes]:
    """The turn lines of both, each turn once, in an order that keeps theirs, and ours wherever that allows it.

    What only we have stands before the turn that follows it in ours and that both have, else at the end.
    """
    before: defaultdict[int, list[bytes]] = defaultdict(list)
    run: list[bytes] = []
    for line, place in zip(ours, _places(ours, theirs), strict=True):
        if place is None:
            run.append(line)
        else:
            before[place] += run
            run = []
    before[len(theirs)] += run
    return _inserted(theirs, before)


def put_back(theirs: Sequence[bytes], ours: Sequence[bytes]) -> list[bytes]:
    """The turn lines of both, where theirs may have lost some of ours: these are in their places again.

    What only we have stands behind all that precedes it in ours and before all that follows it there. Where that
    leaves room, or contradicts itself (the two have others' turns in another order), it stands by its time; if it
    has none, behind.
    """
    places = _places(ours, theirs)
    end = len(theirs)
    follows = [*accumulate((end if place is None else place for place in reversed(places)), min)][::-1]
    before: defaultdict[int, list[bytes]] = defaultdict(list)
    at = 0
    for line, place, follow in zip(ours, places, follows, strict=True):
        if place is not None:
            at = max(at, place + 1)
            continue
        moment = _moment(line)
        here, there = min(at, follow), max(at, follow)
        while here < there and not 0 < moment < _moment(theirs[here]):
            here += 1
        before[here].append(line)
        at = max(at, here)
    return _inserted(theirs, before)


def _moment(line: bytes) -> float:
    """When a turn was, in seconds since 1970; 0 if it does not say."""
    turn = decode(line)
    return seconds(turn.get("timestamp") if isinstance(turn, dict) else None)


def _places(ours: Sequence[bytes], theirs: Sequence[bytes]) -> list[int | None]:
    """Where each of our lines is in theirs, each of several equal ones for itself; None where only we have it."""
    there = defaultdict[str | bytes, deque[int]](deque)
    for place, line in enumerate(theirs):
        there[_identity(line)].append(place)
    found: list[int | None] = []
    for identity in map(_identity, ours):
        places = there[identity]
        if not places:
            found.append(None)
        else:
            found.append(places[0] if isinstance(identity, str) else places.popleft())
    return found


def _inserted(theirs: Sequence[bytes], before: Mapping[int, Sequence[bytes]]) -> list[bytes]:
    """Their lines, and before each place what is to stand there; at their number, behind them all."""
    return [
        line for place in range(len(theirs) + 1) for line in (*before.get(place, ()), *theirs[place : place + 1])
    ]


# A line as we write it says its turn's id first; to merge long histories, thousands are looked at.
_BEGINS_WITH_ID = re.compile(rb'{"id":"([!#-\[\]-~]+)"[,}]')


def _identity(line: bytes) -> str | bytes:
    found = _BEGINS_WITH_ID.match(line)
    if found is not None:
        return found[1].decode("ascii")
    turn = decode(line)
    identity = turn.get("id") if isinstance(turn, dict) else None
    return identity if isinstance(identity, str) else encode(dict(sorted(turn.items())))
