"""A run bar by bar as its chart is given it: no more points than a screen shows, and none of the extremes lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.dashboard.backtest_choice import told

__all__ = ["MOST_MARKS", "MOST_POINTS", "chart_data", "curve_data", "thinned"]

MOST_POINTS: Final = 4000
"""Points of a chart, two of them for each stretch of bars."""

MOST_MARKS: Final = 2000
"""Trades that are marked: beyond, those of the largest profits and losses."""

Column = NDArray[np.float64]

_TRADE: Final = (
    "entry_timestamp", "exit_timestamp", "side", "entry_zscore", "exit_zscore", "pnl", "return", "fees", "reason",
)  # fmt: skip


def thinned(
    times: Sequence[int], columns: Mapping[str, Column], most: int = MOST_POINTS
) -> tuple[list[int], dict[str, Column], int]:
    """Return times, columns and the number of bars in a stretch, with at most about ``most`` points.

    Each stretch of bars becomes two points, evenly spaced: of every column the lowest and the highest value in it, in
    the order in which they came. The last bar stays what it is. A series that is short enough is returned as it is.

    >>> thinned([0, 1, 2, 3, 4], {"a": np.array([0.0, 9.0, -9.0, 1.0, 5.0])}, most=2)
    ([0, 2, 4], {'a': array([ 9., -9.,  5.])}, 4)
    """
    n = len(times)
    if n <= most:
        return list(times), dict(columns), 1
    width = -(-2 * (n - 1) // most)
    starts = np.arange(0, n - 1, width)
    places = np.unique(np.concatenate([starts, np.minimum(starts + width // 2, n - 1), [n - 1]]))
    made = {}
    for name, column in columns.items():
        slots = np.full(n, np.nan)
        for start in starts.tolist():
            part = column[start : min(start + width, n - 1)]
            known = np.flatnonzero(np.isfinite(part))
            if not known.size:
                continue
            low, high = int(known[part[known].argmin()]), int(known[part[known].argmax()])
            first, second = (low, high) if low < high else (high, low)
            slots[start] = part[first]
            middle = min(start + width // 2, n - 1)
            if middle > start and middle < n - 1:
                slots[middle] = part[second]
        slots[n - 1] = column[n - 1]
        made[name] = slots[places]
    return [int(times[place]) for place in places], made, width


def chart_data(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the chart of a run is given: equity, drawdown, z-score where it is told, and the trades."""
    equity = document.get("equity") or {}
    times = [int(time) for time in equity.get("timestamp") or ()]
    columns = {name: numbers(equity.get(name), len(times)) for name in ("equity", "drawdown")}
    series = document.get("series") or {}
    columns |= {name: numbers(series.get(name), len(times)) for name in ("zscore", "spread") if series.get(name)}
    kept, drawn, width = thinned(times, columns)
    trades = list(document.get("trades") or ())
    marked = trades
    if len(trades) > MOST_MARKS:
        largest = sorted(range(len(trades)), key=lambda i: -abs(trades[i].get("pnl") or 0.0))[:MOST_MARKS]
        marked = [trades[i] for i in sorted(largest)]
    request = document.get("request") or {}
    return {
        "times": kept,
        "columns": {name: written(column, name) for name, column in drawn.items()},
        "bars_a_point": width,
        "trade_columns": list(_TRADE),
        "trades": [[_cell(trade.get(name)) for name in _TRADE] for trade in marked],
        "all_trades": len(trades),
        "levels": {name: told(request, name) for name in ("entry", "exit", "stop")},
        "pair": [request.get("y", ""), request.get("x", "")],
        "timeframe": request.get("timeframe", "1m"),
    }


def curve_data(document: Mapping[str, Any], most: int = 1500) -> dict[str, Any]:
    """Return a run's equity as a relative change since its beginning, to be laid over those of others."""
    equity = document.get("equity") or {}
    times = [int(time) for time in equity.get("timestamp") or ()]
    values = numbers(equity.get("equity"), len(times))
    base = values[0] if times and values[0] else np.nan
    kept, drawn, _ = thinned(times, {"return": values / base - 1.0}, most)
    return {"times": kept, "values": written(drawn["return"], "drawdown")}


def numbers(values: Any, size: int) -> Column:
    """Return values as numbers, NaN where there is none."""
    if not values or len(values) != size:
        return np.full(size, np.nan)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def written(column: Column, name: str) -> list[float | None]:
    """Return a column with as many digits as can be seen."""
    digits = {"zscore": 3, "drawdown": 6, "equity": 2}.get(name)
    if digits is None:
        return [float(f"{value:.6g}") if np.isfinite(value) else None for value in column.tolist()]
    return [round(value, digits) if np.isfinite(value) else None for value in column.tolist()]


def _cell(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
