"""How far the market's time has come, told from the ticks themselves: the watermark, and the guard against leaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import I8, TickBatch, concat_ticks

__all__ = ["LeapGuard", "Watermark"]

LEAP_NS: Final = 60_000_000_000
"""An event time this far beyond all others is not believed at once."""
LEAP_IDS: Final = 1_000_000
"""Nor is a trade id this far beyond the next one expected."""
BELIEVED_AFTER: Final = 8
"""Ticks in a row, none of them ordinary, that make a leap of time true."""
PATIENCE_NS: Final = 5_000_000_000
"""A leap that nothing has contradicted for this long is true."""
FIRST_PATIENCE_NS: Final = 1_000_000_000
"""The same before there is anything to compare with."""


class Watermark:
    """The newest event time, moved on by elapsed monotonic time, less the allowed lateness; it never goes back.

    While the feed knows that it is blind it *holds* the watermark: bars that are being missed should not close empty
    and be revised a moment later. A hold ends with :meth:`release` or after ``hold_ns``, whichever comes first, so
    that bars close in the end whatever happens. Times are ns; ``now_ns`` is monotonic.

    >>> watermark = Watermark(lateness_ns=300)
    >>> watermark.see(10_000, now_ns=50)
    >>> watermark.at(50), watermark.at(60)
    (9700, 9710)
    >>> watermark.hold(60)
    >>> watermark.at(90)
    9710
    >>> watermark.release()
    >>> watermark.at(90)
    9740
    """

    def __init__(self, *, lateness_ns: int, hold_ns: int = 60_000_000_000) -> None:
        self._lateness_ns = lateness_ns
        self._hold_ns = hold_ns
        self._newest_ns = 0
        self._anchor_ns = 0
        self._value_ns = 0
        self._held_since_ns: int | None = None

    def see(self, event_ns: int, *, now_ns: int) -> None:
        """Take note of an event time that came now."""
        if event_ns > self._newest_ns:
            self._newest_ns, self._anchor_ns = event_ns, now_ns

    def time_at(self, now_ns: int) -> int:
        """Return the market's time by the newest event and the time since; 0 before the first."""
        return self._newest_ns + now_ns - self._anchor_ns if self._newest_ns else 0

    def at(self, now_ns: int) -> int:
        """Return the watermark; 0 before the first event."""
        if self._newest_ns and not self.held(now_ns):
            self._value_ns = max(self._value_ns, self.time_at(now_ns) - self._lateness_ns)
        return self._value_ns

    def hold(self, now_ns: int) -> None:
        """Let the watermark stand from now on."""
        if self._held_since_ns is None:
            self.at(now_ns)
            self._held_since_ns = now_ns

    def release(self) -> None:
        """Let the watermark run again."""
        self._held_since_ns = None

    def held(self, now_ns: int) -> bool:
        """Tell if the watermark stands now."""
        return self._held_since_ns is not None and now_ns - self._held_since_ns < self._hold_ns


class LeapGuard:
    """Keeps back ticks whose time or id leaps, until others bear them out or contradict them.

    One frame an hour ahead would drag the watermark along and close every bar of the coming hour; one wild id would
    open a hole of millions. So a tick more than a minute beyond all others waits: an ordinary tick drops it (its id
    is then a hole that REST repairs), ``BELIEVED_AFTER`` such ticks in a row, or ``PATIENCE_NS`` without an ordinary
    one, make it true. The same goes for an id ``LEAP_IDS`` beyond its symbol's next, where the second such id counts
    as proof. Ordinary batches pass through untouched, at the cost of two comparisons an array.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._held: TickBatch | None = None

    def __len__(self) -> int:
        return 0 if self._held is None else len(self._held)

    def joined(self, batch: TickBatch) -> TickBatch:
        """Return a batch behind what is being kept back."""
        return batch if self._held is None else concat_ticks([self._held, batch])

    def sift(self, batch: TickBatch, ahead: I8, *, time_ns: int, now_ns: int) -> TickBatch:
        """Return what is to be believed of a :meth:`joined` batch.

        ``ahead`` is each id's distance beyond its symbol's next, ``time_ns`` the market's time so far (0: unknown),
        ``now_ns`` the clock that ``ts_recv_ns`` was read from.
        """
        self._held = None
        if len(batch) == 0:
            return batch
        if time_ns and int(batch.ts_event_ns.max()) <= time_ns + LEAP_NS and int(ahead.max()) <= LEAP_IDS:
            return batch
        keep, wait = _Sifting(batch, ahead, time_ns, now_ns).run()
        self.dropped += int(np.count_nonzero(~(keep | wait)))
        if wait.any():
            self._held = replace(batch.take(wait), void=())
        return batch.take(keep)


class _Sifting:
    """One pass over a batch, tick by tick; only a batch with a leap in it takes this way."""

    def __init__(self, batch: TickBatch, ahead: I8, time_ns: int, now_ns: int) -> None:
        n = len(batch)
        self._event = batch.ts_event_ns.tolist()
        self._recv = batch.ts_recv_ns.tolist()
        self._symbol = batch.symbol_id.tolist()
        self._ahead = ahead.tolist()
        self._now_ns = now_ns
        self._time_ns = time_ns
        self._patience_ns = PATIENCE_NS if time_ns else FIRST_PATIENCE_NS
        self._early: list[int] = []
        self._wild: dict[int, list[int]] = {}
        self._reach: dict[int, int] = {}
        self._keep: NDArray[np.bool_] = np.zeros(n, np.bool_)
        self._wait: NDArray[np.bool_] = np.zeros(n, np.bool_)

    def run(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which ticks to believe and which to keep back; the rest is dropped."""
        for i in range(len(self._event)):
            if self._event[i] > self._time_ns + LEAP_NS:
                self._early.append(i)
                if len(self._early) >= BELIEVED_AFTER:
                    self._believe_time()
            else:
                self._early.clear()
                self._pass_time(i)
        if self._early and self._now_ns - self._recv[self._early[0]] >= self._patience_ns:
            self._believe_time()
        self._wait[self._early] = True
        for waiting in self._wild.values():
            due = self._now_ns - self._recv[waiting[0]] >= PATIENCE_NS
            (self._keep if due else self._wait)[waiting] = True
        return self._keep, self._wait

    def _believe_time(self) -> None:
        """Move to the middle of the early ticks; what is a leap even from there stays early."""
        early, self._early = self._early, []
        middle = sorted(self._event[i] for i in early)[len(early) // 2]
        self._time_ns = max(self._time_ns, middle)
        for i in early:
            if self._event[i] > self._time_ns + LEAP_NS:
                self._early.append(i)
            else:
                self._pass_time(i)

    def _pass_time(self, i: int) -> None:
        """Take a tick whose time is in order, and look at its id."""
        self._time_ns = max(self._time_ns, self._event[i])
        symbol, ahead = self._symbol[i], self._ahead[i]
        reach = self._reach.get(symbol, 0)
        if ahead <= reach + LEAP_IDS:
            self._wild.pop(symbol, None)
            self._reach[symbol] = max(reach, ahead)
            self._keep[i] = True
            return
        waiting = self._wild.setdefault(symbol, [])
        waiting.append(i)
        if len(waiting) > 1 and abs(ahead - self._ahead[waiting[-2]]) <= LEAP_IDS:
            self._keep[waiting[-2:]] = True
            self._reach[symbol] = ahead
            del self._wild[symbol]
