"""Ng and Perron's modified criterion of a single series: how many lags a unit root test takes."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pairscope.errors import DegenerateSeries
from pairscope.market.ticks import F8

__all__ = ["modified_lags"]


def modified_lags(x: F8, maxlag: int) -> int:
    r"""Return the number of lags from 0 to ``maxlag`` that minimises the modified Akaike criterion.

    .. math:: \mathrm{MAIC}(k) = \ln \hat\sigma^2_k + \frac{2 (\tau_k + k)}{n}, \qquad
        \tau_k = \hat\gamma_k^2 \sum x_{t-1}^2 / \hat\sigma^2_k

    over the n rows that ``maxlag`` leaves; gamma is the level's coefficient in the Dickey-Fuller regression without
    constant (a residual has none). Where changes have a negative moving-average part, as the bounce between bid and ask
    makes, AIC takes too few lags and the test then rejects too often; the penalty grows there with the bias that few
    lags leave. NaN is not allowed; a series that its past predicts without error raises ``ValueError``. O(n maxlag³).
    Reference: Ng & Perron (2001), Econometrica 69; Perron & Qu (2007) for series whose mean was taken off first.

    >>> noise = np.random.default_rng(0).standard_normal(2000)
    >>> modified_lags(np.cumsum(noise), 8) < modified_lags(np.cumsum(noise[1:] - 0.8 * noise[:-1]), 8)
    True
    """
    change = np.diff(x)
    past = sliding_window_view(change, maxlag + 1)[:, ::-1]
    target, rows = past[:, 0], past.shape[0]
    level = x[maxlag:-1]
    square = float(level @ level)
    values = []
    for lags in range(maxlag + 1):
        columns = np.column_stack([level, past[:, 1 : 1 + lags]])
        fit, _, rank, _ = np.linalg.lstsq(columns, target, rcond=None)
        left = target - columns @ fit
        rss = float(left @ left)
        if rank <= lags or rss <= 1e-24 * float(target @ target):
            raise DegenerateSeries("x: follows from its own past without error", loc="x")
        values.append(np.log(rss) + 2.0 * (float(fit[0]) ** 2 * square * rows / rss + lags) / rows)
    return int(np.argmin(values))
