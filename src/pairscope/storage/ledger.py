"""What a store knows of each symbol without asking its tables: ids, counts, times, gaps that nothing closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, BarBatch, timeframe_ns
from pairscope.market.continuity import Admission, Continuity
from pairscope.market.gaps import HeldGap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I4, I8, TickBatch
from pairscope.ports import SymbolSummary
from pairscope.storage.archive_catalogue import Catalogue

__all__ = ["NEVER", "Ledger", "LedgerView"]

NEVER = np.iinfo(np.int64).max
"""The time of what has not happened."""

_FIRST, _LAST, _COUNT = 0, 1, 2
_PLACE: Final = {timeframe: k for k, timeframe in enumerate(TIMEFRAMES)}


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger as of one commit, for readers."""

    symbols: Symbols
    known: int
    watermark_ns: int
    state: NDArray[np.int64]
    spans: NDArray[np.int64]
    ids: NDArray[np.int64]
    archive: Catalogue
    uploaded_seconds: frozenset[int]
    lacking: frozenset[str]
    seen_ns: int = 0

    def find(self, symbol: str) -> int | None:
        """Return the stored id of a symbol, None where it is not stored."""
        symbol_id = self.symbols.find(symbol)
        return None if symbol_id is None or symbol_id >= self.known else symbol_id

    def lacks_ids(self, symbol: str | None) -> bool:
        """Whether a symbol, or any, has a gap that nothing has repaired."""
        symbol_id = None if symbol is None else self.find(symbol)
        return (
            bool(self.lacking) if symbol is None else symbol_id is not None and self.symbols[symbol_id] in self.lacking
        )

    def tick_span(self, symbol_id: int) -> tuple[int, int, int]:
        """Event time of a symbol's first own and of its newest tick, and how many there are."""
        first, last, count = self.state[:, symbol_id].tolist()
        return first, last, count

    def id_span(self, symbol_id: int) -> tuple[int, int]:
        """The lowest id that is held of a symbol's ticks and the id behind the last; both are -1 where none is."""
        first, following = self.ids[:, symbol_id].tolist()
        return (first, following) if first >= 0 else (-1, -1)

    def bar_span(self, symbol_id: int, timeframe: str) -> tuple[int, int]:
        """The oldest and newest open time of a symbol's stored bars; newest is -1 where there is none."""
        oldest, newest = self.spans[_PLACE[timeframe]][:, symbol_id].tolist()
        return oldest, newest

    @property
    def tick_count(self) -> int:
        """How many ticks are stored."""
        return int(self.state[_COUNT].sum())

    def horizon_ns(self, symbol_id: int) -> int:
        """The time that has surely passed for a symbol: the watermark, or the end of its newest stored bar.

        Of one without own ticks no stream tells; for it the time has passed at which the store was looked at.
        """
        ends = (self.bar_span(symbol_id, t)[1] + timeframe_ns(t) for t in self.timeframes(symbol_id))
        no_stream = not self.tick_span(symbol_id)[2]
        return max([self.watermark_ns, *ends, self.seen_ns if no_stream else 0])

    def timeframes(self, symbol_id: int) -> tuple[str, ...]:
        """The timeframes under which bars of a symbol are stored, the shortest first."""
        return tuple(t for t, k in _PLACE.items() if self.spans[k, 1, symbol_id] >= 0)

    def summaries(self) -> list[SymbolSummary]:
        """Return every symbol that has ticks or bars, by name."""
        found = []
        for symbol_id in range(self.known):
            first, last, count = self.tick_span(symbol_id)
            oldest, newest = int(self.spans[:, 0, symbol_id].min()), int(self.spans[:, 1, symbol_id].max())
            if count:
                found.append(SymbolSummary(self.symbols[symbol_id], count, first, last))
            elif newest >= 0:
                found.append(SymbolSummary(self.symbols[symbol_id], 0, oldest, newest))
        return sorted(found, key=lambda summary: summary.symbol)


