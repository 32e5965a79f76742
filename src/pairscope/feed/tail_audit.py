"""What the exchange printed last against what came last: the loss that no later trade has revealed yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from pairscope.errors import ConnectionLost, ExchangeRefused, MalformedFrame
from pairscope.feed.backfill import PAGE, Repairs
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.continuity import Gap

__all__ = ["TailAudit"]

_log = structlog.get_logger(__name__)

MAX_ASKED: Final = 24
"""Symbols asked for in one audit, at a weight of 20 each; the others take their turn in the next."""


@dataclass(slots=True)
class TailAudit:
    """Compares the newest raw trade id of every symbol with the exchange's, and fetches what never came.

    A hole in ids shows when the next trade comes, which for a thin symbol may take an hour. So after each (re)connect,
    every ``every_s``, and when somebody asks, one call (weight 40) lists the exchange's newest ids; a symbol that is
    still behind ``settle_s`` later is asked for its trades from the next id on. What comes is declared as a gap of the
    ledger and delivered as its repair. Ids of off-book prints are never aggregated: an empty answer explains them.
    """

    via: Repairs
    follow: Collection[str]
    last_raw_id: Callable[[str], int]
    every_s: float = 60.0
    settle_s: float = 2.0
    audits: int = 0
    failures: int = 0
    declared: int = 0
    waits: bool = False
    """Nobody is asked meanwhile: an audit finds nothing."""
    attempted_ns: int = 0
    """Monotonic start of the newest audit that ended, well or not."""
    _explained: dict[str, int] = field(default_factory=dict)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ask(self) -> None:
        """Have an audit made soon."""
        self._asked.set()

    async def run(self) -> None:
        """Audit when asked, and every so often."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.every_s):
                    await self._asked.wait()
            self._asked.clear()
            await self.audit()

    async def audit(self) -> frozenset[str] | None:
        """Return the symbols that were behind, now repaired; None where the exchange gave no answer."""
        async with self._one:
            started_ns = self.via.monotonic()
            if self.waits:
                self.attempted_ns = started_ns
                return frozenset()
            try:
                behind = await self._compare()
            except (ConnectionLost, ExchangeRefused, MalformedFrame) as error:
                self.failures += 1
                _log.info("tail_audit_failed", error=str(error))
                behind = None
            self.audits += 1
            self.attempted_ns = started_ns
            return behind

    async def _compare(self) -> frozenset[str]:
        newest = {ticker.symbol: ticker.last_id for ticker in await self.via.rest.ticker_24h()}
        await self.via.sleep(self.settle_s)
        late = [symbol for symbol in self.follow if newest.get(symbol, -1) > self._seen(symbol)]
        late.sort(key=lambda symbol: (symbol in self._explained, symbol))
        found: set[str] = set()
        asked = 0
        for symbol in late:
            if self.via.continuity.next_id(symbol) is None and symbol not in self._explained:
                self._explained[symbol] = newest[symbol]  # not begun: what was printed before is no loss
                continue
            if asked == MAX_ASKED:
                self._asked.set()
                break
            asked += 1
            if await self._fetch(symbol, self._seen(symbol), newest[symbol]):
                found.add(symbol)
            self._explained[symbol] = newest[symbol]
        return frozenset(found)

    def _seen(self, symbol: str) -> int:
        return max(self.last_raw_id(symbol), self._explained.get(symbol, -1))

    async def _fetch(self, symbol: str, seen: int, newest: int) -> bool:
        """Fetch a symbol's trades from its next id on; True where there were any that had not come.

        Trades that are newer than the list of the exchange are no loss yet: they may be on their way.
        """
        found = False
        while True:
            next_id = self.via.continuity.next_id(symbol)
            rows = await self.via.rest.agg_trades(symbol, from_id=next_id, limit=PAGE)
            if next_id is None:
                rows = [row for row in rows if row.l > seen]
            came = self.via.continuity.next_id(symbol)
            new = rows if came is None else [row for row in rows if row.a >= came]
            if not any(row.l <= newest for row in new):
                return found
            found = True
            if came is not None:
                self._declare(symbol, came, new)
            await self.via.deliver(agg_trades_batch(new, self.via.symbols, symbol, self.via.clock()))
            if len(rows) < PAGE:
                return True

    def _declare(self, symbol: str, next_id: int, rows: list[AggTradeRow]) -> None:
        """Enter the loss into the ledger; the ticks that follow repair it."""
        tail = Gap(
            symbol,
            next_id,
            rows[-1].a,
            "open",
            rows[-1].a - next_id + 1,
            after_ns=self.via.continuity.last_ns(symbol),
            before_ns=rows[-1].T * 1_000_000,
            seen_ns=self.via.clock(),
        )
        for gap in self.via.continuity.settle(tail):
            self.declared += 1
            _log.info("tail_missing", symbol=symbol, from_id=gap.from_id, to_id=gap.to_id)
            self.via.on_verdict(gap)
