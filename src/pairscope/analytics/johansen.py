"""Johansen's test: how many cointegrating relations tie several series together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.dickey_fuller import even_scale, trend_columns
from pairscope.analytics.johansen_tables import JOHANSEN_LEVELS, MOST_RELATIONS, johansen_critical_values
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.ticks import F8

__all__ = ["JohansenResult", "johansen"]

_DEPENDENT: Final = 1e-10
"""Share of a column's length that must be its own, not that of the columns before it."""


@dataclass(frozen=True, slots=True, eq=False)
class JohansenResult:
    """The outcome of Johansen's test of k series.

    Position r of ``trace`` and ``max_eigenvalue`` tests the null "at most r relations"; row r of the (k, 3) critical
    values is theirs at 10, 5 and 1 %. ``eigenvalues`` descend, column r of ``eigenvectors`` is the weights of the r-th
    relation, its first weight not negative, scaled so that the relation has unit variance. ``nobs`` observations,
    ``lags`` lagged changes.

    >>> result = johansen(np.cumsum(np.random.default_rng(0).standard_normal((500, 3)), axis=0))
    >>> result.rank(0.05), result.rank(0.05, by="max_eigenvalue")
    (0, 0)
    """

    trace: F8
    max_eigenvalue: F8
    eigenvalues: F8
    eigenvectors: F8
    trace_critical_values: F8
    max_eigenvalue_critical_values: F8
    det_order: int
    lags: int
    nobs: int

    def rank(self, level: float = 0.05, *, by: Literal["trace", "max_eigenvalue"] = "trace") -> int:
        """Return the number of relations: the first r whose null is not rejected at ``level`` (0.10, 0.05, 0.01)."""
        if level not in JOHANSEN_LEVELS:
            raise InputError(f"level: must be one of {', '.join(map(str, JOHANSEN_LEVELS))}", loc="level")
        if by not in {"trace", "max_eigenvalue"}:
            raise InputError("by: must be trace or max_eigenvalue", loc="by")
        column = JOHANSEN_LEVELS.index(level)
        statistic, critical = (
            (self.trace, self.trace_critical_values)
            if by == "trace"
            else (self.max_eigenvalue, self.max_eigenvalue_critical_values)
        )
        kept = np.flatnonzero(statistic <= critical[:, column])
        return int(kept[0]) if kept.size else int(statistic.size)


def johansen(x: F8, det_order: int = 0, k_ar_diff: int = 1) -> JohansenResult:
    r"""Test how many independent combinations of the columns of ``x`` (T, k) are stationary.

    .. math:: \Delta X_t = \Pi X_{t-1} + \sum_{i=1}^{p} \Gamma_i \Delta X_{t-i} + \varepsilon_t, \qquad
        \mathrm{trace}_r = -n \sum_{i>r} \ln(1 - \lambda_i), \qquad
        \mathrm{max}_r = -n \ln(1 - \lambda_{r+1})

    :math:`\lambda` are the squared canonical correlations of changes and levels, both freed of the p = ``k_ar_diff``
    lagged changes; null at r: the rank of :math:`\Pi` is at most r. ``det_order`` -1 takes nothing off the levels, 0
    their means, 1 their lines, and from 0 on a constant off the changes. Assumes columns integrated of order at most
    one, k from 2 to 12. Equal to ``statsmodels.tsa.vector_ar.vecm.coint_johansen``. O(T (k p)²). NaN, infinities,
    constant or collinear columns and too few rows raise ``ValueError``.
    Reference: Johansen (1991), Econometrica 59; critical values of MacKinnon, Haug & Michelis (1999).

    >>> rng = np.random.default_rng(0)
    >>> x = np.cumsum(rng.standard_normal(500))
    >>> result = johansen(np.column_stack([x, 2.0 * x + rng.standard_normal(500)]))
    >>> result.rank(), result.trace.size, result.nobs
    (1, 2, 498)
    """
    data, powers = _checked(x, det_order, k_ar_diff)
    k = data.shape[1]
    levels = _without(data, trend_columns(data.shape[0], det_order + 1))
    change = np.diff(levels, axis=0)
    rows = change.shape[0] - k_ar_diff
    past = [change[k_ar_diff - lag : k_ar_diff - lag + rows] for lag in range(1, k_ar_diff + 1)]
    free = trend_columns(rows, min(det_order + 1, 1))
    taken = _basis(np.column_stack([free, *past]))
    moved, stood = change[k_ar_diff:], levels[1 : 1 + rows]
    q_change, _, _ = _orthonormal(moved - taken @ (taken.T @ moved))
    q_level, triangle, length = _orthonormal(stood - taken @ (taken.T @ stood))
    rotation, correlation, _ = np.linalg.svd(q_level.T @ q_change)
    eigenvalues = correlation**2
    if eigenvalues[0] >= 1.0 - 1e-12:
        raise DegenerateSeries("x: its changes follow from its levels without error", loc="x")
    ratio = -rows * np.log1p(-eigenvalues)
    weights = np.sqrt(rows) * np.linalg.solve(triangle, rotation) / length[:, None]
    with np.errstate(over="ignore"):
        weights = np.ldexp(weights, -powers[:, None])
    if not np.isfinite(weights).all():
        raise DegenerateSeries("x: has a column so small that its weight is beyond float64", loc="x")
    trace_critical, max_critical = johansen_critical_values(k, det_order)
    return JohansenResult(
        trace=np.cumsum(ratio[::-1])[::-1],
        max_eigenvalue=ratio,
        eigenvalues=eigenvalues,
        eigenvectors=np.where(weights[0] < 0.0, -weights, weights),
        trace_critical_values=trace_critical,
        max_eigenvalue_critical_values=max_critical,
        det_order=det_order,
        lags=k_ar_diff,
        nobs=rows,
    )


