"""The built-in flow: answers from the session itself, without a network, a key or a model."""

from __future__ import annotations

import re

from ..jsontext import encode
from ..session import Turn, UniversalSession
from ..session.values import plain
from .base import Answer, Flow, Question

EXCERPT = 160  # characters of a question or answer that is quoted


class RecapFlow(Flow):
    """Says what a conversation is about so far, or finds what was said about something.

    It takes the words of the question that are not everyday words, and looks for turns and context entries
    with them, newest first. Where nothing matches, or nothing is asked for, it tells the whole story: since
    when, how many turns, the first and the last questions, and the context. It keeps notes: a question of
    the form ``remember KEY: VALUE`` goes into the context.
    """

    backend = "builtin"

    def __init__(self, id: str = "recap") -> None:
        super().__init__(
            id,
            description="Answers from this conversation itself: what was asked before and when, what the "
            "context holds. 'remember KEY: VALUE' notes something. Needs no model.",
            turns=None,
        )

    async def ask(self, question: Question) -> Answer:
        text = _note(question) or _search(question) or _story(question.session)
        return Answer(text, {"text": text, "turns_read": len(question.session.history)})


_NOTE = re.compile(r"\s*remember\s+(?:that\s+)?([\w .-]{1,60}?)\s*(?::|=|\bis\b)\s*(.+)", re.IGNORECASE | re.DOTALL)
_EVERYDAY_WORDS = """
a about all an and answer any are ask asked been before can context conversation could did do does earlier far
find first for from had has have how i in is it last many me mean my of on or our please question questions
recap remember said say so tell that the there this to turn turns us was we were what when where which who why
will with you your
"""
_EVERYDAY = frozenset(re.findall(r"\w+", _EVERYDAY_WORDS))


def _note(question: Question) -> str | None:
    match = _NOTE.fullmatch(question.text)
    if match is None:
        return None
    key, value = match[1].strip(), match[2].strip()
    question.session.context[key] = value
    return f"Noted: {key} is {value}."


def _search(question: Question) -> str | None:
    words = {word for word in re.findall(r"\w+", question.text.lower()) if word not in _EVERYDAY}
    if not words:
        return None
    lines = [f"The context says: {line}" for line in _context_lines(question.session) if _has(line, words)]
    for turn in reversed(question.session.history):
        said = f"{turn.question} {turn.response}"
        if _has(said, words):
            lines.append(_quote(turn))
        if len(lines) >= 5:
            break
    return "\n".join(lines) or None


def _has(text: str, words: set[str]) -> bool:
    return not words.isdisjoint(re.findall(r"\w+", text.lower()))


def _story(session: UniversalSession) -> str:
    history = session.history
    if not len(history):
        return "This conversation begins here; nothing was said before."
    since = history[0].timestamp or session.metadata.get("created_at")
    lines = [f"{len(history)} turns since {since}."]
    lines += [f"First, {_quote(history[0])}"]
    lines += [f"Then, {_quote(turn)}" for turn in history[-3:] if turn is not history[0]]
    lines += [f"The context says: {line}" for line in _context_lines(session)]
    return "\n".join(lines)


def _context_lines(session: UniversalSession) -> list[str]:
    return [f"{key} is {_shown(value)}" for key, value in session.context.items()]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else encode(plain(value, "context")).decode()


def _quote(turn: Turn) -> str:
    asked, answered = _excerpt(turn.question), _excerpt(turn.response)
    when, who = turn.timestamp or "an unknown time", turn.flow_id or "the answer"
    return f"at {when} you asked {asked!r}, and {who} said {answered!r}"


def _excerpt(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"
