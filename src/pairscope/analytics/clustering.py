"""Which symbols belong together: a tree of average linkage over correlations, and the order that it puts them in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.ticks import F8

__all__ = ["Linkage", "average_linkage", "cluster_order"]


class Linkage(NamedTuple):
    """A tree over N things, a row a merge: the two clusters merged, and the distance between them.

    A cluster is a thing's index, or N + i for the one that merge i made; ``left`` holds the one with the lowest index.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    height: F8


def average_linkage(distance: F8) -> Linkage:
    """Return the tree that merges, again and again, the two clusters whose members are closest on average.

    ``distance`` is symmetric, N by N; its diagonal is not looked at. Of equal distances the lowest indices merge first,
    so that the tree is the same every time. Heights ascend. O(N³) additions in rows of N: 0.1 s at N = 600. NaN,
    negative or infinite distances and a matrix that is not symmetric raise ``ValueError`` naming the argument.
    Reference: Sokal & Michener (1958), *A statistical method for evaluating systematic relationships*.

    >>> average_linkage(np.array([[0.0, 4.0, 1.0], [4.0, 0.0, 2.0], [1.0, 2.0, 0.0]]))
    Linkage(left=array([0, 3]), right=array([2, 1]), height=array([1., 3.]))
    """
    left, right, height = [], [], []
    apart = _symmetric(distance, "distance")
    if not np.isfinite(apart).all() or (apart.size and apart.min() < 0.0):
        raise InputError("distance: has values that are negative or not finite", loc="distance")
    n = apart.shape[0]
    np.fill_diagonal(apart, np.inf)
    name, members = np.arange(n), np.ones(n)
    nearest = apart.argmin(axis=1) if n else np.arange(0)
    gap = apart[np.arange(n), nearest]
    for merge in range(n - 1):
        i = int(gap.argmin())
        a, b = sorted((i, int(nearest[i])))
        left.append(int(name[a]))
        right.append(int(name[b]))
        height.append(float(gap[i]))
        row = (members[a] * apart[a] + members[b] * apart[b]) / (members[a] + members[b])
        row[[a, b]] = np.inf
        apart[a], apart[:, a] = row, row
        apart[b], apart[:, b] = np.inf, np.inf
        members[a] += members[b]
        name[a] = n + merge
        stale = (nearest == a) | (nearest == b)
        stale[a] = True
        nearest[stale] = apart[stale].argmin(axis=1)
        closer = (row < gap) | ((row == gap) & (a < nearest))
        nearest[closer & ~stale] = a
        gap = apart[np.arange(n), nearest]
    return Linkage(np.array(left, np.int64), np.array(right, np.int64), np.array(height, np.float64))


def cluster_order(matrix: F8) -> NDArray[np.int64]:
    r"""Return an order of the rows of a correlation matrix in which rows that belong together stand together.

    The leaves of the tree of average linkage over :math:`d_{ij} = \sqrt{(1 - \rho_{ij}) / 2}`, which is a distance:
    0 for series that move as one, 1 for opposites. Where two branches meet, each is turned so that the ends that touch
    are the closest. Deterministic. A row without correlations (NaN, of a constant series) comes last. O(N³) additions.
    A matrix that is not symmetric, and values beyond [-1, 1], raise ``ValueError`` naming the argument.
    Reference: Mantegna (1999), *Hierarchical structure in financial markets*.

    >>> cluster_order(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]])).tolist()
    [0, 2, 1]
    """
    given = _symmetric(matrix, "matrix")
    np.fill_diagonal(given, 1.0)
    empty = np.isnan(given).sum(axis=0) >= max(given.shape[0] - 1, 1)
    kept = np.flatnonzero(~empty)
    rho = given[np.ix_(kept, kept)]
    if np.isnan(rho).any() or np.abs(rho).max(initial=0.0) > 1.0 + 1e-9:
        raise InputError("matrix: has values that are no correlations", loc="matrix")
    apart: F8 = np.sqrt(np.clip(0.5 * (1.0 - rho), 0.0, 1.0))
    if kept.size < 2:
        return np.concatenate([kept, np.flatnonzero(empty)]).astype(np.int64)
    tree = average_linkage(apart)
    branches = [[k] for k in range(kept.size)]
    for a, b in zip(tree.left.tolist(), tree.right.tolist(), strict=True):
        branches.append(_joined(branches[a], branches[b], apart))
    return np.concatenate([kept[branches[-1]], np.flatnonzero(empty)]).astype(np.int64)


def _joined(a: list[int], b: list[int], apart: F8) -> list[int]:
    """Return two branches side by side, each turned so that the ends that touch are the closest."""
    ways = [(a, b), (a[::-1], b), (a, b[::-1]), (a[::-1], b[::-1])]
    first, second = min(ways, key=lambda way: float(apart[way[0][-1], way[1][0]]))
    return first + second


def _symmetric(matrix: F8, name: str) -> F8:
    """Return a square symmetric matrix as float64, its own copy; ``ValueError`` where it is none."""
    given = np.array(matrix, np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise InputError(f"{name}: must be a square matrix", loc=name)
    if not np.allclose(given, given.T, rtol=0.0, atol=1e-9, equal_nan=True):
        raise InputError(f"{name}: must be symmetric", loc=name)
    return given
