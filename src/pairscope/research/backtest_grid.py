"""A sweep as it is asked for: the body's lists become a grid, and the rest one request that stands for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from pairscope.analytics.sweep_kernel import SWEEP_METRICS
from pairscope.errors import InputError
from pairscope.research.backtest_request import REQUEST_FIELDS, BacktestRequest
from pairscope.research.sweep_asked import longest_warmup
from pairscope.research.sweep_table import Heatmap, SweepTable

__all__ = [
    "GRID_FIELDS",
    "MOST_COMBINATIONS",
    "MOST_EFFORT",
    "Grid",
    "asked_document",
    "check_effort",
    "check_work",
    "grid_of",
    "heatmap_document",
    "kept_table",
]

Grid = Mapping[str, Sequence[Any]]
"""Values by field of a request: ``{"entry": [1.5, 2.0], "method": ["ols"]}``."""

MOST_COMBINATIONS: Final = 50_000
"""Combinations that one question may try."""

MOST_SLOW: Final = 1_000
"""Of those that hedge anew while they hold, or are filled from trades: each takes some hundred times as long."""

MOST_WORK: Final = 20_000_000_000
"""Combinations times bars that one question may take: some minutes of a core."""

MOST_EFFORT: Final = 20_000_000_000
"""Operations that the hedge ratios and the gate of one backtest may take: some tens of seconds of a core."""

GRID_FIELDS: Final = (
    *("method", "lookback", "beta", "window", "entry", "exit", "stop", "max_holding", "cooldown", "rehedge"),
    *("notional", "capital", "fee_bps", "slippage_bps", "slippage_range"),
)
"""What may vary."""

_A_TEST: Final = 30_000
"""What a gate's cointegration tests cost a bar."""

_HEDGE: Final = ("method", "lookback", "beta")


def grid_of(document: Mapping[str, Any]) -> tuple[BacktestRequest, Grid]:
    """Return the request that stands for all combinations, and the grid; ``InputError`` names what cannot be.

    A list is what varies, also of one value, in ``hedge`` too; the costs of both legs are a list in a list.

    >>> request, grid = grid_of({"y": "A", "x": "B", "hedge": {"lookback": [60, 90]}, "entry": [1.5, 2.0]})
    >>> grid, request.lookback, request.entry
    ({'lookback': [60, 90], 'entry': [1.5, 2.0]}, 90, 2.0)
    """
    plain = {name: value for name, value in document.items() if name != "hedge"}
    for name in plain:
        if name not in REQUEST_FIELDS:
            raise InputError(f"{str(name)[:64]}: there is no such field", loc=str(name)[:64])
    hedge = _hedge_of(document.get("hedge"))
    given = {**{name: hedge[name] for name in _HEDGE if name in hedge}, **plain}
    grid = {name: list(value) for name, value in given.items() if name in GRID_FIELDS and isinstance(value, list)}
    for name, values in grid.items():
        if not values:
            raise InputError(f"{name}: must have a value", loc=name)
    body = {name: value for name, value in given.items() if name not in grid} | _one_of(grid)
    if body.get("method", "ols") != "fixed" and "method" in grid:
        if "beta" in body and "beta" not in grid:
            grid["beta"] = [body["beta"]]
        body.pop("beta", None)
    body["hedge"] = {name: body.pop(name) for name in _HEDGE if name in body}
    count = prod(len(values) for values in grid.values())
    if count > MOST_COMBINATIONS:
        raise InputError(
            f"grid: {count:,} combinations are more than one question may try",
            loc=max(grid, key=lambda name: len(grid[name])),
            hint=f"at most {MOST_COMBINATIONS:,}",
        )
    request = BacktestRequest.from_document(body)
    rehedged = request.rehedge is not None or any(grid.get("rehedge", ()))
    if (rehedged or request.latency_ms is not None) and count > MOST_SLOW:
        loc = "rehedge" if rehedged else "latency_ms"
        raise InputError(
            f"{loc}: {count:,} combinations that hedge anew, or fill from trades, are more than one question may try",
            loc=loc,
            hint=f"at most {MOST_SLOW:,}",
        )
    longest_warmup(request, grid)  # refuses what no combination can have
    return request, grid


