"""A pair's position bar by bar: orders filled, two legs held, re-hedged where asked, valued, charged and closed.

One step takes one closed bar into a state, and the batch steps it through all bars: a position on paper and a backtest
have the same bits. Every bar values an open position as if it were closed there and then: both legs at the bar's
close, fees and slippage of that taken off, funding so far paid. So equity never shows money that getting out would
cost, and the last bar, at which whatever is open is closed, is worth the same whether bars follow it or not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_sizes import in_steps, leg_quantities
from pairscope.analytics.pair_terms import POSITION_FIELDS, PairBar, PairColumns, PairTerms
from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.signals import (
    SIGNAL_COOLDOWN,
    SIGNAL_ENTER,
    SIGNAL_HELD,
    SIGNAL_POSITION,
    SIGNAL_STATE,
    SIGNAL_STAY,
    SignalRule,
    signal_step,
)
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "POSITION_BARS",
    "POSITION_EQUITY",
    "POSITION_OPEN",
    "POSITION_ORDER",
    "POSITION_ROW",
    "POSITION_SKIPPED",
    "position_state",
    "position_step",
    "trade_pair",
]

_ENTRY_BAR, _EXIT_BAR, _SIDE, _ENTRY_Z, _EXIT_Z, _BETA, _QUANTITY_Y, _QUANTITY_X = range(8)
_ENTRY_VALUE, _EXIT_VALUE, _SPREAD_PNL, _FEES, _SLIPPAGE, _FUNDING, _PNL, _REASON = range(8, 16)
_REHEDGES, _TURNOVER, _PRICE_Y, _PRICE_X, _EXIT_Y, _EXIT_X, _HELD_X = range(16, 23)
_ENTRY_DECIDED, _EXIT_DECIDED = range(23, 25)

_END: Final = 5
_LIQUIDATION: Final = 6
_REHEDGE: Final = 7

POSITION_BARS: Final = SIGNAL_STATE
"""Where a state says how many bars it has seen; before it stands the state of ``signals``."""
POSITION_EQUITY: Final = SIGNAL_STATE + 1
"""Where a state says what the account would be worth if all were closed."""
POSITION_OPEN: Final = SIGNAL_STATE + 2
"""Where a state says whether legs are held, 1 or 0."""
POSITION_ORDER: Final = SIGNAL_STATE + 3
"""Where a state says what was decided and is not filled yet: as ``signals`` numbers it, 7 to re-hedge, 0 nothing."""
POSITION_SKIPPED: Final = SIGNAL_STATE + 4
"""Where a state counts the entries that were not made because a leg was less than one step."""
_WEALTH: Final = SIGNAL_STATE + 5
_HALTED: Final = SIGNAL_STATE + 6
_DECIDED: Final = SIGNAL_STATE + 7
_ORDER_ALPHA, _ORDER_BETA, _ORDER_Z = range(SIGNAL_STATE + 8, SIGNAL_STATE + 11)
_HELD_ALPHA, _HELD_BETA = range(SIGNAL_STATE + 11, SIGNAL_STATE + 13)
_BASIS_Y, _BASIS_X, _BANKED = range(SIGNAL_STATE + 13, SIGNAL_STATE + 16)
_PAID_FEES, _PAID_SLIPPAGE, _TRADED = range(SIGNAL_STATE + 16, SIGNAL_STATE + 19)
POSITION_ROW: Final = SIGNAL_STATE + 19
"""Where in a state the row of the position that is open, or was closed last, begins: ``POSITION_FIELDS``."""


def position_state(capital: float) -> F8:
    """Return the state before the first bar, without position or order. O(1).

    >>> position_state(1000.0)[[POSITION_BARS, POSITION_EQUITY, POSITION_OPEN]].tolist()
    [0.0, 1000.0, 0.0]
    """
    state = np.zeros(POSITION_ROW + len(POSITION_FIELDS))
    state[POSITION_EQUITY] = state[_WEALTH] = capital
    return state


@kernel
def _charge(
    state: F8, of_y: float, of_x: float, price_y: float, price_x: float, bar: PairBar, terms: PairTerms
) -> None:  # pragma: no cover - compiled
    """Charge what trading these quantities costs."""
    value_y, value_x = of_y * price_y, of_x * price_x
    state[_TRADED] += value_y + value_x
    state[_PAID_FEES] += terms.fee_y * value_y + terms.fee_x * value_x
    state[_PAID_SLIPPAGE] += terms.slippage_y * value_y + terms.slippage_x * value_x
    state[_PAID_SLIPPAGE] += terms.slippage_range * (of_y * bar.range_y + of_x * bar.range_x)


@kernel
def _open(
    state: F8, row: F8, price_y: float, price_x: float, bar: PairBar, terms: PairTerms
) -> None:  # pragma: no cover - compiled
    """Fill an entry, unless a leg is less than one step: then there is no position."""
    side, beta = state[SIGNAL_POSITION], state[_ORDER_BETA]
    quantity_y, quantity_x = leg_quantities(
        side, beta, price_y, price_x, terms.notional, terms.dollar, terms.log, terms.step_y, terms.step_x
    )
    if np.isnan(quantity_y):
        state[SIGNAL_POSITION] = 0.0
        state[POSITION_SKIPPED] += 1.0
        return
    row[:] = 0.0
    row[_ENTRY_BAR], row[_SIDE], row[_BETA], row[_ENTRY_Z] = state[POSITION_BARS], side, beta, state[_ORDER_Z]
    row[_QUANTITY_Y], row[_QUANTITY_X], row[_HELD_X] = quantity_y, quantity_x, quantity_x
    row[_PRICE_Y], row[_PRICE_X], row[_ENTRY_DECIDED] = price_y, price_x, state[_DECIDED]
    row[_ENTRY_VALUE] = abs(quantity_y) * price_y + abs(quantity_x) * price_x
    state[_HELD_ALPHA], state[_HELD_BETA] = state[_ORDER_ALPHA], beta
    state[_BASIS_Y], state[_BASIS_X], state[_BANKED] = price_y, price_x, 0.0
    state[_PAID_FEES] = state[_PAID_SLIPPAGE] = state[_TRADED] = 0.0
    _charge(state, abs(quantity_y), abs(quantity_x), price_y, price_x, bar, terms)
    state[POSITION_OPEN] = 1.0


@kernel
def _rehedge(
    state: F8, row: F8, price_y: float, price_x: float, bar: PairBar, terms: PairTerms
) -> None:  # pragma: no cover - compiled
    """Bring the x leg to the new hedge ratio; the y leg stays."""
    held = row[_HELD_X]
    wanted = -state[_ORDER_BETA] * row[_QUANTITY_Y]
    if terms.log:
        wanted *= price_y / price_x
    now = in_steps(wanted, terms.step_x)
    state[_HELD_ALPHA], state[_HELD_BETA] = state[_ORDER_ALPHA], state[_ORDER_BETA]
    if now == held:
        return
    state[_BANKED] += row[_QUANTITY_Y] * (price_y - state[_BASIS_Y]) + held * (price_x - state[_BASIS_X])
    state[_BASIS_Y], state[_BASIS_X] = price_y, price_x
    row[_HELD_X] = now
    row[_REHEDGES] += 1.0
    _charge(state, 0.0, abs(now - held), price_y, price_x, bar, terms)


@kernel
def _mark(
    state: F8, row: F8, price_y: float, price_x: float, bar: PairBar, terms: PairTerms
) -> None:  # pragma: no cover - compiled
    """Value a position as if it were closed at these prices."""
    quantity_y, quantity_x = row[_QUANTITY_Y], row[_HELD_X]
    size_y, size_x = abs(quantity_y), abs(quantity_x)
    value_y, value_x = size_y * price_y, size_x * price_x
    row[_EXIT_Y], row[_EXIT_X], row[_EXIT_VALUE] = price_y, price_x, value_y + value_x
    row[_TURNOVER] = state[_TRADED] + row[_EXIT_VALUE]
    moved = quantity_y * (price_y - state[_BASIS_Y]) + quantity_x * (price_x - state[_BASIS_X])
    row[_SPREAD_PNL] = state[_BANKED] + moved
    row[_FEES] = state[_PAID_FEES] + (terms.fee_y * value_y + terms.fee_x * value_x)
    row[_SLIPPAGE] = state[_PAID_SLIPPAGE] + (
        terms.slippage_y * value_y
        + terms.slippage_x * value_x
        + terms.slippage_range * (size_y * bar.range_y + size_x * bar.range_x)
    )
    row[_PNL] = row[_SPREAD_PNL] - row[_FEES] - row[_SLIPPAGE] - row[_FUNDING]


@kernel
def _fill(
    state: F8, row: F8, price_y: float, price_x: float, bar: PairBar, terms: PairTerms
) -> int:  # pragma: no cover - compiled
    """Fill the order under way at these prices; return why the position closes by it, 0 where it does not."""
    order = int(state[POSITION_ORDER])
    state[POSITION_ORDER] = SIGNAL_STAY
    if order == SIGNAL_ENTER:
        _open(state, row, price_y, price_x, bar, terms)
    elif order == _REHEDGE:
        _rehedge(state, row, price_y, price_x, bar, terms)
    else:
        _mark(state, row, price_y, price_x, bar, terms)
        return order
    return SIGNAL_STAY


@kernel
def _fund(state: F8, row: F8, bar: PairBar) -> None:  # pragma: no cover - compiled
    """Pay a bar's funding on what is held."""
    if state[POSITION_OPEN] > 0.0:
        row[_FUNDING] += bar.funding_y * (row[_QUANTITY_Y] * bar.y) + bar.funding_x * (row[_HELD_X] * bar.x)


