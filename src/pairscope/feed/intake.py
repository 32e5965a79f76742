"""From frames and repairs to batches of new ticks: decoder, guard, ledger and watermark, without socket or clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from pairscope.feed.watermark import LeapGuard, Watermark
from pairscope.feed.wire import Decoder
from pairscope.market.continuity import Admission, Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

__all__ = ["Intake", "next_flush_ns"]

EMPTY_EVERY_NS: Final = 100_000_000
"""A batch that carries time alone leaves at least this often."""
MAX_VOIDS: Final = 1024


class Intake:
    """Gathers what the decoder and the repairs brought, and lets out what is new.

    A repeat is dropped by its id. Void ids leave with the next batch that has ticks, so that no consumer needs to
    look at an empty one. ``counts`` holds ticks, repeats and gaps. Times are ns: ``now_ns`` monotonic, ``clock_ns``
    of the clock that stamps frames.
    """

    def __init__(
        self,
        symbols: Symbols,
        follow: Sequence[str],
        continuity: Continuity,
        *,
        lateness_ns: int,
        hold_ns: int,
        on_gaps: Callable[[Sequence[Gap]], None] = lambda _: None,
    ) -> None:
        self.decoder = Decoder(symbols, follow)
        self.continuity = continuity
        self.watermark = Watermark(lateness_ns=lateness_ns, hold_ns=hold_ns)
        self.guard = LeapGuard()
        self.counts: Counter[str] = Counter()
        self.on_gaps = on_gaps
        self._arrived: list[tuple[TickBatch, asyncio.Future[None]]] = []
        self._void: list[tuple[int, int]] = []
        self._open = {(gap.symbol, gap.from_id) for gap, _ in continuity.open_gaps()}
        self._left_ns = 0
        self._sighted = 0, 0
        self._blind_since: tuple[int, int] | None = None

    async def deliver(self, batch: TickBatch) -> None:
        """Put ticks that REST brought into the stream, and wait until the ledger has them."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.append((batch, taken))
        await taken

    def gather(self, now_ns: int, clock_ns: int) -> TickBatch:
        """Return what came over the sockets and is to be believed, and let the watermark see it."""
        live = self.guard.joined(self.decoder.take(0))
        time_ns = self.watermark.time_at(now_ns)
        live = self.guard.sift(live, self.continuity.ahead(live), time_ns=time_ns, now_ns=clock_ns)
        if len(live):
            self.watermark.see(int(live.ts_event_ns.max()), now_ns=now_ns)
        return live

    def admit(self, live: TickBatch) -> TickBatch:
        """Return what is new of a gathered batch and of the repairs that came."""
        arrived, self._arrived = self._arrived, []
        batch = concat_ticks([live, *(batch for batch, _ in arrived)]) if arrived else live
        admission = self.continuity.admit(batch)
        for _, taken in arrived:
            if not taken.done():
                taken.set_result(None)
        self._count(admission)
        self._void += batch.void
        return batch.take(admission.new) if admission.repeats else batch

    def release(self, batch: TickBatch, now_ns: int) -> TickBatch | None:
        """Return the batch to hand on, with its watermark; None where there is nothing to tell yet."""
        if not len(batch) and now_ns - self._left_ns < EMPTY_EVERY_NS:
            return None
        self._left_ns = now_ns
        void: tuple[tuple[int, int], ...] = ()
        if len(batch) or len(self._void) > MAX_VOIDS:
            void, self._void = tuple(self._void), []
        return replace(batch, watermark_ns=self.watermark.at(now_ns), void=void)

    def look(self, now_ns: int, clock_ns: int, *, sighted: bool, audited: Callable[[int], bool]) -> None:
        """Hold the watermark while the feed is blind, and after it until what was missed is there.

        Before the first tick there is nothing to hold: what happened while nobody looked is repaired behind time.
        ``audited`` tells if the tails were compared since the lines were renewed, where they were since a time. That
        is the time at which all was well for the last time.
        """
        if self._blind_since is None:
            if sighted or not self.watermark.time_at(now_ns):
                self._sighted = now_ns, clock_ns
                return
            self._blind_since = self._sighted
            self.watermark.hold(now_ns)
        if not sighted:
            return
        since_ns, since_clock_ns = self._blind_since
        missing = any(gap.seen_ns >= since_clock_ns for gap, _ in self.continuity.open_gaps())
        if audited(since_ns) and not missing:
            self._blind_since = None
            self.watermark.release()

    def _count(self, admission: Admission) -> None:
        self.counts["ticks"] += admission.new.size - admission.repeats
        self.counts["repeats"] += admission.repeats
        for gap in admission.changed:
            key = gap.symbol, gap.from_id
            self.counts["gaps_opened"] += key not in self._open
            self.counts["gaps_repaired"] += gap.status == "repaired"
            if gap.status == "open":
                self._open.add(key)
            else:
                self._open.discard(key)
        if admission.changed:
            self.on_gaps(admission.changed)


def next_flush_ns(last_ns: int, every_ns: int, now_ns: int, clock_ns: int) -> int:
    """Return when to flush after a flush that was due at ``last_ns``: when the clock is at a multiple of ``every_ns``.

    Processes that follow parts of one market flush together that way, and who merges them waits for none. What is
    overdue is due at once. ``last_ns``, ``now_ns`` and the result are ns of a monotonic clock.

    >>> next_flush_ns(100, 25, 103, 1_003), next_flush_ns(100, 25, 103, 1_012), next_flush_ns(100, 25, 130, 1_030)
    (125, 116, 130)
    """
    due_ns = last_ns + every_ns
    if due_ns <= now_ns:
        return now_ns
    beyond_ns = (clock_ns + due_ns - now_ns) % every_ns
    return due_ns - beyond_ns + (every_ns if 2 * beyond_ns > every_ns else 0)
