"""The journal's keeper: behind the ticks that it is about, bounded, and honest about what it lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pairscope.errors import StoreDamaged, StoreUnavailable
from pairscope.schemas.journal import Entry, unpack_entries
from pairscope.storage import journal
from pairscope.storage.journal import COLLECTION, JournalKeeper, read_journal

SECOND = 1_000_000_000


class Drawer:
    """Records in memory, which may refuse."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.refuses = False

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        assert collection == COLLECTION
        if self.refuses:
            raise StoreUnavailable("not now")
        self.held[key] = document
        return True

    async def delete(self, collection: str, key: str) -> bool:
        return self.held.pop(key, None) is not None

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for key in sorted(key for key in self.held if key > after):
            yield key, self.held[key]


class Desk:
    """A keeper over a drawer, and a store whose watermark is turned by hand."""

    def __init__(self, *, started_ns: int = 1, drawer: Drawer | None = None, **bounds: Any) -> None:
        self.drawer = drawer or Drawer()
        self.stored_ns = 0
        self.keeper = JournalKeeper(self.drawer, stored_ns=self._stored, started_ns=started_ns, **bounds)  # type: ignore[arg-type]

    async def _stored(self) -> int:
        return self.stored_ns

    def add(self, *seconds: int) -> None:
        for second in seconds:
            self.keeper.add(Entry(second * SECOND, second * SECOND, 1))

    async def kept(self) -> list[int]:
        chunks = [entries async for _, entries in read_journal(self.drawer)]  # type: ignore[arg-type]
        return [entry.watermark_ns // SECOND for entries in chunks for entry in entries]


async def test_an_entry_is_written_only_when_the_store_has_come_past_it() -> None:
    desk = Desk()
    desk.add(*range(40))
    await desk.keeper.flush()
    assert await desk.kept() == []
    desk.stored_ns = 20 * SECOND
    await desk.keeper.flush()
    assert await desk.kept() == list(range(16)), "a whole chunk; the next one still grows"
    desk.stored_ns = 40 * SECOND
    await desk.keeper.flush()
    await desk.keeper.close()
    assert await desk.kept() == list(range(40))
    assert desk.keeper.counters()["waiting"] == 0


async def test_a_later_run_s_entries_come_behind_those_of_an_earlier_one() -> None:
    first = Desk(started_ns=5 * SECOND)
    first.add(7, 8)
    await first.keeper.close()
    second = Desk(started_ns=60 * SECOND, drawer=first.drawer)
    second.add(3, 4)
    await second.keeper.close()
    assert await second.kept() == [7, 8, 3, 4]


async def test_a_store_that_refuses_delays_entries_and_where_too_many_wait_a_hole_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 10)
    desk = Desk()
    desk.drawer.refuses, desk.stored_ns = True, 10**6 * SECOND
    desk.add(*range(14))
    await desk.keeper.close()
    assert (await desk.kept(), desk.keeper.counters()["dropped"]) == ([], 4)
    desk.drawer.refuses = False
    await desk.keeper.flush(all_stored=True)
    assert await desk.kept() == list(range(4, 14))
    [document] = desk.drawer.held.values()
    assert [note.kind for note in unpack_entries(document)[0].notes] == ["hole"]


@pytest.mark.parametrize(("pushed_out", "hole"), [(3, False), (12, True)])
async def test_what_is_pushed_out_while_it_is_written_takes_nothing_else_with_it(
    monkeypatch: pytest.MonkeyPatch, pushed_out: int, hole: bool
) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 10)
    desk = Desk()
    desk.add(*range(10))
    put = desk.drawer.put

    async def slow_put(*given: Any, **named: Any) -> bool:
        desk.drawer.put = put  # type: ignore[method-assign]
        desk.add(*range(10, 10 + pushed_out))
        return await put(*given, **named)

    desk.drawer.put = slow_put  # type: ignore[method-assign]
    await desk.keeper.flush(all_stored=True)
    assert await desk.kept() == [second for second in range(10 + pushed_out) if second not in (10, 11) or not hole]
    [_, *later] = [entries async for _, entries in read_journal(desk.drawer)]  # type: ignore[arg-type]
    assert [[note.kind for note in chunk[0].notes] for chunk in later] == [["hole"] if hole else []]


async def test_what_is_older_than_is_kept_is_forgotten_a_few_chunks_at_a_time() -> None:
    desk = Desk(kept_ns=100 * SECOND)
    desk.stored_ns = 10**6 * SECOND
    for start in range(0, 400, 20):
        desk.add(*range(start, start + 20))
        await desk.keeper.flush(all_stored=True)
    kept = await desk.kept()
    assert kept[-1] == 399
    assert 270 <= kept[0] <= 299
    assert desk.keeper.counters()["forgotten"] > 10


def test_a_journal_that_cannot_be_read_says_so() -> None:
    for document in (b"", b"nonsense", bytes(40)):
        with pytest.raises(StoreDamaged, match="journal"):
            unpack_entries(document)
