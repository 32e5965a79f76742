"""What a day of trades takes in the store and in the archive, how long moving it takes, and what reads of either cost.

Trades walk on a price grid with uneven pauses, in batches as the writer stores them; while the day moves, small appends
and reads go on beside it and are timed.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report, median
from pairscope.errors import StoreUnavailable
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

__all__ = ["measure"]

DAY_NS = 86_400_000_000_000
FIRST_DAY = 20_000
SYMBOLS = 20
BATCH = 20_000
MARKET = 600
_HOUR = 3_600_000_000_000


def measure(*, millions: float = 5.0) -> Report:
    """Fill a day and a bit, move the day, and ask for the same before and after."""
    rows = int(millions * 1e6)
    report = Report(
        "storage",
        f"{rows:,} trades of {SYMBOLS} symbols on one UTC day and their 1s and 1m bars: in the DuckDB store, then "
        "archived as Parquet (zstd), a file a symbol and table.",
        "",
    )
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_one_day(Path(folder), rows, report))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_many_symbols(Path(folder), report))
    return report


async def _one_day(folder: Path, rows: int, report: Report) -> None:
    store = await DuckDBStore.open(folder / "pairscope.duckdb")
    symbols = Symbols(f"S{k:03d}USDT" for k in range(SYMBOLS))
    day = trades(symbols, FIRST_DAY, rows, seed=1)
    for low in range(0, rows, BATCH):
        part = day.take(slice(low, low + BATCH))
        await store.append(part.with_watermark(int(part.ts_event_ns[-1])))
    await store.checkpoint()
    in_store = await store.upkeep.used_bytes()
    report.add("bytes a tick in the store", f"{in_store / rows:.1f}")
    for timeframe in ("1s", "1m"):
        bars = bars_of(day, timeframe)
        for low in range(0, len(bars), 100_000):
            await store.append(TickBatch.empty(symbols, day.watermark_ns), [bars.take(slice(low, low + 100_000))])
    today = trades(symbols, FIRST_DAY + 1, 40_000, seed=2, first_id=rows + 1)
    await store.append(today)
    await store.checkpoint()
    before, hot = await digest(store), await asked(store)
    size = (await store.stats()).bytes

    waits: dict[str, list[float]] = {"append": [], "read": []}
    beside = asyncio.create_task(_beside(store, symbols, rows + 10**6, waits))
    began = time.monotonic()
    moved = await store.upkeep.archive(FIRST_DAY + 1)
    took = time.monotonic() - began
    beside.cancel()
    with suppress(asyncio.CancelledError):
        await beside
    assert moved["ticks"] == rows, moved
    after = await digest(store)
    assert after == before, "the answers changed"
    report.checked = (
        f"every tick and bar of the day by SHA-256 before and after it moved ({before[:12]}…), and the files against "
        f"their checksums ({len(await store.upkeep.check_archive())} faults)."
    )
    cold = await asked(store)
    ticks = sum(file.bytes for file in store.view.archive if file.kind == "tick")
    report.add("bytes a tick in the archive", f"{ticks / rows:.1f}", "fewer than in the store", ticks < in_store)
    bars_bytes = sum(file.bytes for file in store.view.archive if file.kind != "tick")
    report.add("bytes a bar in the archive", f"{bars_bytes / moved['bars']:.1f}")
    report.add("the day archived", f"{took:.1f} s, {moved['files']} files", "under 60 s", took < 60)
    report.add(
        "an append beside it", f"median {median(waits['append']) * 1e3:.0f} ms, longest {max(waits['append']):.2f} s"
    )
    report.add("a read beside it", f"median {median(waits['read']) * 1e3:.0f} ms, longest {max(waits['read']):.2f} s")
    for what in hot:
        report.add(what, f"hot {hot[what] * 1e3:.1f} ms, cold {cold[what] * 1e3:.1f} ms")
    began = time.monotonic()
    waited = await store.upkeep.compact()
    took = time.monotonic() - began
    now = (await store.stats()).bytes
    report.add("compacted behind it", f"{took:.1f} s: {size / 1e6:.0f} MB to {now / 1e6:.0f} MB")
    report.add("reads waited for that", f"{waited * 1e3:.0f} ms")
    await store.close()


async def _many_symbols(folder: Path, report: Report) -> None:
    """A whole market's day of small files."""
    store = await DuckDBStore.open(folder / "pairscope.duckdb")
    symbols = Symbols(f"S{k:03d}USDT" for k in range(MARKET))
    day = trades(symbols, FIRST_DAY, MARKET * 500, seed=3)
    await store.append(day)
    for timeframe in ("1s", "1m"):
        await store.append(TickBatch.empty(symbols, day.watermark_ns), [bars_of(day, timeframe)])
    began = time.monotonic()
    moved = await store.upkeep.archive(FIRST_DAY + 1)
    took = time.monotonic() - began
    report.add(
        f"a day of {MARKET} symbols",
        f"{moved['files']} files in {took:.1f} s: {took / moved['files'] * 1e3:.0f} ms a file",
    )
    began = time.monotonic()
    await store.base_bars("1m", 0, 2**62)
    report.add(f"all minutes of {MARKET} files", f"{time.monotonic() - began:.2f} s")
    await store.close()


