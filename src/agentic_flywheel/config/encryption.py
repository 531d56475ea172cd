"""Settings of encryption at rest."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ..errors import ConfigError

VARIABLE = "FLYWHEEL_MASTER_KEYS"


class EncryptionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the master keys are, and where the keys of sessions are kept: ``[encryption]``.

    Master keys never stand in the settings: they are in the variable ``FLYWHEEL_MASTER_KEYS``, else in the file
    ``keys_file``. Where there are any, all that is stored is encrypted. ``keys_url`` is a store for the keys of
    sessions; if not given, they are beside the sessions.
    """

    keys_file: str | None = None
    keys_url: str | None = None

    @property
    def master_keys(self) -> tuple[str, str] | None:
        """The text that holds the master keys, and where it stands; None where nothing is encrypted.

        Raises:
            ConfigError: the file cannot be read.
        """
        if text := os.environ.get(VARIABLE, "").strip():
            return text, VARIABLE
        if self.keys_file is None:
            return None
        try:
            return Path(self.keys_file).expanduser().read_text("ascii"), self.keys_file
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
            raise ConfigError(f"encryption.keys_file {self.keys_file} cannot be read: {why}") from error
