"""The variance ratio: whether moves over many observations are as large as a random walk's would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.autoregression import centred
from pairscope.errors import DegenerateSeries, InputError
from pairscope.market.ticks import F8

__all__ = ["VarianceRatio", "variance_ratio"]


class VarianceRatio(NamedTuple):
    """A column each, a row a lag: the ratio, its robust z-statistic, and the two-sided p-value of a random walk."""

    lags: NDArray[np.int64]
    ratio: F8
    statistic: F8
    pvalue: F8


def variance_ratio(x: F8, lags: Sequence[int] = (2, 4, 8, 16)) -> VarianceRatio:
    r"""Return the variance of moves over q observations in units of q times that over one, with its test, for each q.

    .. math:: VR(q) = \frac{\hat\sigma^2(q)}{\hat\sigma^2(1)}, \qquad
              z = \frac{\sqrt{m} (VR(q) - 1)}{\sqrt{\theta(q)}}, \qquad
              \theta(q) = 4 \sum_{k=1}^{q-1} \Bigl(1 - \frac kq\Bigr)^2 \delta_k, \qquad
              \delta_k = m \frac{\sum_t d_t^2 d_{t-k}^2}{(\sum_t d_t^2)^2}

    where d are the m = n - 1 moves less their mean, and both variances are the unbiased ones over overlapping spans.
    Null hypothesis: ``x`` is a random walk, with drift perhaps, whose moves are uncorrelated; their variance may change
    with time. Below 1 moves are undone (reversion), above 1 they go on (trend). z is standard normal in large samples:
    q should be well below n. ``x`` is a level: a log price or a spread.

    O(n q) a lag. NaN, infinities, a constant series, one that moves by the same step always, lags that are not whole
    numbers of at least 2, and fewer than q + 2 values raise ``ValueError`` naming the argument. Reference: Lo &
    MacKinlay (1988), *Stock market prices do not follow random walks*; Campbell, Lo & MacKinlay (1997), ch. 2.4.

    >>> variance_ratio(np.array([0.0, 1.0, 0.0, 1.0, 0.5, 1.5, 0.5, 1.0]), [2]).ratio.round(3).tolist()
    [0.125]
    """
    asked = list(lags)
    if not asked:
        raise InputError("lags: names none", loc="lags")
    for lag in asked:
        if isinstance(lag, bool) or not math.isfinite(lag) or int(lag) != lag or lag < 2:
            raise InputError("lags: must be whole numbers of at least 2", loc="lags")
    values, _, _ = centred(x, need=max(int(lag) for lag in asked) + 2)
    m = values.size - 1
    drift = float(values[-1] - values[0]) / m
    squares = (np.diff(values) - drift) ** 2
    total = float(squares.sum())
    if total <= 1e-28 * m:
        raise DegenerateSeries("x: moves by the same step always", loc="x")
    ratio, statistic = np.empty(len(asked)), np.empty(len(asked))
    for i, lag in enumerate(asked):
        q = int(lag)
        spans = (values[q:] - values[:-q]) - q * drift
        ratio[i] = float(spans @ spans) / (q * (m - q + 1) * (1.0 - q / m)) / (total / (m - 1))
        theta = sum(4.0 * (1.0 - k / q) ** 2 * m * float(squares[k:] @ squares[:-k]) / total**2 for k in range(1, q))
        if theta <= 0.0:
            raise DegenerateSeries(f"x: moves too seldom for a lag of {q}", loc="x")
        statistic[i] = math.sqrt(m) * (ratio[i] - 1.0) / math.sqrt(theta)
    pvalue = np.array([math.erfc(abs(z) / math.sqrt(2.0)) for z in statistic])
    return VarianceRatio(np.array(asked, np.int64), ratio, statistic, pvalue)
