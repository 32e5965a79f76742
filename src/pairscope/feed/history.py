"""The exchange's closed one-minute bars from before our own ticks, and for the minute in which those began."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import numpy as np
import structlog

from pairscope.errors import FeedError
from pairscope.feed.rest import ExchangeRest, Kline
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.ports import TickStore

__all__ = ["HistoryLoader", "bars_of_klines"]

_log = structlog.get_logger(__name__)

MINUTE_NS: Final = 60_000_000_000
PAGE: Final = 499
"""Candles a request: the largest page that costs 2, the best bargain of the exchange's table."""
NEAR_NS: Final = 60 * MINUTE_NS
"""Holes nearer than this to each other are fetched in one go."""
FIRST_MINUTES: Final = 1500
"""What everybody gets before anybody gets more: a day, with what rolling statistics need."""
ROUNDS: Final = 3
"""How often a symbol is tried again behind all others when the exchange fails."""


class HistoryLoader:
    """Fetches what the store lacks of the last ``minutes`` closed minutes, and corrects the first partial minute.

    A day and an hour of every symbol comes first, then whatever is older.
    The minute in which a symbol's own ticks begin is only half ours; ``settle_s`` after it is over the exchange's
    bar of it is fetched, together with the minutes since the history ended. Minutes without a trade have no bar and
    the unfinished minute is left out. ``failed`` names symbols that the exchange gave no history for.
    """

    def __init__(
        self,
        rest: ExchangeRest,
        symbols: Symbols,
        *,
        store: TickStore,
        minutes: int = 1500,
        parallel: int = 6,
        settle_s: float = 30.0,
        poll_s: float = 5.0,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.loaded = 0
        self.corrected = 0
        self.failed: list[str] = []
        self._rest = rest
        self._symbols = symbols
        self._store = store
        self._minutes = minutes
        self._parallel = parallel
        self._settle_ns = int(settle_s * 1e9)
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep
        self._ended_ns: dict[str, int] = {}

    async def load(
        self, follow: Sequence[str], *, first_tick_ns: Callable[[str], int | None]
    ) -> AsyncIterator[BarBatch]:
        """Yield one batch a symbol in the order given, then one correction each as its own ticks have begun.

        ``first_tick_ns`` returns the event time of a symbol's first own tick, 0 or None before it. Ends when every
        symbol has been corrected.
        """
        for minutes in sorted({min(self._minutes, FIRST_MINUTES), self._minutes}):
            async for bars in self._history(follow, minutes):
                yield bars
        waiting, noticed_ns = list(follow), dict[str, int]()
        while waiting:
            await self._sleep(self._poll_s)
            begun = {symbol: first for symbol in waiting if (first := first_tick_ns(symbol))}
            local_ns = self._clock()
            due_ns = min((noticed_ns.setdefault(symbol, local_ns) for symbol in begun), default=local_ns)
            if local_ns < due_ns + self._settle_ns:
                continue
            try:
                now_ns = await self._rest.time()
                for symbol, first_ns in begun.items():
                    minute_ns = first_ns - first_ns % MINUTE_NS
                    if now_ns < minute_ns + MINUTE_NS + self._settle_ns:
                        continue
                    bars = await self._correct(symbol, minute_ns, now_ns)
                    waiting.remove(symbol)
                    if len(bars):
                        self.corrected += 1
                        yield bars
            except FeedError as error:
                _log.info("first_minutes_not_corrected_yet", error=str(error))

    async def _history(self, follow: Sequence[str], minutes: int) -> AsyncIterator[BarBatch]:
        """Yield what each symbol lacks, several being asked for at once."""
        todo = deque((symbol, 1) for symbol in follow)
        running: deque[tuple[str, int, asyncio.Task[BarBatch]]] = deque()
        try:
            while todo or running:
                while todo and len(running) < self._parallel:
                    symbol, turn = todo.popleft()
                    running.append(
                        (symbol, turn, asyncio.create_task(self._lacking(symbol, minutes), name=f"history {symbol}"))
                    )
                symbol, turn, task = running.popleft()
                try:
                    bars = await task
                except FeedError as error:
                    _log.warning("history_not_loaded", symbol=symbol, error=str(error), round=turn)
                    if turn < ROUNDS and error.retry:
                        todo.append((symbol, turn + 1))
                    else:
                        self.failed.append(symbol)
                    continue
                self.loaded += 1
                if len(bars):
                    yield bars
        finally:
            for _, _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, _, task in running), return_exceptions=True)

    async def _lacking(self, symbol: str, minutes: int) -> BarBatch:
        """Fetch the closed minutes of the window that the store has no bar of."""
        now_ns = await self._rest.time()
        end_ns = now_ns - now_ns % MINUTE_NS
        start_ns = max(0, end_ns - minutes * MINUTE_NS)
        held = await self._store.bars(symbol, "1m", start_ns, end_ns, limit=minutes + 1)
        window = np.arange(start_ns, end_ns, MINUTE_NS, dtype=np.int64)
        rows: list[Kline] = []
        for low, high in _runs(np.setdiff1d(window, held.ts_open_ns)):
            for page_ns in range(low, high, PAGE * MINUTE_NS):
                rows += await self._page(symbol, page_ns, min(high, page_ns + PAGE * MINUTE_NS))
        self._ended_ns[symbol] = end_ns
        bars = bars_of_klines(rows, self._symbols, symbol, before_ns=now_ns)
        return bars if not len(held) else _without(bars, held)

    async def _correct(self, symbol: str, minute_ns: int, now_ns: int) -> BarBatch:
        """Fetch the minutes from the end of the history up to and with the one in which own ticks began."""
        start_ns = min(self._ended_ns.get(symbol, minute_ns), minute_ns)
        start_ns = max(start_ns, minute_ns - (PAGE - 1) * MINUTE_NS)
        rows = await self._page(symbol, start_ns, minute_ns + MINUTE_NS)
        return bars_of_klines(rows, self._symbols, symbol, before_ns=now_ns)

    async def _page(self, symbol: str, start_ns: int, end_ns: int) -> list[Kline]:
        limit = (end_ns - start_ns) // MINUTE_NS
        rows = await self._rest.klines(symbol, "1m", start_ns=start_ns, end_ns=end_ns, limit=limit)
        return [row for row in rows if start_ns <= row.open_ms * 1_000_000 < end_ns]


