"""Migrations: once each, in order, never another than the one that was applied."""

from __future__ import annotations

import pytest

from pairscope.errors import SchemaMismatch
from pairscope.storage.schema import Migration, migrations_of, pending

KNOWN = [Migration(1, "first", "CREATE TABLE a (x INT)"), Migration(2, "second", "CREATE TABLE b (x INT)")]


def applied(*migrations):
    return [(m.number, m.checksum) for m in migrations]


def test_the_packages_own_migrations_are_numbered_without_a_hole():
    found = migrations_of("duckdb")
    assert [m.number for m in found] == list(range(1, len(found) + 1))
    assert all(m.sql.strip() for m in found)


def test_files_are_read_in_the_order_of_their_numbers_a_driver_at_a_time():
    files = [("duckdb_0010_b.sql", "2"), ("postgres_0001_x.sql", "3"), ("duckdb_0002_a_b.sql", "1")]
    found = migrations_of("duckdb", lambda: files)
    assert [(m.number, m.name, m.sql) for m in found] == [(2, "a_b", "1"), (10, "b", "2")]


def test_what_was_applied_is_not_applied_again():
    assert pending(KNOWN, [], where="x") == KNOWN
    assert pending(KNOWN, applied(KNOWN[0]), where="x") == KNOWN[1:]
    assert pending(KNOWN, applied(*KNOWN), where="x") == []


def test_a_migration_of_the_future_is_refused_with_its_number():
    with pytest.raises(SchemaMismatch, match="migration 3, this version knows 2") as refused:
        pending(KNOWN, [*applied(*KNOWN), (3, "x")], where="the store")
    assert refused.value.hint


def test_a_changed_migration_is_refused_by_name():
    with pytest.raises(SchemaMismatch, match="1 \\(first\\)"):
        pending(KNOWN, [(1, "another checksum")], where="the store")
