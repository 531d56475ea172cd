"""Principals: who owns sessions, as they are stored."""

from __future__ import annotations

from hashlib import sha256

from ..jsontext import encode

PROGRAM = "0" * 16
"""What the principals of programs begin with; those of users are hashes, of which none does."""


def principal_of_program(name: str) -> str:
    """The principal that a program is, for what it keeps for itself, in any number; nobody else can be it."""
    return PROGRAM + sha256(encode(["program", name])).hexdigest()[:16]


def principal_of(issuer: str | None, subject: str | None, client_id: str | None = None) -> str:
    """The principal that a subject of an issuer is, or a client without one: 32 hex digits, always the same ones.

    A hash, so that what is stored under it does not name the person, and so that no subject can be spelled like
    another issuer's.
    """
    parts = [issuer, subject] if subject is not None else [issuer, None, client_id]
    return sha256(encode(parts)).hexdigest()[:32]
