"""What the replay server plays from: trades by the moment of their printing.

Times are exchange milliseconds. A trade is *printed* at its event time; every method that takes ``until_ms`` sees what
was printed before it and nothing later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pairscope.feed.agg_trades import AggTrades, Klines, Listing
from pairscope.feed.tape import PublicFrame

__all__ = ["DAY_MS", "MINUTE_MS", "WEEK_SHIFT_MS", "MarketSource", "interval_ms", "kline_open_ms"]

MINUTE_MS, DAY_MS = 60_000, 86_400_000
WEEK_SHIFT_MS = 4 * DAY_MS
"""From the epoch, a Thursday, to the first Monday."""

_INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
    "12h": 720, "1d": 1440, "3d": 4320, "1w": 10080,
}  # fmt: skip


def interval_ms(interval: str) -> int | None:
    """Return the length of a kline interval, None where the exchange has no such one.

    >>> interval_ms("5m"), interval_ms("7m")
    (300000, None)
    """
    minutes = _INTERVALS.get(interval)
    return None if minutes is None else minutes * MINUTE_MS


def kline_open_ms(time_ms: int, step_ms: int) -> int:
    """Return when the kline around a moment opened; weeks begin on Monday."""
    shift = WEEK_SHIFT_MS if step_ms == 7 * DAY_MS else 0
    return (time_ms - shift) // step_ms * step_ms + shift


class MarketSource(Protocol):
    """Trades by the moment of their printing."""

    kind: str
    listings: tuple[Listing, ...]
    stamped: bool
    waits: bool
    """Whether playing begins with the first subscriber; a market that trades anyway does not wait."""

    @property
    def start_ms(self) -> int:
        """When the first trade is printed."""
        ...

    @property
    def end_ms(self) -> int | None:
        """One past the last print; None where there is no end."""
        ...

    def shift_to(self, start_ms: int) -> None:
        """Move every time by a constant, so that the first trade is printed at ``start_ms``."""
        ...

    def between(self, start_ms: int, end_ms: int) -> AggTrades:
        """Return what is printed in [start_ms, end_ms), in order."""
        ...

    def chunk_end(self, start_ms: int, trades: int) -> int:
        """Return a moment up to which about that many trades are printed after ``start_ms``."""
        ...

    def public_between(self, start_ms: int, end_ms: int) -> Sequence[PublicFrame]:
        """Return the recorded frames of the /public route of [start_ms, end_ms)."""
        ...

    def by_id(self, row: int, from_id: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's trades from an id on, inclusive."""
        ...

    def by_time(self, row: int, start_ms: int, end_ms: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's first trades with a trade time in [start_ms, end_ms)."""
        ...

    def newest(self, row: int, limit: int, until_ms: int) -> AggTrades:
        """Return a symbol's last trades."""
        ...

    def klines(self, row: int, step_ms: int, start_ms: int, end_ms: int, until_ms: int) -> Klines:
        """Return a symbol's klines that open in [start_ms, end_ms), the unfinished last one included."""
        ...

    def day(self, row: int, until_ms: int) -> Klines:
        """Return the 24 hours up to a moment as one kline (its start on a whole minute); none without a price."""
        ...

    def days(self, until_ms: int) -> Klines:
        """Return the same of every symbol, one row each (0 without a trade), where need be as an estimate."""
        ...
