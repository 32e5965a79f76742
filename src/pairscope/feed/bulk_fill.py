"""Long ranges of minutes and of trades over REST, within the weight budget: only what is not stored is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Set
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import numpy as np
import structlog

from pairscope.errors import ExchangeRefused, FeedError, InputError, UnknownSymbol
from pairscope.feed.archive_names import archive_addresses
from pairscope.feed.backfill import KEPT_NS, MARGIN_NS
from pairscope.feed.backfill import PAGE as TRADES_PAGE
from pairscope.feed.history import MINUTE_NS, NEAR_NS, bars_of_klines
from pairscope.feed.history import PAGE as BARS_PAGE
from pairscope.feed.older_ticks import OlderTicks, Shelf, lacking
from pairscope.feed.reconnect import backoff, can_retry
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.weight import HISTORY_SHARE, Priority
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8
from pairscope.ports import Clock
from pairscope.ports_bulk import BulkRequest

__all__ = ["BARS_WEIGHT", "TRADES_WEIGHT", "BulkFill"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

BARS_WEIGHT: Final = 2
TRADES_WEIGHT: Final = 20
PARALLEL: Final = 4
PAGES: Final = 20
"""Pages that are fetched before they are stored together."""
SETTLE_NS: Final = 60 * 10**9
"""Trades younger than this are the live stream's to bring."""
TRIES: Final = 8
_HOUR_NS: Final = 3600 * 10**9
_MS: Final = 1_000_000