@kernel
def _close(state: F8, row: F8, reason: int) -> None:  # pragma: no cover - compiled
    """Complete the row of a position and take its money into the account."""
    row[_EXIT_BAR], row[_REASON] = state[POSITION_BARS], reason
    row[_EXIT_DECIDED] = state[POSITION_BARS] if reason in (_END, _LIQUIDATION) else state[_DECIDED]
    state[_WEALTH] += row[_PNL]
    state[POSITION_OPEN] = 0.0
    state[POSITION_ORDER] = SIGNAL_STAY


@kernel
def _decide(
    state: F8, row: F8, bar: PairBar, held_z: float, rule: SignalRule, terms: PairTerms
) -> None:  # pragma: no cover - compiled
    """Place the order that the bar's close decides on; while one is under way only time counts."""
    if state[POSITION_ORDER] != SIGNAL_STAY:
        if state[SIGNAL_POSITION] != 0.0:
            state[SIGNAL_HELD] += 1.0
        elif state[SIGNAL_COOLDOWN] > 0.0:
            state[SIGNAL_COOLDOWN] -= 1.0
        return
    order = signal_step(state, rule, bar.zscore, held_z, bar.allowed)
    if order == SIGNAL_STAY and state[POSITION_OPEN] > 0.0:
        held = state[_HELD_BETA]
        if abs(bar.beta - held) > terms.rehedge * abs(held):
            order = _REHEDGE
    state[POSITION_ORDER], state[_DECIDED] = order, state[POSITION_BARS]
    if order in (SIGNAL_ENTER, _REHEDGE):
        state[_ORDER_ALPHA], state[_ORDER_BETA] = bar.alpha, bar.beta
    if order == SIGNAL_ENTER:
        state[_ORDER_Z] = bar.zscore
    elif order != SIGNAL_STAY:
        row[_EXIT_Z] = held_z


