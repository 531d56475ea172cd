"""Settings: from arguments, environment variables and ``flywheel.toml``, in this order of precedence.

======================  =======================================================================
FLYWHEEL_CONFIG         the settings file; else ``./flywheel.toml``, else the one in the user's
                        configuration folder, else none
FLYWHEEL_REDIS_URL      the Redis to keep sessions in; else REDIS_URL, else ``store.url`` of the
                        file, else an embedded SQLite file
FLYWHEEL_PREFIX         what our keys in Redis begin with (``agentic_flywheel``)
FLYWHEEL_STATE_DIR      where local files are kept (the user's state folder)
FLYWHEEL_TTL_SECONDS    how long a session is kept after its last use (604800, 7 days; 0: for ever)
FLYWHEEL_TOKENS         the table of tokens for MCP over HTTP, a line for each; in place of
                        ``http.auth.tokens_file``
FLYWHEEL_MASTER_KEYS    the master keys, base64, the one that wraps first; in place of
                        ``encryption.keys_file``; with them, all that is stored is encrypted
======================  =======================================================================
"""

from .encryption import EncryptionSettings
from .flows import FlowSettings, FlowTimesToLive, ServerSettings
from .http import HttpAuthSettings, HttpSettings
from .secrets import SecretSettings
from .settings import JournalSettings, Limits, Settings, StoreSettings, settings_file
from .times import LONGEST_TTL, BadSetting, TimesToLive

__all__ = [
    "LONGEST_TTL",
    "BadSetting",
    "EncryptionSettings",
    "FlowSettings",
    "FlowTimesToLive",
    "HttpAuthSettings",
    "HttpSettings",
    "JournalSettings",
    "Limits",
    "SecretSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TimesToLive",
    "settings_file",
]