class BulkFill:
    """Carries out one request, symbol by symbol, several pages at a time, behind every other request of the budget.

    What is stored already is not asked for, so that a request which was broken off goes on when it is made again. A
    symbol that the exchange gives nothing for is in ``failed`` and the others go on. ``done`` of ``total`` are minutes
    or trade ids.
    """

    def __init__(
        self,
        request: BulkRequest,
        shelf: Shelf,
        rest: ExchangeRest,
        *,
        clock: Clock,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.request = request
        self.done = 0
        self.total = 0
        self.requests = 0
        self.stored = 0
        self.symbols_done = 0
        self.failed: dict[str, str] = {}
        self._shelf = shelf
        self._rest = rest
        self._clock = clock
        self.progress = progress
        self._sleep = sleep
        self._symbols = Symbols()
        self._slots = asyncio.Semaphore(PARALLEL)

    @property
    def weight_left(self) -> int:
        """What is still to be asked for, in request weight, if nothing more of it is stored."""
        a_page, weight = (BARS_PAGE, BARS_WEIGHT) if self.request.kind == "bars" else (TRADES_PAGE, TRADES_WEIGHT)
        return -(-max(0, self.total - self.done) // a_page) * weight

    @property
    def eta_s(self) -> float:
        """Seconds that the weight budget lets it take at least."""
        return 60.0 * self.weight_left / (self._rest.budget.limit * HISTORY_SHARE)

    async def run(self) -> dict[str, Any]:
        """Fetch and store; return what came of it. Raises where not one symbol could be fetched."""
        now_ns = await self._rest.time()  # who does not answer to begin with is told of at once
        known = {each.symbol for each in await self._ask(self._rest.exchange_info)}
        names = await self._names(known)
        if not names:
            raise self._nobody(known)
        request = self.request
        until_ns = min(now_ns, request.until_ns or now_ns)
        fill = self._bars if request.kind == "bars" else self._trades
        work = await fill(names, request.since_ns, until_ns, now_ns)
        error: FeedError | None = None
        for symbol, each in work:
            try:
                await each()
                self.symbols_done += 1
            except FeedError as failure:
                error = failure
                self.failed[symbol] = str(failure)
                _log.warning("not_filled", symbol=symbol, error=str(failure))
        if error is not None and not self.symbols_done:
            raise error
        files = self._files(names, now_ns)
        return {
            "kind": request.kind,
            "symbols": names,
            "since": request.since_ns // _MS,
            "until": until_ns // _MS,
            "stored": self.stored,
            "requests": self.requests,
            "failed": self.failed,
            "too_old": None if not files else {"until": (now_ns - KEPT_NS + MARGIN_NS) // _MS, "files": files},
        }

    async def _names(self, known: Set[str]) -> list[str]:
        """Return whose history is asked for; those that the exchange does not have are noted."""
        request = self.request
        if request.every or request.top is not None:
            return await self._ask(lambda: self._rest.busiest(request.top or 10_000))
        for name in request.symbols:
            if name not in known:
                self.failed[name] = str(_unknown(name, known))
        return [name for name in dict.fromkeys(request.symbols) if name in known]

    def _nobody(self, known: Set[str]) -> InputError:
        """Return what to say where there is no symbol to fetch."""
        if self.request.symbols:
            return _unknown(self.request.symbols[0], known)
        return InputError("the exchange trades no symbol now", loc="symbols")

    # -- minutes -------------------------------------------------------------------------------------------------------

    async def _bars(
        self, names: Sequence[str], since_ns: int, until_ns: int, now_ns: int
    ) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        low, high = -(-since_ns // MINUTE_NS) * MINUTE_NS, until_ns // MINUTE_NS * MINUTE_NS
        self._expect(len(names) * max(0, high - low) // MINUTE_NS)
        return [(name, lambda name=name: self._minutes(name, low, high, now_ns)) for name in names]  # type: ignore[misc]

    async def _minutes(self, symbol: str, low: int, high: int, now_ns: int) -> None:
        """Fetch the minutes of one symbol that are not stored, a stretch after the other, the oldest first."""
        first = await self._klines(symbol, low, low + MINUTE_NS, 1, open_ended=True)
        if first and first[0].open_ms * _MS > low:  # nothing was traded before: not listed yet
            begins = min(high, first[0].open_ms * _MS)
            self._did((begins - low) // MINUTE_NS)
            low = begins
        stretch = PAGES * BARS_PAGE * MINUTE_NS
        for start in range(low, high, stretch):
            end = min(high, start + stretch)
            held = await self._shelf.store.bars(symbol, "1m", start, end, limit=(end - start) // MINUTE_NS)
            missing = np.setdiff1d(np.arange(start, end, MINUTE_NS, dtype=np.int64), held.ts_open_ns)
            pages = [
                (page, min(last, page + BARS_PAGE * MINUTE_NS))
                for begin, last in _runs(missing)
                for page in range(begin, last, BARS_PAGE * MINUTE_NS)
            ]
            self._did((end - start) // MINUTE_NS - sum(b - a for a, b in pages) // MINUTE_NS)
            rows = await asyncio.gather(*(self._page(symbol, a, b) for a, b in pages))
            bars = bars_of_klines([row for page in rows for row in page], self._symbols, symbol, before_ns=now_ns)
            fresh = bars.take(~np.isin(bars.ts_open_ns, held.ts_open_ns))
            if len(fresh):
                self.stored += await self._put(fresh)

    async def _page(self, symbol: str, start_ns: int, end_ns: int) -> list[Any]:
        count = (end_ns - start_ns) // MINUTE_NS
        rows = await self._klines(symbol, start_ns, end_ns, count)
        self._did(count)
        return [row for row in rows if start_ns <= row.open_ms * _MS < end_ns]

    async def _klines(
        self, symbol: str, start_ns: int, end_ns: int, limit: int, *, open_ended: bool = False
    ) -> list[Any]:
        end = None if open_ended else end_ns
        return await self._ask(lambda: self._rest.klines(symbol, "1m", start_ns=start_ns, end_ns=end, limit=limit))

    async def _put(self, bars: BarBatch) -> int:
        return await self._shelf.put_bars(bars)

    # -- trades --------------------------------------------------------------------------------------------------------

    async def _trades(
        self, names: Sequence[str], since_ns: int, until_ns: int, now_ns: int
    ) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        low, high = max(since_ns, now_ns - KEPT_NS + MARGIN_NS), min(until_ns, now_ns - SETTLE_NS)
        work: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        failure: FeedError | None = None
        for name in names:
            try:
                missing = await self._missing(name, low, high)
            except FeedError as error:
                failure, self.failed[name] = error, str(error)
                continue
            self._expect(sum(b - a + 1 for a, b in missing))
            work.append((name, lambda name=name, missing=missing: self._ids(name, missing)))  # type: ignore[misc]
        if failure is not None and not work:
            raise failure
        return work

    async def _missing(self, symbol: str, low_ns: int, high_ns: int) -> list[tuple[int, int]]:
        """Return the ids of a range of time that are not stored."""
        first = await self._first_id(symbol, low_ns, high_ns)
        if first is None:
            return []
        newest = await self._agg_trades(symbol, limit=TRADES_PAGE)
        last = max((row.a for row in newest if high_ns > row.T * _MS), default=None)
        if last is None:
            behind = await self._first_id(symbol, high_ns, self._clock())
            last = (behind if behind is not None else newest[0].a if newest else first) - 1
        held = [(span.from_id, span.to_id) for span in await self._shelf.store.held(symbol)]
        return lacking(first, last, held)

    async def _first_id(self, symbol: str, low_ns: int, high_ns: int) -> int | None:
        """Return the first id of a range of time, looked for hour by hour as the exchange wants it."""
        for start in range(low_ns, high_ns, _HOUR_NS):
            end = min(start + _HOUR_NS - _MS, high_ns)
            rows = await self._agg_trades(symbol, start_ns=start, end_ns=end, limit=1)
            if rows:
                return rows[0].a
        return None

    async def _ids(self, symbol: str, missing: Sequence[tuple[int, int]]) -> None:
        """Fetch missing ids of one symbol, the newest first: so what is stored stays in one piece wherever it ends."""
        ticks = OlderTicks(symbol, self._shelf)
        pages = _pages(missing)
        for some in (pages[at : at + PAGES] for at in range(0, len(pages), PAGES)):
            rows = await asyncio.gather(*(self._id_page(symbol, low, high) for low, high in some))
            found = sorted({row.a: row for page in rows for row in page}.values(), key=lambda row: row.a)
            if found:
                batch = agg_trades_batch(found, self._symbols, symbol, self._clock())
                before = ticks.stored
                await ticks.take(batch.with_watermark(int(batch.ts_event_ns.max(initial=0))))
                self.stored += ticks.stored - before
            self._did(sum(max(0, min(b, high) - max(a, low) + 1) for low, high in some for a, b in missing))
        await ticks.finish()

    async def _id_page(self, symbol: str, low: int, high: int) -> list[AggTradeRow]:
        rows = await self._agg_trades(symbol, from_id=low, limit=high - low + 1)
        return [row for row in rows if low <= row.a <= high]

    async def _agg_trades(self, symbol: str, **query: Any) -> list[AggTradeRow]:
        return await self._ask(lambda: self._rest.agg_trades(symbol, priority=Priority.HISTORY, **query))

    def _files(self, names: Sequence[str], now_ns: int) -> list[str]:
        """Return the archive files of what the exchange no longer answers for over REST."""
        oldest_ns = now_ns - KEPT_NS + MARGIN_NS
        if self.request.kind == "bars" or self.request.since_ns >= oldest_ns:
            return []
        until_ns = min(oldest_ns, self.request.until_ns or oldest_ns)
        return [file for name in names for file in archive_addresses(name, self.request.since_ns, until_ns)]

    # -- asking --------------------------------------------------------------------------------------------------------

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, for as long as there is hope."""
        delays = backoff(first_s=1.0, cap_s=60.0)
        for left in reversed(range(TRIES)):
            try:
                async with self._slots:
                    self.requests += 1
                    return await call()
            except FeedError as error:
                if not left or not can_retry(error):
                    raise
                pause_s = getattr(error, "retry_after_s", None) if isinstance(error, ExchangeRefused) else None
                pause_s = pause_s or next(delays)
                _log.info("bulk_request_failed", error=str(error), again_in_s=round(pause_s, 1))
                await self._sleep(pause_s)
        raise AssertionError("unreachable")

    def _expect(self, steps: int) -> None:
        self.total += steps
        self.progress(self.done, self.total)

    def _did(self, steps: int) -> None:
        self.done += steps
        self.progress(self.done, self.total)


def _unknown(name: str, known: Set[str]) -> UnknownSymbol:
    error = UnknownSymbol(name, tuple(get_close_matches(name, known, 3)))
    error.loc = "symbols"
    return error


def _runs(minutes: I8) -> list[tuple[int, int]]:
    """Return the ranges [start, end) that cover missing minutes, joined where they are near each other."""
    if not minutes.size:
        return []
    cuts = np.flatnonzero(np.diff(minutes) > NEAR_NS) + 1
    return [(int(part[0]), int(part[-1]) + MINUTE_NS) for part in np.split(minutes, cuts)]


def _pages(missing: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pages that cover missing ids, the newest first; one takes along whatever is within its reach.

    >>> _pages([(1, 5), (900, 2500)])
    [(1501, 2500), (900, 1500), (1, 5)]
    """
    pages = []
    left = list(missing)
    while left:
        high = left[-1][1]
        floor = high - TRADES_PAGE + 1
        low = min(max(a, floor) for a, b in left[-TRADES_PAGE:] if b >= floor)
        pages.append((low, high))
        while left and left[-1][1] >= low:
            a, _ = left.pop()
            if a < low:
                left.append((a, low - 1))
    return pages
