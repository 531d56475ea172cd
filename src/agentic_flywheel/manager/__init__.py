"""What a session is, in a store: loading, saving with what changed, listing, deleting, copying."""

from .erasing import erase_everything
from .results import Health, Loaded, Saved
from .sessions import SessionManager
from .sharing import hand_over, share
from .transfer import Copied, copy_everything
from .turns import Found, Interrupted
from .vault import Vault

__all__ = [
    "Copied",
    "Found",
    "Health",
    "Interrupted",
    "Loaded",
    "Saved",
    "SessionManager",
    "Vault",
    "copy_everything",
    "erase_everything",
    "hand_over",
    "share",
]
