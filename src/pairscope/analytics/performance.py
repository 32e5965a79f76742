r"""What a backtest earned, and how sure that is: ratios of its returns, drawdowns, and the Sharpe ratio's own error.

A return is the relative change of equity from one bar to the next. A figure that is not defined is None, never NaN or
infinite, because it goes to people as JSON. A year has 365 days.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import erfc, exp, sqrt
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.analytics.price_stats import checked
from pairscope.errors import InputError
from pairscope.market.ticks import F8

__all__ = [
    "ReturnShape",
    "deflated_sharpe",
    "drawdowns",
    "effective_returns",
    "expected_best_sharpe",
    "longest_drawdown",
    "performance",
    "probabilistic_sharpe",
    "return_shape",
    "sharpe_stderr",
    "sortino",
    "sortino_stderr",
    "tail_ratio",
]

_EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


class ReturnShape(NamedTuple):
    """Returns in five figures: Sharpe ratio a bar, skewness and kurtosis (3 is normal), None where they do not vary."""

    n: int
    mean: float
    sharpe: float | None
    skew: float | None
    kurtosis: float | None


def return_shape(returns: F8) -> ReturnShape:
    r"""Return mean, Sharpe ratio and shape of returns, all of one bar.

    .. math:: SR = \bar r / s, \quad \gamma_3 = m_3 / m_2^{3/2}, \quad \gamma_4 = m_4 / m_2^2

    with s the sample standard deviation and :math:`m_k` central moments. None where the returns do not vary beyond
    rounding. NaN, infinities and fewer than two values raise ``ValueError``. O(n).
    Reference: Sharpe (1994), *Journal of Portfolio Management* 21.

    >>> [round(value, 4) for value in return_shape(np.array([0.0, 0.0, 0.0, 4.0]))]
    [4, 1.0, 0.5, 1.1547, 2.3333]
    """
    r = checked(returns, "returns", need=2, constant=True)
    mean = float(r.mean())
    gaps = r - mean
    size = float(np.abs(gaps).max())
    if size <= 1e-15 + 1e-12 * abs(mean):
        return ReturnShape(r.size, mean, None, None, None)
    unit = gaps / size
    m2 = float((unit**2).mean())
    s = size * sqrt(m2 * r.size / (r.size - 1))
    return ReturnShape(r.size, mean, mean / s, float((unit**3).mean()) / m2**1.5, float((unit**4).mean()) / (m2 * m2))


def sharpe_stderr(sharpe: float, n: int, *, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    r"""Return the standard error of a Sharpe ratio found in n independent returns, in the ratio's own period.

    .. math:: \sqrt{\frac{1 - \gamma_3 SR + \frac{\gamma_4 - 1}{4} SR^2}{n - 1}}

    ``sharpe`` is that of one return, not of a year. NaN and infinities raise ``ValueError``. O(1).
    Reference: Mertens (2002); Bailey & López de Prado (2012), *Journal of Risk* 15.

    >>> sharpe_stderr(0.0, 101)
    0.1
    """
    for name, value in (("sharpe", sharpe), ("skew", skew), ("kurtosis", kurtosis)):
        if not np.isfinite(value):
            raise InputError(f"{name}: must be finite", loc=name)
    if n < 2:
        raise InputError("n: must be at least 2", loc="n")
    inside = 1.0 - skew * sharpe + 0.25 * (kurtosis - 1.0) * sharpe * sharpe
    if not inside > 0.0:
        raise InputError("kurtosis: is less than a skewness of this size allows", loc="kurtosis")
    return sqrt(inside / (n - 1))


def probabilistic_sharpe(
    sharpe: float, n: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    r"""Return the probability that the true Sharpe ratio exceeds a benchmark, given what n returns showed.

    .. math:: PSR = \Phi\left( (SR - SR^*) \sqrt{n - 1} \Big/
        \sqrt{1 - \gamma_3 SR + \tfrac{\gamma_4 - 1}{4} SR^2} \right)

    Both ratios are those of one return, not of a year. Assumes independent returns of one law. NaN and infinities
    raise ``ValueError``. O(1). Reference: Bailey & López de Prado (2012), *Journal of Risk* 15, whose example of 24
    monthly returns this is:

    >>> round(probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164), 3)
    0.913
    """
    if not np.isfinite(benchmark):
        raise InputError("benchmark: must be finite", loc="benchmark")
    error = sharpe_stderr(sharpe, n, skew=skew, kurtosis=kurtosis)
    return 0.5 * erfc((benchmark - sharpe) / error / sqrt(2.0))


def expected_best_sharpe(trials: int, variance: float) -> float:
    r"""Return the Sharpe ratio to expect of the best of so many trials, of which none has any skill.

    .. math:: SR_0 = \sqrt{V} \left( (1 - \gamma) \Phi^{-1}(1 - 1/N) + \gamma \Phi^{-1}(1 - 1/(N e)) \right)

    with :math:`\gamma` Euler's constant and ``variance`` V that of the trials' ratios, which are taken as independent
    and normal. 0 for one trial. NaN raises ``ValueError``. O(1).
    Reference: Bailey & López de Prado (2014), *Journal of Portfolio Management* 40.

    >>> round(expected_best_sharpe(100, 0.5 / 250), 4)
    0.1132
    """
    if int(trials) != trials or trials < 1:
        raise InputError("trials: must be a whole number of at least 1", loc="trials")
    if not 0.0 <= variance < np.inf:
        raise InputError("variance: must be a number of at least 0", loc="variance")
    if trials == 1:
        return 0.0
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * exp(1.0)))
    return sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpe(
    sharpe: float, n: int, *, trials: int, variance: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the best of so many trials has any skill.

    That is ``probabilistic_sharpe`` against ``expected_best_sharpe``, what the best of them would show without any.
    ``sharpe`` is that of one return of the trial chosen, ``variance`` that of all trials' ratios, per return too.
    Assumes what those two do. NaN raises ``ValueError``. O(1). Reference: Bailey & López de Prado (2014), *Journal of
    Portfolio Management* 40, whose example this is: 2.5 a year in five years of days, the best of 100.

    >>> round(deflated_sharpe(2.5 / 250**0.5, 1250, trials=100, variance=0.5 / 250, skew=-3.0, kurtosis=10.0), 4)
    0.9004
    """
    benchmark = expected_best_sharpe(trials, variance)
    return probabilistic_sharpe(sharpe, n, benchmark=benchmark, skew=skew, kurtosis=kurtosis)


