"""Least squares by Householder reflections, on one thread and to the same bits on every machine.

A threaded LAPACK waits for its other threads, which on a machine that is busy with ticks costs more than the
arithmetic. Here one pass over the rows applies a reflection and sums up what the next one needs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["least_squares", "triangle"]

_DEPENDENT: Final = 1e-11
"""Share of a column's length that must be its own, not that of the columns before it."""


_BLOCK: Final = 512
"""Rows that are reduced together."""


@kernel
def _reflect(a: F8) -> None:  # pragma: no cover - compiled
    """Turn a matrix into its R, in place: one reflection a column.

    ``shared`` holds the products of the column in turn with those behind it, over the rows from the diagonal on.
    """
    rows, columns = a.shape
    shared = np.zeros(columns)
    for i in range(rows):
        row = a[i]
        for j in range(columns):
            shared[j] += row[0] * row[j]
    for k in range(min(rows, columns)):
        length = np.sqrt(shared[k])
        if length > 0.0:
            head = a[k, k]
            pivot = -length if head >= 0.0 else length
            scale = 1.0 / (length * (length + abs(head)))
            top = a[k]
            for j in range(k + 1, columns):
                shared[j] = (shared[j] - pivot * top[j]) * scale
                top[j] -= (head - pivot) * shared[j]
            top[k] = pivot
        factor = shared.copy() if length > 0.0 else np.zeros(columns)
        shared[:] = 0.0
        for i in range(k + 1, rows):
            tail = a[i, k + 1 :]
            x = a[i, k]
            a[i, k] = 0.0
            for j in range(tail.size):
                tail[j] -= x * factor[k + 1 + j]
            if tail.size > 0:
                x = tail[0]
                for j in range(tail.size):
                    shared[k + 1 + j] += x * tail[j]


def triangle(columns: F8, target: F8) -> tuple[F8, NDArray[np.bool_]]:
    """Return R of a matrix with a target as its last column, and which columns it has.

    A column that depends on those before it is left out: it explains nothing that they do not. The squares of the last
    column of R from row r on sum up to the residual of a fit on the first r columns that were kept. O(n k²). NaN makes
    NaN of what comes after it.

    >>> r, kept = triangle(np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]), np.array([1.0, 2.0, 6.0]))
    >>> kept.tolist(), round(float(r[1:, -1] @ r[1:, -1]), 12)
    ([True, False], 14.0)
    """
    kept = np.ones(columns.shape[1], np.bool_)
    length = np.sqrt((columns * columns).sum(axis=0))
    while True:
        reduced = _reduced(columns if kept.all() else columns[:, kept], target)
        weak = np.abs(np.diagonal(reduced)[:-1]) <= _DEPENDENT * length[kept]
        if not weak.any():
            return reduced, kept
        kept[np.flatnonzero(kept)[weak]] = False


def _reduced(columns: F8, target: F8) -> F8:
    """Return R, block by block of rows: that of what came before on top, the next rows under it, within the cache."""
    width = columns.shape[1] + 1
    work = np.zeros((width + _BLOCK, width))
    for start in range(0, target.size, _BLOCK):
        rows = min(_BLOCK, target.size - start)
        work[width : width + rows, :-1] = columns[start : start + rows]
        work[width : width + rows, -1] = target[start : start + rows]
        _reflect(work[: width + rows])
    return work[:width].copy()


def least_squares(columns: F8, target: F8) -> tuple[F8, F8] | None:
    """Return coefficients and residual of a fit, refined once; None where a column depends on those before it.

    O(n k²). NaN makes NaN.

    >>> least_squares(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0]))[0].round(12).tolist()
    [1.0, 2.0]
    """
    k = columns.shape[1]
    coefficients, residual = np.zeros(k), target
    for _ in range(2):
        reduced, kept = triangle(columns, residual)
        if not kept.all():
            return None
        coefficients = coefficients + np.linalg.solve(reduced[:k, :k], reduced[:k, -1])
        residual = target - columns @ coefficients
    return coefficients, residual
