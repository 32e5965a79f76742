"""Compile the analytics' kernels after the start, so that no caller waits for that, and nobody else meanwhile.

Compiling goes on in a child process of the lowest priority, which leaves the machine code on disk: in a thread of this
process it would hold a lock of Numba's for seconds, and with it whoever needs a kernel of the live market.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

import numpy as np

from pairscope.analytics.pair_report import RawTrades, pair_report
from pairscope.analytics.pair_series import huber_series
from pairscope.analytics.symbol_report import symbol_columns
from pairscope.api.workers import Workers
from pairscope.errors import Busy
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["compile_kernels", "load_kernels", "warm_up"]

_AFTER_S: Final = 3.0
_AGAIN_S: Final = 1.0
_ROWS: Final = 240
_IN_CHILD: Final = "from pairscope.api.warm_up import compile_kernels; compile_kernels()"


async def warm_up(workers: Workers, *, after_s: float = _AFTER_S) -> None:
    """Compile in a child process, a moment after the start, then load what it left, in a thread."""
    await asyncio.sleep(after_s)
    quiet = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _IN_CHILD, stdout=quiet, stderr=quiet)
    try:
        await child.wait()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
    while True:
        try:
            await workers.run(load_kernels)
            return
        except Busy:
            await asyncio.sleep(_AGAIN_S)


def compile_kernels() -> None:
    """Do what ``load_kernels`` does, behind everybody else who wants the processor."""
    if hasattr(os, "nice"):
        os.nice(19)
    load_kernels()


def load_kernels() -> None:
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
    settings = PairSettings("AUSDT", "BUSDT", lookback=_ROWS // 2, window=10)
    pair_report(y, x, settings, series=True, trades=RawTrades(ticks, ticks))
    pair_report(y, x, settings, series=True, recursion="live")
    huber_series(y, x, _ROWS // 2, least=_ROWS - 1)
    symbol_columns(np.exp(x), np.ones(_ROWS), window=10, step_ns=60_000_000_000)
