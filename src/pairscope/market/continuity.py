"""Which trade ids have arrived: what is new, what is a repeat, and where a hole is.

The exchange numbers the aggregate trades of a symbol without a hole, so a jump proves a loss and an id that is not
above the last one is either a repeat or the repair of a hole (design: the gap ledger).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I4, I8, TickBatch

__all__ = ["Admission", "Continuity", "Gap", "GapStatus", "HeldIds"]

GapStatus = Literal["open", "repaired", "unrepairable"]

_NEW, _PAST = 1, 2

MAX_VOIDS_AHEAD = 1024
"""Void ids of one symbol that may wait for the tick that passes them; more are forgotten and become a hole."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in the trade ids of a symbol: ``from_id`` to ``to_id``, both inclusive.

    ``missing`` is how many of them are still missing. ``after_ns`` and ``before_ns`` are the event times of the ticks
    on either side (0 where unknown), ``seen_ns`` the receive time of the tick that revealed it, ``ended_ns`` that of
    the tick that completed it or of the verdict that nothing can.
    """

    symbol: str
    from_id: int
    to_id: int
    status: GapStatus
    missing: int
    after_ns: int = 0
    before_ns: int = 0
    seen_ns: int = 0
    ended_ns: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a batch: which rows are ``new``, how many were repeats, and every gap that it changed."""

    new: B1
    repeats: int
    changed: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class HeldIds:
    """Trade ids of a symbol that are all there: ``from_id`` to ``to_id``, both inclusive."""

    symbol: str
    from_id: int
    to_id: int


@kernel
def _sort_out(
    symbol_id: I4, trade_id: I8, ts_event_ns: I8, next_id: I8, last_ns: I8, verdict: I8, holes: I8
) -> int:  # pragma: no cover - compiled
    """Advance ``next_id`` over a batch; mark rows new or past; write (row, from, to, after_ns) for each jump."""
    found = 0
    for i in range(symbol_id.size):
        s = symbol_id[i]
        number = trade_id[i]
        expected = next_id[s]
        if number < expected:
            verdict[i] = _PAST
            continue
        if number > expected >= 0:
            holes[found, 0] = i
            holes[found, 1] = expected
            holes[found, 2] = number - 1
            holes[found, 3] = last_ns[s]
            found += 1
        verdict[i] = _NEW
        next_id[s] = number + 1
        last_ns[s] = ts_event_ns[i]
    return found


