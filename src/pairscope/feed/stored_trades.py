"""The holes of a process that stands by are filled from the store, into which the active one brings everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import structlog

from pairscope.errors import StorageError
from pairscope.feed.backfill import Deliver
from pairscope.market.continuity import Continuity
from pairscope.market.gaps import HeldGap
from pairscope.market.id_ranges import Range, clipped, inside, less, runs_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8, TickBatch
from pairscope.ports import TickStore

__all__ = ["StoredTrades"]

_log = structlog.get_logger(__name__)

PAGE: Final = 10_000
"""Ticks that are read of the store at a time."""
MARGIN_NS: Final = 2_000_000_000
"""Ids and event times may run against each other by less than this."""
UNKNOWN_NS: Final = 3600 * 1_000_000_000
"""How far back a hole may reach of which it is not known when it began."""
LONGEST_WAIT_S: Final = 10.0


@dataclass(slots=True)
class _Wait:
    """When a symbol is looked up again (monotonic seconds), and how long the next wait is."""

    until_s: float
    next_s: float


@dataclass(slots=True)
class StoredTrades:
    """Looks up what the ledger lacks, symbol by symbol, and delivers it into the stream as a repair.

    What the store does not hold yet is looked up again, at growing distances up to ten seconds; nothing is ever given
    up, and the exchange is asked for nothing. A store that refuses is asked again with the next round.
    """

    store: TickStore
    symbols: Symbols
    ledger: Continuity
    deliver: Deliver
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    every_s: float = 0.5
    delivered: int = 0
    _waits: dict[str, _Wait] = field(default_factory=dict)

    async def run(self) -> None:
        """Fill holes for ever."""
        while True:
            try:
                await self.fill()
            except StorageError as error:
                _log.info("holes_wait_for_the_store", error=str(error))
            await self.sleep(self.every_s)

    async def fill(self) -> None:
        """Look up once what is due of every symbol that lacks ids; raises what the store raises."""
        lacking: dict[str, list[HeldGap]] = {}
        for held in self.ledger.open_gaps():
            lacking.setdefault(held[0].symbol, []).append(held)
        self._waits = {symbol: wait for symbol, wait in self._waits.items() if symbol in lacking}
        for symbol, gaps in lacking.items():
            wait = self._waits.setdefault(symbol, _Wait(0.0, self.every_s))
            if wait.until_s > self.monotonic():
                continue
            if await self._fill(symbol, gaps):
                wait.next_s = self.every_s
            wait.until_s = self.monotonic() + wait.next_s
            wait.next_s = min(2 * wait.next_s, LONGEST_WAIT_S)

    async def _fill(self, symbol: str, gaps: Sequence[HeldGap]) -> bool:
        """Deliver what the store has of a symbol's missing ids; True where that was anything."""
        missing = sorted(span for _, ranges in gaps for span in ranges)
        ends = [gap.before_ns or self.ledger.last_ns(symbol) for gap, _ in gaps]
        starts = [gap.after_ns or end - UNKNOWN_NS for (gap, _), end in zip(gaps, ends, strict=True)]
        start_ns, end_ns = max(0, min(starts) - MARGIN_NS), max(ends) + MARGIN_NS
        held = [(ids.from_id, ids.to_id) for ids in await self.store.held(symbol)]
        found, after_id = False, None
        while True:
            page = await self.store.ticks(symbol, start_ns, end_ns, limit=PAGE, after_id=after_id)
            wanted = page.take(inside(page.trade_id, missing))
            void = _void(page.trade_id, missing, held)
            if len(wanted) or void:
                await self._bring(symbol, wanted, void)
                found = True
            if len(page) < PAGE:
                return found
            after_id = int(page.trade_id[-1])

    async def _bring(self, symbol: str, ticks: TickBatch, void: Sequence[int]) -> None:
        """Deliver ticks, and ids that are none, under the stream's own table of symbols."""
        symbol_id = self.symbols.id_of(symbol)
        own = replace(ticks, symbols=self.symbols, symbol_id=np.full(len(ticks), symbol_id, np.int32))
        nothing = tuple((symbol_id, trade_id) for trade_id in void)
        await self.deliver(replace(own, watermark_ns=0, void=nothing))
        self.delivered += len(ticks)


def _void(ids: I8, missing: Sequence[Range], held: Sequence[Range]) -> list[int]:
    """Return the missing ids within a page that the store counts as held and has no row of: what is no trade.

    ``held`` was read before the page: what has come in between is a row of it, or is looked up again.
    """
    if not ids.size:
        return []
    known = [span for low, high in missing for span in clipped(held, low, high)]
    known = clipped(known, int(ids.min()), int(ids.max()))
    absent = less(known, runs_of(np.unique(ids)))
    return [trade_id for low, high in absent for trade_id in range(low, high + 1)]
