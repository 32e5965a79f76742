"""What the errors of PostgreSQL become: what waiting helps, what settings, what nothing does."""

from __future__ import annotations

import asyncpg
import pytest

from pairscope.errors import ConfigError, SchemaMismatch, StorageError, StoreDamaged, StoreRefused, StoreUnavailable
from pairscope.storage.postgres_errors import of_settings, translated

NAME = "PAIRSCOPE_DATABASE_URL"


@pytest.mark.parametrize(
    ("error", "kind", "retry"),
    [
        (ConnectionRefusedError(111, "refused"), StoreUnavailable, True),
        (TimeoutError(), StoreUnavailable, True),
        (asyncpg.InterfaceError("connection is closed"), StoreUnavailable, True),
        (asyncpg.ConnectionDoesNotExistError("lost"), StoreUnavailable, True),
        (asyncpg.CannotConnectNowError("starting up"), StoreUnavailable, True),
        (asyncpg.AdminShutdownError("terminating"), StoreUnavailable, True),
        (asyncpg.CrashShutdownError("crash"), StoreUnavailable, True),
        (asyncpg.TooManyConnectionsError("too many"), StoreUnavailable, True),
        (asyncpg.DiskFullError("no space left"), StoreUnavailable, True),
        (asyncpg.ReadOnlySQLTransactionError("read-only"), StoreUnavailable, True),
        (asyncpg.DeadlockDetectedError("deadlock"), StoreUnavailable, True),
        (asyncpg.QueryCanceledError("timeout"), StoreUnavailable, True),
        (asyncpg.DataCorruptedError("bad page"), StoreDamaged, False),
        (asyncpg.UndefinedTableError("no table"), SchemaMismatch, False),
        (asyncpg.InvalidPasswordError("wrong"), StorageError, True),
        (asyncpg.UniqueViolationError("twice"), StoreRefused, False),
        (asyncpg.CharacterNotInRepertoireError("NUL"), StoreRefused, False),
        (asyncpg.DataError("not what the driver can send"), StoreRefused, False),
        (asyncpg.RaiseError("a trigger will not have it"), StoreRefused, False),
        (asyncpg.InternalServerError("a bug of the server's"), StorageError, True),
    ],
)
def test_what_a_retry_helps_is_told_apart(error, kind, retry):
    found = translated(error, NAME)
    assert type(found) is kind
    assert found.retry is retry


def test_a_full_disk_says_what_to_do():
    assert "free some space" in translated(asyncpg.DiskFullError("no space left"), NAME).line()


def test_what_the_first_connection_is_refused_for_is_a_setting_and_later_a_thing_that_may_pass():
    cause = asyncpg.InvalidPasswordError("password authentication failed")
    later = translated(cause, NAME)
    later.__cause__ = cause
    assert isinstance(of_settings(later, NAME), ConfigError)
    away = translated(OSError("no route"), NAME)
    assert of_settings(away, NAME) is away
