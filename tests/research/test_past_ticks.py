"""The past as ticks: stored trades and bars in their place make the bars again that are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.market.bars import BarBatch, Origin, bars_of, resample
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.research.past_ticks import past_of, past_ticks, ticks_of_bars
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE = 60_000_000_000
NAMES = ("BTCUSDT", "ETHUSDT")
FIELDS = ("ts_open_ns", "open", "high", "low", "close")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    held = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    yield held
    await held.close()


@pytest.fixture
def ticks(market_rows: Any, ticks_of: Callable[..., TickBatch], noon_ns: int) -> TickBatch:
    """Ten minutes of two symbols; the last minute is not over."""
    return ticks_of(market_rows(seed=2, names=NAMES, trades=3000, span_s=600)).with_watermark(noon_ns + 570 * 10**9)


def exchange_minutes(symbols: Symbols, first_ns: int, count: int) -> BarBatch:
    """Minutes of the exchange's: rising and falling ones."""
    rng = np.random.default_rng(5)
    walk = 60_000 + np.cumsum(rng.normal(0, 20, count + 1)).round(2)
    opens, closes = walk[:-1], walk[1:]
    high, low = np.maximum(opens, closes) + 7.5, np.minimum(opens, closes) - 3.25
    none, sizes = np.full(count, -1), np.full(count, 8.0)
    times = first_ns + MINUTE * np.arange(count)
    return BarBatch(
        symbols, "1m", np.zeros(count, np.int32), times, opens, high, low, closes, sizes, sizes, sizes, none + 9,
        none, none, np.zeros(count, np.int32), np.full(count, Origin.EXCHANGE, np.int8),
    )  # fmt: skip


async def all_of(store: DuckDBStore, past: Any) -> tuple[list[TickBatch], TickBatch]:
    table = Symbols(NAMES)
    portions = [portion async for portion in past_ticks(store, past, table)]
    return portions, concat_ticks(portions)


def assert_ids_are_consecutive(made: TickBatch) -> None:
    for name in NAMES:
        ids = made.of_symbol(name).trade_id
        np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))


def test_four_ticks_make_a_bar_again_whichever_way_it_went(noon_ns: int) -> None:
    bars = exchange_minutes(Symbols(["BTCUSDT"]), noon_ns, 30)
    made = bars_of(ticks_of_bars(bars), "1m")
    for name in (*FIELDS, "volume"):
        np.testing.assert_array_equal(getattr(made, name), getattr(bars, name), err_msg=name)
    rising = bars.close >= bars.open
    second = ticks_of_bars(bars).price[1::4]
    np.testing.assert_array_equal(second, np.where(rising, bars.low, bars.high))
    assert rising.any() and not rising.all()


async def test_stored_trades_come_in_order_of_time_and_bars_stand_before_them(
    store: DuckDBStore, ticks: TickBatch, noon_ns: int
) -> None:
    table = Symbols(["BTCUSDT"])
    history = exchange_minutes(table, noon_ns - 60 * MINUTE, 60)
    await store.append(ticks, [bars_of(ticks.take(ticks.ts_event_ns < noon_ns + 9 * MINUTE), "1m")])
    await store.put_bars(history)
    end_ns = noon_ns + 570 * 10**9
    past = await past_of(
        store, NAMES, timeframe="1m", start_ns=noon_ns - 90 * MINUTE, end_ns=end_ns, most_ticks=1_000_000
    )
    assert (past.first_ns, past.end_ns, past.from_bars) == (noon_ns - 60 * MINUTE, end_ns, 60)
    portions, made = await all_of(store, past)
    assert [p.watermark_ns for p in portions] == sorted(p.watermark_ns for p in portions)
    assert portions[-1].watermark_ns == end_ns
    assert (np.diff(made.ts_event_ns) >= 0).all()
    assert_ids_are_consecutive(made)
    inside = ticks.ts_event_ns < end_ns
    assert len(made) == 4 * 60 + int(inside.sum())
    closed = bars_of(made.of_symbol("BTCUSDT"), "1m")
    np.testing.assert_array_equal(closed.close[:60], history.close)
    own = bars_of(ticks.take(inside).of_symbol("BTCUSDT"), "1m")
    np.testing.assert_array_equal(closed.close[60:], own.close)
    np.testing.assert_array_equal(closed.volume[60:], own.volume)


