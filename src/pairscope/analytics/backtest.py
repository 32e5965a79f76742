"""A pair traded over its past as it would have been then: nothing that a bar uses lies after it, nothing is free.

The hedge ratio and the z-score of a bar come from the functions that the live engine calls, the decision from
``signal_step``, the money from two legs that were bought and sold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.analytics.kalman import kalman_hedge
from pairscope.analytics.pair_positions import POSITION_FIELDS, PairTerms, trade_pair
from pairscope.analytics.pair_window import checked_pair, fit_windows, spread_windows
from pairscope.analytics.performance import drawdowns, performance
from pairscope.analytics.price_stats import checked
from pairscope.analytics.signals import signal_rule
from pairscope.analytics.trades import Trades, tabulate_trades
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8

__all__ = ["MAINTENANCE", "Backtest", "CausalHedge", "backtest_pair", "causal_hedge"]

MAINTENANCE: Final = 0.005
"""A position is liquidated when equity is no more than this share of what its legs are worth."""

_WHOLE_BPS: Final = 10_000.0
_MOST: Final = 1e30
_YEAR_NS: Final = 365 * 86_400 * 1_000_000_000
_MINUTE_NS: Final = 60 * 1_000_000_000

Method = Literal["ols", "huber", "kalman"]
Fill = Literal["next", "same"]
Space = Literal["log", "linear"]


class CausalHedge(NamedTuple):
    """A hedge ratio a bar, known at its close; NaN where it is not known yet."""

    alpha: F8
    beta: F8


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What a rule would have done: ``metrics`` by name, ``equity`` and ``trades``, and the ``assumptions`` in words.

    ``equity`` has the columns ``timestamp`` (the bar's number where none were given), ``equity`` and ``drawdown``.
    """

    metrics: Mapping[str, float | int | None]
    equity: Mapping[str, NDArray[Any]]
    trades: Trades
    assumptions: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Backtest({len(self.trades)} trades, return {self.metrics['total_return']:.4%})"


def causal_hedge(y: F8, x: F8, hedge: Method | float, lookback: int) -> CausalHedge:
    """Return the hedge ratio of y on x at each bar, of bars up to it alone.

    ``ols`` and ``huber`` fit the last ``lookback`` bars at each bar, ``kalman`` filters from the first bar on and is
    used once it has seen ``lookback`` of them; a number is a hedge ratio that stands, with alpha 0. NaN before, and
    where a fit does not exist or Huber's iteration does not converge. NaN in y or x, infinities, a constant series,
    unequal lengths and fewer bars than ``lookback`` raise ``ValueError`` naming the argument. O(n · lookback), Huber's
    times his steps; Kalman's O(n).

    >>> y, x = np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0])
    >>> causal_hedge(y, x, "ols", 3).beta.round(9).tolist(), causal_hedge(y, x, 1.5, 3).beta.tolist()
    ([nan, nan, 2.0, 1.5], [1.5, 1.5, 1.5, 1.5])
    """
    if not isinstance(hedge, str):
        if isinstance(hedge, bool) or not np.isfinite(hedge):
            raise InputError("hedge: must be ols, huber, kalman or a finite number", loc="hedge")
        ys, _ = checked_pair(y, x, need=2)
        return CausalHedge(np.zeros(ys.size), np.full(ys.size, float(hedge)))
    if hedge not in get_args(Method):
        raise InputError(f"hedge: must be ols, huber, kalman or a number, is {hedge!r}", loc="hedge")
    size = _count(lookback, "lookback", 3)
    ys, xs = checked_pair(y, x, need=size)
    if hedge == "ols":
        fits = fit_windows(ys, xs, size)
        return CausalHedge(fits.alpha, fits.beta)
    if hedge == "kalman":
        filtered = kalman_hedge(ys, xs)
        alpha, beta = filtered.alphas.copy(), filtered.betas.copy()
        alpha[: size - 1] = beta[: size - 1] = np.nan
        return CausalHedge(alpha, beta)
    alpha, beta = np.full(ys.size, np.nan), np.full(ys.size, np.nan)
    for t in range(size - 1, ys.size):
        fit = huber_window(ys, xs, t + 1, size, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)
        if fit.converged:
            alpha[t], beta[t] = fit.alpha, fit.beta
    return CausalHedge(alpha, beta)


