"""What a store knows of each symbol without asking its tables: ids, counts, times, gaps that nothing closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BASE_TIMEFRAMES, timeframe_ns
from pairscope.market.continuity import Admission, Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I4, I8, TickBatch
from pairscope.ports import SymbolSummary

__all__ = ["NEVER", "Ledger", "LedgerView"]

NEVER = np.iinfo(np.int64).max
"""The time of what has not happened."""

_FIRST, _LAST, _COUNT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger as of one commit, for readers."""

    symbols: Symbols
    known: int
    watermark_ns: int
    state: NDArray[np.int64]
    spans: NDArray[np.int64]

    def find(self, symbol: str) -> int | None:
        """Return the stored id of a symbol, None where it is not stored."""
        symbol_id = self.symbols.find(symbol)
        return None if symbol_id is None or symbol_id >= self.known else symbol_id

    def tick_span(self, symbol_id: int) -> tuple[int, int, int]:
        """Event time of a symbol's first own and of its newest tick, and how many there are."""
        first, last, count = self.state[:, symbol_id].tolist()
        return first, last, count

    def bar_span(self, symbol_id: int, timeframe: str) -> tuple[int, int]:
        """The oldest and newest open time of a symbol's stored bars; newest is -1 where there is none."""
        oldest, newest = self.spans[BASE_TIMEFRAMES.index(timeframe)][:, symbol_id].tolist()
        return oldest, newest

    @property
    def tick_count(self) -> int:
        """How many ticks are stored."""
        return int(self.state[_COUNT].sum())

    def horizon_ns(self, symbol_id: int) -> int:
        """The time that has surely passed for a symbol: the watermark, or the end of its newest stored bar."""
        ends = (newest + timeframe_ns(t) for t in BASE_TIMEFRAMES if (newest := self.bar_span(symbol_id, t)[1]) >= 0)
        return max([self.watermark_ns, *ends])

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
        self._state = np.empty((3, 0), np.int64)
        self._spans = np.empty((len(BASE_TIMEFRAMES), 2, 0), np.int64)
        self._given_up: dict[str, dict[int, Gap]] = {}
        self._translation: tuple[Symbols, I4] = (self.symbols, np.empty(0, np.int32))

    def _grow(self) -> None:
        have, need = self._state.shape[1], len(self.symbols)
        if need <= have:
            return
        more = max(need - have, 16)
        state = np.zeros((3, more), np.int64)
        state[_FIRST] = NEVER
        spans = np.empty((len(BASE_TIMEFRAMES), 2, more), np.int64)
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
        for k, timeframe in enumerate(BASE_TIMEFRAMES):
            self._spans[k, :, symbol_id] = spans[timeframe]

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

    def saw_bars(self, timeframe: str, symbol_id: I4, ts_open_ns: I8) -> None:
        """Note that bars are stored: their oldest and newest open times."""
        oldest, newest = self._spans[BASE_TIMEFRAMES.index(timeframe)]
        np.minimum.at(oldest, symbol_id, ts_open_ns)
        np.maximum.at(newest, symbol_id, ts_open_ns)

    def set_gap(self, gap: Gap) -> None:
        """Note a gap's verdict: what was given up keeps its bars from counting as whole."""
        held = self._given_up.setdefault(gap.symbol, {})
        if gap.status == "unrepairable":
            held[gap.from_id] = gap
        else:
            held.pop(gap.from_id, None)

    def newest_bars(self, timeframe: str) -> I8:
        """The newest open time of stored bars by symbol id, -1 where there is none."""
        newest: I8 = self._spans[BASE_TIMEFRAMES.index(timeframe)][1]
        return newest

    def covered(self, symbol_id: I4, ts_open_ns: I8, timeframe: str) -> B1:
        """Which bars own ticks cover wholly: opened after the first own tick, and no unrepaired gap touches them."""
        whole: B1 = ts_open_ns > self._state[_FIRST, symbol_id]
        length = timeframe_ns(timeframe)
        for asked in np.unique(symbol_id).tolist():
            mine = symbol_id == asked
            for gap in self._unrepaired(self.symbols[asked]):
                touched = (ts_open_ns + length > gap.after_ns) & (ts_open_ns <= (gap.before_ns or NEVER))
                whole &= ~(mine & touched)
        return whole

    def _unrepaired(self, symbol: str) -> Iterable[Gap]:
        """Every gap of a symbol whose ticks are missing: open ones and those given up."""
        yield from (gap for gap, _ in self.continuity.open_gaps() if gap.symbol == symbol)
        yield from self._given_up.get(symbol, {}).values()

    def view(self) -> LedgerView:
        """Return what readers may know now; unchanged by what comes later. O(symbols)."""
        n = len(self.symbols)
        return LedgerView(self.symbols, n, self.watermark_ns, self._state[:, :n].copy(), self._spans[:, :, :n].copy())

    def fresh_continuity(self) -> Continuity:
        """Return another ledger of ids that stands where this one does."""
        gaps: dict[str, list[tuple[Gap, list[tuple[int, int]]]]] = {}
        for gap, ranges in self.continuity.open_gaps():
            gaps.setdefault(gap.symbol, []).append((gap, ranges))
        fresh = Continuity()
        for name in self.symbols:
            next_id = self.continuity.next_id(name)
            if next_id is not None:
                last_ns = self.continuity.last_ns(name)
                fresh.resume(name, next_id=next_id, last_ns=last_ns, gaps=gaps.get(name, ()))
        return fresh

    def rows(self) -> dict[str, I8 | I4]:
        """Return the ledger as columns of the table ``continuity``."""
        n = len(self.symbols)
        next_id = [self.continuity.next_id(name) for name in self.symbols]
        columns: dict[str, I8 | I4] = {
            "symbol_id": np.arange(n, dtype=np.int32),
            "next_id": np.array([-1 if number is None else number for number in next_id], np.int64),
            "first_ns": self._state[_FIRST, :n].copy(),
            "last_ns": self._state[_LAST, :n].copy(),
            "tick_count": self._state[_COUNT, :n].copy(),
        }
        for k, timeframe in enumerate(BASE_TIMEFRAMES):
            columns[f"oldest_{timeframe}_ns"] = self._spans[k, 0, :n].copy()
            columns[f"newest_{timeframe}_ns"] = self._spans[k, 1, :n].copy()
        return columns