def trades(symbols: Symbols, day: int, rows: int, *, seed: int, first_id: int = 1) -> TickBatch:
    """A day's trades: prices walk by their step, sizes are lots, some moments have many."""
    dice = np.random.default_rng(seed)
    which = dice.integers(0, len(symbols), rows).astype(np.int32)
    pauses = dice.exponential(1.0, rows) * (dice.random(rows) < 0.6)
    ms = np.floor(np.cumsum(pauses) * (86_399_000 / pauses.sum())).astype(np.int64)
    at = day * DAY_NS + ms * 1_000_000
    ids, price = np.empty(rows, np.int64), np.empty(rows)
    for k in range(len(symbols)):
        mine = which == k
        count = int(mine.sum())
        ids[mine] = np.arange(first_id, first_id + count)
        price[mine] = (60_000 + np.cumsum(dice.integers(-2, 3, count))) / 10
    size = np.maximum(1, np.floor(dice.lognormal(3, 1.6, rows))) / 1000
    received = at + 20_000_000 + dice.integers(0, 5_000_000, rows)
    return TickBatch(symbols, which, at, received, ids, price, size, dice.random(rows) < 0.5, int(at[-1]))


async def digest(store: DuckDBStore) -> str:
    """SHA-256 of the day's ticks and bars, in the order in which they are answered."""
    found = hashlib.sha256()
    for summary in await store.symbols():
        for hour in range(24):
            low = FIRST_DAY * DAY_NS + hour * _HOUR
            _add(found, await store.ticks(summary.symbol, low, low + _HOUR, limit=10**7))
    for timeframe in ("1s", "1m"):
        _add(found, await store.base_bars(timeframe, FIRST_DAY * DAY_NS, (FIRST_DAY + 1) * DAY_NS))
    return found.hexdigest()


def _add(found: Any, batch: Any) -> None:
    for name in batch.__dataclass_fields__:
        if isinstance(column := getattr(batch, name), np.ndarray):
            found.update(np.ascontiguousarray(column).tobytes())


async def asked(store: DuckDBStore) -> dict[str, float]:
    """Seconds of usual questions about the day, the median of five each."""
    start, end = FIRST_DAY * DAY_NS, (FIRST_DAY + 1) * DAY_NS
    noon, name = start + 12 * _HOUR, "S007USDT"
    page = await store.ticks(name, noon, end, limit=1)
    questions: dict[str, Callable[[], Awaitable[Any]]] = {
        "500 ticks": lambda: store.ticks(name, noon, end, limit=500),
        "500 ticks behind an id": lambda: store.ticks(name, start, end, limit=500, after_id=int(page.trade_id[0])),
        "an hour of ticks": lambda: store.ticks(name, noon, noon + _HOUR, limit=10**7),
        "a day of minutes": lambda: store.bars(name, "1m", start, end, limit=2000),
        "an hour of seconds": lambda: store.bars(name, "1s", noon, noon + _HOUR, limit=4000),
        "a day of minutes of all": lambda: store.base_bars("1m", start, end),
    }
    found = {}
    for what, question in questions.items():
        times = []
        for _ in range(5):
            began = time.monotonic()
            await question()
            times.append(time.monotonic() - began)
        found[what] = median(times)
    return found


async def _beside(store: DuckDBStore, symbols: Symbols, first_id: int, waits: dict[str, list[float]]) -> None:
    """Append twenty trades and read some, ten times a second."""
    k = 0
    while True:
        batch = trades(symbols, FIRST_DAY + 1, 40, seed=k, first_id=first_id + 1000 * k)
        began = time.monotonic()
        with suppress(StoreUnavailable):
            await store.append(batch)
        waits["append"].append(time.monotonic() - began)
        began = time.monotonic()
        await store.ticks("S007USDT", 0, 2**62, limit=500, newest=True)
        waits["read"].append(time.monotonic() - began)
        k += 1
        await asyncio.sleep(0.1)
