"""Which trade ids have arrived: what is new, what is a repeat, and where a hole is.

The exchange numbers the aggregate trades of a symbol without a hole, so a jump proves a loss and an id that is not
above the last one is either a repeat or the repair of a hole (design: the gap ledger).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pairscope.market.gaps import Gap, GapStatus, HeldGap, HeldIds
from pairscope.market.id_ranges import Range, clipped, count, less
from pairscope.market.kernel import kernel
from pairscope.market.older_ids import Span, by_file, filled, take_older
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I4, I8, TickBatch

__all__ = ["Admission", "Continuity", "Gap", "GapStatus", "HeldIds"]

_NEW, _PAST = 1, 2

MAX_VOIDS_AHEAD = 1024
"""Void ids of one symbol that may wait for the tick that passes them; more are forgotten and become a hole."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a batch: which rows are ``new``, how many were repeats, and every gap that it changed."""

    new: B1
    repeats: int
    changed: tuple[Gap, ...]


@kernel
def _sort_out(
    symbol_id: I4, trade_id: I8, ts_event_ns: I8, first_id: I8, next_id: I8, last_ns: I8, verdict: I8, holes: I8
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
        if first_id[s] < 0:
            first_id[s] = number
        next_id[s] = number + 1
        last_ns[s] = ts_event_ns[i]
    return found


class Continuity:
    """The next expected trade id of each symbol and the holes before it.

    The first id that a symbol shows is taken as its beginning; what is older may be taken in later. State is small: a
    few integers a symbol and the holes.

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
        self._first = np.empty(0, np.int64)
        self._next = np.empty(0, np.int64)
        self._last_ns = np.empty(0, np.int64)
        self._live = np.empty(0, np.bool_)
        self._holes: dict[str, dict[int, HeldGap]] = {}
        self._given_up: dict[str, dict[int, HeldGap]] = {}
        self._left_out: dict[str, dict[int, HeldGap]] = {}
        self._void: dict[str, set[int]] = {}
        self._translation: tuple[Symbols | None, I4] = (None, np.empty(0, np.int32))
        self._bounded: Symbols | None = None
        self._bounded_rows: I4 = np.empty(0, np.int32)
        self.turned_live = False
        for symbol in symbols:
            self._row_of(symbol)

    def _row_of(self, symbol: str) -> int:
        row = self._row.get(symbol)
        if row is None:
            row = self._row[symbol] = len(self._row)
            if row >= self._next.size:
                more = max(16, self._next.size)
                self._first = np.concatenate([self._first, np.full(more, -1, np.int64)])
                self._next = np.concatenate([self._next, np.full(more, -1, np.int64)])
                self._live = np.concatenate([self._live, np.zeros(more, np.bool_)])
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
        first_id: int = -1,
        last_ns: int = 0,
        live: bool = True,
        gaps: Iterable[tuple[Gap, Iterable[Range]]] = (),
    ) -> None:
        """Take up a symbol where a store left it: its ids, and its gaps with the ranges still missing.

        ``live`` is false while only files have brought its ticks.
        """
        row = self._row_of(symbol)
        self._first[row], self._next[row] = first_id, next_id
        self._last_ns[row], self._live[row] = last_ns, live
        for gap, ranges in gaps:
            self._keep((gap, sorted(ranges)))

    def first_id(self, symbol: str) -> int | None:
        """Return the lowest id of a symbol's ticks, None before its first."""
        row = self._row.get(symbol)
        return None if row is None or self._first[row] < 0 else int(self._first[row])

    def bounds(self, symbols: Symbols) -> I8:
        """Return the lowest id and the next one of each symbol of a table, as two rows; -1 where there is none."""
        if self._bounded is not symbols or self._bounded_rows.size != len(symbols):
            self._bounded = symbols
            self._bounded_rows = np.fromiter((self._row_of(name) for name in symbols), np.int32, len(symbols))
        return np.stack([self._first[self._bounded_rows], self._next[self._bounded_rows]])

    def begin_at(self, symbol: str, first_id: int) -> None:
        """Take note that what is below an id is not there any more, gaps included."""
        self._first[self._row_of(symbol)] = first_id
        for gap, ranges in self._take_gaps(symbol):
            if left := clipped(ranges, first_id, gap.to_id):
                self._keep((replace(gap, missing=count(left)), left))

    def forget(self, symbol: str) -> None:
        """Forget all that is known of a symbol."""
        self._take_gaps(symbol)
        row = self._row_of(symbol)
        self._first[row], self._next[row], self._last_ns[row], self._live[row] = -1, -1, 0, False

    def is_live(self, symbol: str) -> bool:
        """Whether the stream has brought ticks of a symbol; what files have brought alone nobody asks to go on."""
        row = self._row.get(symbol)
        return row is not None and bool(self._live[row])

    def next_id(self, symbol: str) -> int | None:
        """Return the id that a symbol's next tick must have, or None before its first."""
        row = self._row.get(symbol)
        return None if row is None or self._next[row] < 0 else int(self._next[row])

    def last_ns(self, symbol: str) -> int:
        """Return the event time of the newest tick of a symbol, 0 where there is none."""
        row = self._row.get(symbol)
        return 0 if row is None else int(self._last_ns[row])

    def open_gaps(self) -> list[HeldGap]:
        """Return every open gap with the ranges (both ends inclusive) that are still missing."""
        return [(gap, list(ranges)) for held in self._holes.values() for gap, ranges in held.values()]

    def unrepaired(self, symbol: str) -> list[HeldGap]:
        """Return a symbol's open gaps and those that were given up, with the ranges that are missing."""
        return [held for shelf in self._shelves() for held in shelf.get(symbol, {}).values()]

    def lacking(self) -> frozenset[str]:
        """Return the symbols that have an open gap, or one that was given up."""
        return frozenset(name for shelf in self._shelves() for name, held in shelf.items() if held)

    def ranges_of(self, gap: Gap) -> list[Range]:
        """Return what is missing of a gap that :meth:`unrepaired` names, nothing of another."""
        held = self._shelf_of(gap).get(gap.symbol, {}).get(gap.from_id)
        return [] if held is None or gap.status == "repaired" else held[1]

    def _shelves(self) -> tuple[dict[str, dict[int, HeldGap]], ...]:
        return self._holes, self._given_up, self._left_out

    def _shelf_of(self, gap: Gap) -> dict[str, dict[int, HeldGap]]:
        """Return where a gap belongs: open ones, those given up, those that only files have left."""
        if gap.status != "unrepairable":
            return self._holes
        return self._left_out if by_file(gap) else self._given_up

    def _keep(self, held: HeldGap) -> None:
        if held[0].status != "repaired":
            self._shelf_of(held[0]).setdefault(held[0].symbol, {})[held[0].from_id] = held

    def _take_gaps(self, symbol: str) -> list[HeldGap]:
        """Return a symbol's unrepaired gaps and forget them."""
        found = self.unrepaired(symbol)
        for shelf in self._shelves():
            shelf.pop(symbol, None)
        return found

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
        self._keep((opened, [(opened.from_id, opened.to_id)]))
        return opened

    def give_up(self, symbol: str, from_id: int, *, ended_ns: int) -> Gap | None:
        """Close an open gap as unrepairable; None where there is no such open gap."""
        entry = self._holes.get(symbol, {}).pop(from_id, None)
        if entry is None:
            return None
        given_up = replace(entry[0], status="unrepairable", ended_ns=ended_ns)
        self._keep((given_up, entry[1]))
        return given_up

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
            if not clipped(ranges, low, high):
                continue
            del held[start]
            for first, last in ((gap.from_id, low - 1), (low, high), (high + 1, gap.to_id)):
                if last < first:
                    continue
                inside = clipped(ranges, first, last)
                part = replace(gap, from_id=first, to_id=last, missing=count(inside))
                if first == low:
                    part = replace(part, status="unrepairable", ended_ns=verdict.ended_ns)
                elif not inside:
                    part = replace(part, status="repaired", ended_ns=verdict.ended_ns)
                self._keep((part, inside))
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
        began = None if self._live[rows].all() else self._next.copy()
        found = _sort_out(
            rows, batch.trade_id, batch.ts_event_ns, self._first, self._next, self._last_ns, verdict, jumps
        )
        for i, start, end, after_ns in jumps[:found].tolist():
            symbol = batch.symbols[int(batch.symbol_id[i])]
            ranges = [(start, end)]
            ranges = less(ranges, [(number, number) for number in sorted(self._void.get(symbol, ()))])
            if not ranges:
                continue
            gap = Gap(
                symbol,
                ranges[0][0],
                ranges[-1][1],
                "open",
                count(ranges),
                after_ns=after_ns,
                before_ns=int(batch.ts_event_ns[i]),
                seen_ns=int(batch.ts_recv_ns[i]),
            )
            if began is not None and start == began[rows[i]] and not self._live[rows[i]]:
                gap = replace(gap, status="unrepairable", seen_ns=0)  # where files end, the stream asks for nothing
            self._keep((gap, ranges))
            changed[symbol, gap.from_id] = gap
        for i in np.flatnonzero(verdict == _PAST).tolist():
            symbol = batch.symbols[int(batch.symbol_id[i])]
            number, times = int(batch.trade_id[i]), batch.ts_event_ns[i : i + 1]
            repaired = self._repair(symbol, number, times, int(batch.ts_recv_ns[i]))
            if repaired:
                verdict[i] = _NEW
                changed |= {(symbol, gap.from_id): gap for gap in repaired}
        if began is not None:
            self.turned_live = bool((~self._live[rows] & (began[rows] >= 0)).any())
            self._live[rows] = True

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
                    repaired = self._repair(symbol, number, np.empty(0, np.int64), ended_ns)
                    changed |= {(symbol, gap.from_id): gap for gap in repaired}
                elif expected >= 0 and len(waiting.get(symbol, ())) < MAX_VOIDS_AHEAD:
                    waiting.setdefault(symbol, set()).add(number)
        self._void = waiting

    def _repair(self, symbol: str, number: int, times_ns: I8, ts_recv_ns: int) -> list[Gap]:
        """Take one id out of the hole that it lies in, if any, of the stream or of files; return what changed."""
        for shelf in (self._holes, self._left_out):
            for start, (gap, ranges) in shelf.get(symbol, {}).items():
                if not gap.from_id <= number <= gap.to_id or not clipped(ranges, number, number):
                    continue
                ids = np.full(times_ns.size, number)
                parts = filled((gap, ranges), [(number, number)], ids, times_ns, ended_ns=ts_recv_ns)
                del shelf[symbol][start]
                for part in parts:
                    self._keep(part)
                row = self._row_of(symbol)
                self._first[row] = min(int(self._first[row]), number) if self._first[row] >= 0 else number
                gone = [replace(gap, status="repaired", missing=0)] if by_file(gap) else []
                return [*gone, *(part for part, _ in parts)]
        return []

    def admit_older(self, batch: TickBatch, first_ns: Mapping[str, int]) -> Admission:
        """Sort a batch that no stream brought into new ticks and repeats, whatever their order. O(n log n).

        New is what lies below a symbol's first id, above its last, or in a hole of any status; see ``take_older``.
        ``first_ns`` are the event times of the first ticks. A gap that only files have left, and that is no more, is
        told as ``repaired``.
        """
        new = np.zeros(len(batch), np.bool_)
        changed: list[Gap] = []
        names = {*np.unique(batch.symbol_id).tolist(), *(symbol_id for symbol_id, _ in batch.void)}
        for symbol_id in sorted(names):
            symbol = batch.symbols[symbol_id]
            at = np.flatnonzero(batch.symbol_id == symbol_id)
            ids, once = np.unique(batch.trade_id[at], return_index=True)
            at = at[once]
            row = self._row_of(symbol)
            first, following, last_ns = int(self._first[row]), int(self._next[row]), int(self._last_ns[row])
            gaps = self._take_gaps(symbol)
            first = first if first >= 0 else min([following, *(gap.from_id for gap, _ in gaps)])
            taken = take_older(
                symbol,
                ids,
                batch.ts_event_ns[at],
                void=np.array(sorted({number for k, number in batch.void if k == symbol_id}), np.int64),
                span=None if following < 0 else Span(first, following, first_ns.get(symbol, 0), last_ns),
                gaps=gaps,
                ended_ns=int(batch.ts_recv_ns[at].max(initial=0)),
            )
            new[at[taken.new]] = True
            self._first[row], self._next[row] = taken.span.first_id, taken.span.next_id
            self._last_ns[row] = taken.span.last_ns
            for each in taken.gaps:
                self._keep(each)
            changed += taken.changed
        return Admission(new, len(batch) - int(np.count_nonzero(new)), tuple(changed))
