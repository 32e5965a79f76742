"""Ranges to rebuild: merged, bounded, remembered."""

from __future__ import annotations

import pytest

from pairscope.storage.rebuilds import MAX_RANGES, MINUTE_NS, Rebuilds

FOREVER = 1 << 60


@pytest.fixture
def records(moody):
    return moody


async def drained(rebuilds):
    found = []
    while (first := rebuilds.first(FOREVER)) is not None:
        found.append(first)
        await rebuilds.done(first)
    return found


async def test_ranges_that_touch_become_one_and_symbols_take_turns(records):
    rebuilds = Rebuilds(records)
    rebuilds.add([("A", 0, 5), ("A", 10, 20), ("A", 5, 7), ("B", 1, 2), ("A", 15, 16)])
    assert len(rebuilds) == 3
    assert await drained(rebuilds) == [("A", 0, 7), ("B", 1, 2), ("A", 10, 20)]
    assert len(rebuilds) == 0


async def test_too_many_ranges_of_a_symbol_become_one(records):
    rebuilds = Rebuilds(records)
    rebuilds.add(("A", 10 * k, 10 * k + 1) for k in range(MAX_RANGES + 1))
    assert await drained(rebuilds) == [("A", 0, 10 * MAX_RANGES + 1)]


async def test_what_was_announced_is_found_by_the_next_run_until_it_is_done(records):
    rebuilds = Rebuilds(records)
    await rebuilds.announce([("币USDT", 1, 2), ("B", 3, 4)])
    await rebuilds.announce([])
    rebuilds.add([("币USDT", 1, 2), ("B", 3, 4), ("B", 8, 9)])
    await rebuilds.done(("B", 3, 4))
    later = Rebuilds(records)
    await later.load()
    assert sorted(await drained(later)) == [("B", 8, 9), ("币USDT", 1, 2)]
    last = Rebuilds(records)
    await last.load()
    assert last.first(FOREVER) is None


async def test_a_minute_that_is_still_open_waits_for_its_end(records):
    rebuilds = Rebuilds(records)
    rebuilds.add([("A", 0, 2 * MINUTE_NS)])
    assert rebuilds.first(MINUTE_NS - 1) is None
    first = rebuilds.first(2 * MINUTE_NS - 1)
    assert first == ("A", 0, MINUTE_NS)
    await rebuilds.done(first)
    assert rebuilds.first(2 * MINUTE_NS - 1) is None
    assert rebuilds.first(2 * MINUTE_NS) == ("A", MINUTE_NS, 2 * MINUTE_NS)