def sortino(returns: F8) -> float | None:
    r"""Return the mean over the downside deviation, both of one bar; None where no return is below zero.

    .. math:: \bar r \Big/ \sqrt{\tfrac1n \textstyle\sum \min(r_i, 0)^2}

    NaN, infinities and an empty series raise ``ValueError``. O(n).
    Reference: Sortino & Price (1994), *Journal of Investing* 3.

    >>> sortino(np.array([3.0, -1.0, 3.0, -1.0])).__round__(6)
    1.414214
    """
    r = checked(returns, "returns", constant=True)
    worst = float(-r.min())
    if worst <= 0.0:
        return None
    below = worst * sqrt(float((np.minimum(r / worst, 0.0) ** 2).mean()))
    return float(r.mean()) / below


def sortino_stderr(returns: F8) -> float | None:
    r"""Return the standard error of the Sortino ratio of one bar; None where there is no ratio.

    .. math:: \sqrt{\frac1n \left( \frac{s^2}{\delta^2} - \frac{\bar r}{\delta^4} \mathrm{cov}(r, d)
        + \frac{\bar r^2}{4 \delta^6} \mathrm{var}(d) \right)}, \quad d_i = \min(r_i, 0)^2, \; \delta^2 = \bar d

    which is the delta method on the two means that make the ratio. Assumes independent returns of one law. NaN,
    infinities and fewer than two values raise ``ValueError``. O(n).
    Reference: Casella & Berger (2002), *Statistical Inference*, sec. 5.5.4.

    >>> sortino_stderr(np.array([3.0, -1.0, 3.0, -1.0])).__round__(6)
    2.041241
    """
    r = checked(returns, "returns", need=2, constant=True)
    worst = float(-r.min())
    if worst <= 0.0:
        return None
    unit = r / worst
    below = np.minimum(unit, 0.0) ** 2
    mean, square = float(unit.mean()), float(below.mean())
    law = np.cov(unit, below)
    inside = law[0, 0] / square - mean * law[0, 1] / square**2 + 0.25 * mean**2 * law[1, 1] / square**3
    return sqrt(max(float(inside), 0.0) / r.size)


