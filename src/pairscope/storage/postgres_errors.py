"""What PostgreSQL, the driver and the way to it say, in the terms of the error tree."""

from __future__ import annotations

from typing import Final

from pairscope.errors import (
    ConfigError,
    PairscopeError,
    SchemaMismatch,
    StorageError,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)

__all__ = ["lacks_partition", "of_settings", "translated"]

_DISK_FULL: Final = "53100"
_READ_ONLY: Final = "25006"
_REFUSED: Final = {
    "28000": "the server refuses the user",
    "28P01": "the server refuses the password",
    "3D000": "there is no such database",
    "42501": "the user may not do what is needed",
}
_NO_PARTITION: Final = "23514"
"""A row that no partition takes: our tables have no other check."""
_DAMAGE: Final = ("XX001", "XX002")
_NOT_OURS: Final = ("42P01", "42703", "42P07", "42883", "3F000")
_PASSING: Final = ("08", "40", "53", "55", "57", "58")
"""Classes of what another moment may change: connection, timing, resources, locks, an operator, the system."""

_FOR_GOOD: Final = ("21", "22", "23", "54", "P0")
"""Classes of what the rows themselves are refused for: their values, a constraint, a limit, what a trigger raises."""


def translated(error: Exception, name: str) -> Exception:
    """Return the error of the tree for one of the driver's, without the address, which may hold a password.

    ``name`` is the setting that the address is of. A ``ValueError`` that is not about the address is none of ours.
    """
    code: str = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, ValueError) and not code:
        about = said.lower()
        if "dsn" in about or "port" in about or hasattr(error, "detail"):
            return ConfigError(f"{name.removeprefix('PAIRSCOPE_')}: not an address of PostgreSQL", loc=name)
        return error
    if code == _DISK_FULL:
        return StoreUnavailable(f"PostgreSQL cannot grow: {said}", hint="free some space on its disk")
    if code == _READ_ONLY:
        return StoreUnavailable(
            f"PostgreSQL takes no writes: {said}", hint=f"{name} names a standby, or it is not promoted"
        )
    if code in _DAMAGE:
        return StoreDamaged(f"PostgreSQL is damaged: {said}", hint="restore it from a backup")
    if code in _NOT_OURS:
        return SchemaMismatch(f"PostgreSQL: {said}", hint="another program uses this database, or a newer Pairscope")
    if code in _REFUSED:
        return StorageError(
            f"PostgreSQL: {_REFUSED[code]}: {said}", hint=f"look at user, password and database in {name}"
        )
    if not code or code[:2] in _PASSING:
        return StoreUnavailable(f"PostgreSQL does not take it: {said}", hint=f"see whether {name} is up")
    if code[:2] in _FOR_GOOD:
        return StoreRefused(
            f"PostgreSQL refuses it: {said}", hint="look at what was given, or at what was added to its tables"
        )
    return StorageError(f"PostgreSQL: {said}")


def of_settings(error: StorageError, name: str) -> PairscopeError:
    """Return the error of a setting where the first connection is refused for one, else the same error.

    Only of the first: what changes under a store that is open may change back, and its ticks wait in the spool.
    """
    refused = (getattr(error.__cause__, "sqlstate", None) or "") in _REFUSED
    return ConfigError(str(error), loc=name, hint=error.hint) if refused else error


def lacks_partition(error: StorageError) -> bool:
    """Whether rows were refused because there is no partition for them, in whatever language the server says so."""
    return getattr(error.__cause__, "sqlstate", None) == _NO_PARTITION
