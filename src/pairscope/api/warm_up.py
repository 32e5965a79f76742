"""Compile the analytics' kernels in the background after the start, so that no caller waits for that."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from pairscope.analytics.pair_report import RawTrades, pair_report
from pairscope.analytics.symbol_report import symbol_columns
from pairscope.api.workers import Workers
from pairscope.errors import Busy
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["warm_up"]

_AFTER_S: Final = 3.0
_AGAIN_S: Final = 1.0
_ROWS: Final = 240


async def warm_up(workers: Workers, *, after_s: float = _AFTER_S) -> None:
    """Compute one small report in a thread, a moment after the start: what the market needs compiles first."""
    await asyncio.sleep(after_s)
    while True:
        try:
            await workers.run(_compute)
            return
        except Busy:
            await asyncio.sleep(_AGAIN_S)


def _compute() -> None:
    """Run every kernel that an answer may need, on a made-up pair."""
    rows = np.arange(float(_ROWS))
    x = 5.0 + np.cumsum(np.sin(rows**2)) / 100.0
    y = 1.0 + 0.5 * x + np.sin(rows**1.5) / 1000.0
    times = np.arange(_ROWS, dtype=np.int64) * 1_000_000_000
    ticks = TickBatch(
        Symbols(["WARMUP"]),
        np.zeros(_ROWS, np.int32),
        times,
        times,
        np.arange(_ROWS, dtype=np.int64),
        np.exp(x),
        np.ones(_ROWS),
        np.zeros(_ROWS, np.bool_),
        0,
    )
    pair_report(
        y, x, PairSettings("A", "B", lookback=_ROWS // 2, window=10), series=True, trades=RawTrades(ticks, ticks)
    )
    symbol_columns(np.exp(x), np.ones(_ROWS), window=10, step_ns=60_000_000_000)
