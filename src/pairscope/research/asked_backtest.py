"""A backtest as it was asked for: which bars it uses, what it hands to ``backtest_pair``, what it gives back."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest import Backtest, CausalHedge, backtest_pair, causal_hedge
from pairscope.analytics.gates import cointegration_gate, sentinel_gate
from pairscope.analytics.performance import drawdowns, performance
from pairscope.analytics.tick_fills import tick_fills
from pairscope.analytics.trades import Trades
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.bars import timeframe_ns
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import PairBars

__all__ = ["backtest_keywords", "gate_every", "run_backtest", "traded_bars"]

_ROWS: Final = {"ols": 100_000_000, "huber": 750_000}
"""Rows of windows that are fitted in about a tenth of a second; only with several times as many is there a point."""


def traded_bars(request: BacktestRequest, bars: PairBars) -> tuple[PairBars, int]:
    """Return the bars that a request uses, and the row of the first one that is traded: what is before is warm-up.

    ``NotEnoughData`` where too few are left to trade a single bar.
    """
    first = 0 if request.start_ns is None else int(np.searchsorted(bars.times_ns, request.start_ns))
    last = len(bars) if request.end_ns is None else int(np.searchsorted(bars.times_ns, request.end_ns))
    begin = 0 if request.start_ns is None else max(first - request.warmup_bars(), 0)
    used = bars.take(slice(begin, last))
    need = request.warmup_bars() + 2
    if len(used) < need or last - first < 2:
        raise _too_few(request, len(used), max(last - first, 0), need)
    return used, first - begin


def backtest_keywords(request: BacktestRequest, bars: PairBars, first: int = 0) -> dict[str, Any]:
    """Return all keywords of ``backtest_pair`` for bars of ``traded_bars``; nothing is entered before row ``first``.

    ``InputError`` names a field of the request that needs more than the bars have.
    """
    made = {**request.arguments(), "timestamps": bars.times_ns}
    if request.funding:
        made |= {"funding_y": bars.funding_y, "funding_x": bars.funding_x}
    if request.fill == "open":
        made |= _columns(bars, ("open",), "fill")
    if request.slippage_range > 0.0:
        made |= _columns(bars, ("high", "low"), "slippage_range")
    if request.round_steps:
        made |= {"step_y": bars.step_y, "step_x": bars.step_x}
    if request.latency_ms is not None:
        made |= _filled_from_ticks(request.latency_ms, bars)
    gate = _gate(request, bars)
    gate[:first] = False
    if not gate.all():
        made["gate"] = gate
    return made


def _filled_from_ticks(latency_ms: int, bars: PairBars) -> dict[str, Any]:
    """Return the fills of every bar's decision in the legs' own trades."""
    if bars.ticks_y is None or bars.ticks_x is None:
        raise InputError("latency_ms: fills from recorded trades, and there are none of this range", loc="latency_ms")
    closes = bars.times_ns + timeframe_ns(bars.timeframe)
    fills = tick_fills(closes, *bars.ticks_y, *bars.ticks_x, latency_ms=latency_ms)
    return {"fill_y": fills.y, "fill_x": fills.x, "fill_bar": fills.bar}


def _gate(request: BacktestRequest, bars: PairBars) -> NDArray[np.bool_]:
    """Return where the request's gate lets a position be entered; everywhere without one."""
    if request.gate is None:
        return np.ones(len(bars), np.bool_)
    legs = bars.y.close, bars.x.close
    y, x = (np.log(leg) for leg in legs) if request.price_space == "log" else legs
    if request.gate == "sentinel":
        return sentinel_gate(y, x, training=request.lookback)
    return cointegration_gate(y, x, lookback=request.lookback, every=gate_every(request.lookback))


def _columns(bars: PairBars, names: tuple[str, ...], field: str) -> dict[str, Any]:
    """Return columns of both legs by the names that ``backtest_pair`` has for them."""
    if not bars.whole:
        raise InputError(f"{field}: needs bars with {' and '.join(names)}; only closes are known", loc=field)
    legs = {"y": bars.y, "x": bars.x}
    return {f"{name}_{leg}": getattr(legs[leg], name) for name in names for leg in legs}