def effective_returns(returns: F8, lags: int) -> float:
    r"""Return how many independent returns say as much of the mean as these, which may depend on each other.

    .. math:: n \Big/ \left( 1 + 2 \textstyle\sum_{k=1}^{q} \left( 1 - \frac{k}{q + 1} \right) \hat\rho_k \right)

    with Bartlett's weights on the first ``lags`` q autocorrelations, at most n: returns that make good for each other
    are not counted for more. n also where they do not vary. NaN, infinities, fewer than two values and ``lags`` below 0
    raise ``ValueError``. O(n · lags). Reference: Newey & West (1987), *Econometrica* 55; Lo (2002), *Financial Analysts
    Journal* 58.

    >>> effective_returns(np.repeat([1.0, -1.0, 1.0, -1.0, -1.0, 1.0], 4), 3).__round__(1)
    11.3
    """
    r = checked(returns, "returns", need=2, constant=True)
    if int(lags) != lags or lags < 0:
        raise InputError("lags: must be a whole number of at least 0", loc="lags")
    gaps = r - r.mean()
    size = float(np.abs(gaps).max())
    if size <= 1e-15 + 1e-12 * abs(float(r.mean())):
        return float(r.size)
    unit = gaps / size
    whole, q = float(unit @ unit), min(int(lags), r.size - 1)
    ties = sum((1.0 - k / (q + 1.0)) * float(unit[k:] @ unit[:-k]) for k in range(1, q + 1)) / whole
    return r.size / max(1.0 + 2.0 * ties, 1.0)


def tail_ratio(returns: F8) -> float | None:
    """Return the 95 % point over the size of the 5 % point of the returns that are not zero; None where that is 0.

    Above 1 large gains are larger than large losses. None also without a return below zero at the 5 % point. NaN,
    infinities and an empty series raise ``ValueError``. O(n log n).

    >>> tail_ratio(np.array([-1.0, 0.0, 2.0])).__round__(3)
    2.176
    """
    r = checked(returns, "returns", constant=True)
    moved = r[r != 0.0]
    if moved.size == 0:
        return None
    high, low = np.percentile(moved, [95.0, 5.0])
    return float(high / -low) if low < 0.0 else None


def drawdowns(equity: F8) -> F8:
    """Return at each bar the fall from the running peak of equity, as a fraction of it, zero or negative.

    The first value, the capital, must be positive. NaN and infinities raise ``ValueError``. O(n).

    >>> drawdowns(np.array([100.0, 120.0, 90.0])).tolist()
    [0.0, 0.0, -0.25]
    """
    values = checked(equity, "equity", constant=True)
    if values[0] <= 0.0:
        raise InputError("equity: must begin above 0", loc="equity")
    peak = np.maximum.accumulate(values)
    falls: F8 = (values - peak) / peak
    return falls


def longest_drawdown(equity: F8) -> int:
    """Return the most bars in a row that equity lay below a peak, those at the end included.

    NaN and infinities raise ``ValueError``. O(n).

    >>> longest_drawdown(np.array([100.0, 99.0, 98.0, 101.0, 100.0]))
    2
    """
    under = np.concatenate(([False], drawdowns(equity) < 0.0, [False]))
    edges = np.flatnonzero(under[1:] != under[:-1])
    return int((edges[1::2] - edges[::2]).max(initial=0))


