"""How the returns of many symbols move together, each pair over the bars that it has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.clustering import cluster_order
from pairscope.analytics.correlation import CorrelationKind, correlation_matrix
from pairscope.analytics.price_stats import checked
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8

__all__ = ["Closes", "CorrelationReport", "correlation_report"]

_LEAST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Closes:
    """The closes of one symbol by the open times of their bars, oldest first."""

    symbol: str
    ts_open_ns: I8
    close: F8


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationReport:
    """Correlations of log returns; ``counts`` the returns behind each, ``order`` of rows that belong together.

    Where there is none the matrix holds NaN, and ``reasons`` say why, by symbol or by ``Y:X``.
    """

    matrix: F8
    counts: NDArray[np.int64]
    order: NDArray[np.int64]
    reasons: dict[str, str]


def correlation_report(legs: Sequence[Closes], *, window: int, kind: CorrelationKind = "pearson") -> CorrelationReport:
    """Return the correlations of the last ``window`` log returns of each pair, from bar to common bar.

    A pair's bars are those that both symbols have, the newest ``window + 1`` of them: one symbol that trades seldom
    takes nothing from the others, at the price that the matrix need not be positive semidefinite. NaN where fewer than
    3 returns are common and where a symbol has not moved. O(N² window). NaN in the closes, infinities and closes that
    are not positive raise ``ValueError``.

    >>> times = np.arange(5) * 60
    >>> up, down = np.array([1.0, 2.0, 3.0, 5.0, 4.0]), np.array([9.0, 4.5, 3.0, 1.8, 2.25])
    >>> found = correlation_report([Closes("A", times, up), Closes("B", times, down)], window=4)
    >>> found.matrix.round(12).tolist(), found.counts.tolist()
    ([[1.0, -1.0], [-1.0, 1.0]], [[4, 4], [4, 4]])
    """
    size = len(legs)
    logs = [np.log(checked(leg.close, leg.symbol, positive=True, constant=True)) for leg in legs]
    matrix, counts, reasons = np.full((size, size), np.nan), np.zeros((size, size), np.int64), {}
    done = _on_one_clock(legs, logs, window, kind, matrix, counts)
    for i in range(size):
        for j in range(i, size):
            if not (done[i] and done[j]):
                matrix[i, j], counts[i, j] = _of_pair(legs[i], legs[j], logs[i], logs[j], window, kind)
                matrix[j, i], counts[j, i] = matrix[i, j], counts[i, j]
        if np.isfinite(matrix[i, i]):
            matrix[i, i] = 1.0
    for i, leg in enumerate(legs):
        if np.isnan(matrix[i, i]):
            reasons[leg.symbol] = _reason(counts[i, i])
    for i in range(size):
        for j in range(i + 1, size):
            both = legs[i].symbol not in reasons and legs[j].symbol not in reasons
            if np.isnan(matrix[i, j]) and both:
                reasons[f"{legs[i].symbol}:{legs[j].symbol}"] = _reason(counts[i, j])
    known = ~np.isnan(np.diag(matrix))
    near = np.where(np.isnan(matrix) & np.outer(known, known), 0.0, matrix)
    order = cluster_order(near) if known.sum() > 1 else np.arange(size, dtype=np.int64)
    return CorrelationReport(matrix, counts, order, reasons)


def _on_one_clock(
    legs: Sequence[Closes],
    logs: Sequence[F8],
    window: int,
    kind: CorrelationKind,
    matrix: F8,
    counts: NDArray[np.int64],
) -> list[bool]:
    """Fill in all symbols that have the same newest bars as most, in one go; return which those are."""
    tails = [leg.ts_open_ns[-window - 1 :].tobytes() if leg.ts_open_ns.size > window else b"" for leg in legs]
    most = max(tails, key=tails.count, default=b"")
    done = [bool(most) and tail == most and window >= _LEAST for tail in tails]
    rows = np.flatnonzero(done)
    if rows.size:
        returns = np.diff(np.column_stack([logs[i][-window - 1 :] for i in rows.tolist()]), axis=0)
        matrix[np.ix_(rows, rows)] = correlation_matrix(returns, kind=kind)
        counts[np.ix_(rows, rows)] = window
    return done


def _of_pair(a: Closes, b: Closes, log_a: F8, log_b: F8, window: int, kind: CorrelationKind) -> tuple[float, int]:
    """Return one pair's correlation and how many returns it is made of."""
    _, left, right = np.intersect1d(a.ts_open_ns, b.ts_open_ns, assume_unique=True, return_indices=True)
    left, right = left[-window - 1 :], right[-window - 1 :]
    n = max(0, left.size - 1)
    if n < _LEAST:
        return float("nan"), n
    returns = np.diff(np.column_stack([log_a[left], log_b[right]]), axis=0)
    try:
        return float(correlation_matrix(returns, kind=kind)[0, 1]), n
    except InputError:
        return float("nan"), n


def _reason(count: int) -> str:
    return "the price has not moved" if count >= _LEAST else f"needs {_LEAST} common returns, has {count}"