def _checked(x: F8, det_order: int, k_ar_diff: int) -> tuple[F8, NDArray[np.int64]]:
    """Return the columns, each divided by a power of two, and the powers; ``ValueError`` naming what cannot be."""
    data = np.array(x, np.float64)
    if data.ndim != 2 or not 2 <= data.shape[1] <= MOST_RELATIONS:
        raise InputError(f"x: must be a table of 2 to {MOST_RELATIONS} columns", loc="x")
    if det_order not in {-1, 0, 1}:
        raise InputError("det_order: must be -1, 0 or 1", loc="det_order")
    if isinstance(k_ar_diff, bool) or int(k_ar_diff) != k_ar_diff or k_ar_diff < 0:
        raise InputError("k_ar_diff: must be a whole number from 0 on", loc="k_ar_diff")
    rows, k = data.shape
    need = 1 + k_ar_diff + min(det_order + 1, 1) + k * k_ar_diff + 2 * k + 1
    if rows < need:
        raise NotEnoughData("x:", need=need, have=rows)
    if not np.isfinite(data).all():
        raise InputError("x: has values that are not finite", loc="x")
    if (data.min(axis=0) == data.max(axis=0)).any():
        raise DegenerateSeries("x: has a constant column", loc="x")
    scaled = [even_scale(column) for column in data.T]
    return np.column_stack([column for column, _ in scaled]), np.array([power for _, power in scaled])


def _basis(columns: F8) -> F8:
    """Return orthonormal columns of the same span; none for none."""
    length = np.sqrt((columns * columns).sum(axis=0))
    unit = columns[:, length > 0.0] / length[length > 0.0]
    if not unit.size:
        return np.empty((columns.shape[0], 0))
    left, size, _ = np.linalg.svd(unit, full_matrices=False)
    basis: F8 = left[:, size > 1e-12 * size[0]]
    return basis


def _without(table: F8, columns: F8) -> F8:
    """Return what is left of a table's columns once those of another are taken off."""
    basis = _basis(columns)
    left = table - basis @ (basis.T @ table)
    rest: F8 = left - basis @ (basis.T @ left)
    return rest


def _orthonormal(table: F8) -> tuple[F8, F8, F8]:
    """Return Q and R of a table whose columns were made equally long, and their lengths; an error where one depends."""
    length = np.sqrt((table * table).sum(axis=0))
    if not (length > 0.0).all():
        raise DegenerateSeries("x: has a column that follows from its trend and past", loc="x")
    basis, triangle = (np.asarray(part) for part in np.linalg.qr(table / length))
    if (np.abs(np.diagonal(triangle)) <= _DEPENDENT).any():
        raise DegenerateSeries("x: has collinear columns", loc="x")
    return basis, triangle, length
