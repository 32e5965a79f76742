"""Which bars of a real store are flagged: those made of own trades that lack some, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.gap_flags import gap_flags, read_holes, touched_at, touched_bars, touched_market
from pairscope.market.bars import BarBatch, Origin, bars_of, concat_bars, resample, timeframe_ns
from pairscope.market.continuity import Gap
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

FOREVER = 2**62
S, MINUTE = 1_000_000_000, 60_000_000_000
LOST = range(25, 40)
"""Trades 25 to 39 are lost: one every 10 s, so that minutes 4 to 6 lack some, 4 and 6 with trades on one side."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    opened = await DuckDBStore.open(tmp_path / "gaps.duckdb", threads=1)
    yield opened
    await opened.close()


@pytest.fixture
def trades(ticks_of: Callable[..., TickBatch], noon_ns: int) -> Callable[..., TickBatch]:
    def make(ids: Any, symbol: str = "BTCUSDT") -> TickBatch:
        rows = [(symbol, i, noon_ns + i * 10 * S, f"{100 + i % 7}.5", "0.3", i % 2 == 0) for i in ids]
        return ticks_of(rows, watermark_ns=noon_ns + 3600 * S)

    return make


async def take(store: DuckDBStore, batch: TickBatch) -> None:
    """Store trades and the bars that they make."""
    await store.append(batch, [bars_of(batch, "1s"), bars_of(batch, "1m")])