class Ledger:
    """The memory beside the tables of one store: changed by an append, thrown away and read again when one fails.

    ``symbols`` is the store's own table: a symbol's place in it is its stored id.
    """

    def __init__(self) -> None:
        self.symbols = Symbols()
        self.continuity = Continuity()
        self.watermark_ns = 0
        self.flush = 0
        self.saved_symbols = 0
        self.archive = Catalogue()
        self._state = np.empty((3, 0), np.int64)
        self._spans = np.empty((len(TIMEFRAMES), 2, 0), np.int64)
        self.uploaded_seconds: frozenset[int] = frozenset()
        self._translation: tuple[Symbols, I4] = (self.symbols, np.empty(0, np.int32))

    def _grow(self) -> None:
        have, need = self._state.shape[1], len(self.symbols)
        if need <= have:
            return
        more = max(need - have, 16)
        state = np.zeros((3, more), np.int64)
        state[_FIRST] = NEVER
        spans = np.empty((len(TIMEFRAMES), 2, more), np.int64)
        spans[:, 0], spans[:, 1] = NEVER, -1
        self._state = np.concatenate([self._state, state], axis=1)
        self._spans = np.concatenate([self._spans, spans], axis=2)

    def ids_of(self, symbols: Symbols) -> I4:
        """Return the stored id of each symbol of a batch's table, taking in what is new. Cheap when nothing is."""
        known, table = self._translation
        if known is not symbols or table.size != len(symbols):
            table = np.fromiter((self.symbols.id_of(name) for name in symbols), np.int32, len(symbols))
            self._translation = (symbols, table)
            self._grow()
        return table

    def id_of(self, symbol: str) -> int:
        """Return the stored id of one symbol, taking it in if it is new."""
        symbol_id = self.symbols.id_of(symbol)
        self._grow()
        return symbol_id

    def resume(
        self, symbol: str, *, first_ns: int, last_ns: int, tick_count: int, spans: dict[str, tuple[int, int]]
    ) -> None:
        """Take up a symbol where the tables leave it; its ids and gaps go to ``continuity``."""
        symbol_id = self.id_of(symbol)
        self._state[:, symbol_id] = first_ns, last_ns, tick_count
        for timeframe, span in spans.items():
            self._spans[_PLACE[timeframe], :, symbol_id] = span

    def admit(self, batch: TickBatch) -> Admission:
        """Sort a batch into new ticks and repeats, and count the new ones."""
        ids = self.ids_of(batch.symbols)
        admission = self.continuity.admit(batch)
        self.watermark_ns = max(self.watermark_ns, batch.watermark_ns)
        new = admission.new
        if not new.any():
            return admission
        rows = ids[batch.symbol_id[new]]
        times = batch.ts_event_ns[new]
        touched, first_row, counts = np.unique(rows, return_index=True, return_counts=True)
        fresh = self._state[_COUNT, touched] == 0
        self._state[_FIRST, touched[fresh]] = times[first_row[fresh]]
        self._state[_COUNT, touched] += counts
        np.maximum.at(self._state[_LAST], rows, times)
        return admission

    def add_older(self, batch: TickBatch) -> Admission:
        """Sort a batch that no stream brought into new ticks and repeats, and count the new ones."""
        ids = self.ids_of(batch.symbols)
        held = {
            name: int(self._state[_FIRST, ids[k]])
            for k, name in enumerate(batch.symbols)
            if self._state[_COUNT, ids[k]]
        }
        admission = self.continuity.admit_older(batch, held)
        self.watermark_ns = max(self.watermark_ns, batch.watermark_ns)
        fresh = batch.take(admission.new)
        for symbol_id in np.unique(fresh.symbol_id).tolist():
            mine = fresh.take(fresh.symbol_id == symbol_id)
            state = self._state[:, ids[symbol_id]]
            lowest = int(np.argmin(mine.trade_id))
            if not state[_COUNT] or mine.trade_id[lowest] == self.continuity.first_id(batch.symbols[symbol_id]):
                state[_FIRST] = mine.ts_event_ns[lowest]
            state[_COUNT] += len(mine)
            state[_LAST] = max(int(state[_LAST]), int(mine.ts_event_ns.max()))
        return admission

    def saw_bars(self, timeframe: str, symbol_id: I4, ts_open_ns: I8) -> None:
        """Note that bars are stored: their oldest and newest open times."""
        oldest, newest = self._spans[_PLACE[timeframe]]
        np.minimum.at(oldest, symbol_id, ts_open_ns)
        np.maximum.at(newest, symbol_id, ts_open_ns)

    def forget(
        self, symbol: str, *, ticks: int, first_id: int | None, first_ns: int, oldest: Mapping[str, int]
    ) -> None:
        """Take note that old rows were deleted.

        ``ticks`` of them; ``first_id`` and ``first_ns`` are of the first tick that is left, ``oldest`` of bars by
        timeframe, None and ``NEVER`` where nothing is.
        """
        symbol_id = self.id_of(symbol)
        self._state[_COUNT, symbol_id] -= ticks
        self._state[_FIRST, symbol_id] = first_ns
        for timeframe in BASE_TIMEFRAMES:
            k = _PLACE[timeframe]
            self._spans[k, 0, symbol_id] = oldest[timeframe]
            if oldest[timeframe] == NEVER:
                self._spans[k, 1, symbol_id] = -1
        following = self.continuity.next_id(symbol)
        if following is not None:
            self.continuity.begin_at(symbol, following if first_id is None else first_id)

    def recount(self, symbol: str, said: Mapping[str, int], found: Mapping[str, int], gaps: Sequence[HeldGap]) -> None:
        """Take what the rows of a symbol say in place of what was said of it; what came since is kept.

        Both name ``ticks``, ``first id``, ``next id``, ``first time``, ``last time``, and ``oldest`` and ``newest`` of
        each base timeframe; without ticks the rows say no more than ``ticks``. ``gaps`` are all that lack ids.
        """
        symbol_id = self.id_of(symbol)
        state = self._state[:, symbol_id]
        state[_COUNT] += found["ticks"] - said["ticks"]
        for timeframe in BASE_TIMEFRAMES:
            oldest, newest = self._spans[_PLACE[timeframe], :, symbol_id].tolist()
            if (oldest, newest) == (said[f"oldest {timeframe}"], said[f"newest {timeframe}"]):
                self.set_bar_span(timeframe, symbol_id, found[f"oldest {timeframe}"], found[f"newest {timeframe}"])
        for place, word in ((_FIRST, "first time"), (_LAST, "last time")):
            if word in found and state[place] == said[word]:
                state[place] = found[word]
        now, last_ns = self.continuity, int(state[_LAST])
        first_id, next_id, live = now.first_id(symbol), now.next_id(symbol), now.is_live(symbol)
        if next_id is None or next_id == said["next id"]:
            next_id = found.get("next id", said["next id"])
        if first_id is None or first_id == said["first id"]:
            first_id = found.get("first id", said["first id"])
        now.forget(symbol)
        now.resume(symbol, first_id=first_id, next_id=next_id, last_ns=last_ns, live=live, gaps=gaps)

    def set_bar_span(self, timeframe: str, symbol_id: int, oldest_ns: int, newest_ns: int) -> None:
        """Note what is left of a symbol's bars: their oldest and newest open times, ``NEVER`` and -1 for none."""
        self._spans[_PLACE[timeframe], :, symbol_id] = oldest_ns, newest_ns

    def newest_bars(self, timeframe: str) -> I8:
        """The newest open time of stored bars by symbol id, -1 where there is none."""
        newest: I8 = self._spans[_PLACE[timeframe]][1]
        return newest

    def covered(self, symbol_id: I4, ts_open_ns: I8, timeframe: str) -> B1:
        """Which bars own ticks cover wholly: opened after the first own tick, and no unrepaired gap touches them."""
        whole: B1 = ts_open_ns > self._state[_FIRST, symbol_id]
        length = timeframe_ns(timeframe)
        for asked in np.unique(symbol_id).tolist():
            mine = symbol_id == asked
            for gap, _ in self.continuity.unrepaired(self.symbols[asked]):
                touched = (ts_open_ns + length > gap.after_ns) & (ts_open_ns <= (gap.before_ns or NEVER))
                whole &= ~(mine & touched)
        return whole

    def within(self, symbol_id: I4, ts_open_ns: I8, timeframe: str) -> B1:
        """Which bars lie wholly between a symbol's first own tick and its newest, with no unrepaired gap in them."""
        ended: B1 = ts_open_ns + timeframe_ns(timeframe) <= self._state[_LAST, symbol_id]
        return ended & self.covered(symbol_id, ts_open_ns, timeframe)

    def covers(self, bars: BarBatch) -> B1:
        """Do as ``within`` for bars of any table; a symbol that is not stored has none."""
        ids = np.array([-1 if (k := self.symbols.find(name)) is None else k for name in bars.symbols], np.int32)
        found = np.zeros(len(bars), np.bool_)
        known = np.flatnonzero(ids[bars.symbol_id] >= 0) if ids.size else np.empty(0, np.intp)
        found[known] = self.within(ids[bars.symbol_id[known]], bars.ts_open_ns[known], bars.timeframe)
        return found

    def view(self, seen_ns: int = 0) -> LedgerView:
        """Return what readers may know at a time; unchanged by what comes later. O(symbols)."""
        n = len(self.symbols)
        state, spans = self._state[:, :n].copy(), self._spans[:, :, :n].copy()
        ids = self.continuity.bounds(self.symbols)
        uploaded, lacking = self.uploaded_seconds, self.continuity.lacking()
        return LedgerView(
            self.symbols, n, self.watermark_ns, state, spans, ids, self.archive, uploaded, lacking, seen_ns
        )

    def fresh_continuity(self) -> Continuity:
        """Return another ledger of ids that stands where this one does, for a feed to resume from.

        What only files have brought is not in it: the feed begins such a symbol anew and asks for nothing before.
        """
        gaps: dict[str, list[HeldGap]] = {}
        for gap, ranges in self.continuity.open_gaps():
            gaps.setdefault(gap.symbol, []).append((gap, ranges))
        fresh = Continuity()
        for name in self.symbols:
            next_id = self.continuity.next_id(name)
            if next_id is not None and self.continuity.is_live(name):
                last_ns = self.continuity.last_ns(name)
                fresh.resume(name, next_id=next_id, last_ns=last_ns, gaps=gaps.get(name, ()))
        return fresh

    def rows(self) -> dict[str, I8 | I4 | B1]:
        """Return the ledger as columns of the table ``continuity``."""
        n = len(self.symbols)
        first_id, next_id = self.continuity.bounds(self.symbols)
        columns: dict[str, I8 | I4 | B1] = {
            "symbol_id": np.arange(n, dtype=np.int32),
            "next_id": next_id,
            "first_ns": self._state[_FIRST, :n].copy(),
            "last_ns": self._state[_LAST, :n].copy(),
            "tick_count": self._state[_COUNT, :n].copy(),
        }
        for timeframe in BASE_TIMEFRAMES:
            k = _PLACE[timeframe]
            columns[f"oldest_{timeframe}_ns"] = self._spans[k, 0, :n].copy()
            columns[f"newest_{timeframe}_ns"] = self._spans[k, 1, :n].copy()
        columns["first_id"] = first_id
        columns["live"] = np.array(
            [self.continuity.next_id(name) is None or self.continuity.is_live(name) for name in self.symbols], np.bool_
        )
        return columns
