"""Holes in trade ids are asked for over REST and come back as ticks of the same stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from pairscope.errors import ConnectionLost, ExchangeRefused, MalformedFrame
from pairscope.feed.reconnect import backoff, can_retry
from pairscope.feed.rest import Ticker
from pairscope.feed.wire import AggTradeRow, agg_trades_batch
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["Backfill", "Deliver", "Repairs", "TradeSource"]

_log = structlog.get_logger(__name__)

Deliver = Callable[[TickBatch], Awaitable[None]]
"""Hands ticks to the stream and returns when the ledger has taken them in."""

PAGE: Final = 1000
KEPT_NS: Final = 48 * 3600 * 1_000_000_000
"""How long the exchange answers for aggregate trades."""
MARGIN_NS: Final = 60_000_000_000
_HOUR_NS: Final = 3600 * 1_000_000_000


class TradeSource(Protocol):
    """Who is asked for trades that did not come: the exchange's REST."""

    async def time(self) -> int: ...

    async def ticker_24h(self) -> list[Ticker]: ...

    async def agg_trades(
        self, symbol: str, *, from_id: int | None = None, start_ns: int | None = None, limit: int
    ) -> list[AggTradeRow]: ...


@dataclass(slots=True)
class _Job:
    """What is known of the repair of one gap; times are monotonic ns."""

    not_before_ns: int
    delays: Iterator[float]
    tries: int = 0
    age_checked: bool = False


@dataclass(frozen=True, slots=True)
class _Page:
    """Ids to ask for, both ends inclusive, and the gap that they were chosen for."""

    gap: Gap
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """What repairing needs: whom to ask, the ledger, where ticks and verdicts go, and how time passes."""

    rest: TradeSource
    continuity: Continuity
    symbols: Symbols
    deliver: Deliver
    on_verdict: Callable[[Gap], None]
    clock: Callable[[], int]
    monotonic: Callable[[], int]
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