def asked_document(request: BacktestRequest, grid: Grid) -> dict[str, Any]:
    """Return the body that asks for all combinations; ``grid_of`` reads it back.

    >>> asked = asked_document(BacktestRequest("A", "B"), {"entry": [1.5, 2.0], "lookback": [60, 90]})
    >>> asked["entry"], asked["hedge"]
    ([1.5, 2.0], {'method': 'ols', 'lookback': [60, 90]})
    """
    made = request.document()
    made["hedge"] |= {name: list(values) for name, values in grid.items() if name in _HEDGE}
    return made | {name: list(values) for name, values in grid.items() if name not in _HEDGE}


def check_effort(request: BacktestRequest, bars: int) -> None:
    """Refuse a backtest whose hedge ratios or gate would take too long; ``InputError`` names ``start``."""
    fitting = {"ols": 1, "huber": 20}.get(request.method, 0) * request.lookback
    testing = _A_TEST if request.gate == "cointegration" else 0
    if bars * max(fitting, testing) > MOST_EFFORT:
        raise InputError(
            f"start: {bars:,} bars are more than one question may take of this hedge ratio and gate",
            loc="start",
            hint=f"at most {MOST_EFFORT // max(fitting, testing):,} bars, or a shorter lookback",
        )


def check_work(grid: Grid, bars: int) -> None:
    """Refuse a sweep that would take too long."""
    count = prod(len(values) for values in grid.values())
    if count * bars > MOST_WORK:
        raise InputError(
            f"start: {count:,} combinations over {bars:,} bars are more than one question may take",
            loc="start",
            hint=f"at most {MOST_WORK // count:,} bars",
        )


def kept_table(document: Mapping[str, Any]) -> SweepTable:
    """Return the table of a kept sweep, as far as its heatmaps need it; ``InputError`` where it is none."""
    if document.get("kind") != "sweep":
        raise InputError("id: only a sweep has a heatmap", loc="id")
    rows = document["rows"]
    grid = {name: tuple(_hashable(value) for value in values) for name, values in document["grid"].items()}
    codes = {}
    for name, values in grid.items():
        place = {value: at for at, value in enumerate(values)}
        codes[name] = np.array([place[_hashable(row[name])] for row in rows], np.int64)
    metrics = np.full((len(rows), len(SWEEP_METRICS)), np.nan)
    for column, name in enumerate(SWEEP_METRICS):
        metrics[:, column] = [np.nan if row.get(name) is None else row[name] for row in rows]
    return SweepTable(grid, codes, metrics, np.zeros((len(rows), 2, 0)), 0, 0, len(rows), 0, 1.0)


def heatmap_document(made: Heatmap) -> dict[str, Any]:
    """Return a heatmap under the names of the API."""
    return {
        "metric": made.metric,
        "a": {"name": made.a, "values": list(made.a_values)},
        "b": {"name": made.b, "values": list(made.b_values)},
        "values": np.ascontiguousarray(made.values),
        "others": made.others,
    }


def _hedge_of(hedge: Any) -> Mapping[str, Any]:
    """Return method, lookback and beta as they are asked for."""
    if hedge is None:
        return {}
    if isinstance(hedge, Mapping):
        for name in hedge:
            if name not in _HEDGE:
                raise InputError(f"hedge.{str(name)[:64]}: there is no such field", loc=f"hedge.{str(name)[:64]}")
        return {name: value for name, value in hedge.items() if value is not None}
    first = hedge[0] if isinstance(hedge, list) and hedge else hedge
    return {"method": hedge} if isinstance(first, str) else {"method": "fixed", "beta": hedge}


def _one_of(grid: Grid) -> dict[str, Any]:
    """Return a value of each axis such that they agree, if any do."""
    made: dict[str, Any] = {}
    for name, values in grid.items():
        known = [value for value in values if value is not None]
        if name in ("stop", "max_holding", "rehedge", "capital"):
            made[name] = None
        elif name == "method":
            made[name] = next((value for value in values if value != "fixed"), "fixed")
        elif known and all(isinstance(value, (int, float)) for value in known):
            made[name] = max(known) if name in ("entry", "lookback") else min(known)
        else:
            made[name] = values[0]
    return made


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
