"""What a desk writes beside its writer: all of it while it is the desk, nothing once another is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pairscope.errors import Superseded
from pairscope.ports import Document
from pairscope.storage.desk_store import FencedRecords, Term
from pairscope.storage.duckdb_store import DuckDBStore


class Seat:
    """A replica that may be the desk."""

    def __init__(self, store: DuckDBStore) -> None:
        self.term = Term(store)
        self.heard = 0
        self.records = FencedRecords(store, self.term, superseded=self._superseded)

    def _superseded(self) -> None:
        self.heard += 1


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    yield store
    await store.close()


async def test_the_desk_writes_as_everybody_writes_records(store: DuckDBStore) -> None:
    seat = Seat(store)
    await seat.term.begin()
    assert await seat.records.put("paper", "a", b"1")
    assert not await seat.records.put("paper", "a", b"2")
    assert not await seat.records.put("paper", "a", b"3", replace=False)
    assert await seat.records.put("paper", "b", b"4", replace=False)
    assert [entry async for entry in seat.records.scan("paper")] == [("a", b"2"), ("b", b"4")]
    assert await seat.records.delete("paper", "b")
    assert not await seat.records.delete("paper", "b")
    assert await store.get("paper", "b") is None
    assert seat.heard == 0


async def test_who_stood_still_while_another_became_the_desk_changes_nothing_and_hears_of_it(
    store: DuckDBStore,
) -> None:
    first, second = Seat(store), Seat(store)
    await first.term.begin()
    await first.records.put("paper", "a", b"mine")
    await second.term.begin()
    for replace in (True, False):
        with pytest.raises(Superseded):
            await first.records.put("paper", "b", b"too late", replace=replace)
    with pytest.raises(Superseded):
        await first.records.delete("paper", "a")
    with pytest.raises(Superseded):
        await first.records.put_many([Document("paper", "a", b"too late")])
    assert first.heard == 4
    assert [entry async for entry in store.scan("paper")] == [("a", b"mine")]
    assert await second.records.put("paper", "b", b"in time")


async def test_who_is_not_the_desk_reads_and_does_not_write(store: DuckDBStore) -> None:
    await store.put("paper", "a", b"1")
    seat = Seat(store)
    assert await seat.records.get("paper", "a") == b"1"
    with pytest.raises(Superseded):
        await seat.records.put("paper", "b", b"2")
    assert await store.get("paper", "b") is None