@kernel
def position_step(
    state: F8,
    bar: PairBar,
    spaced_y: F8,
    spaced_x: F8,
    end: int,
    window: int,
    rule: SignalRule,
    terms: PairTerms,
    last: bool,  # noqa: FBT001 - compiled functions take arguments by position
) -> bool:  # pragma: no cover - compiled
    """Take one closed bar into a state of ``position_state``, in place; whether it closed a position.

    In this order: funding is paid on what was held through the bar; the order under way is filled, where the bar has
    prices for it (``opens``: filled first, then funded); a position whose equity is no more than ``maintenance`` of
    its legs' value is closed at the close, and nothing is entered any more; ``signal_step`` decides, from the z-score
    of the spread that is held; where it stays, a hedge ratio that has moved by more than ``rehedge`` of itself orders
    the x leg to be brought after; ``same`` fills at once; at the ``last`` bar what is open is closed at the close. The
    row of the position stands at ``POSITION_ROW`` on. ``spaced_y`` and ``spaced_x`` hold the last ``window`` bars'
    prices, or their logs, before row ``end``. A z-score of NaN decides nothing. O(1), and O(window) where held.

    >>> rule, flat = SignalRule(1.5, 0.5, np.inf, np.inf, 0.0), np.full(2, 100.0)
    >>> terms = PairTerms(1000.0, 1000.0, *[0.0] * 8, np.inf, False, False, False, False)
    >>> state = position_state(1000.0)
    >>> bar = PairBar(90.0, 100.0, 90.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, True)
    >>> [position_step(state, bar, flat, flat, 2, 2, rule, terms, False) for _ in range(2)], state[POSITION_OPEN].item()
    ([False, False], 1.0)
    """
    row = state[POSITION_ROW:]
    reason = SIGNAL_STAY
    closed = False
    if not terms.opens:
        _fund(state, row, bar)
    if state[POSITION_ORDER] != SIGNAL_STAY and bar.fill_y > 0.0 and bar.fill_x > 0.0:
        reason = _fill(state, row, bar.fill_y, bar.fill_x, bar, terms)
    if terms.opens and reason == SIGNAL_STAY:
        _fund(state, row, bar)
    held_z = np.nan
    if state[POSITION_OPEN] > 0.0:
        if reason == SIGNAL_STAY:
            _mark(state, row, bar.y, bar.x, bar, terms)
            held_z = zscore_window(spaced_y, spaced_x, end, window, state[_HELD_ALPHA], state[_HELD_BETA]).zscore
        if state[_WEALTH] + row[_PNL] <= terms.maintenance * row[_EXIT_VALUE]:
            state[_HALTED] = 1.0
            if reason == SIGNAL_STAY:
                reason, row[_EXIT_Z] = _LIQUIDATION, held_z
    if reason != SIGNAL_STAY:
        _close(state, row, reason)
        closed = True
    if state[_HALTED] == 0.0:
        _decide(state, row, bar, held_z, rule, terms)
        if terms.same and state[POSITION_ORDER] != SIGNAL_STAY:
            reason = _fill(state, row, bar.y, bar.x, bar, terms)
            if reason == SIGNAL_STAY and state[POSITION_OPEN] > 0.0:
                _mark(state, row, bar.y, bar.x, bar, terms)
            elif reason != SIGNAL_STAY:
                _close(state, row, reason)
                closed = True
        if last and state[POSITION_OPEN] > 0.0:
            row[_EXIT_Z] = bar.zscore if terms.same and row[_ENTRY_BAR] == state[POSITION_BARS] else held_z
            _close(state, row, _END)
            closed = True
    state[POSITION_EQUITY] = state[_WEALTH] + (row[_PNL] if state[POSITION_OPEN] > 0.0 else 0.0)
    state[POSITION_BARS] += 1.0
    return closed


