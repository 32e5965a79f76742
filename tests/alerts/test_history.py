"""The history of firings: numbered over restarts, paged while new ones come, sent again from any number on."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.alerts.history import COLLECTION, FiringHistory
from pairscope.ports_alerts import FiringQuery

from .notebook import Notebook

T0 = 1_767_225_600_000


def firing(n: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"a-{n}", "alert_id": "a", "symbol": "BTCUSDT", "timestamp": T0 + n, "received": T0 + n + 5, **fields}


@pytest.fixture
def records() -> Notebook:
    return Notebook()


async def add(history: FiringHistory, records: Notebook, *firings: dict[str, Any], stored: bool = True) -> None:
    for one in firings:
        _, _, (collection, key, body) = history.add(one)
        if stored and body is not None:
            await records.put(collection, key, body)


async def seqs_of(history: FiringHistory, **query: Any) -> list[int]:
    firings, _ = await history.page(FiringQuery(**query))
    return [one["seq"] for one in firings]


async def missed(history: FiringHistory, after: int) -> list[int]:
    return [seq async for seq, _ in history.missed(after)]


@pytest.mark.parametrize("in_memory", [1, 3, 100])
async def test_firings_are_told_whole_wherever_they_are_read_from(records: Notebook, in_memory: int) -> None:
    history = FiringHistory(records, in_memory=in_memory)
    await add(history, records, *(firing(n) for n in range(1, 11)))
    assert await seqs_of(history) == list(range(10, 0, -1))
    for after in range(12):
        assert await missed(history, after) == list(range(after + 1, 11))


async def test_what_is_not_stored_yet_is_told_too(records: Notebook) -> None:
    history = FiringHistory(records, in_memory=4)
    await add(history, records, *(firing(n) for n in range(1, 7)))
    await add(history, records, firing(7), firing(8), stored=False)
    assert await seqs_of(history) == list(range(8, 0, -1))
    assert await missed(history, 1) == list(range(2, 9))


async def test_numbers_go_on_behind_what_an_earlier_run_stored(records: Notebook) -> None:
    await add(FiringHistory(records), records, *(firing(n) for n in range(1, 6)))
    history = FiringHistory(records, in_memory=2)
    await history.restore()
    assert history.seq == 5
    assert history.in_memory() == 2
    await add(history, records, firing(6))
    assert await seqs_of(history) == [6, 5, 4, 3, 2, 1]
    assert await missed(history, 0) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("in_memory", [2, 100])
async def test_pages_stay_as_they_are_while_new_firings_come(records: Notebook, in_memory: int) -> None:
    history = FiringHistory(records, in_memory=in_memory)
    await add(history, records, *(firing(n) for n in range(1, 8)))
    seen, before = [], None
    while True:
        page, before = await history.page(FiringQuery(limit=3, before=before))
        seen += [one["seq"] for one in page]
        await add(history, records, firing(100), firing(101))
        if before is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_the_last_page_says_that_it_is_the_last(records: Notebook) -> None:
    history = FiringHistory(records)
    assert await history.page(FiringQuery()) == ([], None)
    await add(history, records, firing(1), firing(2))
    assert (await history.page(FiringQuery(limit=2)))[1] is None
    assert (await history.page(FiringQuery(limit=1)))[1] == 2
    assert (await history.page(FiringQuery(limit=1, before=2)))[1] is None


async def test_firings_are_chosen_by_alert_symbol_time_and_number(records: Notebook) -> None:
    history = FiringHistory(records, in_memory=2)
    pair = {"symbol": None, "y": "ETHUSDT", "x": "BTCUSDT"}
    await add(history, records, firing(1), firing(2, alert_id="b", **pair), firing(3, symbol="SOLUSDT"), firing(4))
    assert await seqs_of(history, symbol="BTCUSDT") == [4, 2, 1]
    assert await seqs_of(history, symbol="BTC") == []
    assert await seqs_of(history, alert_id="b") == [2]
    assert await seqs_of(history, alert_id="BTCUSDT") == []
    assert await seqs_of(history, after=2) == [4, 3]
    assert await seqs_of(history, since_ns=(T0 + 3) * 1_000_000) == [4, 3]


async def test_a_late_firing_does_not_hide_those_before_it(records: Notebook) -> None:
    """It happened long before it was found: what was found before it, and happened after it, is still told."""
    history = FiringHistory(records)
    await add(history, records, firing(50_000), firing(60_000, timestamp=T0 - 3_600_000), firing(70_000))
    assert await seqs_of(history, since_ns=(T0 + 40_000) * 1_000_000) == [3, 1]


async def test_old_firings_are_let_go_of_and_no_longer_asked_for(records: Notebook) -> None:
    history = FiringHistory(records, in_memory=2, most=4)
    await add(history, records, *(firing(n) for n in range(1, 11)))
    for chunk in (4, 4, 4):
        for collection, key, body in await history.outdated(chunk):
            assert body is None
            await records.delete(collection, key)
    assert sum(kind == COLLECTION for kind, _ in records.kept) == 4
    assert await missed(history, 0) == [7, 8, 9, 10]
    assert await seqs_of(history) == [10, 9, 8, 7]
