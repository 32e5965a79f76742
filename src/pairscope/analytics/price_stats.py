"""What a price series says of itself: returns, rolling moments and extremes, realised volatility, VWAP.

A window slides as two halves merged: what is left of the block before, accumulated backwards once a block of
``window`` observations, and the block that grows (van Herk 1992). Nothing is ever subtracted, so nothing drifts,
however long the series, and a value depends on its own window alone.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "WindowStats",
    "checked",
    "is_number",
    "log_returns",
    "realized_volatility",
    "rolling_stats",
    "rolling_sum",
    "simple_returns",
    "vwap",
]


class WindowStats(NamedTuple):
    """Rolling statistics, one value an observation, NaN until the window is full.

    ``std`` is the sample standard deviation; ``zscore`` is NaN where the window is constant.
    """

    mean: F8
    std: F8
    min: F8
    max: F8
    zscore: F8


@kernel
def _slide(x: F8, window: int, out: NDArray[np.float64]) -> None:  # pragma: no cover - compiled
    """Write mean, std, min, max and z-score of each full window.

    ``left`` holds, for the block before the present one, the moments of its observations i … end, measured from the
    present block's first value.
    """
    left = np.empty((window + 1, 4))
    mean = m2 = low = high = origin = 0.0
    for t in range(x.size):
        i = t % window
        if i == 0:
            origin = x[t]
            if t > 0:
                n = 0.0
                mean = m2 = 0.0
                low, high = np.inf, -np.inf
                for k in range(window - 1, 0, -1):
                    value = x[t - window + k]
                    n += 1.0
                    delta = (value - origin) - mean
                    mean += delta / n
                    m2 += delta * ((value - origin) - mean)
                    low = min(low, value)
                    high = max(high, value)
                    left[k, 0] = mean
                    left[k, 1] = m2
                    left[k, 2] = low
                    left[k, 3] = high
            mean = m2 = 0.0
            low, high = np.inf, -np.inf
        value = x[t] - origin
        delta = value - mean
        mean += delta / (i + 1.0)
        m2 += delta * (value - mean)
        low = min(low, x[t])
        high = max(high, x[t])
        if t < window - 1:
            continue
        a, b, lowest, highest = mean, m2, low, high
        if i < window - 1:
            older = window - 1.0 - i
            gap = mean - left[i + 1, 0]
            a = left[i + 1, 0] + gap * ((i + 1.0) / window)
            b = left[i + 1, 1] + m2 + gap * gap * (older * (i + 1.0) / window)
            lowest = min(low, left[i + 1, 2])
            highest = max(high, left[i + 1, 3])
        std = 0.0 if lowest == highest else np.sqrt(b / (window - 1.0))
        out[0, t] = origin + a
        out[1, t] = std
        out[2, t] = lowest
        out[3, t] = highest
        if std > 0.0:
            out[4, t] = (value - a) / std


@kernel
def _slide_sum(x: F8, window: int, out: F8) -> None:  # pragma: no cover - compiled
    """Write the sum of each full window."""
    left = np.empty(window + 1)
    total = 0.0
    for t in range(x.size):
        i = t % window
        if i == 0:
            if t > 0:
                total = 0.0
                for k in range(window - 1, 0, -1):
                    total += x[t - window + k]
                    left[k] = total
            total = 0.0
        total += x[t]
        if t >= window - 1:
            out[t] = total if i == window - 1 else left[i + 1] + total


def checked(x: F8, name: str, *, need: int = 1, positive: bool = False, constant: bool = False) -> F8:
    """Return a series as float64, or raise a ``ValueError`` that names the argument. O(n).

    Raises on NaN and infinities, on fewer than ``need`` values, on anything but one dimension, with ``positive`` on
    values that are not, and, unless ``constant`` allows it, where all values are equal.

    >>> checked(np.array([1, 2]), "x").tolist()
    [1.0, 2.0]
    >>> checked(np.array([1.0, np.nan]), "x")
    Traceback (most recent call last):
    pairscope.errors.InputError: x: has values that are not finite
    """
    try:
        series = np.array(x, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: must be numbers", loc=name) from None
    if series.ndim != 1:
        raise InputError(f"{name}: must have one dimension, has {series.ndim}", loc=name)
    if series.size < need:
        raise NotEnoughData(f"{name}:", need=need, have=series.size)
    if not np.isfinite(series).all():
        raise InputError(f"{name}: has values that are not finite", loc=name)
    if positive and series.size and series.min() <= 0.0:
        raise InputError(f"{name}: has values that are not positive", loc=name)
    if not constant and series.size > 1 and series.min() == series.max():
        raise DegenerateSeries(f"{name}: is constant", loc=name)
    return series


def is_number(value: Any) -> bool:
    """Return whether a value is one real number, NaN included, and neither text nor a truth value. O(1).

    >>> is_number(np.int64(3)), is_number("3"), is_number(True), is_number(None)
    (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def simple_returns(x: F8) -> F8:
    r"""Return :math:`x_t / x_{t-1} - 1`, NaN first, so that a return stands at the bar that earned it. O(n).

    ``x`` are prices; NaN, infinities and values that are not positive raise ``ValueError``.

    >>> simple_returns(np.array([100.0, 110.0])).round(12).tolist()
    [nan, 0.1]
    """
    price = checked(x, "x", positive=True, constant=True)
    out = np.full(price.size, np.nan)
    out[1:] = price[1:] / price[:-1] - 1.0
    return out


def log_returns(x: F8) -> F8:
    r"""Return :math:`\ln x_t - \ln x_{t-1}`, NaN first, so that a return stands at the bar that earned it. O(n).

    ``x`` are prices; NaN, infinities and values that are not positive raise ``ValueError``.

    >>> log_returns(np.array([1.0, np.e])).tolist()
    [nan, 1.0]
    """
    price = checked(x, "x", positive=True, constant=True)
    out = np.full(price.size, np.nan)
    out[1:] = np.diff(np.log(price))
    return out


def rolling_stats(x: F8, window: int) -> WindowStats:
    """Return mean, sample standard deviation, minimum, maximum and z-score of each window of ``window`` observations.

    The z-score is that of the window's newest observation, itself included in mean and deviation. NaN before the
    window is full; the z-score also where the window is constant. O(n), whatever the window; equal to a computation
    from scratch to 1e-9 at any length and offset. NaN, infinities, a constant series and fewer values than the window
    raise ``ValueError`` naming the argument.

    >>> stats = rolling_stats(np.array([1.0, 2.0, 6.0]), 2)
    >>> stats.mean.tolist(), stats.min.tolist(), stats.max.tolist()
    ([nan, 1.5, 4.0], [nan, 1.0, 2.0], [nan, 2.0, 6.0])
    """
    size = _window(window, least=2)
    series = checked(x, "x", need=size)
    out = np.full((5, series.size), np.nan)
    _slide(series, size, out)
    return WindowStats(*out)


def rolling_sum(x: F8, window: int) -> F8:
    """Return the sum of each window, NaN before it is full. O(n), without drift. NaN in ``x`` raises ``ValueError``.

    >>> rolling_sum(np.array([1.0, 2.0, 3.0]), 2).tolist()
    [nan, 3.0, 5.0]
    """
    size = _window(window, least=1)
    series = checked(x, "x", need=size, constant=True)
    out = np.full(series.size, np.nan)
    _slide_sum(series, size, out)
    return out


def realized_volatility(
    x: F8, window: int | None = None, *, periods_per_year: float | None = None
) -> float | NDArray[np.float64]:
    r"""Return the root mean square of log returns, a bar or, with ``periods_per_year``, a year.

    .. math:: \sigma = \sqrt{\frac{P}{n} \sum r_i^2}, \qquad r_i = \ln x_i - \ln x_{i-1}

    Without ``window`` one number over all returns; with it an array, the last ``window`` returns at each bar (the
    first value stands at index ``window``, NaN before). No mean is taken off: over short spans it is noise. A year of
    one-minute bars has 525,600 (365 days). O(n). ``x`` are prices; NaN, infinities, values that are not positive, a
    constant series and fewer than ``window + 1`` prices raise ``ValueError`` naming the argument.
    Reference: Andersen, Bollerslev, Diebold & Labys (2003), *Modeling and Forecasting Realized Volatility*.

    >>> realized_volatility(np.array([1.0, np.e, 1.0, np.e]))
    1.0
    """
    if periods_per_year is not None and not 0.0 < periods_per_year < np.inf:
        raise InputError("periods_per_year: must be positive", loc="periods_per_year")
    scale = 1.0 if periods_per_year is None else periods_per_year
    size = None if window is None else _window(window, least=1)
    price = checked(x, "x", need=2 if size is None else size + 1, positive=True)
    squares = np.diff(np.log(price)) ** 2
    if size is None:
        return float(np.sqrt(scale * squares.mean()))
    out = np.full(price.size, np.nan)
    _slide_sum(squares, size, out[1:])
    answer: F8 = np.sqrt(out * (scale / size))
    return answer


def vwap(price: F8, volume: F8, window: int | None = None) -> float | NDArray[np.float64]:
    r"""Return the volume-weighted average price, :math:`\sum p v / \sum v`, of all or of each window.

    Without ``window`` one number, with it an array, NaN before the window is full. NaN also where nothing was traded.
    O(n). NaN, infinities, negative volumes and unequal lengths raise ``ValueError`` naming the argument.

    >>> vwap(np.array([10.0, 20.0]), np.array([3.0, 1.0]))
    12.5
    """
    prices = checked(price, "price", constant=True)
    volumes = checked(volume, "volume", constant=True)
    if volumes.size != prices.size:
        raise InputError(f"volume: has {volumes.size} values, price has {prices.size}", loc="volume")
    if volumes.min() < 0.0:
        raise InputError("volume: has negative values", loc="volume")
    if window is None:
        total = float(volumes.sum())
        return float((prices * volumes).sum()) / total if total > 0.0 else float("nan")
    quote, base = rolling_sum(prices * volumes, window), rolling_sum(volumes, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        answer: F8 = np.where(base > 0.0, quote / base, np.nan)
    return answer


def _window(window: int, *, least: int) -> int:
    """Return a window as an integer; ``ValueError`` where it is not a whole number from ``least`` on."""
    if isinstance(window, bool) or int(window) != window or window < least:
        raise InputError(f"window: must be a whole number of at least {least}", loc="window")
    return int(window)
