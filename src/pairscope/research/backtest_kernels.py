"""What backtests, sweeps and alerts need of compiled code, compiled in another process before anybody asks for one."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor
from typing import Any, Final

import numpy as np

from pairscope.engine.alerts import warm_up
from pairscope.research.background import compiled
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import pair_bars_from_closes
from pairscope.research.sweep import sweep_request

__all__ = ["compile_in_child", "load_backtests", "prepare_backtests"]

_ROWS: Final = 400
_IN_CHILD: Final = "from pairscope.research.backtest_kernels import compile_in_child; compile_in_child()"


async def prepare_backtests(executor: Executor) -> None:
    """Compile in a child process of low priority, which leaves the machine code on disk; load it in a thread."""
    await compiled(_IN_CHILD)
    await asyncio.get_running_loop().run_in_executor(executor, load_backtests)


def compile_in_child() -> None:
    """Compile what alerts need, then what ``load_backtests`` does, behind everybody else who wants the processor."""
    if hasattr(os, "nice"):
        os.nice(19)
    warm_up()
    load_backtests()


def load_backtests() -> None:
    """Run every kernel that a backtest or a sweep may need, on a made-up pair."""
    rows = np.arange(float(_ROWS))
    x = np.exp(5.0 + np.cumsum(np.sin(rows**2)) / 100.0)
    y = x**0.5 * np.exp(np.sin(rows / 9.0) / 100.0 + np.cos(rows**3) / 1000.0)
    bars = pair_bars_from_closes(
        (np.arange(_ROWS) * 60_000_000_000).astype(np.int64), y, x, timeframe="1m", y="AUSDT", x="BUSDT"
    )
    asked = BacktestRequest("AUSDT", "BUSDT", lookback=60, window=20, entry=1.0, exit=0.0)
    for method, gate in (("ols", "sentinel"), ("huber", "cointegration"), ("kalman", None)):
        document = {**asked.document(), "hedge": {"method": method, "lookback": 60}, "gate": gate}
        judge_backtest(BacktestRequest.from_document(document), bars, nulls=2, threads=1)
    grid: dict[str, list[Any]] = {"method": ["ols", "huber", "kalman"], "entry": [1.0, 1.5]}
    sweep_request(asked, grid, bars).overfitting()
