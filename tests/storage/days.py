"""Three days of two symbols, known tick by tick and bar by bar, in a store; and all that a store answers of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pairscope.market.bars import BarBatch, bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.archive_catalogue import DAY_NS
from pairscope.storage.duckdb_store import DuckDBStore

FIRST_DAY = 20_000  # 2024-10-04
NAMES = ("BTCUSDT", "币安人生USDT")
SYMBOLS = Symbols(NAMES)
HOURS = 2
"""Of each day the first so many hours have ticks."""
_STEP_NS = 17_300_000_000
FOREVER = 2**62


def day_start(day: int) -> int:
    """When the ``day``-th of the days begins."""
    return (FIRST_DAY + day) * DAY_NS


def ticks_of_day(day: int, *, first_id: int = 1) -> TickBatch:
    """A day's ticks of both symbols in the order in which they came; ids go on from day to day."""
    n = HOURS * 3600 * 1_000_000_000 // _STEP_NS
    k = np.repeat(np.arange(n), 2)
    which = np.tile(np.arange(2, dtype=np.int32), n)
    dice = np.random.default_rng(day)
    at = day_start(day) + k * _STEP_NS + which * 1_000_000
    price = np.round(100.0 + which * 50 + dice.integers(-500, 500, 2 * n) / 100, 2)
    size = dice.integers(1, 2000, 2 * n) / 1000
    ids = first_id + day * n + k
    buyer = dice.random(2 * n) < 0.5
    return TickBatch(SYMBOLS, which, at, at + 40_000_000 + k % 7, ids, price, size, buyer, int(at[-1]))


def bars_of_day(ticks: TickBatch) -> list[BarBatch]:
    """The closed base bars of a day's ticks, all of them but the newest."""
    found = []
    for timeframe, length in (("1s", 1_000_000_000), ("1m", 60_000_000_000)):
        bars = bars_of(ticks, timeframe)
        found.append(bars.take(bars.ts_open_ns + length <= ticks.watermark_ns))
    return found


async def fill(store: DuckDBStore, days: Sequence[int] = (0, 1, 2)) -> TickBatch:
    """Store days as they come, a batch an hour; return all ticks."""
    parts = []
    for day in days:
        ticks = ticks_of_day(day)
        hour = (ticks.ts_event_ns - day_start(day)) // 3_600_000_000_000
        for k in range(HOURS):
            part = ticks.take(hour == k)
            await store.append(part.with_watermark(int(part.ts_event_ns.max())))
        for bars in bars_of_day(ticks):
            await store.append(TickBatch.empty(SYMBOLS, ticks.watermark_ns), [bars])
        parts.append(ticks)
    return concat_ticks(parts)


async def open_filled(folder: Path, days: Sequence[int] = (0, 1, 2)) -> DuckDBStore:
    """Open a new store and fill it."""
    store = await DuckDBStore.open(folder / "pairscope.duckdb")
    await fill(store, days)
    return store


def rows(batch: Any) -> list[Any]:
    """A batch of ticks or bars as plain rows, symbols by name."""
    names = [batch.symbols[i] for i in batch.symbol_id.tolist()]
    fields = [field for field in batch.__dataclass_fields__ if isinstance(getattr(batch, field), np.ndarray)]
    return list(zip(names, *(getattr(batch, field).tolist() for field in fields if field != "symbol_id"), strict=True))


async def answers(store: Any) -> dict[str, Any]:
    """All that a store answers of the days, by every way of asking."""
    middle = day_start(1) + 2 * 3_600_000_000_000
    found: dict[str, Any] = {}
    for name in NAMES:
        found[f"{name} ticks"] = rows(await store.ticks(name, 0, FOREVER, limit=1_000_000))
        found[f"{name} newest"] = rows(await store.ticks(name, 0, FOREVER, limit=900, newest=True))
        found[f"{name} before"] = rows(await store.ticks(name, 0, middle, limit=7, newest=True))
        after = (found[f"{name} before"] or found[f"{name} ticks"])[0][3]
        found[f"{name} after an id"] = rows(await store.ticks(name, 0, FOREVER, limit=1500, after_id=after))
        for timeframe in ("1s", "1m", "5m", "1h", "1d"):
            found[f"{name} {timeframe}"] = rows(await store.bars(name, timeframe, 0, FOREVER, limit=1_000_000))
            newest = await store.bars(name, timeframe, 0, FOREVER, limit=5, newest=True)
            found[f"{name} {timeframe} newest"] = rows(newest)
    for timeframe in ("1s", "1m"):
        found[f"all {timeframe}"] = rows(await store.base_bars(timeframe, 0, FOREVER))
    found["since"] = [row async for batch in store.ticks_since(0) for row in rows(batch)]
    found["since the middle"] = [row async for batch in store.ticks_since(middle) for row in rows(batch)]
    received = store.ticks_received(day_start(0), day_start(1) + 3_600_000_000_000)
    found["received"] = [row async for batch in received for row in rows(batch)]
    found["symbols"] = await store.symbols()
    stats = await store.stats()
    found["rows"] = stats.ticks, stats.bars
    return found


async def all_rows(store: Any) -> dict[str, Any]:
    """Every tick and base bar that a store answers, and what it counts: short for ``answers``."""
    stats = await store.stats()
    return {
        "ticks": [row async for batch in store.ticks_since(0) for row in rows(batch)],
        "1s": rows(await store.base_bars("1s", 0, FOREVER)),
        "1m": rows(await store.base_bars("1m", 0, FOREVER)),
        "symbols": await store.symbols(),
        "rows": (stats.ticks, stats.bars),
    }
