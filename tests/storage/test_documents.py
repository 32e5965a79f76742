"""Documents in the embedded store: found by an index, read by pages, moved over from the older table."""

from __future__ import annotations

import duckdb
import pytest

from pairscope.ports import Document
from pairscope.storage import duckdb_store, schema
from pairscope.storage.documents import document_at, put_documents, remove_documents
from pairscope.storage.duckdb_store import DuckDBStore


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE document (path VARCHAR PRIMARY KEY, body BLOB NOT NULL)")
        yield opened


def many(count: int) -> list[Document]:
    return [Document("firings", f"{k:09d}", b"%d" % k) for k in range(count)]


def plan(connection, sql, *parameters) -> str:
    return connection.execute(f"EXPLAIN ANALYZE {sql}", list(parameters)).fetchall()[0][1]


def test_one_document_among_many_is_found_by_the_index(connection):
    put_documents(connection, many(20_000))
    assert document_at(connection, "firings", "000012345") == b"12345"
    sql = "SELECT body FROM document WHERE path = ?"
    assert "Index Scan" in plan(connection, sql, "firings/000012345")
    in_hand = [f"firings/{k:09d}" for k in range(5000, 5032)]
    deleting = "DELETE FROM document WHERE path IN (SELECT unnest(?::VARCHAR[])) RETURNING 1"
    assert "Index Scan" in plan(connection, deleting, in_hand), "and so are some dozens"


def test_any_number_of_documents_is_stored_replaced_and_removed(connection):
    put_documents(connection, many(1000))
    put_documents(connection, [Document("firings", f"{k:09d}", b"new") for k in range(500, 1500)])
    found = dict(connection.execute("SELECT path, body FROM document").fetchall())
    assert len(found) == 1500
    assert found["firings/000000499"] == b"499"
    assert found["firings/000000500"] == found["firings/000001499"] == b"new"
    assert remove_documents(connection, many(2000)) == 1500
    assert remove_documents(connection, many(2000)) == 0


def test_a_collection_with_a_slash_would_be_mixed_up_with_another(connection):
    with pytest.raises(ValueError, match="slash"):
        put_documents(connection, [Document("a/b", "k", b"")])
    put_documents(connection, [Document("a", "b/k", b"1"), Document("a0", "k", b"2"), Document("a", "", b"3")])
    assert document_at(connection, "a", "b/k") == b"1"


async def test_a_scan_reads_a_page_at_a_time_and_longer_ones_as_it_goes_on(tmp_path, monkeypatch):
    store = await DuckDBStore.open(tmp_path / "store.duckdb")
    pages = []
    read = duckdb_store.documents_behind

    def counted(*arguments, limit):
        page = read(*arguments, limit=limit)
        pages.append(len(page))
        return page

    monkeypatch.setattr(duckdb_store, "documents_behind", counted)
    await store.put_many(many(20_000))
    async for key, _ in store.scan("firings"):
        assert key == "000000000"
        break
    assert pages == [256], "who stops early has read one page"
    pages.clear()
    assert [key async for key, _ in store.scan("firings")] == [document.key for document in many(20_000)]
    assert max(pages) == 4096
    pages.clear()
    await store.put_many([Document("large", f"{k:09d}", bytes(8192)) for k in range(1200)])
    assert len([key async for key, _ in store.scan("large")]) == 1200
    assert max(pages) == 256, "pages of large documents do not grow"
    await store.close()


async def test_documents_of_the_older_table_are_found_under_their_keys(tmp_path):
    path = tmp_path / "store.duckdb"
    [first] = [migration for migration in schema.migrations_of("duckdb") if migration.number == 1]
    with duckdb.connect(str(path)) as connection:
        connection.execute(first.sql)
        connection.execute("CREATE TABLE migration (number INTEGER, name VARCHAR, checksum VARCHAR)")
        connection.execute("INSERT INTO migration VALUES (1, ?, ?)", [first.name, first.checksum])
        connection.executemany(
            "INSERT INTO record VALUES (?, ?, ?)",
            [("watchlist", "AUSDT:BUSDT", b"one"), ("journal", "币/\\'", bytes(range(256))), ("watch", "x", b"")],
        )
    store = await DuckDBStore.open(path)
    assert [entry async for entry in store.scan("watchlist")] == [("AUSDT:BUSDT", b"one")]
    assert await store.get("journal", "币/\\'") == bytes(range(256))
    assert [entry async for entry in store.scan("watch")] == [("x", b"")]
    assert not await store.put("watchlist", "AUSDT:BUSDT", b"two")
    await store.close()
    again = await DuckDBStore.open(path)
    assert await again.get("watchlist", "AUSDT:BUSDT") == b"two"
    await again.close()
