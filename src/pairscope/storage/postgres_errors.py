"""What PostgreSQL and the way to it say, in the terms of the error tree."""

from __future__ import annotations

from typing import Final

from pairscope.errors import ConfigError, SchemaMismatch, StorageError, StoreDamaged, StoreUnavailable

__all__ = ["DEADLOCK", "NO_PARTITION", "UNIQUE", "refusal_of_settings", "translated"]

UNIQUE: Final = "23505"
NO_PARTITION: Final = "23514"
DEADLOCK: Final = frozenset({"40P01", "40001"})
"""What another transaction's timing causes: the same again succeeds."""

_DISK_FULL: Final = "53100"
_READ_ONLY: Final = "25006"
_SETTINGS: Final = {
    "28000": "the server refuses the user",
    "28P01": "the server refuses the password",
    "3D000": "there is no such database",
    "42501": "the user may not do what is needed",
}
_PASSING: Final = ("08", "53", "55", "57", "58", "40")
_DAMAGE: Final = ("XX001", "XX002")
_SCHEMA: Final = ("42P01", "42703", "42883", "3F000")


def translated(error: BaseException, where: str) -> StorageError:
    """Return the error of the tree that stands for one of the driver's or of the operating system's.

    ``where`` names the server and its database, without a password.
    """
    code = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split()) or type(error).__name__
    if code == _DISK_FULL:
        return StoreUnavailable(f"{where} cannot grow ({said})", hint="free some space on the disk of the server")
    if code == _READ_ONLY:
        return StoreUnavailable(
            f"{where} takes no writes ({said})", hint="a standby was not promoted, or PAIRSCOPE_DATABASE_URL names it"
        )
    if code in _DAMAGE:
        return StoreDamaged(f"{where} is damaged ({said})", hint="restore it from a backup: docs/operations.md")
    if code in _SCHEMA:
        return SchemaMismatch(f"{where} lacks a table of this version ({said})", hint="restart, so that it migrates")
    if code in _SETTINGS:
        return StoreUnavailable(f"{where}: {_SETTINGS[code]} ({said})")
    if not code or code[:2] in _PASSING:
        return StoreUnavailable(
            f"{where} does not answer ({said})", hint="is it running, and does it accept connections?"
        )
    return StorageError(f"{where}: {said}")


def refusal_of_settings(error: StorageError) -> ConfigError | None:
    """Return the error of a setting that an error at the first connection speaks of; None where it is of another kind.

    A store that is open never has it: what changes under it may change back.
    """
    cause = error.__cause__
    why = _SETTINGS.get(getattr(cause, "sqlstate", None) or "")
    if why is None:
        return None
    return ConfigError(f"{error}", loc="database_url", hint="correct PAIRSCOPE_DATABASE_URL")
