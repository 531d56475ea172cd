"""Stores around a store, so that trouble with it neither blocks nor loses what is said.

From the outside in: `JournalledStore` (what cannot be stored now waits on local disk), `GuardedStore`
(deadline and circuit breaker), the store itself.
"""

from .breaker import Breaker
from .guarded_store import GuardedStore
from .journal import Journal
from .journalled_store import JournalledStore

__all__ = ["Breaker", "GuardedStore", "Journal", "JournalledStore"]
