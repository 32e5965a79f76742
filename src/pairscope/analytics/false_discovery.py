"""Many tests at once: p-values adjusted so that a bound on them bounds the expected share of false discoveries."""

from __future__ import annotations

import numpy as np

from pairscope.analytics.price_stats import checked
from pairscope.errors import InputError
from pairscope.market.ticks import F8

__all__ = ["benjamini_hochberg", "benjamini_yekutieli"]


def benjamini_hochberg(pvalues: F8) -> F8:
    r"""Return the q-values: the smallest false discovery rate at which each test would be called a discovery.

    .. math:: q_{(i)} = \min_{j \ge i} \min(1,\; m\, p_{(j)} / j)

    for the i-th smallest of m p-values, in the order of the input. Calling every test with q ≤ 0.05 a discovery keeps
    the expected share of false ones among them at most 0.05, where the tests are independent or positively dependent.
    O(m log m). NaN, values outside [0, 1] and an empty input raise ``ValueError``.
    Reference: Benjamini & Hochberg (1995), *Controlling the False Discovery Rate*, JRSS B 57.

    >>> benjamini_hochberg(np.array([0.04, 0.01, 0.03])).round(4).tolist()
    [0.04, 0.03, 0.04]
    """
    return _step_up(pvalues, 1.0)


def benjamini_yekutieli(pvalues: F8) -> F8:
    r"""Return the q-values that hold however the tests depend on each other.

    .. math:: q_{(i)} = \min_{j \ge i} \min(1,\; m\, c_m\, p_{(j)} / j), \qquad c_m = \sum_{k=1}^m 1/k

    Stricter than :func:`benjamini_hochberg` by :math:`c_m` (about ln m + 0.58), and the answer where nothing is known
    of the dependence. O(m log m). NaN, values outside [0, 1] and an empty input raise ``ValueError``.
    Reference: Benjamini & Yekutieli (2001), *The Control of the False Discovery Rate in Multiple Testing under
    Dependency*, Annals of Statistics 29.

    >>> benjamini_yekutieli(np.array([0.04, 0.01, 0.03])).round(4).tolist()
    [0.0733, 0.055, 0.0733]
    """
    return _step_up(pvalues, float((1.0 / np.arange(1, np.size(pvalues) + 1)).sum()))


def _step_up(pvalues: F8, penalty: float) -> F8:
    """Scale each p-value by tests over rank, then let none exceed one that is ranked behind it."""
    p = checked(pvalues, "pvalues", constant=True)
    if p.min() < 0.0 or p.max() > 1.0:
        raise InputError("pvalues: must be from 0 to 1", loc="pvalues")
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (p.size * penalty / np.arange(1, p.size + 1))
    out = np.empty(p.size)
    out[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return out
