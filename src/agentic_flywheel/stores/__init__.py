"""Stores keep heads and turns as bytes: in memory, in a SQLite file, in Redis."""

from .base import Backlog, Change, Claim, Grant, Listed, Mark, Record, Store, Stored

__all__ = ["Backlog", "Change", "Claim", "Grant", "Listed", "Mark", "Record", "Store", "Stored"]
