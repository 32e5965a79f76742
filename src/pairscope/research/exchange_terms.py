"""The terms on which the exchange trades, as a backtest needs them: funding rates, and the steps of quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pairscope.feed.rest import ExchangeRest
from pairscope.ports import Clock

__all__ = ["ExchangeTerms"]

_FRESH_NS: Final = 3600 * 1_000_000_000


class ExchangeTerms:
    """Asks the exchange over REST; steps are asked for at most once an hour."""

    def __init__(self, rest: ExchangeRest, *, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._steps: Mapping[str, float] = {}
        self._read_ns: int | None = None

    async def funding(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[tuple[str, int, float]]:
        """Return (symbol, time in ms, rate) of each time in [start, end) at which funding fell due, oldest first."""
        rows = await self._rest.funding_rates(symbol, start_ns, end_ns)
        return [(row.symbol, row.funding_time, row.funding_rate) for row in rows]

    async def steps(self) -> Mapping[str, float]:
        """Return the step of a market order's quantity by symbol, in base units."""
        now_ns = self._clock()
        if self._read_ns is None or not 0 <= now_ns - self._read_ns < _FRESH_NS:
            listed = await self._rest.exchange_info()
            self._steps = {one.symbol: one.step for one in listed if one.step is not None}
            self._read_ns = now_ns
        return self._steps
