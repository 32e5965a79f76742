"""Bars out of the store for many symbols at once: the same as symbol by symbol, whichever way they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.market.bars import BarBatch, Origin, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.research.stored_bars import EVER, read_market
from pairscope.storage.duckdb_store import DuckDBStore

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NOW = 1_760_000_040_000_000_000 // (60 * MINUTE) * 60 * MINUTE + 7 * MINUTE
NAMES = ("AAAUSDT", "BBBUSDT", "CCCUSDT")


class Live:
    """What the engine knows: the time, and whom it follows."""

    def symbols(self) -> tuple[str, ...]:
        return NAMES

    def watermark_ns(self) -> int:
        return NOW


def base(symbols: Symbols, timeframe: str, name: str, n: int) -> BarBatch:
    close = 100.0 + np.cumsum(np.random.default_rng(symbols.id_of(name)).standard_normal(n)).round(2) / 10
    one, none = np.ones(n), np.full(n, -1)
    times = NOW - timeframe_ns(timeframe) * np.arange(n, 0, -1)
    bars = BarBatch(
        symbols, timeframe, np.full(n, symbols.id_of(name), np.int32), times, *(close,) * 4, volume=one,
        quote_volume=close, buy_volume=one, trades=np.full(n, 1), first_id=none, last_id=none,
        revision=np.zeros(n, np.int32), origin=np.full(n, Origin.EXCHANGE, np.int8),
    )  # fmt: skip
    return bars.take(np.arange(n) % (7 + symbols.id_of(name)) != 3)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "bars.duckdb", threads=1)
    symbols = Symbols([*NAMES, "OTHERUSDT"])
    for name in symbols:
        await store.put_bars(base(symbols, "1m", name, 900))
        await store.put_bars(base(symbols, "1s", name, 300))
    yield store
    await store.close()


async def read(store: Any, timeframe: str, lookback: int, span: tuple[int, int] = EVER) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    async for bars in read_market(store, Live(), timeframe, lookback, dict.fromkeys(NAMES, span)):
        for name in bars.symbols:
            mine = bars.of_symbol(name)
            rows = [*zip(mine.ts_open_ns.tolist(), mine.close.tolist(), strict=True)]
            if rows:
                found[name] += rows
    return found


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("portion", [200_000, 90])
@pytest.mark.parametrize(("timeframe", "lookback"), [("1m", 60), ("1m", 1440), ("5m", 100), ("1h", 30), ("15s", 40)])
async def test_both_ways_give_what_the_store_says_of_each_symbol(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch, timeframe: str, lookback: int, portion: int, one_by_one: bool
) -> None:
    monkeypatch.setattr("pairscope.research.stored_bars._PORTION", portion)
    monkeypatch.setattr("pairscope.research.stored_bars._SLACK", -1 if one_by_one else 1000)
    step = timeframe_ns(timeframe)
    found = await read(store, timeframe, lookback)
    assert set(found) == set(NAMES)
    for name, rows in found.items():
        bars = await store.bars(name, timeframe, 0, NOW, limit=10_000)
        times = bars.ts_open_ns
        # The store has no watermark here: where the last base bar is missing it cannot know that the last bar closed.
        kept = (times + step < NOW) & (times >= (NOW // step - lookback * 1.1 - 1) * step)
        expected = [*zip(times[kept].tolist(), bars.close[kept].tolist(), strict=True)]
        assert len(rows) >= len(expected) > 5
        assert [row for row in rows if expected[0][0] <= row[0] <= expected[-1][0]] == expected
        assert rows[-1][0] + step <= NOW


async def test_of_a_span_only_the_bars_that_it_touches_are_read(store: DuckDBStore) -> None:
    span = (NOW - 12 * MINUTE, NOW - 11 * MINUTE)
    for rows in (await read(store, "5m", 100, span)).values():
        assert [time for time, _ in rows] == [span[0] // (5 * MINUTE) * 5 * MINUTE]
    assert await read(store, "1m", 60, (0, NOW - 500 * MINUTE)) == {name: [] for name in NAMES}
