"""A pair traded over its past as it would have been then: nothing that a bar uses lies after it, nothing is free.

The hedge ratio and the z-score of a bar come from the functions that the live engine calls, the decision from
``signal_step``, the money from two legs that were bought and sold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.backtest_terms import (
    MAINTENANCE,
    Fill,
    Sizing,
    Space,
    bar_numbers,
    bar_times,
    checked_count,
    checked_mask,
    checked_rates,
    fill_prices,
    leg_ranges,
    legs_costs,
    traded_terms,
)
from pairscope.analytics.huber import HUBER_MOST, HUBER_TOLERANCE, HUBER_TUNING, huber_window
from pairscope.analytics.kalman import kalman_hedge
from pairscope.analytics.pair_positions import POSITION_SKIPPED, position_state, trade_pair
from pairscope.analytics.pair_terms import POSITION_FIELDS, PairColumns, PairTerms
from pairscope.analytics.pair_window import checked_pair, fit_windows, spread_windows
from pairscope.analytics.performance import drawdowns, performance
from pairscope.analytics.price_stats import checked, is_number
from pairscope.analytics.signals import signal_rule
from pairscope.analytics.trades import Trades, tabulate_trades
from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["MAINTENANCE", "Backtest", "CausalHedge", "backtest_pair", "causal_hedge"]

Method = Literal["ols", "huber", "kalman"]


class CausalHedge(NamedTuple):
    """A hedge ratio a bar, known at its close; NaN where it is not known yet."""

    alpha: F8
    beta: F8


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What a rule would have done: ``metrics`` by name, ``equity`` and ``trades``, and the ``assumptions`` in words.

    ``equity`` has the columns ``timestamp`` (the bar's number where none were given), ``equity`` and ``drawdown``,
    ``series`` what each bar was judged by, of the same length: ``alpha``, ``beta``, ``spread`` and ``zscore``; NaN
    where one is not known.
    """

    metrics: Mapping[str, float | int | None]
    equity: Mapping[str, NDArray[Any]]
    trades: Trades
    assumptions: Mapping[str, Any]
    series: Mapping[str, F8]

    def __repr__(self) -> str:
        return f"Backtest({len(self.trades)} trades, return {self.metrics['total_return']:.4%})"


@kernel
def _huber_each(y: F8, x: F8, lookback: int, alpha: F8, beta: F8) -> None:  # pragma: no cover - compiled
    for t in range(lookback - 1, x.size):
        fit = huber_window(y, x, t + 1, lookback, HUBER_TUNING, HUBER_TOLERANCE, HUBER_MOST)
        if fit.converged > 0.0:
            alpha[t], beta[t] = fit.alpha, fit.beta


def causal_hedge(y: F8, x: F8, hedge: Method | float | CausalHedge, lookback: int) -> CausalHedge:
    """Return the hedge ratio of y on x at each bar, of bars up to it alone.

    ``ols`` and ``huber`` fit the last ``lookback`` bars at each bar, ``kalman`` filters from the first bar on and is
    used once it has seen ``lookback`` of them; a number is a hedge ratio that stands, with alpha 0; a ``CausalHedge``
    found elsewhere is checked and given back. NaN before, and where a fit does not exist or Huber's iteration does not
    converge. NaN in y or x, infinities, a constant series,
    unequal lengths and fewer bars than ``lookback`` raise ``ValueError`` naming the argument. O(n · lookback), Huber's
    times his steps; Kalman's O(n).

    >>> y, x = np.array([1.0, 3.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0])
    >>> causal_hedge(y, x, "ols", 3).beta.round(9).tolist(), causal_hedge(y, x, 1.5, 3).beta.tolist()
    ([nan, nan, 2.0, 1.5], [1.5, 1.5, 1.5, 1.5])
    """
    if isinstance(hedge, CausalHedge):
        ys, _ = checked_pair(y, x, need=2)
        return CausalHedge(*(_known(column, ys.size) for column in hedge))
    if not isinstance(hedge, str):
        if not is_number(hedge) or not np.isfinite(hedge):
            raise InputError("hedge: must be ols, huber, kalman or a finite number", loc="hedge")
        ys, _ = checked_pair(y, x, need=2)
        return CausalHedge(np.zeros(ys.size), np.full(ys.size, float(hedge)))
    if hedge not in get_args(Method):
        raise InputError(f"hedge: must be ols, huber, kalman or a number, is {hedge!r}", loc="hedge")
    size = checked_count(lookback, "lookback", 3)
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
    _huber_each(ys, xs, size, alpha, beta)
    return CausalHedge(alpha, beta)


