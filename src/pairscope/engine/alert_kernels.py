"""The scan over a batch's ticks that finds those at which an alert may have something to do, compiled."""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = ["in_order", "scan_prices", "symbol_rows", "warm_up"]

LAST_ID: Final = 0
LAST_NS: Final = 1
LAST_RECV: Final = 2
SINCE_NS: Final = 3
UNTIL_NS: Final = 4
WATCHED: Final = 5
TIMEFRAMES_USED: Final = 6
_WHOLE: Final = 7
LAST_PRICE: Final = 0
LOW: Final = 1
HIGH: Final = 2
_REAL: Final = 3
NEVER: Final = 1 << 62


def symbol_rows(size: int) -> tuple[I8, F8]:
    """Return what is kept of ``size`` symbols that nobody watches and of which nothing is known."""
    whole, real = np.zeros((size, _WHOLE), np.int64), np.zeros((size, _REAL))
    whole[:, LAST_ID] = -1
    whole[:, SINCE_NS], whole[:, UNTIL_NS] = -NEVER, NEVER
    real[:, LAST_PRICE] = np.nan
    real[:, LOW], real[:, HIGH] = -np.inf, np.inf
    return whole, real


@kernel
def scan_prices(
    symbol_id: I4, trade_id: I8, ts_event_ns: I8, ts_recv_ns: I8, price: F8, start: int, whole: I8, real: F8
) -> int:  # pragma: no cover - compiled
    """Go through ticks from row ``start`` on; return the first that has to be looked at, the number of rows if none.

    That is, of a watched symbol: one out of order, one after a hole in its ids, one whose price is not strictly
    between the symbol's bounds, one outside of the times for which these hold. The last trade of each symbol is kept
    up to, and without, that row. O(rows).
    """
    n = symbol_id.size
    for i in range(start, n):
        s = symbol_id[i]
        mine = whole[s]
        if mine[WATCHED]:
            if trade_id[i] != mine[LAST_ID] + 1 and mine[LAST_ID] >= 0:
                return i
            if not (real[s, LOW] < price[i] < real[s, HIGH]):
                return i
            if not (mine[SINCE_NS] <= ts_event_ns[i] < mine[UNTIL_NS]):
                return i
        elif trade_id[i] <= mine[LAST_ID]:
            continue
        mine[LAST_ID] = trade_id[i]
        mine[LAST_NS] = ts_event_ns[i]
        mine[LAST_RECV] = ts_recv_ns[i]
        real[s, LAST_PRICE] = price[i]
    return n


@kernel
def in_order(symbol_id: I4, trade_id: I8, newest: I8, out: B1) -> None:  # pragma: no cover - compiled
    """Write of each tick whether its trade id is above the newest of its symbol, and keep the newest. O(rows)."""
    for i in range(symbol_id.size):
        s = symbol_id[i]
        out[i] = trade_id[i] > newest[s]
        if out[i]:
            newest[s] = trade_id[i]


def warm_up() -> None:
    """Compile the scans, so that no batch waits for it."""
    ids, times, prices = np.zeros(1, np.int32), np.zeros(1, np.int64), np.ones(1)
    scan_prices(ids, times, times, times, prices, 0, *symbol_rows(1))
    in_order(ids, times, times, np.zeros(1, np.bool_))
