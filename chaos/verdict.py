"""What the ledgers say against what Redis holds."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from .ledger import ACCEPTED, Answer, Intent, Load, Raised, digest, notes_in

PREFIX = "agentic_flywheel"
Turns = list[dict[str, Any]]


@dataclass
class Verdict:
    """All that was found. The lists name each case, for whoever looks for its cause."""

    outcomes: Counter[str] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)
    forgotten_context: list[str] = field(default_factory=list)
    without_execution: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    saves: list[Answer] = field(default_factory=list)
    waits: list[Answer | Load] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """The turns whose save said stored or journalled."""
        return sum(self.outcomes[outcome] for outcome in ACCEPTED)

    @property
    def turns_amiss(self) -> list[str]:
        """Every case that the turns themselves give reason to complain of."""
        return [*self.lost, *self.doubled, *self.reordered, *self.altered, *self.exceptions]


@dataclass
class _Account:
    """The ledger of one writer, sorted."""

    writer: str
    intents: dict[str, Intent] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)

    def accepted(self) -> Iterable[Intent]:
        """The turns that must be there."""
        return (self.intents[name] for name, answer in self.answers.items() if answer.outcome in ACCEPTED)


async def judge(url: str, ledgers: Iterable[Path], folder: Path) -> Verdict:
    """Compare all ledgers with what Redis holds; where they differ, what was found is written into the folder."""
    verdict = Verdict()
    accounts = [_account(path, verdict) for path in ledgers]
    async with redis.asyncio.Redis.from_url(url) as client:
        sessions = {note.session for account in accounts for note in account.intents.values()}
        documents = {session: await _document(client, session) for session in sorted(sessions)}
        await _compare_executions(client, accounts, verdict)
    for session, document in documents.items():
        _compare_session(session, document.get("history", []), accounts, verdict)
        _compare_context(session, document.get("context", {}), accounts, verdict)
    if verdict.lost or verdict.doubled or verdict.reordered or verdict.altered or verdict.forgotten_context:
        (folder / "found.json").write_text(json.dumps(documents, indent=1))
    return verdict


def _account(path: Path, verdict: Verdict) -> _Account:
    account = _Account(path.stem)
    for note in notes_in(path):
        match note:
            case Intent():
                account.intents[note.id] = note
            case Answer():
                account.answers[note.id] = note
                verdict.outcomes[note.outcome] += 1
                verdict.saves.append(note)
                verdict.waits.append(note)
            case Load():
                verdict.loads[note.state] += 1
                verdict.waits.append(note)
                verdict.misread += [f"{path.stem} {note.session}: {note.wrong}"] if note.wrong else []
            case Raised():
                verdict.exceptions.append(f"{path.stem} {note.what}: {note.error}")
    verdict.unanswered += len(account.intents.keys() - account.answers.keys())
    return account


async def _document(client: redis.asyncio.Redis, session: str) -> dict[str, Any]:
    """A session as any program reads it: one string, one JSON object."""
    raw = await client.get(f"{PREFIX}:session:{session}")
    document: dict[str, Any] = json.loads(raw) if raw else {}
    return document


async def _compare_executions(client: redis.asyncio.Redis, accounts: Iterable[_Account], verdict: Verdict) -> None:
    names = [intent.id for account in accounts for intent in account.accepted()]
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.exists(f"{PREFIX}:execution:{name}")
    there = await pipeline.execute()
    verdict.without_execution += [name for name, found in zip(names, there, strict=True) if not found]


def _compare_session(session: str, turns: Turns, accounts: Iterable[_Account], verdict: Verdict) -> None:
    times = Counter(str(turn.get("id")) for turn in turns)
    verdict.doubled += [f"{session} {name}: {count} times" for name, count in times.items() if count > 1]
    strangers = set(times)
    for account in accounts:
        verdict.lost += [
            f"{session} {account.writer} {intent.number} {intent.id}"
            for intent in account.accepted()
            if intent.session == session and not times[intent.id]
        ]
        strangers -= account.intents.keys()
        _compare_turns(session, [turn for turn in turns if turn.get("id") in account.intents], account, verdict)
    verdict.altered += [f"{session} {name}: nobody said it" for name in sorted(strangers)]


def _compare_turns(session: str, turns: Turns, account: _Account, verdict: Verdict) -> None:
    last = 0
    for turn in turns:
        intent = account.intents[turn["id"]]
        if digest(turn) != intent.digest or intent.session != session:
            verdict.altered.append(f"{session} {account.writer} {intent.number} {intent.id}")
        if intent.number < last:
            verdict.reordered.append(f"{session} {account.writer} {intent.number} stands behind {last}")
        last = intent.number


def _compare_context(
    session: str, context: Mapping[str, Any], accounts: Iterable[_Account], verdict: Verdict
) -> None:
    """A writer's own key has what its last accepted save gave it, or what an unanswered one did after that."""
    said: defaultdict[str, int] = defaultdict(int)
    for account in accounts:
        for intent in account.accepted():
            if intent.session == session and intent.context:
                said[account.writer] = max(said[account.writer], intent.number)
    verdict.forgotten_context += [
        f"{session} {writer}: {context.get(writer)} instead of {number}"
        for writer, number in said.items()
        if context.get(writer, 0) < number
    ]