async def flagged(store: DuckDBStore, timeframe: str, noon_ns: int) -> list[int]:
    """The places, in bars after noon, of the bars that are flagged."""
    bars = await store.bars("BTCUSDT", timeframe, 0, FOREVER, limit=10_000)
    length = timeframe_ns(timeframe)
    return ((bars.ts_open_ns[await gap_flags(store, "BTCUSDT", bars)] - noon_ns) // length).tolist()


def whole_of(bars: BarBatch, origin: Origin) -> BarBatch:
    """Bars as somebody else has them: whole, and without our trades' ids."""
    none = np.full(len(bars), -1)
    return replace(bars, first_id=none, last_id=none, origin=np.full(len(bars), origin, np.int8))


async def test_a_bar_that_lacks_trades_is_flagged_until_they_have_come(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    await take(store, trades([i for i in range(90) if i not in LOST]))
    await take(store, trades(range(90), "ETHUSDT"))
    assert await flagged(store, "1m", noon_ns) == [4, 6]
    assert await flagged(store, "5m", noon_ns) == [0, 1]
    assert await flagged(store, "1s", noon_ns) == [240, 400]
    assert list(await read_holes(store)) == ["BTCUSDT"]
    await take(store, trades(LOST))
    assert [gap.status for gap in await store.gaps()] == ["repaired"]
    assert await flagged(store, "1m", noon_ns) == []
    assert await read_holes(store) == {}


async def test_what_was_given_up_stays_flagged_also_after_a_restart_and_its_ids_are_counted(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int, tmp_path: Path
) -> None:
    await take(store, trades([i for i in range(90) if i not in LOST]))
    await store.settle_gap(Gap("BTCUSDT", 25, 39, "unrepairable", 15, ended_ns=1))
    minutes = await store.bars("BTCUSDT", "1m", 0, FOREVER, limit=100)
    touched = await touched_bars(store, "BTCUSDT", minutes)
    assert (touched.bars, touched.missing) == (2, 15)
    assert ((touched.times_ns - noon_ns) // MINUTE).tolist() == [4, 6]
    await store.close()
    reopened = await DuckDBStore.open(tmp_path / "gaps.duckdb", threads=1)
    assert await flagged(reopened, "1m", noon_ns) == [4, 6]
    await reopened.close()


async def test_a_bar_of_the_exchange_s_is_whole_and_so_is_what_is_made_of_it(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    await take(store, trades([i for i in range(90) if i not in LOST]))
    exchange = whole_of(bars_of(trades(range(90)), "1m"), Origin.EXCHANGE)
    await store.put_bars(exchange.take(slice(3, 6)))
    assert await flagged(store, "1m", noon_ns) == [6]
    assert await flagged(store, "5m", noon_ns) == [1], "its minute 6 is made of own trades"
    assert await flagged(store, "15m", noon_ns) == [0]
    await store.put_bars(exchange.take(slice(6, 7)))
    for timeframe in ("1m", "5m", "15m"):
        assert await flagged(store, timeframe, noon_ns) == []


async def test_a_bar_that_came_in_longer_is_whole(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    await take(store, trades([i for i in range(90) if i not in LOST]))
    uploaded = whole_of(bars_of(trades(range(90)), "5m"), Origin.UPLOAD)
    assert not (await gap_flags(store, "BTCUSDT", uploaded)).any()


@pytest.mark.parametrize("lost", [range(25, 26), range(49, 50)], ids=["in a closed minute", "in the open one"])
async def test_a_bar_that_is_open_is_flagged_by_its_own_minutes_where_its_first_are_the_exchange_s(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int, lost: range
) -> None:
    exchange = whole_of(bars_of(trades(range(12)), "1m"), Origin.EXCHANGE)
    await store.put_bars(exchange)
    batch = trades([i for i in range(12, 51) if i not in lost]).with_watermark(noon_ns + 505 * S)
    await store.append(batch, [bars_of(batch.take(batch.ts_event_ns < noon_ns + 480 * S), "1m")])
    kept = await store.bars("BTCUSDT", "1m", 0, FOREVER, limit=100)
    behind = bars_of(batch.take(batch.ts_event_ns >= noon_ns + 480 * S), "1m")
    newest = resample(concat_bars([kept, replace(behind, symbols=kept.symbols)]), "15m")
    assert newest.origin.tolist() == [Origin.EXCHANGE]
    assert (await gap_flags(store, "BTCUSDT", newest)).tolist() == [True]
    await take(store, trades(lost).with_watermark(noon_ns + 505 * S))
    assert (await gap_flags(store, "BTCUSDT", newest)).tolist() == [False]


async def test_uploaded_bars_mend_what_they_cover_and_nothing_beside(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    lost = {*range(24, 36), 62}
    await take(store, trades([i for i in range(90) if i not in lost]))
    assert await flagged(store, "15m", noon_ns) == [0]
    uploaded = whole_of(bars_of(trades(range(90)), "5m"), Origin.UPLOAD)
    await store.put_bars(uploaded.take(slice(0, 2)))
    assert await flagged(store, "5m", noon_ns) == [2], "the third has a hole of its own"
    assert await flagged(store, "15m", noon_ns) == [0]
    assert await flagged(store, "1m", noon_ns) == [3, 6, 10]
    await take(store, trades([62]))
    assert await flagged(store, "5m", noon_ns) == await flagged(store, "15m", noon_ns) == []


async def test_a_hole_that_a_file_heals_leaves_no_flag(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    await take(store, trades([i for i in range(90) if i not in LOST]))
    await store.settle_gap(Gap("BTCUSDT", 25, 39, "unrepairable", 15, ended_ns=1))
    assert await flagged(store, "1m", noon_ns) == [4, 6]
    await store.add_older(trades(range(20, 45)))
    await store.rebuild_bars("BTCUSDT", noon_ns, noon_ns + 15 * MINUTE)
    assert await flagged(store, "1m", noon_ns) == await flagged(store, "15m", noon_ns) == []


async def test_no_bars_and_a_symbol_without_a_hole_are_not_flagged(
    store: DuckDBStore, trades: Callable[..., TickBatch]
) -> None:
    await take(store, trades(range(9)))
    bars = await store.bars("BTCUSDT", "1m", 0, FOREVER, limit=10)
    assert not (await gap_flags(store, "BTCUSDT", bars)).any()
    assert (await touched_bars(store, "NOUSDT", bars.take(slice(0, 0)))).bars == 0


async def test_of_bars_known_by_their_times_those_that_are_not_stored_yet_are_own_ones(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int
) -> None:
    await store.append(trades([i for i in range(90) if i not in LOST]))
    holes = (await read_holes(store))["BTCUSDT"]
    times = noon_ns + MINUTE * np.arange(15)
    assert ((await touched_at(store, "BTCUSDT", "1m", times, holes)).times_ns - noon_ns).tolist() == [
        4 * MINUTE,
        5 * MINUTE,
        6 * MINUTE,
    ]
    exchange = whole_of(bars_of(trades(range(90)), "1m"), Origin.EXCHANGE)
    await store.put_bars(exchange.take(slice(0, 6)))
    found = await touched_at(store, "BTCUSDT", "1m", times, holes)
    assert ((found.times_ns - noon_ns) // MINUTE).tolist() == [6]
    assert (found.flags.sum(), found.missing) == (1, 15)


@pytest.mark.parametrize("timeframe", ["1m", "5m"])
async def test_many_symbols_that_lack_trades_are_looked_at_together_with_the_same_answer(
    store: DuckDBStore, trades: Callable[..., TickBatch], noon_ns: int, timeframe: str
) -> None:
    names = [f"S{number}USDT" for number in range(12)]
    for number, name in enumerate(names):
        await take(store, trades([i for i in range(90) if i not in LOST or number == 3], name))
        if number % 2:
            exchange = whole_of(bars_of(trades(range(90), name), "1m"), Origin.EXCHANGE)
            await store.put_bars(exchange.take(slice(0, 6 if number % 4 == 1 else 8)))
    holes = await read_holes(store)
    bars = await store.bars(names[0], timeframe, 0, FOREVER, limit=100)
    found = await touched_market(store, timeframe, bars.ts_open_ns, holes)
    each = {name: await touched_at(store, name, timeframe, bars.ts_open_ns, holes[name]) for name in holes}
    assert {name: t.times_ns.tolist() for name, t in found.items()} == {
        name: t.times_ns.tolist() for name, t in each.items() if t.bars
    }
    assert sorted(found) == sorted(name for k, name in enumerate(names) if k % 4 != 3)
    assert all(t.missing == 15 for t in found.values())
