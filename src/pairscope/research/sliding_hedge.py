"""Hedge ratios at every bar, each worked out from the one before: for runs that are counted, not shown.

``causal_hedge`` fits each window from scratch, so that its bits do not depend on where the series begins, and over a
week of minutes that costs up to seconds. Hundreds of surrogate pairs are traded to see how often chance does as well;
there least squares that slide, good to nine digits, and Huber's fit within a part of its own error will do.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.analytics.backtest import CausalHedge
from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["sliding_huber", "sliding_ols"]

_AGAIN: Final = 4
"""Bars after which the residuals' scale is taken anew; a window changes by one row a bar."""
_NORMAL_MAD: Final = 0.6744897501960817
_ROUNDING: Final = 1e-12


@kernel
def _slide_ols(y: F8, x: F8, lookback: int, alpha: F8, beta: F8) -> None:  # pragma: no cover - compiled
    """Write the coefficients of each full window; its sums slide, and are taken anew once a window."""
    sx = sy = sxx = sxy = x0 = y0 = 0.0
    for t in range(lookback - 1, y.size):
        first = t + 1 - lookback
        if first % lookback == 0:
            sx = sy = sxx = sxy = 0.0
            x0, y0 = x[t], y[t]
            for i in range(first, t + 1):
                u, v = x[i] - x0, y[i] - y0
                sx += u
                sy += v
                sxx += u * u
                sxy += u * v
        else:
            u, v = x[t] - x0, y[t] - y0
            w, q = x[first - 1] - x0, y[first - 1] - y0
            sx += u - w
            sy += v - q
            sxx += u * u - w * w
            sxy += u * v - w * q
        spread = sxx - sx * (sx / lookback)
        if spread > _ROUNDING * sxx:
            beta[t] = (sxy - sx * (sy / lookback)) / spread
            alpha[t] = (y0 + sy / lookback) - beta[t] * (x0 + sx / lookback)


@kernel
def _slide_huber(
    y: F8, x: F8, lookback: int, tuning: float, tol: float, most: int, alpha: F8, beta: F8
) -> None:  # pragma: no cover - compiled
    """Write the coefficients of each full window: one weighted step a bar, from the bar before's."""
    bound = 0.0
    known = False
    r = np.empty(lookback)
    for t in range(lookback - 1, y.size):
        start = t + 1 - lookback
        if not known or (t - lookback + 1) % _AGAIN == 0:
            if not known:
                fit = huber_window(y, x, t + 1, lookback, tuning, tol, most)
                a, b = fit.alpha, fit.beta
            if not abs(b) < np.inf:
                continue
            for i in range(lookback):
                r[i] = abs((y[start + i] - a) - b * x[start + i])
            bound = tuning * np.median(r) / _NORMAL_MAD
            known = bool(bound > 0.0)
        if not known:
            alpha[t], beta[t] = a, b  # more than half of the rows lie on the line: from scratch
            continue
        x0, y0 = x[t], y[t]
        level = (a - y0) + b * x0
        sw = su = sv = suu = suv = 0.0
        for i in range(start, t + 1):
            u = x[i] - x0
            v = y[i] - y0
            e = abs((v - level) - b * u)
            weight = 1.0 if e <= bound else bound / e
            part = weight * u
            sw += weight
            su += part
            sv += weight * v
            suu += part * u
            suv += part * v
        spread = suu - su * (su / sw) if sw > 0.0 else 0.0
        known = spread > 0.0
        if known:
            b = (suv - su * (sv / sw)) / spread
            a = ((sv - b * su) / sw + y0) - b * x0
            alpha[t], beta[t] = a, b


def sliding_huber(y: F8, x: F8, lookback: int) -> CausalHedge:
    """Return nearly ``causal_hedge(y, x, "huber", lookback)``, of bars up to each alone; NaN before. O(n · lookback).

    >>> x = np.arange(40.0) % 7
    >>> y = 1.0 + 2.0 * x + 0.1 * np.cos(3.0 * np.arange(40.0)) + 100.0 * (np.arange(40) == 25)
    >>> sliding_huber(y, x, 20).beta[[18, 19, 39]].round(1).tolist()
    [nan, 2.0, 2.0]
    """
    alpha, beta = np.full(y.size, np.nan), np.full(y.size, np.nan)
    _slide_huber(y, x, int(lookback), HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST, alpha, beta)
    return CausalHedge(alpha, beta)


def sliding_ols(y: F8, x: F8, lookback: int) -> CausalHedge:
    """Return nearly ``causal_hedge(y, x, "ols", lookback)``, of bars up to each alone; NaN before. O(n).

    >>> x = np.arange(40.0) % 7
    >>> sliding_ols(1.0 + 2.0 * x, x, 20).beta[[18, 19, 39]].round(9).tolist()
    [nan, 2.0, 2.0]
    """
    alpha, beta = np.full(y.size, np.nan), np.full(y.size, np.nan)
    _slide_ols(y, x, int(lookback), alpha, beta)
    return CausalHedge(alpha, beta)