def backtest_pair(
    y: F8,
    x: F8,
    *,
    hedge: Method | float,
    lookback: int,
    window: int,
    entry: float,
    exit: float,  # noqa: A002 - the rule's word
    stop: float | None = None,
    max_holding: int | None = None,
    fee_bps: float = 0.0,
    slippage_bps: float = 0.0,
    funding_y: float | F8 | None = None,
    funding_x: float | F8 | None = None,
    notional: float = 10_000.0,
    fill: Fill = "next",
    price_space: Space = "log",
    timestamps: Any = None,
    cooldown: int = 0,
    gate: Any = None,
) -> Backtest:
    r"""Return what trading the spread of y on x by its z-score would have earned, bar by bar, from prices ``y``, ``x``.

    The z-score of bar t is that of the last ``window`` bars' spread under bar t's hedge ratio (``causal_hedge`` of the
    prices, or of their logs); a position is judged by the spread that it holds, under its entry's. What is decided is
    ``signal_step``'s; ``cooldown`` bars after a stop, and where ``gate`` is false, nothing is entered. A decision at
    bar t is filled at the close of t + 1, with ``fill="same"`` at that of t, which nobody can have: for comparison.
    Both legs are held unchanged; at the fill their values add up to ``notional``, in the proportion 1 to
    :math:`|\beta|` in logs, in quantities 1 to :math:`|\beta|` else:

    .. math:: q_y = \pm \frac{N}{(1 + |\beta|) P_y}, \; q_x = \mp \frac{\beta N}{(1 + |\beta|) P_x}
        \qquad \text{or} \qquad q_y = \pm \frac{N}{P_y + |\beta| P_x}, \; q_x = -\beta q_y

    and ``pnl`` is :math:`q_y \Delta P_y + q_x \Delta P_x` less ``fee_bps`` and ``slippage_bps`` of each leg's traded
    value at entry and at exit, less funding: a rate a bar on the bar's value of each leg, paid by the long where it is
    positive, at every bar after that of the entry's fill up to that of the exit's. The capital is the notional, which
    does not grow; equity is what would be left if all were closed at that bar. When it is no more than ``MAINTENANCE``
    of the legs' value the position is liquidated at that bar and trading ends. At the last bar what is open is closed.

    No value up to bar t depends on a later bar, the last equity included; trades closed before t neither. In warm-up
    (``lookback`` and ``window`` bars), and where the z-score is NaN because the spread is constant, nothing is entered.
    ``timestamps``, integers in ns or dates, must grow; without them a bar is taken to last a minute. NaN, infinities,
    prices that are not positive, a constant series, unequal lengths, too few bars, ``window`` above ``lookback`` (but
    for a fixed ratio, which has none), ``entry`` not above ``exit``, ``stop`` not above ``entry``, negative costs and
    costs or rates beyond all of the value raise ``ValueError`` naming the argument. O(n · lookback) for the hedge
    ratios, O(n · window) for the rest.
    Reference: Gatev, Goetzmann & Rouwenhorst (2006), *Review of Financial Studies* 19; docs/maths/backtest.md.

    >>> x = 100.0 + np.arange(400.0) % 7
    >>> y = x * np.exp(0.02 * np.sin(np.arange(400.0) / 10.0))
    >>> made = backtest_pair(y, x, hedge=1.0, lookback=60, window=60, entry=1.2, exit=0.0, fee_bps=4)
    >>> len(made.trades), made.trades[0].side, made.trades[0].reason, made.metrics["win_rate"]
    (11, 'short', 'exit', 1.0)
    """
    prices = checked(y, "y", positive=True), checked(x, "x", positive=True)
    rule = signal_rule(entry=entry, exit=exit, stop=stop, max_holding=max_holding, cooldown=cooldown)
    for name, value, known in (("fill", fill, get_args(Fill)), ("price_space", price_space, get_args(Space))):
        if value not in known:
            raise InputError(f"{name}: must be {' or '.join(known)}", loc=name)
    for name, cost in (("fee_bps", fee_bps), ("slippage_bps", slippage_bps)):
        if not 0.0 <= cost <= _WHOLE_BPS:
            raise InputError(f"{name}: must be between 0 and {_WHOLE_BPS:g}", loc=name)
    if not 0.0 < notional <= _MOST:
        raise InputError(f"notional: must be positive and at most {_MOST:g}", loc="notional")
    span = _count(window, "window", 2)
    if isinstance(hedge, str) and span > _count(lookback, "lookback", 3):
        raise InputError(f"window: must be at most lookback ({lookback})", loc="window")
    log = price_space == "log"
    ys, xs = checked_pair(*prices, need=span)
    size = ys.size
    spaced_y, spaced_x = (np.log(ys), np.log(xs)) if log else (ys, xs)
    times, bars_per_year = _clock(timestamps, size)
    alpha, beta = causal_hedge(spaced_y, spaced_x, hedge, lookback)
    zscore = spread_windows(spaced_y, spaced_x, span, alpha=alpha, beta=beta).zscore
    rows = np.empty((size // 2 + 2, len(POSITION_FIELDS)))
    equity = np.empty(size)
    count = trade_pair(
        ys,
        xs,
        spaced_y,
        spaced_x,
        alpha,
        beta,
        zscore,
        _mask(gate, size),
        _rates(funding_y, "funding_y", size),
        _rates(funding_x, "funding_x", size),
        span,
        rule,
        PairTerms(float(notional), fee_bps * 1e-4, slippage_bps * 1e-4, MAINTENANCE, int(fill == "next"), log),
        rows,
        equity,
    )
    trades = tabulate_trades(rows[:count], times, notional)
    return Backtest(
        performance(equity, trades.columns, bars_per_year=bars_per_year),
        {"timestamp": times, "equity": equity, "drawdown": drawdowns(equity)},
        trades,
        {
            "hedge": f"{hedge}, of the last {lookback} bars" if hedge in ("ols", "huber") else str(hedge),
            "price_space": price_space,
            "zscore": f"of {span} bars under the bar's own hedge ratio; an open trade's under its entry's",
            "fill": "at the close of the bar after the decision's"
            if fill == "next"
            else "at the deciding close itself",
            "sizing": "both legs' values at the fill add up to the notional, beta-neutral, held unchanged",
            "notional": float(notional),
            "capital": "the notional; gains are not traded",
            "costs": f"{fee_bps:g} bps fee and {slippage_bps:g} bps slippage of each leg's traded value, both ways",
            "funding": "none"
            if funding_y is None and funding_x is None
            else "a rate a bar on the bar's value of each leg, from the bar after the entry's fill to the exit's",
            "equity": "as if closed at each bar, all costs of that taken off",
            "liquidation": f"at the close where equity is at most {MAINTENANCE:.1%} of the legs' value; trading ends",
            "end": "what is open is closed at the last bar and counted",
            "bars": size,
            "bars_per_year": bars_per_year,
            "bar_length": "assumed to be one minute" if timestamps is None else "from the timestamps",
        },
    )


def _count(value: int, name: str, least: int) -> int:
    """Return a count of bars; ``ValueError`` where it is not a whole number from ``least`` on."""
    if isinstance(value, bool) or not np.isfinite(value) or int(value) != value or value < least:
        raise InputError(f"{name}: must be a whole number of at least {least}", loc=name)
    return int(value)


def _rates(funding: float | F8 | None, name: str, size: int) -> F8:
    """Return a funding rate a bar."""
    rates = np.array(0.0 if funding is None else funding, np.float64)
    if rates.ndim > 1 or (rates.ndim == 1 and rates.size != size):
        raise InputError(f"{name}: must be a number or have {size} values", loc=name)
    if not np.isfinite(rates).all():
        raise InputError(f"{name}: has values that are not finite", loc=name)
    if np.abs(rates).max() > 1.0:
        raise InputError(f"{name}: has rates beyond 1, which is 100 % a bar", loc=name)
    return np.ascontiguousarray(np.broadcast_to(rates, (size,)))


def _mask(gate: Any, size: int) -> NDArray[np.bool_]:
    """Return where entries are allowed."""
    if gate is None:
        return np.ones(size, np.bool_)
    mask = np.array(gate)
    if mask.dtype != np.bool_ or mask.shape != (size,):
        raise InputError(f"gate: must be {size} truth values", loc="gate")
    return mask


def _clock(timestamps: Any, size: int) -> tuple[NDArray[Any], float]:
    """Return the bars' times as they were given, and how many bars a year has."""
    if timestamps is None:
        return np.arange(size), _YEAR_NS / _MINUTE_NS
    times = np.asarray(timestamps)
    if times.shape != (size,):
        raise InputError(f"timestamps: must have {size} values", loc="timestamps")
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise InputError("timestamps: has values that are not times", loc="timestamps")
        ns: I8 = times.astype("M8[ns]").astype(np.int64)
    elif times.dtype.kind == "O" and all(hasattr(time, "timestamp") for time in times):
        ns = np.array([round(time.timestamp() * 1e6) * 1000 for time in times], np.int64)
    elif times.dtype.kind in "iu":
        ns = times.astype(np.int64)
    else:
        raise InputError("timestamps: must be dates, or integers in ns", loc="timestamps")
    if (np.diff(ns) <= 0).any():
        raise InputError("timestamps: must grow from bar to bar", loc="timestamps")
    return times, _YEAR_NS * (size - 1) / float(ns[-1] - ns[0])