def backtest_pair(
    y: F8,
    x: F8,
    *,
    hedge: Method | float | CausalHedge,
    lookback: int,
    window: int,
    entry: float,
    exit: float,  # noqa: A002 - the rule's word
    stop: float | None = None,
    max_holding: int | None = None,
    fee_bps: float | tuple[float, float] = 0.0,
    slippage_bps: float | tuple[float, float] = 0.0,
    funding_y: float | F8 | None = None,
    funding_x: float | F8 | None = None,
    notional: float = 10_000.0,
    fill: Fill = "next",
    price_space: Space = "log",
    timestamps: Any = None,
    cooldown: int = 0,
    gate: Any = None,
    open_y: F8 | None = None,
    open_x: F8 | None = None,
    high_y: F8 | None = None,
    high_x: F8 | None = None,
    low_y: F8 | None = None,
    low_x: F8 | None = None,
    fill_y: F8 | None = None,
    fill_x: F8 | None = None,
    fill_bar: Any = None,
    slippage_range: float = 0.0,
    step_y: float | None = None,
    step_x: float | None = None,
    sizing: Sizing = "beta",
    rehedge: float | None = None,
    capital: float | None = None,
    maintenance: float = MAINTENANCE,
) -> Backtest:
    r"""Return what trading the spread of y on x by its z-score would have earned, bar by bar, from prices ``y``, ``x``.

    The z-score of bar t is that of the last ``window`` bars' spread under bar t's hedge ratio (``causal_hedge`` of the
    prices, or of their logs); a position is judged by the spread that it holds, under its entry's. What is decided is
    ``signal_step``'s; ``cooldown`` bars after a stop, and where ``gate`` is false, nothing is entered. A decision at
    bar t is filled at the close of t + 1, with ``fill="open"`` at its open, with ``fill="same"`` at t's own close,
    which nobody can have: for comparison. ``fill_y``, ``fill_x`` and ``fill_bar`` say instead at which prices, and in
    which later bar, what t decides is filled (``tick_fills``); NaN: never. While an order is under way none is placed.
    Both legs are held unchanged; at the fill their values add up to ``notional``, in the proportion 1 to
    :math:`|\beta|` in logs, in quantities 1 to :math:`|\beta|` else:

    .. math:: q_y = \pm \frac{N}{(1 + |\beta|) P_y}, \; q_x = \mp \frac{\beta N}{(1 + |\beta|) P_x}
        \qquad \text{or} \qquad q_y = \pm \frac{N}{P_y + |\beta| P_x}, \; q_x = -\beta q_y

    with ``sizing="dollar"`` half of it each; ``step_y`` and ``step_x`` round them towards zero, and what leaves a leg
    nothing is not entered and counted as ``skipped``. ``rehedge`` r brings the x leg after where at a close
    :math:`|\beta_t - \beta| > r |\beta|`, filled and charged as any order; the spread held is then that of
    :math:`\beta_t`.

    ``pnl`` is :math:`q_y \Delta P_y + q_x \Delta P_x` less ``fee_bps`` and ``slippage_bps`` (one, or y's and x's) of
    each leg's traded value, less ``slippage_range`` of the filling bar's high - low a unit, less funding: a rate a bar
    on the bar's value of each leg, paid by the long where it is positive, at every bar that the position is held
    through: not the one at whose close, or in which, it is entered. Equity begins with ``capital`` (the notional where
    none is given), of which returns are; gains are not traded. It is what would be left if all were closed at that
    bar. When it is no more than ``maintenance`` of the legs' value the position is liquidated and trading ends. At the
    last bar what is open is closed.

    No value up to bar t depends on a later bar, the last equity included; trades closed before t neither. In warm-up
    (``lookback`` and ``window`` bars), and where the z-score is NaN because the spread is constant, nothing is entered.
    ``timestamps``, dates or integers (``bar_times``), must grow; without them a bar lasts a minute. NaN, infinities,
    prices that are not positive, a constant series, unequal lengths, too few bars, ``window`` above ``lookback`` (but
    for a ratio that is given), ``entry`` not above ``exit``, ``stop`` not above ``entry``, negative costs, and whatever
    else makes no sense raise ``ValueError`` naming the argument. O(n · lookback) for the hedge ratios, O(n · window)
    for the rest.
    Reference: Gatev, Goetzmann & Rouwenhorst (2006), *Review of Financial Studies* 19; docs/maths/backtest.md.

    >>> x = 100.0 + np.arange(400.0) % 7
    >>> y = x * np.exp(0.02 * np.sin(np.arange(400.0) / 10.0))
    >>> made = backtest_pair(y, x, hedge=1.0, lookback=60, window=60, entry=1.2, exit=0.0, fee_bps=4)
    >>> len(made.trades), made.trades[0].side, made.trades[0].reason, made.metrics["win_rate"]
    (11, 'short', 'exit', 1.0)
    """
    prices = checked(y, "y", positive=True), checked(x, "x", positive=True)
    rule = signal_rule(entry=entry, exit=exit, stop=stop, max_holding=max_holding, cooldown=cooldown)
    terms = traded_terms(
        notional=notional,
        capital=capital,
        maintenance=maintenance,
        fees=legs_costs(fee_bps, "fee_bps"),
        slippages=legs_costs(slippage_bps, "slippage_bps"),
        slippage_range=slippage_range,
        steps=(step_y, step_x),
        rehedge=rehedge,
        fill=fill,
        price_space=price_space,
        sizing=sizing,
    )
    span = checked_count(window, "window", 2)
    if isinstance(hedge, str) and span > checked_count(lookback, "lookback", 3):
        raise InputError(f"window: must be at most lookback ({lookback})", loc="window")
    ys, xs = checked_pair(*prices, need=span)
    size = ys.size
    spaced_y, spaced_x = (np.log(ys), np.log(xs)) if terms.log else (ys, xs)
    times, bars_per_year = bar_times(timestamps, size)
    alpha, beta = causal_hedge(spaced_y, spaced_x, hedge, lookback)
    judged = spread_windows(spaced_y, spaced_x, span, alpha=alpha, beta=beta)
    fills = fill_prices(ys, xs, fill, (open_y, open_x), (fill_y, fill_x, fill_bar))
    columns = PairColumns(
        ys,
        xs,
        spaced_y,
        spaced_x,
        *fills,
        leg_ranges(high_y, low_y, ("high_y", "low_y"), size, share=slippage_range),
        leg_ranges(high_x, low_x, ("high_x", "low_x"), size, share=slippage_range),
        checked_rates(funding_y, "funding_y", size),
        checked_rates(funding_x, "funding_x", size),
        alpha,
        beta,
        judged.zscore,
        checked_mask(gate, size),
    )
    state = position_state(terms.capital)
    rows, equity = np.empty((size // 2 + 2, len(POSITION_FIELDS))), np.empty(size)
    count = trade_pair(columns, span, rule, terms, True, state, rows, equity)
    trades = tabulate_trades(rows[:count], times, terms.capital)
    made = performance(equity, trades.columns, bars_per_year=bars_per_year)
    return Backtest(
        made
        | {
            "turnover": float(trades["turnover"].sum()) / terms.capital,
            "rehedges": int(trades["rehedges"].sum()),
            "skipped": int(state[POSITION_SKIPPED]),
        },
        {"timestamp": times, "equity": equity, "drawdown": drawdowns(equity)},
        trades,
        {
            "hedge": _named(hedge, lookback),
            "price_space": price_space,
            "zscore": f"of {span} bars under the bar's own hedge ratio; an open trade's under "
            + ("its entry's" if terms.rehedge == np.inf else "the one that it holds"),
            **_said(terms, given=fill_bar is not None),
            "funding": "none"
            if funding_y is None and funding_x is None
            else "a rate a bar on the bar's value of each leg, at every bar that the position is held through",
            "bars": size,
            "bars_per_year": bars_per_year,
            "bar_length": "assumed to be one minute" if bar_numbers(times) else "from the timestamps",
            "skipped": int(state[POSITION_SKIPPED]),
        },
        {"alpha": alpha, "beta": beta, "spread": judged.last, "zscore": judged.zscore},
    )


def _known(column: F8, size: int) -> F8:
    """Return a column of hedge ratios found elsewhere, finite or NaN."""
    values = np.array(column, np.float64)
    if values.shape != (size,):
        raise InputError(f"hedge: must have {size} values of alpha and of beta", loc="hedge")
    if np.isinf(values).any():
        raise InputError("hedge: has values that are infinite", loc="hedge")
    return values


def _named(hedge: Method | float | CausalHedge, lookback: int) -> str:
    """Return where the hedge ratio comes from, in words."""
    if isinstance(hedge, CausalHedge):
        return "given bar by bar"
    return f"{hedge}, of the last {lookback} bars" if hedge in ("ols", "huber") else str(hedge)


def _said(terms: PairTerms, *, given: bool) -> dict[str, Any]:
    """Return the terms of trading in words."""
    fill = "at the close of the bar after the decision's"
    if given:
        fill = "at the prices and in the bars given"
    elif terms.opens:
        fill = "at the open of the bar after the decision's"
    elif terms.same:
        fill = "at the deciding close itself"
    sizing = "both legs' values at the fill add up to the notional, beta-neutral"
    if terms.dollar:
        sizing = "each leg's value at the fill is half of the notional"
    if terms.step_y > 0.0 or terms.step_x > 0.0:
        sizing += f", rounded towards zero to steps of {terms.step_y:g} y and {terms.step_x:g} x (0: none)"
    held = ", held unchanged"
    if terms.rehedge < np.inf:
        held = f", x re-hedged where the hedge ratio has moved by more than {terms.rehedge:.1%} of itself"
    costs = (
        f"{_bps(terms.fee_y, terms.fee_x)} bps fee and {_bps(terms.slippage_y, terms.slippage_x)} bps slippage "
        "of each leg's traded value, both ways"
    )
    if terms.slippage_range > 0.0:
        costs += f", and {terms.slippage_range:.1%} of the filling bar's range"
    return {
        "fill": fill,
        "sizing": sizing + held,
        "notional": terms.notional,
        "capital": f"{terms.capital:g}; gains are not traded"
        if terms.capital != terms.notional
        else "the notional; gains are not traded",
        "costs": costs,
        "equity": "as if closed at each bar, all costs of that taken off",
        "liquidation": f"at the close where equity is at most {terms.maintenance:.1%} of the legs' value; trading ends",
        "end": "what is open is closed at the last bar and counted",
    }


def _bps(of_y: float, of_x: float) -> str:
    """Return a cost of both legs in basis points, one number where it is the same."""
    return f"{of_y * 1e4:g}" if of_y == of_x else f"{of_y * 1e4:g} (y) and {of_x * 1e4:g} (x)"
