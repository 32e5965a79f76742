"""Several shards' batches as one stream: ordered by receive time, under the smallest of their watermarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pairscope.market.bars import BarBatch
from pairscope.market.gaps import Gap
from pairscope.market.ticks import TickBatch

__all__ = ["SILENCE_NS", "ShardEntry", "ShardMerge"]

SILENCE_NS: Final = 10_000_000_000
"""Receive time of the others after which a shard that says nothing holds nobody up any more."""
MOST_HELD: Final = 20_000
"""Entries that wait for a shard; with one more it is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardEntry:
    """What one shard said at once: a batch (or time alone), verdicts on gaps, or bars that are no batch's.

    ``at_ns`` is when the shard received it: the first receive time of its ticks, the shard's clock where it has none.
    ``word`` says of ``bars`` what they are: ``history`` or ``rebuilt``. With ``until_ns`` the shard says that this is
    all it had received up to then; 0 where it says nothing of the kind.
    """

    shard: int
    at_ns: int
    batch: TickBatch
    verdicts: tuple[Gap, ...] = ()
    bars: tuple[BarBatch, ...] = ()
    word: str = ""
    until_ns: int = 0


@dataclass(slots=True)
class _Lane:
    """One shard: what waits of it, before when it says nothing more, and whether it is waited for."""

    waiting: deque[tuple[int, ShardEntry]] = field(default_factory=deque)
    newest_ns: int | None = None
    watermark_ns: int = 0
    left_out: bool = False


class ShardMerge:
    """Puts the entries of shards, each in its own order, into one order that all who read them agree on.

    An entry is passed on when no other shard can still say anything earlier: the order is (receive time, shard), the
    time of a shard never going back, nor behind what the shard said it had received. So everybody passes on the same,
    however the shards' entries reach them, as long as none is more than ``silence_ns`` behind the others. One that is,
    or for which more than ``most_held`` entries wait, is left out: what it says later is passed on as it comes, its
    ticks are late where time has passed them, and it takes part again once it is no longer behind. The watermark that
    is passed on is the smallest of the shards that take part, and never goes back.

    >>> from pairscope.market.symbols import Symbols
    >>> merge, table = ShardMerge([0, 1]), Symbols()
    >>> merge.put(ShardEntry(1, 5, TickBatch.empty(table, 4)))
    >>> list(merge.ready())
    []
    >>> merge.put(ShardEntry(0, 7, TickBatch.empty(table, 6)))
    >>> [(entry.shard, entry.batch.watermark_ns) for entry in merge.ready()]
    [(1, 0)]
    """

    def __init__(self, shards: Iterable[int], *, silence_ns: int = SILENCE_NS, most_held: int = MOST_HELD) -> None:
        self._lanes = {shard: _Lane() for shard in sorted(shards)}
        self._silence_ns = silence_ns
        self._most_held = most_held
        self._late: deque[ShardEntry] = deque()
        self._held = 0
        self._began_ns: int | None = None
        self._newest_ns = 0
        self._front_ns = 0
        self._watermark_ns = 0
        self._passed_on = 0
        self._came_late = 0
        self._times_left_out = 0

    @property
    def watermark_ns(self) -> int:
        """The watermark of what was passed on last."""
        return self._watermark_ns

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards that there are."""
        return tuple(self._lanes)

    def left_out(self) -> tuple[int, ...]:
        """Return the shards that nobody waits for at the moment."""
        return tuple(shard for shard, lane in self._lanes.items() if lane.left_out)

    def put(self, entry: ShardEntry) -> None:
        """Take a shard's next entry; ``KeyError`` for a shard that there is not. O(1)."""
        lane = self._lanes[entry.shard]
        at_ns = entry.at_ns if lane.newest_ns is None else max(entry.at_ns, lane.newest_ns)
        lane.newest_ns = max(at_ns, entry.until_ns)
        self._newest_ns = max(self._newest_ns, at_ns)
        if self._began_ns is None:
            self._began_ns = at_ns
        if lane.left_out and at_ns < self._front_ns:
            self._came_late += 1
            self._late.append(entry)
            return
        lane.left_out = False
        lane.waiting.append((at_ns, entry))
        self._held += 1

    def ready(self) -> Iterator[ShardEntry]:
        """Take out what nothing can precede any more, oldest first, under the common watermark. O(shards) each."""
        while self._late:
            late = self._late.popleft()
            lane = self._lanes[late.shard]
            lane.watermark_ns = max(lane.watermark_ns, late.batch.watermark_ns)
            yield self._under_watermark(late)
        while self._held:
            at_ns, shard = min((lane.waiting[0][0], shard) for shard, lane in self._lanes.items() if lane.waiting)
            if any(self._may_precede(other, lane, at_ns, shard) for other, lane in self._lanes.items()):
                return
            lane = self._lanes[shard]
            _, entry = lane.waiting.popleft()
            self._held -= 1
            self._front_ns = at_ns
            lane.watermark_ns = max(lane.watermark_ns, entry.batch.watermark_ns)
            yield self._under_watermark(entry)

    def counters(self) -> Mapping[str, int]:
        """Return how many entries wait, were passed on, came late, and how often a shard was left out."""
        return {
            "held": self._held,
            "capacity": self._most_held,
            "passed_on_total": self._passed_on,
            "late_total": self._came_late,
            "left_out_total": self._times_left_out,
        }

    def _may_precede(self, other: int, lane: _Lane, at_ns: int, shard: int) -> bool:
        """Whether a shard of which nothing waits could still say something before an entry; leaves out the silent."""
        if lane.waiting or lane.left_out:
            return False
        if lane.newest_ns is not None and (at_ns, shard) < (lane.newest_ns, other):
            return False
        heard_ns = lane.newest_ns if lane.newest_ns is not None else self._began_ns or 0
        if self._newest_ns - heard_ns > self._silence_ns or self._held > self._most_held:
            lane.left_out = True
            self._times_left_out += 1
            return False
        return True

    def _under_watermark(self, entry: ShardEntry) -> ShardEntry:
        self._passed_on += 1
        taking_part = [lane.watermark_ns for lane in self._lanes.values() if not lane.left_out]
        self._watermark_ns = max(self._watermark_ns, min(taking_part, default=0))
        if entry.batch.watermark_ns == self._watermark_ns:
            return entry
        return replace(entry, batch=entry.batch.with_watermark(self._watermark_ns))