def _without(ranges: list[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """Take one number out of inclusive ranges."""
    left: list[tuple[int, int]] = []
    for low, high in ranges:
        if low <= number <= high:
            left += [part for part in ((low, number - 1), (number + 1, high)) if part[0] <= part[1]]
        else:
            left.append((low, high))
    return left


def _clip(ranges: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Return what of inclusive ranges lies within first to last."""
    return [(max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first]


class Continuity:
    """The next expected trade id of each symbol and the holes before it.

    The first id that a symbol shows is taken as its beginning. State is small: two integers a symbol and the holes.

    >>> from pairscope.market.symbols import Symbols
    >>> ledger = Continuity(Symbols(["BTCUSDT"]))
    >>> ledger.next_id("BTCUSDT") is None
    True
    >>> ledger.resume("BTCUSDT", next_id=11)
    >>> ledger.next_id("BTCUSDT")
    11
    """

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._row: dict[str, int] = {}
        self._next = np.empty(0, np.int64)
        self._last_ns = np.empty(0, np.int64)
        self._holes: dict[str, dict[int, tuple[Gap, list[tuple[int, int]]]]] = {}
        self._void: dict[str, set[int]] = {}
        self._translation: tuple[Symbols | None, I4] = (None, np.empty(0, np.int32))
        for symbol in symbols:
            self._row_of(symbol)

    def _row_of(self, symbol: str) -> int:
        row = self._row.get(symbol)
        if row is None:
            row = self._row[symbol] = len(self._row)
            if row >= self._next.size:
                more = max(16, self._next.size)
                self._next = np.concatenate([self._next, np.full(more, -1, np.int64)])
                self._last_ns = np.concatenate([self._last_ns, np.zeros(more, np.int64)])
        return row

    def _rows_of(self, symbols: Symbols) -> I4:
        """Return the row of each symbol of a table, worked out again only when the table has grown."""
        known, rows = self._translation
        if known is not symbols or rows.size != len(symbols):
            rows = np.fromiter((self._row_of(name) for name in symbols), np.int32, len(symbols))
            self._translation = symbols, rows
        return rows

    def resume(
        self,
        symbol: str,
        *,
        next_id: int,
        last_ns: int = 0,
        gaps: Iterable[tuple[Gap, Iterable[tuple[int, int]]]] = (),
    ) -> None:
        """Take up a symbol where a store left it: its next id and its open gaps with the ranges still missing."""
        row = self._row_of(symbol)
        self._next[row] = next_id
        self._last_ns[row] = last_ns
        held = {gap.from_id: (gap, sorted(ranges)) for gap, ranges in gaps if gap.status == "open"}
        if held:
            self._holes[symbol] = held

    def next_id(self, symbol: str) -> int | None:
        """Return the id that a symbol's next tick must have, or None before its first."""
        row = self._row.get(symbol)
        return None if row is None or self._next[row] < 0 else int(self._next[row])

    def last_ns(self, symbol: str) -> int:
        """Return the event time of the newest tick of a symbol, 0 where there is none."""
        row = self._row.get(symbol)
        return 0 if row is None else int(self._last_ns[row])

    def open_gaps(self) -> list[tuple[Gap, list[tuple[int, int]]]]:
        """Return every open gap with the ranges (both ends inclusive) that are still missing."""
        return [(gap, list(ranges)) for held in self._holes.values() for gap, ranges in held.values()]

    def declare(self, gap: Gap) -> Gap | None:
        """Open a gap at a symbol's end that no tick has revealed yet, moving its next id past it; None if it is known.

        For a tail that the exchange is known to have printed and that never came.
        """
        row = self._row_of(gap.symbol)
        start = int(self._next[row])
        if gap.to_id < start:
            return None
        opened = replace(gap, from_id=start if start >= 0 else gap.from_id, status="open")
        opened = replace(opened, missing=opened.to_id - opened.from_id + 1)
        self._next[row] = gap.to_id + 1
        self._holes.setdefault(gap.symbol, {})[opened.from_id] = (opened, [(opened.from_id, opened.to_id)])
        return opened

    def give_up(self, symbol: str, from_id: int, *, ended_ns: int) -> Gap | None:
        """Close an open gap as unrepairable; None where there is no such open gap."""
        entry = self._holes.get(symbol, {}).pop(from_id, None)
        return None if entry is None else replace(entry[0], status="unrepairable", ended_ns=ended_ns)

    def settle(self, verdict: Gap) -> tuple[Gap, ...]:
        """Take a verdict that no tick brings and return every gap that it changed; none where it changes nothing.

        ``open`` declares a tail (see :meth:`declare`). ``unrepairable`` gives up the ids ``from_id`` to ``to_id`` of
        an open gap, all of it or a part: what lies on either side stays a gap of its own.
        """
        if verdict.status == "open":
            declared = self.declare(verdict)
            return () if declared is None else (declared,)
        held = self._holes.get(verdict.symbol, {})
        found: list[Gap] = []
        for start, (gap, ranges) in list(held.items()):
            low, high = max(gap.from_id, verdict.from_id), min(gap.to_id, verdict.to_id)
            if not _clip(ranges, low, high):
                continue
            del held[start]
            for first, last in ((gap.from_id, low - 1), (low, high), (high + 1, gap.to_id)):
                if last < first:
                    continue
                inside = _clip(ranges, first, last)
                part = replace(gap, from_id=first, to_id=last, missing=sum(b - a + 1 for a, b in inside))
                if first == low:
                    part = replace(part, status="unrepairable", ended_ns=verdict.ended_ns)
                elif not inside:
                    part = replace(part, status="repaired", ended_ns=verdict.ended_ns)
                else:
                    held[first] = (part, inside)
                found.append(part)
        return tuple(found)

    def ahead(self, batch: TickBatch) -> I8:
        """Return how far each tick's id lies beyond the next one expected of its symbol; 0 where none is expected."""
        rows = self._rows_of(batch.symbols)
        expected = self._next[rows[batch.symbol_id]]
        distance: I8 = np.where(expected < 0, 0, batch.trade_id - expected)
        return distance

    def admit(self, batch: TickBatch) -> Admission:
        """Sort a batch into new ticks and repeats, and open and close gaps. O(ticks), plus the repairs in it.

        Void ids count as arrived: alone they neither make a hole nor leave one.
        """
        n = len(batch)
        verdict = np.zeros(n, np.int64)
        changed: dict[tuple[str, int], Gap] = {}
        for symbol_id, number in batch.void:
            self._void.setdefault(batch.symbols[symbol_id], set()).add(number)
        if n:
            self._admit_ticks(batch, verdict, changed)
        if self._void:
            ended_ns = int(batch.ts_recv_ns.max()) if n else batch.watermark_ns
            self._pass_voids(ended_ns, changed)
        new = verdict == _NEW
        return Admission(new, n - int(np.count_nonzero(new)), tuple(changed.values()))

    def _admit_ticks(self, batch: TickBatch, verdict: I8, changed: dict[tuple[str, int], Gap]) -> None:
        """Step every symbol over its ticks, writing the verdict on each row and the gaps that changed."""
        rows = self._rows_of(batch.symbols)[batch.symbol_id]
        jumps = np.empty((len(batch), 4), np.int64)
        found = _sort_out(rows, batch.trade_id, batch.ts_event_ns, self._next, self._last_ns, verdict, jumps)
        for i, start, end, after_ns in jumps[:found].tolist():
            symbol = batch.symbols[int(batch.symbol_id[i])]
            ranges = [(start, end)]
            for number in sorted(self._void.get(symbol, ())):
                ranges = _without(ranges, number)
            if not ranges:
                continue
            gap = Gap(
                symbol,
                ranges[0][0],
                ranges[-1][1],
                "open",
                sum(high - low + 1 for low, high in ranges),
                after_ns=after_ns,
                before_ns=int(batch.ts_event_ns[i]),
                seen_ns=int(batch.ts_recv_ns[i]),
            )
            self._holes.setdefault(symbol, {})[gap.from_id] = (gap, ranges)
            changed[symbol, gap.from_id] = gap
        for i in np.flatnonzero(verdict == _PAST).tolist():
            symbol = batch.symbols[int(batch.symbol_id[i])]
            repaired = self._repair(symbol, int(batch.trade_id[i]), int(batch.ts_recv_ns[i]))
            if repaired is not None:
                verdict[i] = _NEW
                changed[symbol, repaired.from_id] = repaired

    def _pass_voids(self, ended_ns: int, changed: dict[tuple[str, int], Gap]) -> None:
        """Step every symbol over its void ids; keep those that lie ahead for the tick that will pass them."""
        waiting: dict[str, set[int]] = {}
        for symbol, numbers in self._void.items():
            row = self._row_of(symbol)
            for number in sorted(numbers):
                expected = int(self._next[row])
                if number == expected:
                    self._next[row] = number + 1
                elif number < expected:
                    repaired = self._repair(symbol, number, ended_ns)
                    if repaired is not None:
                        changed[symbol, repaired.from_id] = repaired
                elif expected >= 0 and len(waiting.get(symbol, ())) < MAX_VOIDS_AHEAD:
                    waiting.setdefault(symbol, set()).add(number)
        self._void = waiting

    def _repair(self, symbol: str, number: int, ts_recv_ns: int) -> Gap | None:
        """Take one id out of the hole that it lies in; None where it lies in none."""
        held = self._holes.get(symbol)
        if not held:
            return None
        for start, (gap, ranges) in held.items():
            if not gap.from_id <= number <= gap.to_id:
                continue
            for k, (low, high) in enumerate(ranges):
                if low <= number <= high:
                    ranges[k : k + 1] = _without([(low, high)], number)
                    smaller = replace(gap, missing=gap.missing - 1)
                    if ranges:
                        held[start] = (smaller, ranges)
                        return smaller
                    del held[start]
                    return replace(smaller, status="repaired", ended_ns=ts_recv_ns)
            return None
        return None
