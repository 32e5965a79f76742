"""What a backtest made day by day and month by month, UTC."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pairscope.market.ticks import F8, I8

__all__ = ["calendar_returns"]

_UNITS: Final = (("monthly", "M"), ("daily", "D"))


def calendar_returns(times_ns: I8, equity: F8, capital: float) -> dict[str, list[dict[str, Any]]]:
    """Return the table of a backtest's days (``daily``) and months (``monthly``), each ``period`` with its ``return``.

    A bar belongs to the period in which it opens; a return is the change of equity within the period over the capital,
    so that the returns of all periods add up to the whole one. Periods without a bar are absent. O(n).

    >>> times = np.array([0, 43_200, 86_400]) * 1_000_000_000
    >>> calendar_returns(times, np.array([100.0, 101.0, 103.0]), 100.0)["daily"]
    [{'period': '1970-01-01', 'return': 0.01}, {'period': '1970-01-02', 'return': 0.02}]
    """
    moments = times_ns.astype("M8[ns]")
    return {name: _table(moments.astype(f"M8[{unit}]"), equity, capital) for name, unit in _UNITS}


def _table(periods: Any, equity: F8, capital: float) -> list[dict[str, Any]]:
    last = np.flatnonzero(np.append(periods[1:] != periods[:-1], True)) if periods.size else np.empty(0, np.int64)
    made = np.diff(equity[last], prepend=capital) / capital
    return [{"period": str(periods[row]), "return": float(value)} for row, value in zip(last, made, strict=True)]
