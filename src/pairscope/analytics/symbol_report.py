"""All that is said of one symbol: its level, its returns, its indicators, and whether it comes back to a mean."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pairscope.analytics.indicators import indicators
from pairscope.analytics.mean_reversion import zscore
from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.price_stats import checked, realized_volatility, rolling_stats, vwap
from pairscope.analytics.report_parts import Parts, Report
from pairscope.analytics.reversion_report import reversion_parts, stationarity_parts
from pairscope.errors import NotEnoughData
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import F8

__all__ = ["REPORTED_INDICATORS", "symbol_columns", "symbol_report"]

REPORTED_INDICATORS: Final = ("sma:20", "ema:20", "rsi:14", "bb:20:2", "macd:12:26:9", "atr:14", "vwap", "rv:60")
"""The indicators whose last values a report tells."""

_YEAR_NS: Final = 365 * 86_400_000_000_000


def symbol_report(bars: BarBatch, *, lookback: int, window: int) -> Report:
    r"""Return what the newest closed bars of one symbol say of it.

    ``last``, ``mean``, ``std``, ``min``, ``max`` and ``zscore`` are those of the last ``window`` closes (sample
    standard deviation, the newest included), ``vwap`` that of the same bars. ``returns`` are the moments of the log
    returns over the ``lookback`` bars: sample standard deviation, skewness :math:`m_3 / m_2^{3/2}` and excess kurtosis
    :math:`m_4 / m_2^2 - 3` (0 for a normal distribution). ``realized_volatility`` is their root mean square, a year of
    365 days by the time that the bars span. Unit root tests, Hurst exponent, half-life and variance ratio are those of
    the closes over the lookback.

    ``bars`` are closed, of one symbol, oldest first, and may hold more than ``lookback`` bars: the older ones warm the
    indicators up. What has no answer is None, with its reason; no bar at all raises ``ValueError``. NaN in the closes
    does too. O(lookback), and what the tests cost.

    >>> from pairscope.market.symbols import Symbols
    >>> symbol_report(BarBatch.empty(Symbols(["AUSDT"]), "1m"), lookback=10, window=5)
    Traceback (most recent call last):
    pairscope.errors.NotEnoughData: symbol: closed bars needs 1, has 0
    """
    if not len(bars):
        raise NotEnoughData("symbol: closed bars", need=1, have=0)
    every = bars
    bars = bars.take(slice(max(0, len(bars) - lookback), None))
    close = checked(bars.close, "symbol", positive=True, constant=True)
    parts = Parts()
    document: dict[str, Any] = {"n": close.size, "lookback": lookback, "window": window, "last": float(close[-1])}
    document |= _level(parts, bars, close, window)
    document["returns"] = parts.group("returns", ("mean", "std", "skew", "kurtosis"), lambda: _returns(close))
    document["realized_volatility"] = parts.number(
        "realized_volatility", lambda: realized_volatility(_moved(close, 2), periods_per_year=_per_year(bars))
    )
    document["realized_volatility_bar"] = parts.number(
        "realized_volatility_bar", lambda: realized_volatility(_moved(close, 2))
    )
    document["indicators"] = {
        name: parts.number(f"indicators.{name}", lambda column=column: column[-1], f"needs more bars, has {len(every)}")  # type: ignore[misc]
        for name, column in indicators(every, REPORTED_INDICATORS).items()
    }
    document |= stationarity_parts(parts, close)
    document |= reversion_parts(parts, "", close)
    return Report(document, parts.reasons)


def symbol_columns(close: F8, volume: F8, *, window: int, step_ns: int) -> dict[str, F8]:
    """Return one symbol bar by bar: price, log return, volume, volatility, mean, deviation and z-score.

    ``volatility`` is the root mean square of the last ``window`` log returns of bars ``step_ns`` long, a year of 365
    days; mean, sample deviation and ``zscore`` are those of the last ``window`` closes. NaN in warm-up and where it is
    not defined. NaN in the closes, infinities and prices that are not positive raise ``ValueError``. O(n).

    >>> found = symbol_columns(np.array([1.0, 2.0, 4.0]), np.ones(3), window=2, step_ns=365 * 86_400_000_000_000)
    >>> found["return"].round(6).tolist(), found["volatility"].round(6).tolist()
    ([nan, 0.693147, 0.693147], [nan, nan, 0.693147])
    """
    close = checked(close, "close", need=0, positive=True, constant=True)
    changes, volatility = np.full(close.size, np.nan), np.full(close.size, np.nan)
    mean, std, score = (np.full(close.size, np.nan) for _ in range(3))
    if close.size > 1:
        changes[1:] = np.diff(np.log(close))
    varied = close.size > 0 and close.min() < close.max()
    if varied and close.size > window:
        volatility = np.asarray(realized_volatility(close, window, periods_per_year=_YEAR_NS / step_ns))
    if varied and close.size >= window:
        stats = rolling_stats(close, window)
        mean, std, score = stats.mean, stats.std, zscore(close, window)
    return {
        "price": close,
        "return": changes,
        "volume": np.array(volume, np.float64),
        "volatility": volatility,
        "mean": mean,
        "std": std,
        "zscore": score,
    }


def _level(parts: Parts, bars: BarBatch, close: F8, window: int) -> dict[str, Any]:
    """Return what the last ``window`` closes say of the newest."""
    names = ("mean", "std", "min", "max", "zscore", "vwap")
    if close.size < window:
        parts.reasons |= dict.fromkeys(names, f"needs {window} bars, has {close.size}")
        return dict.fromkeys(names)
    rows = close[-window:]
    spread = zscore_window(close, np.zeros(close.size), close.size, window, 0.0, 0.0)
    return {
        "mean": spread.mean,
        "std": spread.std,
        "min": float(rows.min()),
        "max": float(rows.max()),
        "zscore": parts.number("zscore", lambda: spread.zscore, f"the last {window} closes are all the same"),
        "vwap": parts.number("vwap", lambda: vwap(bars.vwap[-window:], bars.volume[-window:]), "nothing was traded"),
    }


def _returns(close: F8) -> dict[str, float]:
    """Return the moments of the log returns; those of shape are NaN where no return differs from another."""
    changes = np.diff(np.log(_moved(close, 3)))
    mean = float(changes.mean())
    off = changes - mean
    m2 = float(np.mean(off**2))
    flat = m2 <= (np.finfo(np.float64).eps * float(np.abs(np.log(close)).max())) ** 2
    return {
        "mean": mean,
        "std": math.sqrt(m2 * changes.size / (changes.size - 1)),
        "skew": math.nan if flat else float(np.mean(off**3)) / m2**1.5,
        "kurtosis": math.nan if flat else float(np.mean(off**4)) / m2**2 - 3.0,
        "n": changes.size,
    }


def _moved(close: F8, need: int) -> F8:
    """Return closes that are enough and not all the same."""
    return checked(close, "symbol", need=need)


def _per_year(bars: BarBatch) -> float:
    """Return how many returns a year of 365 days has at the rate of these bars; slots without a trade are no return."""
    times = bars.ts_open_ns
    return _YEAR_NS * (times.size - 1) / int(times[-1] - times[0])