def performance(equity: F8, trades: Mapping[str, Any], *, bars_per_year: float) -> dict[str, float | int | None]:
    r"""Return every metric of a backtest, by name; None where one is not defined.

    ``equity`` is money at each bar, from the capital K on, all bars counted, those in warm-up too; ``trades`` the
    columns of a table of trades. ``total_return`` is :math:`E_n / E_1 - 1`; ``annual_return`` that times the year over
    the span, because what is traded does not grow with what was earned. ``sharpe`` and ``sortino`` are those of a bar
    times :math:`\sqrt{P}`, P bars a year, ``sharpe_stderr`` and ``sortino_stderr`` likewise, and
    ``probabilistic_sharpe`` against 0: all None
    once equity has reached 0. ``max_drawdown`` is negative, ``calmar`` the annual return over its size,
    ``longest_drawdown`` in bars. ``win_rate`` and ``profit_factor`` (money won over money lost) count ``pnl``;
    ``average_holding`` is in bars from fill to fill; ``exposure`` the share of bars that were held through;
    ``turnover`` all value traded over K. Money is split: ``pnl`` = ``spread_pnl`` - ``fees`` - ``slippage`` -
    ``funding``. NaN, infinities and fewer than two bars raise ``ValueError``. O(n).

    >>> none = {name: np.empty(0) for name in ("pnl", "entry_bar", "exit_bar", "entry_value", "exit_value")}
    >>> none |= {name: np.empty(0) for name in ("spread_pnl", "fees", "slippage", "funding")}
    >>> made = performance(np.array([100.0, 101.0, 100.0, 102.0]), none, bars_per_year=365.0)
    >>> round(made["total_return"], 4), round(made["annual_return"], 4), made["win_rate"], made["trades"]
    (0.02, 2.4333, None, 0)
    """
    values = checked(equity, "equity", need=2, constant=True)
    if not 0.0 < bars_per_year < np.inf:
        raise InputError("bars_per_year: must be positive", loc="bars_per_year")
    falls = drawdowns(values)
    capital, n = float(values[0]), values.size - 1
    total = float(values[-1]) / capital - 1.0
    annual, deepest = total * bars_per_year / n, float(falls.min())
    ratios: dict[str, float | None] = dict.fromkeys(
        ("sharpe", "sharpe_stderr", "probabilistic_sharpe", "sortino", "sortino_stderr", "tail_ratio")
    )
    if values.min() > 0.0 and n > 1:
        returns = values[1:] / values[:-1] - 1.0
        ratios |= _ratios(returns, sqrt(bars_per_year))
    pnl = trades["pnl"]
    count = int(pnl.size)
    won, lost = float(pnl[pnl > 0.0].sum()), float(-pnl[pnl < 0.0].sum())
    held = trades["exit_bar"] - trades["entry_bar"]
    traded = float(trades["entry_value"].sum() + trades["exit_value"].sum())
    return {
        "total_return": total,
        "annual_return": annual,
        "sharpe": ratios["sharpe"],
        "sortino": ratios["sortino"],
        "max_drawdown": deepest,
        "calmar": annual / -deepest if deepest < 0.0 else None,
        "trades": count,
        "win_rate": float((pnl > 0.0).mean()) if count else None,
        "profit_factor": won / lost if lost > 0.0 else None,
        "average_holding": float(held.mean()) if count else None,
        "turnover": traded / capital,
        "fees": float(trades["fees"].sum()),
        "exposure": float(held.sum()) / values.size,
        "sharpe_stderr": ratios["sharpe_stderr"],
        "sortino_stderr": ratios["sortino_stderr"],
        "probabilistic_sharpe": ratios["probabilistic_sharpe"],
        "tail_ratio": ratios["tail_ratio"],
        "longest_drawdown": longest_drawdown(values),
        **{name: float(trades[name].sum()) for name in ("pnl", "spread_pnl", "slippage", "funding")},
    }


def _ratios(returns: F8, per_year: float) -> dict[str, float | None]:
    """Return the ratios of returns, annualised."""
    shape, below, error = return_shape(returns), sortino(returns), sortino_stderr(returns)
    made: dict[str, float | None] = {
        "sortino": None if below is None else below * per_year,
        "sortino_stderr": None if error is None else error * per_year,
        "tail_ratio": tail_ratio(returns),
    }
    if shape.sharpe is not None and shape.skew is not None and shape.kurtosis is not None:
        inside = 1.0 - shape.skew * shape.sharpe + 0.25 * (shape.kurtosis - 1.0) * shape.sharpe**2
        made["sharpe"] = shape.sharpe * per_year
        if inside > 1e-12:
            law = {"skew": shape.skew, "kurtosis": shape.kurtosis}
            made["sharpe_stderr"] = sharpe_stderr(shape.sharpe, shape.n, **law) * per_year
            made["probabilistic_sharpe"] = probabilistic_sharpe(shape.sharpe, shape.n, **law)
    return made
