"""What the store lacks although the stream brought it is fetched again: nobody else would ever ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from pairscope.errors import ExchangeRefused, FeedError, StorageError
from pairscope.feed.backfill import PAGE, TradeSource
from pairscope.feed.reconnect import can_retry
from pairscope.feed.wire import agg_trades_batch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.id_ranges import Range, inside, less
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import TickStore

__all__ = ["LostTrades"]

_log = structlog.get_logger(__name__)

_Page = tuple[str, int, int]
"""A symbol and its ids from one to another, both included."""

EVERY_S: Final = 3.0
PAGES_A_LOOK: Final = 50
"""Requests of one look, at a weight of 20 each; the rest waits for the next."""
TRIES: Final = 4
"""Answers without any of the ids that were asked for, behind which those are given up."""


@dataclass(slots=True)
class LostTrades:
    """Compares the store's open holes with the ledger of the stream, and fetches those that it does not know.

    They come about where one process received what another one was to store: the one that died had stored less than the
    one that took over remembers, or what waited in memory was dropped. A hole counts once two looks in a row have seen
    it, since what is on its way to the store is missing there too. What is fetched goes to ``hand_on`` with the ranges
    [start_ns, end_ns) of its bars; the engine has had it. Ids for which the exchange answers nothing, or which it
    refuses, several times are given up in the store, as the feed's own repair does: ``given_up`` counts them.
    """

    store: TickStore
    rest: TradeSource
    symbols: Symbols
    ledger: Continuity
    hand_on: Callable[[TickBatch, tuple[tuple[str, int, int], ...]], Awaitable[object]]
    clock: Callable[[], int]
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    fetched: int = 0
    given_up: int = 0
    _suspect: dict[str, list[Range]] = field(default_factory=dict)
    _in_vain: dict[_Page, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except (StorageError, FeedError) as error:
                _log.info("lost_trades_wait", error=str(error))
            await self.sleep(EVERY_S)

    async def look(self) -> int:
        """Fetch what was missing in this look and in the one before; return how many trades that were."""
        seen, self._suspect = self._suspect, await self._missing()
        pages, before = PAGES_A_LOOK, self.fetched
        lacking: set[_Page] = set()
        for symbol, ranges in self._suspect.items():
            sure = [span for low, high in ranges for span in _common((low, high), seen.get(symbol, []))]
            for low, high in sure:
                for first in range(low, high + 1, PAGE):
                    page = symbol, first, min(high, first + PAGE - 1)
                    lacking.add(page)
                    if pages:
                        pages -= 1
                        await self._try(page)
        self._in_vain = {page: tries for page, tries in self._in_vain.items() if page in lacking}
        return self.fetched - before

    async def _try(self, page: _Page) -> None:
        """Fetch a page; note where nothing came of it, and give it up where that was so too often."""
        try:
            if await self._fetch(*page):
                return
        except ExchangeRefused as error:
            if can_retry(error):
                raise
        tries = self._in_vain[page] = self._in_vain.get(page, 0) + 1
        if tries >= TRIES:
            symbol, low, high = page
            await self.store.settle_gap(Gap(symbol, low, high, "unrepairable", 0, ended_ns=self.clock()))
            self.given_up += high - low + 1
            _log.warning("lost_trades_given_up", symbol=symbol, from_id=low, to_id=high)

    async def _missing(self) -> dict[str, list[Range]]:
        """Return the ranges that the store lacks and the stream's ledger does not, by symbol."""
        known: dict[str, list[Range]] = {}
        for gap, ranges in self.ledger.open_gaps():
            known.setdefault(gap.symbol, []).extend(ranges)
        lost: dict[str, list[Range]] = {}
        for gap, ranges in (await self.store.continuity()).open_gaps():
            begun = self.ledger.next_id(gap.symbol) is not None
            left = less(ranges, sorted(known.get(gap.symbol, []))) if begun else []
            if left:
                lost.setdefault(gap.symbol, []).extend(left)
        return lost

    async def _fetch(self, symbol: str, low: int, high: int) -> bool:
        """Ask for ids and hand on what comes; False where none of them does."""
        rows = await self.rest.agg_trades(symbol, from_id=low, limit=high - low + 1)
        batch = agg_trades_batch(rows, self.symbols, symbol, self.clock())
        batch = batch.take(inside(batch.trade_id, [(low, high)]))
        if not len(batch) and not batch.void:
            return False
        ends = (int(batch.ts_event_ns.min()), int(batch.ts_event_ns.max()) + 1) if len(batch) else ()
        await self.hand_on(batch, ((symbol, *ends),) if ends else ())
        self.fetched += len(batch)
        _log.info("lost_trades_fetched", symbol=symbol, from_id=low, to_id=high, trades=len(batch))
        return True


def _common(span: Range, ranges: list[Range]) -> list[Range]:
    return [(max(span[0], low), min(span[1], high)) for low, high in ranges if low <= span[1] and high >= span[0]]