def gate_every(lookback: int) -> int:
    """Return after how many bars the cointegration gate tests again: a 24th of what it tests.

    >>> gate_every(1440)
    60
    """
    return max(1, lookback // 24)


def run_backtest(
    request: BacktestRequest,
    bars: PairBars,
    *,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Backtest:
    """Return the backtest of a request, its equity and metrics over [start, end) alone.

    Hedge ratios that take long are found in parts by ``threads`` (as many as there are cores, at most four), to the bit
    those of ``backtest_pair``; ``CancelledError`` soon after ``cancelled`` answers True.
    """
    used, first = traded_bars(request, bars)
    keywords = backtest_keywords(request, used, first)
    hedge = _hedge_in_parts(request, used, threads, cancelled)
    if hedge is not None:
        keywords["hedge"] = hedge
    made = backtest_pair(used.y.close, used.x.close, **keywords)
    if hedge is not None:
        named = f"{request.method}, of the last {request.lookback} bars"
        made = replace(made, assumptions={**made.assumptions, "hedge": named})
    return made if first == 0 else _from_row(made, first)


def _hedge_in_parts(
    request: BacktestRequest, bars: PairBars, threads: int | None, cancelled: Callable[[], bool] | None
) -> CausalHedge | None:
    """Return the hedge ratios of windows fitted one by one, where there are many rows to fit; None else.

    A window's fit depends on its own rows alone, so that parts with a lookback before them give the same bits. A part
    in which a leg stands still cannot be fitted by itself, and then None, too: the whole is then fitted in one go.
    """
    rows, lookback, size = _ROWS.get(request.method, 0), request.lookback, len(bars)
    if not rows or size * lookback < 4 * rows:
        return None
    y, x = bars.y.close, bars.x.close
    if not (np.isfinite(y).all() and np.isfinite(x).all() and (y > 0.0).all() and (x > 0.0).all()):
        return None
    spaced_y, spaced_x = (np.log(y), np.log(x)) if request.price_space == "log" else (y, x)
    alpha, beta = np.full(size, np.nan), np.full(size, np.nan)

    def fit(start: int, end: int) -> None:
        if cancelled is not None and cancelled():
            raise CancelledError("the backtest was cancelled")
        part = slice(start - lookback + 1, end)
        found = causal_hedge(spaced_y[part], spaced_x[part], request.hedge, lookback)  # type: ignore[arg-type]
        alpha[start:end], beta[start:end] = found.alpha[lookback - 1 :], found.beta[lookback - 1 :]

    step = max(rows // lookback, 1)
    with ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="hedges") as pool:
        parts = [pool.submit(fit, start, min(start + step, size)) for start in range(lookback - 1, size, step)]
        try:
            for part in parts:
                part.result()
        except DegenerateSeries:
            return None
        finally:
            for part in parts:
                part.cancel()
    return CausalHedge(alpha, beta)


def _from_row(made: Backtest, first: int) -> Backtest:
    """Return a backtest without its warm-up: money, trades and figures from row ``first`` on."""
    equity = made.equity["equity"][first:]
    columns = {**made.trades.columns}
    for name in ("entry_bar", "exit_bar", "entry_decided", "exit_decided"):
        columns[name] = columns[name] - first
    # A fill at the first bar's own close (fill="same") costs before that bar ends: its capital is the bar before's.
    spent = equity[0] != made.equity["equity"][0]
    counted = np.concatenate((made.equity["equity"][:1], equity)) if spent else equity
    whole = {name: made.metrics[name] for name in ("turnover", "rehedges", "skipped")}
    return replace(
        made,
        metrics=performance(counted, columns, bars_per_year=made.assumptions["bars_per_year"]) | whole,
        equity={"timestamp": made.equity["timestamp"][first:], "equity": equity, "drawdown": drawdowns(equity)},
        trades=Trades(columns),
        assumptions={**made.assumptions, "bars": int(equity.size), "warmup": first},
        series={name: column[first:] for name, column in made.series.items()},
    )


def _too_few(request: BacktestRequest, have: int, traded: int, need: int) -> NotEnoughData:
    """Say how many bars are missing, and what can be done."""
    error = NotEnoughData("a backtest", need=need, have=have)
    if traded < 2:
        error.args = (
            f"{request.y} and {request.x} have {traded} {request.timeframe} bars in common from start to end",
        )
        error.hint = "choose another range, or symbols that traded in it"
        error.loc = "start"
    else:
        warmup = request.warmup_bars()
        error.args = (
            f"lookback: a backtest needs {need} {request.timeframe} bars that both legs have, of which {warmup} are "
            f"warm-up; there are {have}",
        )
        error.hint = "choose a shorter lookback or timeframe, or a longer range"
        error.loc = "lookback"
    return error