def bars_of_klines(rows: Sequence[Kline], symbols: Symbols, symbol: str, *, before_ns: int) -> BarBatch:
    """Turn the exchange's candles into bars of origin ``EXCHANGE``, oldest first and each once.

    ``trades`` counts trades of ours, so it is 0. Left out are those that end after ``before_ns`` (unfinished), those
    without a trade, and what is no number.
    """
    good = {
        row.open_ms: row
        for row in rows
        if row.trades > 0
        and (row.close_ms + 1) * 1_000_000 <= before_ns
        and np.isfinite([row.open, row.high, row.low, row.close, row.volume, row.quote_volume, row.buy_volume]).all()
        and 0 < row.low <= min(row.open, row.close)
        and row.high >= max(row.open, row.close)
    }
    kept = [good[key] for key in sorted(good)]
    n = len(kept)
    none = np.full(n, -1, np.int64)
    return BarBatch(
        symbols,
        "1m",
        np.full(n, symbols.id_of(symbol), np.int32),
        np.array([row.open_ms for row in kept], np.int64) * 1_000_000,
        np.array([row.open for row in kept], np.float64),
        np.array([row.high for row in kept], np.float64),
        np.array([row.low for row in kept], np.float64),
        np.array([row.close for row in kept], np.float64),
        np.array([row.volume for row in kept], np.float64),
        np.array([row.quote_volume for row in kept], np.float64),
        np.array([row.buy_volume for row in kept], np.float64),
        np.zeros(n, np.int64),
        none,
        none.copy(),
        np.zeros(n, np.int32),
        np.full(n, int(Origin.EXCHANGE), np.int8),
    )


def _runs(minutes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[tuple[int, int]]:
    """Return the ranges [start, end) that cover missing minutes, joined where they are near each other."""
    if not minutes.size:
        return []
    cuts = np.flatnonzero(np.diff(minutes) > NEAR_NS) + 1
    return [(int(part[0]), int(part[-1]) + MINUTE_NS) for part in np.split(minutes, cuts)]


def _without(bars: BarBatch, held: BarBatch) -> BarBatch:
    """Return the bars that the store does not hold."""
    return bars.take(~np.isin(bars.ts_open_ns, held.ts_open_ns))