@dataclass(slots=True)
class Backfill:
    """Works through the open gaps of a ledger, several symbols at a time, within the weight budget.

    A gap waits ``grace_s`` first, since a frame that is merely out of order fills it for nothing. Symbols take turns,
    the longest not served first; within a symbol small gaps go before large ones and the newest ids before older
    ones, and one page takes along whatever else is missing in its reach. A failure to get an answer is retried for
    ever with growing delays; ids that the exchange answers nothing for are given up after ``tries``, and those older
    than its 48 hours at once. Verdicts go to ``on_verdict``; repaired gaps tell themselves by their ticks. While it
    ``waits``, nothing is asked.
    """

    via: Repairs
    time_ns: Callable[[], int] = lambda: 0
    grace_s: float = 0.5
    parallel: int = 4
    tries: int = 4
    rng: random.Random = field(default_factory=random.Random)
    unrepairable: int = 0
    requests: int = 0
    waits: bool = False
    _jobs: dict[tuple[str, int], _Job] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _served: dict[str, int] = field(default_factory=dict)
    _turn: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pending(self) -> int:
        """How many gaps are being worked on."""
        return len(self._jobs)

    def notice(self, gaps: Iterable[Gap], *, grace_s: float | None = None) -> None:
        """Take note of gaps that opened or changed."""
        wait_ns = int((self.grace_s if grace_s is None else grace_s) * 1e9)
        for gap in gaps:
            key = gap.symbol, gap.from_id
            if gap.status != "open":
                self._jobs.pop(key, None)
            elif key not in self._jobs:
                delays = backoff(first_s=1.0, cap_s=30.0, rng=self.rng)
                self._jobs[key] = _Job(self.via.monotonic() + wait_ns, delays)
                self._wake.set()

    def stand_by(self, waits: bool) -> None:  # noqa: FBT001 - the one thing that it says
        """Ask for nothing for a while; afterwards take up every gap at once."""
        self.waits = waits
        if not waits:
            for job in self._jobs.values():
                job.not_before_ns = self.via.monotonic()
            self._wake.set()

    async def run(self) -> None:
        """Repair for ever; the gaps that are open now are taken up at once."""
        self._busy.clear()
        self.notice([gap for gap, _ in self.via.continuity.open_gaps()], grace_s=0.0)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.parallel):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            page = self._next_page()
            if page is None:
                await self._rest()
                continue
            symbol = page.gap.symbol
            self._busy.add(symbol)
            self._turn += 1
            self._served[symbol] = self._turn
            try:
                await self._repair(page)
            finally:
                self._busy.discard(symbol)
                self._wake.set()

    async def _rest(self) -> None:
        """Wait until a job is due or a new one comes."""
        self._wake.clear()
        now_ns = self.via.monotonic()
        due = [job.not_before_ns for (symbol, _), job in self._jobs.items() if symbol not in self._busy]
        wait_s = max(0.01, (min(due) - now_ns) / 1e9) if due and not self.waits else 60.0
        waiting = asyncio.ensure_future(self.via.sleep(wait_s))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({waiting, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            waking.cancel()

    def _next_page(self) -> _Page | None:
        """Choose whose turn it is and which ids to ask for; None where nothing is due."""
        now_ns = self.via.monotonic()
        open_gaps = {(gap.symbol, gap.from_id): (gap, ranges) for gap, ranges in self.via.continuity.open_gaps()}
        for key in [key for key in self._jobs if key not in open_gaps]:
            del self._jobs[key]
        due = [
            open_gaps[key]
            for key, job in self._jobs.items()
            if job.not_before_ns <= now_ns and key[0] not in self._busy
        ]
        if self.waits or not due:
            return None
        gap, ranges = min(
            due, key=lambda item: (self._served.get(item[0].symbol, 0), -(-item[0].missing // PAGE), -item[0].from_id)
        )
        missing = [span for other, spans in due if other.symbol == gap.symbol for span in spans]
        high = ranges[-1][1]
        floor = max(ranges[-1][0], high - PAGE + 1)
        low = min([floor, *(max(a, high - PAGE + 1) for a, b in missing if high - PAGE < b <= high)])
        high = max(min(b, low + PAGE - 1) for a, b in missing if a <= low + PAGE - 1)
        return _Page(gap, low, high)

    async def _repair(self, page: _Page) -> None:
        """Ask for one page and deliver it; note what came of it."""
        gap, job = page.gap, self._jobs[page.gap.symbol, page.gap.from_id]
        before = self._missing(page)
        try:
            if not job.age_checked:
                job.age_checked = True
                if await self._give_up_old(gap):
                    return
            rows = await self._ask(gap.symbol, from_id=page.low, limit=page.high - page.low + 1)
        except (ConnectionLost, ExchangeRefused, MalformedFrame) as error:
            wait_s = getattr(error, "retry_after_s", None) or next(job.delays)
            job.not_before_ns = self.via.monotonic() + int(wait_s * 1e9)
            _log.info("gap_not_repaired_yet", symbol=gap.symbol, from_id=gap.from_id, error=str(error), again_s=wait_s)
            if can_retry(error) or not self._tired(job):
                return
        else:
            rows = [row for row in rows if page.low <= row.a <= page.high]
            if rows:
                await self.via.deliver(agg_trades_batch(rows, self.via.symbols, gap.symbol, self.via.clock()))
            if sum(b - a + 1 for a, b in self._missing(page)) < sum(b - a + 1 for a, b in before):
                return
            job.not_before_ns = self.via.monotonic() + int(next(job.delays) * 1e9)
            if not self._tired(job):
                return
        for low, high in self._missing(page):
            self._give_up(Gap(gap.symbol, low, high, "unrepairable", high - low + 1))

    def _tired(self, job: _Job) -> bool:
        job.tries += 1
        return job.tries >= self.tries

    def _missing(self, page: _Page) -> list[tuple[int, int]]:
        """Return what is missing within a page."""
        return [
            (max(a, page.low), min(b, page.high))
            for gap, ranges in self.via.continuity.open_gaps()
            if gap.symbol == page.gap.symbol
            for a, b in ranges
            if a <= page.high and b >= page.low
        ]

    async def _give_up_old(self, gap: Gap) -> bool:
        """Give up the part of a gap that the exchange no longer answers for; True where that changed the gap."""
        known_ns = self.time_ns()
        if not gap.after_ns or 0 < known_ns - gap.after_ns < KEPT_NS - _HOUR_NS:
            return False
        oldest_ns = await self.via.rest.time() - KEPT_NS + MARGIN_NS
        if gap.after_ns >= oldest_ns:
            return False
        if gap.before_ns and gap.before_ns < oldest_ns:
            self._give_up(Gap(gap.symbol, gap.from_id, gap.to_id, "unrepairable", gap.missing))
            return True
        rows = await self._ask(gap.symbol, start_ns=oldest_ns, limit=1)
        if not rows:  # nothing was traded in the hour that a start alone covers
            rows = await self._ask(gap.symbol, from_id=gap.from_id, limit=1)
        if not rows or rows[0].a <= gap.from_id:
            return False
        self._give_up(Gap(gap.symbol, gap.from_id, min(rows[0].a - 1, gap.to_id), "unrepairable", gap.missing))
        return True

    async def _ask(
        self, symbol: str, *, from_id: int | None = None, start_ns: int | None = None, limit: int
    ) -> list[AggTradeRow]:
        self.requests += 1
        return await self.via.rest.agg_trades(symbol, from_id=from_id, start_ns=start_ns, limit=limit)

    def _give_up(self, verdict: Gap) -> None:
        """Write the verdict into the ledger and tell it."""
        changed = self.via.continuity.settle(
            Gap(verdict.symbol, verdict.from_id, verdict.to_id, "unrepairable", 0, ended_ns=self.via.clock())
        )
        self.notice(changed, grace_s=0.0)
        for gap in changed:
            if gap.status == "unrepairable":
                self.unrepairable += 1
                _log.warning("gap_unrepairable", symbol=gap.symbol, from_id=gap.from_id, to_id=gap.to_id)
                self.via.on_verdict(gap)
