"""Everything that can go wrong, drawn as a tree.

::

    FlywheelError
    ├── BadInput (also a ValueError)      what the caller passed cannot be used
    │   ├── BadSessionId
    │   ├── Unstorable                    a value that JSON cannot hold, named by its path
    │   ├── TooLarge                      a turn or session over its limit
    │   └── TooMany                       a principal has as many sessions as it may
    ├── ConfigError                       a setting or ``flywheel.toml`` is wrong
    ├── MissingExtra (also ImportError)   an optional package is not installed
    ├── FlowError                         a flow did not answer
    │   ├── UnknownFlow
    │   └── FlowFailed
    │       ├── KeyRefused                its server wants another key
    │       └── FlowUnsettled             … as far as we know: it may have run all the same
    ├── SessionNotFound                   no session under this handle
    └── StoreError                        the store did not do what was asked
        ├── Unavailable                   it cannot be reached, or cannot serve now
        │   ├── ReadOnly                  … but it can be read
        │   ├── PartlyUnavailable         … in part; the rest of it serves
        │   └── Misconfigured             … and will not until somebody changes a setting
        ├── Conflict                      the session has changed since it was read
        ├── Deleted                       the session was deleted and stays deleted
        ├── Fenced                        a later turn has taken the session over
        └── Unreadable                    something is stored, and we must not touch it
            ├── Damaged
            ├── Newer
            └── Sealed                encrypted, and not with a key that is here

*Absent* is not an error: a load that finds nothing answers ``None``. *Unavailable* and *Damaged* are
never answered as if they were absent.
"""

from __future__ import annotations


class FlywheelError(Exception):
    """Base of every error that this package raises on purpose."""


class BadInput(FlywheelError, ValueError):
    """What the caller passed cannot be used; the message says what is wrong and what to do."""


class BadSessionId(BadInput):
    """A session id that is empty, too long or holds control characters."""


class Unstorable(BadInput):
    """A value that JSON cannot hold exactly; ``path`` leads to it (``context.user.socket``)."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class TooLarge(BadInput):
    """A turn, or a session with it, would be over its size limit."""


class TooMany(BadInput):
    """A principal has as many sessions as it may have; the message says how to go on."""


class ConfigError(FlywheelError):
    """A setting, a URL or ``flywheel.toml`` is wrong; the message names it."""


class MissingExtra(FlywheelError, ImportError):
    """An optional package is needed and not installed; the message is the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'agentic-flywheel[{extra}]'")
        self.extra = extra


class FlowError(FlywheelError):
    """A flow did not answer the question."""


class UnknownFlow(FlowError):
    """No flow of this name is configured; the message lists those that are."""


class FlowFailed(FlowError):
    """The flow was run and failed; the message names it and says why.

    ``output`` is what it gave, in JSON types, where it gave something that is no answer.
    """

    def __init__(self, message: str, output: object = None) -> None:
        super().__init__(message)
        self.output = output


class KeyRefused(FlowFailed):
    """The flow's server does not take the key for this, or wants one; the message says where to put it."""


class FlowUnsettled(FlowFailed):
    """The question may have reached the flow, and its answer did not reach us: it may have run, or still run."""


class SessionNotFound(FlywheelError):
    """No session is stored under this handle: it never existed, has expired or was deleted."""


class StoreError(FlywheelError):
    """The store did not do what was asked of it."""


class Unavailable(StoreError):
    """The store cannot be reached, or cannot serve now. Says nothing about what is stored."""


class ReadOnly(Unavailable):
    """The store answers and can be read, and takes no writes now; the message says why."""


class PartlyUnavailable(Unavailable):
    """The part of the store that this was for cannot be reached; what lies elsewhere can."""


class Misconfigured(Unavailable):
    """The store answers, and refuses us until somebody changes a setting; the message says which."""


class Conflict(StoreError):
    """The session is not what the write was based on.

    ``found`` says what is there instead: ``"changed"``, ``"absent"`` or ``"present"`` (the write was to
    create it).
    """

    def __init__(self, session_id: str, found: str) -> None:
        super().__init__(f"session {session_id!r} is {found}")
        self.found = found


class Deleted(StoreError):
    """The session was deleted; a late writer does not bring it back."""


class Fenced(StoreError):
    """The turn's claim on the session had ended, and a later turn has taken the session over."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"a later turn has taken session {session_id!r} over; this one was held up for too long")


class Unreadable(StoreError):
    """Something is stored under the key that this version must neither use nor overwrite."""


class Damaged(Unreadable):
    """What is stored is not a session document: not JSON, truncated, or of another Redis type."""


class Newer(Unreadable):
    """The document has a newer schema than this version knows; upgrade the package to read it."""


class Sealed(Unreadable):
    """It is encrypted, and its key is not here, or was erased; the message says which, and what to do."""
