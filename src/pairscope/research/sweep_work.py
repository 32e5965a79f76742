"""The pieces of a sweep that any worker computes: pure functions of arrays, each done in a small part of a second."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest import Backtest, backtest_pair, causal_hedge
from pairscope.analytics.performance import performance, return_shape
from pairscope.analytics.sweep_kernel import SWEEP_METRICS, sweep_rows
from pairscope.analytics.sweep_moments import (
    SweepLegs,
    WindowMoments,
    entry_scores,
    trailing_hedges,
    window_moments,
)
from pairscope.market.ticks import F8, I8

__all__ = ["counted_equity", "hedges_part", "kalman_hedges", "moments_part", "slow_row", "swept_rows"]

_ENTRY: Final = 0
_STOP: Final = 2


def moments_part(y: F8, x: F8, window: int, before: int) -> F8:
    """Return the moments of the windows that end at all bars given but the first ``before``, a row a moment."""
    return np.array(window_moments(_own(y), _own(x), window, before))


def hedges_part(y: F8, x: F8, lookback: int, huber: bool, before: int) -> F8:  # noqa: FBT001 - submitted by position
    """Return alpha and beta, a row each, at all bars given but the first ``before``."""
    return trailing_hedges(_own(y), _own(x), lookback, huber=huber, start=before)


def kalman_hedges(y: F8, x: F8, lookback: int) -> F8:
    """Return Kalman's alpha and beta, a row each, at all bars."""
    return np.array(causal_hedge(y, x, "kalman", lookback))


def swept_rows(
    legs: SweepLegs,
    beta: F8,
    moments: F8,
    window: int,
    bars_per_year: float,
    gate: NDArray[np.bool_],
    rules: F8,
    edges: I8,
) -> tuple[F8, F8]:
    """Return a row of ``SWEEP_METRICS`` and the sums of each block for each of ``rules``."""
    legs = SweepLegs._make(_own(part) if isinstance(part, np.ndarray) else part for part in legs)
    beta, gate, rules, edges = _own(beta), _own(gate), _own(rules), _own(edges)
    shared = WindowMoments(*_own(moments))
    levels = np.unique(rules[:, [_ENTRY, _STOP]])
    zscore, coming = np.empty(beta.size), np.empty(beta.size + 1, np.int64)
    least = float(rules[:, _ENTRY].min())
    entry_scores(legs, beta, shared, window, levels[np.isfinite(levels)], least, gate, zscore, coming)
    metrics = np.empty((len(rules), len(SWEEP_METRICS)))
    blocks = np.empty((len(rules), 2, edges.size - 1))
    sweep_rows(legs, beta, shared, zscore, coming, window, bars_per_year, rules, edges, metrics, blocks)
    return metrics, blocks


def slow_row(y: F8, x: F8, terms: Mapping[str, Any], first: int, edges: I8) -> tuple[F8, F8]:
    """Return the same of one combination that ``backtest_pair`` trades."""
    backtest: Backtest = backtest_pair(y, x, **terms)
    equity = counted_equity(backtest, first)
    made = dict(backtest.metrics)
    if first > 0:
        made |= performance(equity, backtest.trades.columns, bars_per_year=backtest.assumptions["bars_per_year"])
        made["turnover"] = backtest.metrics["turnover"]
    made["unsure"] = 0
    returns = np.zeros(equity.size - 1)
    if equity.min() > 0.0:
        returns = equity[1:] / equity[:-1] - 1.0
        shape = return_shape(returns)
        made |= {"skew": shape.skew, "kurtosis": shape.kurtosis}
    sums = np.zeros((1, 2, edges.size - 1))
    for k, (start, end) in enumerate(pairwise((edges - y.size + returns.size).tolist())):
        sums[0, :, k] = returns[start:end].sum(), (returns[start:end] ** 2).sum()
    return np.array([[np.nan if made.get(name) is None else made[name] for name in SWEEP_METRICS]]), sums


def counted_equity(backtest: Backtest, first: int) -> F8:
    """Return the equity that counts: from bar ``first`` on, and the capital before it where that bar's own fill cost.

    What ``run_backtest`` reckons its metrics from.
    """
    equity: F8 = backtest.equity["equity"]
    return equity[first:] if equity[first] == equity[0] else np.append(equity[0], equity[first:])


def _own(values: Any) -> Any:
    """Return an array that may be written to, which is the one that kernels were compiled for; a cluster's may not."""
    return np.require(values, requirements=["C", "W"])
