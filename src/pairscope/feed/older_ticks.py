"""Trades that the live stream did not bring: stored, their bars made and told of; a kill at any moment loses none."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import numpy as np
import orjson
import structlog

from pairscope.errors import ForeignFile, StorageError
from pairscope.market.bars import BarBatch, concat_bars
from pairscope.market.continuity import HeldIds
from pairscope.market.id_ranges import runs_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Records, TickStore

__all__ = ["Again", "Imported", "Noted", "OlderTicks", "Shelf", "lacking", "never_again", "patiently", "unnoted"]

_log = structlog.get_logger(__name__)
T = TypeVar("T")

Imported = Callable[[BarBatch], None]
"""To be told of bars that were stored beside the live stream."""


Again = Callable[[Sequence[tuple[str, int, int]]], Awaitable[object]]
"""To make the bars of ranges [start, end) of symbols again once their minutes are over."""


class Noted(Protocol):
    """Writes a note into the journal of what was told live; see ``schemas.journal.Note``."""

    def __call__(self, kind: str, name: str, /, *, start_ns: int) -> None: ...


def unnoted(kind: str, name: str, /, *, start_ns: int) -> None:
    """Write no note: where nothing runs, there is no journal."""


async def never_again(_ranges: Sequence[tuple[str, int, int]]) -> None:
    """Make no bars again: where nothing runs, no minute is open."""


COLLECTION: Final = "older_ticks"
DAY_NS: Final = 86_400 * 10**9
MINUTE_NS: Final = 60 * 10**9
_APART_NS: Final = 60 * 10**9
"""How far trades of neighbouring ids may stand the wrong way round."""
_AGAIN_NS: Final = 1500 * MINUTE_NS
"""How far back an engine that runs holds bars of its own."""
_TRIES: Final = 60
_PAUSE_S: Final = 1.0
_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where older rows go: a store, its records, and whom to tell of bars."""

    store: TickStore
    records: Records
    imported: Imported
    note: Noted = unnoted
    """Has it written down that trades of a symbol come beside the stream, all with one time of receipt."""
    again: Again = never_again
    """Has the engine that runs hear of trades that lie among its own: it counts a minute that is open without them."""

    async def put_bars(self, bars: BarBatch) -> int:
        """Store bars and tell of them; return how many rows changed."""
        changed = await patiently(lambda: self.store.put_bars(bars))
        if changed:
            self.imported(bars)
        return changed

    async def make_bars(self, symbol: str, low_ns: int, high_ns: int) -> int:
        """Make a symbol's bars of a range anew, day by day, and tell of those that changed; return how many."""
        changed = 0
        for day_ns in range(low_ns // DAY_NS * DAY_NS, high_ns, DAY_NS):
            low, high = max(low_ns, day_ns), min(high_ns, day_ns + DAY_NS)
            made = await patiently(lambda low=low, high=high: self.store.rebuild_bars(symbol, low, high))  # type: ignore[misc]
            for timeframe in dict.fromkeys(bars.timeframe for bars in made):
                bars = concat_bars([each for each in made if each.timeframe == timeframe])
                changed += len(bars)
                if len(bars):
                    self.imported(bars)
        return changed

    async def finish(self) -> int:
        """Make the bars that an earlier run stored the trades of and was ended before it made them; how many ranges."""
        notes = [note async for note in self.records.scan(COLLECTION)]
        for key, document in notes:
            symbol, low_ns, high_ns = orjson.loads(document)
            _log.info("bars_of_older_ticks", symbol=symbol, start_ns=low_ns, end_ns=high_ns)
            await self.make_bars(symbol, low_ns, high_ns)
            await patiently(lambda key=key: self.records.delete(COLLECTION, key))  # type: ignore[misc]
        return len(notes)


class OlderTicks:
    """Takes one symbol's trades in batches. What is stored already is a repeat, so that to begin again is safe.

    The time whose bars are to be made is noted beside the store before its trades go in, and the note removed once
    the bars are there. ``stored`` and ``repeats`` count trades, ``bars`` those that changed.
    """

    def __init__(self, symbol: str, shelf: Shelf) -> None:
        self.symbol = symbol
        self.stored = 0
        self.repeats = 0
        self.bars = 0
        self._shelf = shelf
        self._key = f"{symbol} {secrets.token_hex(4)}"
        self._low_ns = self._high_ns = 0
        self._last_minute_ns = 0
        self._recv_ns = 0
        self._live_ns = 1 << 62
        self._among: set[int] = set()
        self._held: list[HeldIds] | None = None
        self._gaps: list[tuple[int, int]] = []

    async def look(self, batch: TickBatch) -> None:
        """Remember what is held and what is missing; ``ForeignFile`` where trades of held ids are others.

        ``take`` does so with its first batch where it was not done before.
        """
        store = self._shelf.store
        self._held = await store.held(self.symbol)
        first_ns = next((s.first_ns for s in await store.symbols() if s.symbol == self.symbol), self._live_ns)
        self._live_ns = max(first_ns, await store.watermark_ns() - _AGAIN_NS)
        self._gaps = [(gap.from_id, gap.to_id) for gap in await store.gaps(self.symbol, unrepaired=True)]
        if self._held and len(batch) and not await self._same_market(batch, self._held):
            raise ForeignFile(
                f"its trades of {self.symbol} are not those that are stored under the same ids",
                loc="file",
                hint="is it a file of another market (spot, coin-margined)?",
            )

    async def take(self, batch: TickBatch) -> None:
        """Store a batch, all as received when the first was; bars are made once its trades reach over more than a day.

        By that time ``pairscope verify`` tells them from those that the stream brought meanwhile.
        """
        if self._held is None:
            await self.look(batch)
        if len(batch):
            if not self._recv_ns:
                self._recv_ns = int(batch.ts_recv_ns[0])
                self._shelf.note("aside", self.symbol, start_ns=self._recv_ns)
            batch = replace(batch, ts_recv_ns=np.full(len(batch), self._recv_ns, np.int64))
            low, high = int(batch.ts_event_ns.min()), int(batch.ts_event_ns.max()) + 1
            if self._high_ns and max(self._high_ns, high) - min(self._low_ns, low) > DAY_NS:
                await self._make_bars()
            self._low_ns = min(self._low_ns, low) if self._high_ns else low
            self._high_ns = max(self._high_ns, high)
            low, high = self._low_ns, self._high_ns
            if self._last_minute_ns:
                low, high = min(low, self._last_minute_ns), max(high, self._last_minute_ns + MINUTE_NS)
            await self._note(low, high)
        admission = await patiently(lambda: self._shelf.store.add_older(batch))
        fresh = int(np.count_nonzero(admission.new))
        times_ns = batch.ts_event_ns[admission.new]
        self._among.update((times_ns[times_ns >= self._live_ns] // MINUTE_NS).tolist())
        self.stored += fresh
        self.repeats += len(batch) - fresh

    async def finish(self, *, watermark_ns: int = 0) -> int:
        """Make the bars of what came last; return how many ids of holes known before are there now.

        ``watermark_ns``: up to when what was taken is complete, so that the last bar is closed.
        """
        if watermark_ns:
            empty = TickBatch.empty(Symbols([self.symbol]), watermark_ns)
            await patiently(lambda: self._shelf.store.add_older(empty))
        await self._make_bars()
        if self._among:
            spans = runs_of(np.array(sorted(self._among), np.int64))
            await self._shelf.again([(self.symbol, low * MINUTE_NS, (high + 1) * MINUTE_NS) for low, high in spans])
        await patiently(lambda: self._shelf.records.delete(COLLECTION, self._key))
        if not self._gaps:
            return 0
        after = await self._shelf.store.held(self.symbol)
        gained = _count(after, self._gaps) - _count(self._held or [], self._gaps)
        return max(0, gained)

    async def _make_bars(self) -> None:
        """Make the bars of what was taken since the last time, and of the minute that may not have been over then."""
        minute_ns, self._last_minute_ns = self._last_minute_ns, 0
        if minute_ns:
            self.bars += await self._shelf.make_bars(self.symbol, minute_ns, minute_ns + MINUTE_NS)
        if self._high_ns:
            self.bars += await self._shelf.make_bars(self.symbol, self._low_ns, self._high_ns)
            self._last_minute_ns = (self._high_ns - 1) // MINUTE_NS * MINUTE_NS
            await self._note(self._last_minute_ns, self._last_minute_ns + MINUTE_NS)
        self._low_ns = self._high_ns = 0

    async def _note(self, low_ns: int, high_ns: int) -> None:
        """Write down, in place of what was, of which time bars are still to be made."""
        document = orjson.dumps([self.symbol, low_ns, high_ns])
        await patiently(lambda: self._shelf.records.put(COLLECTION, self._key, document))

    async def _same_market(self, batch: TickBatch, held: Sequence[HeldIds]) -> bool:
        """Whether trades of ids that are held are those that are held, and others stand on the right side of them."""
        store, ids = self._shelf.store, batch.trade_id
        inside = np.zeros(len(batch), np.bool_)
        for span in held:
            inside |= (ids >= span.from_id) & (ids <= span.to_id)
        rows = np.flatnonzero(inside)
        if rows.size:
            for row in rows[np.linspace(0, rows.size - 1, _LOOKS).astype(np.int64)].tolist():
                at_ns = int(batch.ts_event_ns[row])
                stored = await store.ticks(self.symbol, at_ns, at_ns + 1, limit=10_000)
                same = np.flatnonzero(stored.trade_id == ids[row])
                if same.size and stored.price[same[0]] == batch.price[row] and stored.size[same[0]] == batch.size[row]:
                    return True
            return False
        known = next((s for s in await store.symbols() if s.symbol == self.symbol), None)
        if known is None:
            return True
        low_ns, high_ns = int(batch.ts_event_ns.min()), int(batch.ts_event_ns.max())
        if ids.max() < held[0].from_id:
            return low_ns <= known.first_ns + _APART_NS
        return bool(ids.min() <= held[-1].to_id) or high_ns >= known.last_ns - _APART_NS


async def patiently(
    work: Callable[[], Awaitable[T]], *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> T:
    """Return what a call of the store returns, asked again for a minute while it refuses for the moment."""
    for _ in range(_TRIES):
        try:
            return await work()
        except StorageError as error:
            if not error.retry:
                raise
            _log.warning("the store refuses for now", error=str(error), again_in_s=_PAUSE_S)
            await sleep(_PAUSE_S)
    return await work()


def lacking(low: int, high: int, held: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of ``low`` to ``high`` that are in none of the intervals, which are in order; ends inclusive.

    >>> lacking(1, 10, [(0, 2), (5, 6), (9, 20)])
    [(3, 4), (7, 8)]
    """
    found = []
    for first, last in held:
        if last < low:
            continue
        if first > high:
            break
        if first > low:
            found.append((low, first - 1))
        low = last + 1
    return [*found, (low, high)] if low <= high else found


def _count(held: Sequence[HeldIds], ranges: Sequence[tuple[int, int]]) -> int:
    """Return how many ids of disjoint ranges are held. O((held + ranges) log held)."""
    first = np.array([span.from_id for span in held], np.int64)
    last = np.array([span.to_id for span in held], np.int64)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(last - first + 1)])

    def up_to(number: int) -> int:
        at = int(np.searchsorted(first, number, "right"))
        return int(before[at]) - (max(0, int(last[at - 1]) - number) if at else 0)

    return sum(up_to(high) - up_to(low - 1) for low, high in ranges)