@kernel
def trade_pair(
    columns: PairColumns,
    window: int,
    rule: SignalRule,
    terms: PairTerms,
    finish: bool,  # noqa: FBT001 - compiled functions take arguments by position
    state: F8,
    trades: NDArray[np.float64],
    equity: F8,
) -> int:  # pragma: no cover - compiled
    """Step a state through the bars that it has not seen; write a row a trade and the equity of each, count the trades.

    ``alpha``, ``beta`` and ``zscore`` of bar t are known at its close; NaN where they are not. With ``finish`` what is
    open at the last bar is closed there; what is decided there and not filled is no trade. ``trades`` needs a row for
    every second bar and one more, of ``POSITION_FIELDS``. O(n) and O(window) a bar held.

    >>> y, z = np.array([100.0, 90.0, 95.0, 100.0, 100.0]), np.array([np.nan, -2.0, 0.0, 0.0, 0.0])
    >>> flat, none = np.full(5, 100.0), np.zeros(5)
    >>> fills = np.append(y[1:], np.nan), np.append(flat[1:], np.nan), np.arange(1, 6)
    >>> columns = PairColumns(y, flat, np.log(y), np.log(flat), *fills, *[none] * 6, z, np.full(5, True))
    >>> rule = SignalRule(1.5, 0.5, np.inf, 1.0, 0.0)
    >>> terms = PairTerms(1000.0, 1000.0, *[0.0] * 8, np.inf, False, False, True, False)
    >>> trades, equity = np.empty((4, len(POSITION_FIELDS))), np.empty(5)
    >>> trade_pair(columns, 2, rule, terms, True, position_state(1000.0), trades, equity), equity.round(2).tolist()
    (1, [1000.0, 1000.0, 1000.0, 1052.63, 1052.63])
    """
    c = columns
    count = 0
    size = c.y.size
    for t in range(int(state[POSITION_BARS]), size):
        decided = int(state[_DECIDED])
        filled = state[POSITION_ORDER] != SIGNAL_STAY and c.fill_bar[decided] == t
        bar = PairBar(
            c.y[t],
            c.x[t],
            c.fill_y[decided] if filled else np.nan,
            c.fill_x[decided] if filled else np.nan,
            c.range_y[t],
            c.range_x[t],
            c.funding_y[t],
            c.funding_x[t],
            c.alpha[t],
            c.beta[t],
            c.zscore[t],
            c.allowed[t],
        )
        last = finish and t == size - 1
        if position_step(state, bar, c.spaced_y, c.spaced_x, t + 1, window, rule, terms, last):
            # Cell by cell: to compile an assignment of slices takes two seconds.
            for i in range(trades.shape[1]):
                trades[count, i] = state[POSITION_ROW + i]
            count += 1
        equity[t] = state[POSITION_EQUITY]
    return count
