"""Where orders would have been filled in real trades: each leg at its first trade that comes after a latency."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.analytics.price_stats import checked
from pairscope.analytics.trades import Trades
from pairscope.errors import InputError
from pairscope.market.ticks import F8, I8

__all__ = ["TickFills", "TickSlippage", "tick_fills", "tick_slippage"]

_MS: Final = 1_000_000
_MOST_MS: Final = 86_400_000.0


class TickFills(NamedTuple):
    """The fill of each bar's decision: prices, NaN where a leg does not trade any more, the bar, and the times in ns.

    ``bar`` is that in which the later leg trades, as many as there are bars where that is after the last or never;
    a time is -1 where a leg does not trade any more.
    """

    y: F8
    x: F8
    bar: I8
    time_y_ns: I8
    time_x_ns: I8


class TickSlippage(NamedTuple):
    """What waiting cost a trade, in basis points of both legs' value: at its entry and at its exit."""

    entry_bps: F8
    exit_bps: F8


def tick_fills(close_ns: I8, times_y: I8, prices_y: F8, times_x: I8, prices_x: F8, *, latency_ms: float) -> TickFills:
    r"""Return at which prices, and in which bar, a decision at each bar's close is filled in the trades of both legs.

    .. math:: i_t = \min \{ i : \tau_i \ge c_t + \mathrm{latency} \} \quad \text{of each leg's own trades } \tau

    ``close_ns`` are the bars' ends, and a trade at an end belongs to the bar that follows; the decision of bar t is
    known at its end, so no trade before it is used. Each leg is filled at its own trade's price, whatever its size;
    the position counts from the bar in which the later one trades, and what the first has moved by then is in its P&L.
    A leg that does not trade any more is not filled: NaN, and the order stays open. Times are int64 ns; those of bars
    grow, those of trades do not go back. NaN, infinities, prices that are not positive, times in another order,
    unequal lengths and a negative latency raise ``ValueError`` naming the argument. O(n log trades).

    >>> close = np.array([60, 120, 180]) * 10**9
    >>> times_y, times_x = np.array([59, 61, 125]) * 10**9, np.array([60, 130, 131]) * 10**9
    >>> prices = np.array([10.0, 11.0, 12.0])
    >>> fills = tick_fills(close, times_y, prices, times_x, prices, latency_ms=100)
    >>> fills.y.tolist(), fills.x.tolist(), fills.bar.tolist()
    ([11.0, 12.0, nan], [11.0, 11.0, nan], [2, 2, 3])
    """
    closes = _times(close_ns, "close_ns")
    if (np.diff(closes) <= 0).any():
        raise InputError("close_ns: must grow from bar to bar", loc="close_ns")
    if not 0.0 <= latency_ms <= _MOST_MS:
        raise InputError("latency_ms: must be between 0 and a day", loc="latency_ms")
    asked = closes + round(latency_ms * _MS)
    price_y, time_y = _first_trades(asked, times_y, prices_y, ("times_y", "prices_y"))
    price_x, time_x = _first_trades(asked, times_x, prices_x, ("times_x", "prices_x"))
    filled = (time_y >= 0) & (time_x >= 0)
    bar = np.searchsorted(closes, np.maximum(time_y, time_x), side="right")
    return TickFills(price_y, price_x, np.where(filled, bar, closes.size).astype(np.int64), time_y, time_x)


def tick_slippage(trades: Trades, y: F8, x: F8) -> TickSlippage:
    r"""Return what each trade's fills cost against the closes of the bars that decided, in basis points.

    .. math:: 10^4 \, \frac{q_y (p_y - P_{y,d}) + q_x (p_x - P_{x,d})}{|q_y| p_y + |q_x| p_x}
        \quad \text{at the entry, the opposite at the exit}

    with p the fills' prices and P the closes ``y`` and ``x`` of the deciding bar d. Positive is a loss, negative where
    waiting paid. It is no further cost: it is in ``spread_pnl`` already. 0 where a trade was closed at a close, at the
    end or by liquidation. NaN in y or x, infinities and unequal lengths raise ``ValueError``. O(trades).

    >>> tick_slippage(Trades({name: np.empty(0) for name in ("entry_decided", "exit_decided", "pnl")} | {
    ...     name: np.empty(0) for name in ("quantity_y", "quantity_x", "exit_quantity_x", "entry_price_y",
    ...     "entry_price_x", "exit_price_y", "exit_price_x")}), np.ones(3), np.ones(3)).entry_bps.size
    0
    """
    closes = checked(y, "y", positive=True, constant=True), checked(x, "x", positive=True, constant=True)
    if closes[0].size != closes[1].size:
        raise InputError(f"x: has {closes[1].size} values, y has {closes[0].size}", loc="x")

    return TickSlippage(
        _lost(trades, closes, "entry", "quantity_x"),
        -_lost(trades, closes, "exit", "exit_quantity_x"),
    )


def _lost(trades: Trades, closes: tuple[F8, F8], end: str, of_x: str) -> F8:
    """Return what buying at one end's fills costs more than at the closes of the bars that decided."""
    decided = trades[f"{end}_decided"].astype(np.int64)
    lost, value = np.zeros(decided.size), np.zeros(decided.size)
    for leg, close, quantity in zip("yx", closes, (trades["quantity_y"], trades[of_x]), strict=True):
        price = trades[f"{end}_price_{leg}"]
        lost += quantity * (price - close[decided])
        value += np.abs(quantity) * price
    made: F8 = 1e4 * lost / value
    return made


def _times(values: Any, name: str) -> I8:
    """Return times as int64."""
    times = np.asarray(values)
    if times.ndim != 1 or times.dtype.kind not in "iu":
        raise InputError(f"{name}: must be whole numbers of ns", loc=name)
    return times.astype(np.int64)


def _first_trades(asked: I8, times: Any, prices: F8, names: tuple[str, str]) -> tuple[F8, I8]:
    """Return price and time of the first trade at or after each time asked for; NaN and -1 where none is."""
    at = _times(times, names[0])
    if (np.diff(at) < 0).any():
        raise InputError(f"{names[0]}: must not go back", loc=names[0])
    if at.size == 0:
        return np.full(asked.size, np.nan), np.full(asked.size, -1, np.int64)
    paid = checked(prices, names[1], positive=True, constant=True)
    if paid.size != at.size:
        raise InputError(f"{names[1]}: has {paid.size} values, {names[0]} has {at.size}", loc=names[1])
    first = np.searchsorted(at, asked, side="left")
    there = first < at.size
    index = np.minimum(first, at.size - 1)
    return np.where(there, paid[index], np.nan), np.where(there, at[index], -1)