async def test_where_there_are_too_many_trades_bars_stand_for_the_older_ones(
    store: DuckDBStore, ticks: TickBatch, noon_ns: int
) -> None:
    bars = bars_of(ticks.take(ticks.ts_event_ns < noon_ns + 9 * MINUTE), "1m")
    await store.append(ticks, [bars])
    end_ns = noon_ns + 9 * MINUTE
    past = await past_of(store, NAMES, timeframe="1m", start_ns=noon_ns, end_ns=end_ns, most_ticks=1000)
    assert 500 < past.ticks <= 1000
    assert noon_ns < past.ticks_from_ns < end_ns
    _, made = await all_of(store, past)
    older = made.take(made.ts_event_ns < past.ticks_from_ns)
    assert len(older) == 4 * past.from_bars == 8 * (past.ticks_from_ns - noon_ns) // MINUTE
    assert len(made) - len(older) == past.ticks
    for name in NAMES:
        mine, again = bars.of_symbol(name), bars_of(made.of_symbol(name), "1m")
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(again, field), getattr(mine, field), err_msg=field)


async def test_a_long_past_is_read_in_portions_that_miss_nothing(
    store: DuckDBStore, ticks: TickBatch, noon_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.research.past_ticks._PORTION", 700)
    await store.append(ticks, [bars_of(ticks.take(ticks.ts_event_ns < noon_ns + 9 * MINUTE), "1m")])
    end_ns = noon_ns + 9 * MINUTE
    past = await past_of(store, NAMES, timeframe="1m", start_ns=noon_ns, end_ns=end_ns, most_ticks=10**6)
    portions, made = await all_of(store, past)
    assert len(portions) >= 3
    assert max(map(len, portions)) < 1400
    expected = ticks.take(ticks.ts_event_ns < end_ns)
    np.testing.assert_array_equal(made.ts_event_ns, np.sort(expected.ts_event_ns))
    assert len(resample(bars_of(made, "1m"), "3m")) == 6


async def test_a_range_may_begin_within_a_minute_and_ids_go_on(
    store: DuckDBStore, ticks: TickBatch, noon_ns: int
) -> None:
    await store.append(ticks, [bars_of(ticks.take(ticks.ts_event_ns < noon_ns + 9 * MINUTE), "1m")])
    table, cut_ns, end_ns = Symbols(NAMES), noon_ns + 100 * 10**9, noon_ns + 9 * MINUTE
    found = []
    for start_ns, until_ns in ((noon_ns, cut_ns), (cut_ns, end_ns)):
        past = await past_of(store, NAMES, timeframe="1m", start_ns=start_ns, end_ns=until_ns, most_ticks=10**6)
        last = {name: sum(len(portion.of_symbol(name)) for portion in found) for name in NAMES}
        found += [portion async for portion in past_ticks(store, past, table, last_ids=last)]
    made = concat_ticks(found)
    expected = np.sort(ticks.ts_event_ns[ticks.ts_event_ns < end_ns])
    np.testing.assert_array_equal(made.ts_event_ns, expected)
    assert_ids_are_consecutive(made)


async def test_bars_alone_are_asked_for_by_no_ticks(store: DuckDBStore, ticks: TickBatch, noon_ns: int) -> None:
    await store.append(ticks, [bars_of(ticks.take(ticks.ts_event_ns < noon_ns + 9 * MINUTE), "1m")])
    end_ns = noon_ns + 9 * MINUTE
    past = await past_of(store, NAMES, timeframe="1m", start_ns=noon_ns, end_ns=end_ns, most_ticks=0)
    _, made = await all_of(store, past)
    assert (past.ticks, past.from_bars, len(made)) == (0, 18, 72)


async def test_of_what_was_never_stored_there_is_nothing(store: DuckDBStore, noon_ns: int) -> None:
    past = await past_of(store, NAMES, timeframe="1m", start_ns=noon_ns, end_ns=noon_ns + MINUTE, most_ticks=1000)
    assert past.first_ns is None
    _, made = await all_of(store, past)
    assert len(made) == 0
