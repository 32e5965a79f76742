"""A pair's positions bar by bar: decisions filled, two legs held unchanged, valued, charged and closed.

Every bar values an open position as if it were closed there and then: both legs at the bar's close, fees and slippage
of both ends taken off, funding so far paid. So equity never shows money that getting out would cost, and the last bar,
at which whatever is open is closed, is worth the same whether bars follow it or not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.signals import (
    SIGNAL_ENTER,
    SIGNAL_POSITION,
    SIGNAL_STATE,
    SIGNAL_STAY,
    SignalRule,
    signal_step,
)
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["POSITION_FIELDS", "REASONS", "PairTerms", "trade_pair"]

POSITION_FIELDS: Final = (
    "entry_bar",
    "exit_bar",
    "side",
    "entry_zscore",
    "exit_zscore",
    "beta",
    "quantity_y",
    "quantity_x",
    "entry_value",
    "exit_value",
    "spread_pnl",
    "fees",
    "slippage",
    "funding",
    "pnl",
    "reason",
)
"""What ``trade_pair`` writes of each position, in order."""

REASONS: Final = ("exit", "stop", "max_holding", "end", "liquidation")
"""Why a position was closed: what its last field numbers, from 2 on as ``signals`` numbers its decisions."""

_ENTRY_BAR: Final = 0
_EXIT_BAR: Final = 1
_SIDE: Final = 2
_ENTRY_Z: Final = 3
_EXIT_Z: Final = 4
_BETA: Final = 5
_QUANTITY_Y: Final = 6
_QUANTITY_X: Final = 7
_ENTRY_VALUE: Final = 8
_EXIT_VALUE: Final = 9
_SPREAD_PNL: Final = 10
_FEES: Final = 11
_SLIPPAGE: Final = 12
_FUNDING: Final = 13
_PNL: Final = 14
_REASON: Final = 15

_END: Final = 5
_LIQUIDATION: Final = 6


class PairTerms(NamedTuple):
    """How a pair is traded: costs as shares of traded value, the margin as one of held value, ``delay`` in bars."""

    notional: float
    fee: float
    slippage: float
    maintenance: float
    delay: int
    log: bool


@kernel
def _open(row: F8, t: int, y: float, x: float, side: float, beta: float, terms: PairTerms) -> None:  # pragma: no cover
    """Fill an entry: the values of both legs add up to the notional."""
    size = abs(beta)
    if terms.log:
        row[_QUANTITY_Y] = side * (terms.notional / ((1.0 + size) * y))
        row[_QUANTITY_X] = -side * (beta * terms.notional / ((1.0 + size) * x))
    else:
        row[_QUANTITY_Y] = side * (terms.notional / (y + size * x))
        row[_QUANTITY_X] = -beta * row[_QUANTITY_Y]
    row[_ENTRY_BAR] = t
    row[_SIDE] = side
    row[_BETA] = beta
    row[_ENTRY_VALUE] = abs(row[_QUANTITY_Y]) * y + abs(row[_QUANTITY_X]) * x
    row[_FUNDING] = 0.0


@kernel
def _mark(row: F8, t: int, y: F8, x: F8, terms: PairTerms) -> None:  # pragma: no cover - compiled
    """Value a position as if it were closed at bar t."""
    start = int(row[_ENTRY_BAR])
    quantity_y, quantity_x = row[_QUANTITY_Y], row[_QUANTITY_X]
    row[_EXIT_VALUE] = abs(quantity_y) * y[t] + abs(quantity_x) * x[t]
    traded = row[_ENTRY_VALUE] + row[_EXIT_VALUE]
    row[_SPREAD_PNL] = quantity_y * (y[t] - y[start]) + quantity_x * (x[t] - x[start])
    row[_FEES] = terms.fee * traded
    row[_SLIPPAGE] = terms.slippage * traded
    row[_PNL] = row[_SPREAD_PNL] - row[_FEES] - row[_SLIPPAGE] - row[_FUNDING]


@kernel
def trade_pair(
    y: F8,
    x: F8,
    spaced_y: F8,
    spaced_x: F8,
    alpha: F8,
    beta: F8,
    zscore: F8,
    gate: NDArray[np.bool_],
    funding_y: F8,
    funding_x: F8,
    window: int,
    rule: SignalRule,
    terms: PairTerms,
    trades: NDArray[np.float64],
    equity: F8,
) -> int:  # pragma: no cover - compiled
    """Trade a pair through all its bars; write a row a trade and the equity of each bar, return how many trades.

    ``y`` and ``x`` are prices, ``spaced_…`` what the hedge ratio relates: the same, or their logs. ``alpha``, ``beta``
    and ``zscore`` of bar t are known at its close; NaN where they are not. At each bar, in this order: funding is paid
    on what was held through it; what the bar before decided is filled at its close (``delay`` 1), or later what it
    decides itself (0); a position whose equity is no more than ``maintenance`` of its legs' value is closed, and
    nothing is entered any more; ``signal_step`` decides, from the z-score of the spread that is held. At the last bar
    an open position is closed; what is decided there and not filled is no trade. ``trades`` needs a row for every
    second bar and one more, of ``POSITION_FIELDS``. O(n) and O(window) a bar held.

    >>> y, z = np.array([100.0, 90.0, 95.0, 100.0, 100.0]), np.array([np.nan, -2.0, 0.0, 0.0, 0.0])
    >>> flat, none = np.full(5, 100.0), np.zeros(5)
    >>> rule, terms = SignalRule(1.5, 0.5, np.inf, 1.0, 0.0), PairTerms(1000.0, 0.0, 0.0, 0.0, 1, True)
    >>> trades, equity = np.empty((4, len(POSITION_FIELDS))), np.empty(5)
    >>> args = y, flat, np.log(y), np.log(flat), none, none, z, np.full(5, True), none, none, 2
    >>> trade_pair(*args, rule, terms, trades, equity), equity.round(2).tolist()
    (1, [1000.0, 1000.0, 1000.0, 1052.63, 1052.63])
    """
    state = np.zeros(SIGNAL_STATE)
    count = 0
    wealth = terms.notional
    opened = halted = False
    pending = SIGNAL_STAY
    held_alpha = held_beta = entry_z = exit_z = side = 0.0
    last = y.size - 1
    for t in range(y.size):
        row = trades[count]
        closing = 0
        if opened:
            row[_FUNDING] += funding_y[t] * (row[_QUANTITY_Y] * y[t]) + funding_x[t] * (row[_QUANTITY_X] * x[t])
        if pending == SIGNAL_ENTER:
            _open(row, t, y[t], x[t], side, held_beta, terms)
            opened = True
        elif pending != SIGNAL_STAY:
            closing = pending
        pending = SIGNAL_STAY
        if opened:
            _mark(row, t, y, x, terms)
            halted = wealth + row[_PNL] <= terms.maintenance * row[_EXIT_VALUE]
            if halted and closing == 0:
                closing = _LIQUIDATION
                exit_z = zscore_window(spaced_y, spaced_x, t + 1, window, held_alpha, held_beta).zscore
        if not halted:
            held_z = np.nan
            if state[SIGNAL_POSITION] != 0.0:
                held_z = zscore_window(spaced_y, spaced_x, t + 1, window, held_alpha, held_beta).zscore
            if closing > 0:
                # Filled before this bar decides anything: the row is complete, a new position takes the next.
                row[_ENTRY_Z], row[_EXIT_Z], row[_EXIT_BAR], row[_REASON] = entry_z, exit_z, t, closing
                wealth += row[_PNL]
                count += 1
                row = trades[count]
                opened = False
                closing = 0
            decision = signal_step(state, rule, zscore[t], held_z, gate[t])
            if decision == SIGNAL_ENTER:
                held_alpha, held_beta, entry_z, side = alpha[t], beta[t], zscore[t], state[SIGNAL_POSITION]
                if terms.delay > 0:
                    pending = decision
                else:
                    _open(row, t, y[t], x[t], side, held_beta, terms)
                    _mark(row, t, y, x, terms)
                    opened = True
            elif decision != SIGNAL_STAY:
                exit_z = held_z
                if terms.delay > 0:
                    pending = decision
                else:
                    closing = decision
            if t == last and opened and closing == 0:
                closing = _END
                exit_z = held_z if decision != SIGNAL_ENTER else zscore[t]
        equity[t] = wealth + (row[_PNL] if opened else 0.0)
        if closing > 0:
            row[_ENTRY_Z], row[_EXIT_Z], row[_EXIT_BAR], row[_REASON] = entry_z, exit_z, t, closing
            wealth += row[_PNL]
            count += 1
            opened = False
    return count
