"""Closes and volumes of one timeframe by slot, as rules on bars read them: a row a symbol, as long as somebody reads.

A row is of use from when its history was read; who reads it says how many slots it looks back. Bars that close while
history is being read are kept over it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.engine.alert_bar_kernels import put_units
from pairscope.engine.pair_tape import CloseTape
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.ticks import B1, I8

__all__ = ["BarTape"]

_NEVER: Final = 1 << 60


class BarTape(CloseTape):
    """``units`` are volumes in the row's ``decimals``, 0 where a slot has no bar; ``since`` the first that has one."""

    def __init__(self, timeframe: str) -> None:
        super().__init__()
        self.timeframe = timeframe
        self.step_ns = timeframe_ns(timeframe)
        self.units: I8 = np.zeros((0, self.slots), np.int64)
        self.decimals: I8 = np.zeros(0, np.int64)
        self.since: I8 = np.zeros(0, np.int64)
        self.needs: dict[int, int] = {}
        self._depth: dict[int, int] = {}
        self._told: dict[int, set[int]] = {}

    # -- rows ----------------------------------------------------------------------------------------------------------

    def need(self, symbol_id: int, slots: int) -> int:
        """Return a symbol's row, which is to reach back so many slots."""
        row = self.row(symbol_id)
        self.needs[row] = max(slots, self.needs.get(row, 0))
        self.keep(self.needs[row])
        return row

    def release(self, row: int) -> None:
        """Give a row back that nobody reads any more."""
        super().release(row)
        self.units[row] = 0
        self.decimals[row] = 0
        self.since[row] = _NEVER
        for kept in (self.needs, self._depth, self._told):
            kept.pop(row, None)

    def keep(self, slots: int) -> None:
        """Make the ring so long that ``slots`` slots before the newest are kept; what is there stays."""
        before, old = self.slots, self.units
        super().keep(slots)
        if self.slots == before:
            return
        self.units = np.zeros((old.shape[0], self.slots), np.int64)
        if self.top >= 0:
            held = np.arange(max(0, self.top - before + 1), self.top + 1)
            self.units[:, held % self.slots] = old[:, held % before]

    def reach(self, slot: int) -> None:
        """Let the ring come to a slot; what lies a ring's length before it is forgotten."""
        if slot <= self.top:
            return
        fresh = np.arange(max(self.top + 1, slot - self.slots + 1), slot + 1) % self.slots
        self.units[:, fresh] = 0
        super().reach(slot)

    # -- history -------------------------------------------------------------------------------------------------------

    def lacking(self) -> list[int]:
        """Return the symbols whose history has to be read and is not being read."""
        short = [r for r, slots in self.needs.items() if self._depth.get(r, 0) < slots and r not in self._told]
        return [self.symbol_of(row) for row in short]

    def begin(self, symbol_id: int, next_slot: int) -> tuple[int, int] | None:
        """Say from which time on a symbol's bars are needed, and how many slots; what closes from now on is newer."""
        row = self._find(symbol_id)
        if row not in self.needs:
            return None
        slots = self.needs[row]
        self._told[row] = set()
        return max(0, next_slot - slots) * self.step_ns, slots

    def fill(self, symbol_id: int, slots: int, bars: BarBatch) -> bool:
        """Lay a symbol's history under what closed since it was asked for; False where nobody asked."""
        row = self._find(symbol_id)
        told = self._told.pop(row, None)
        if told is None:
            return False
        at = bars.ts_open_ns // self.step_ns
        older = np.array([slot not in told for slot in at.tolist()], np.bool_)
        self._lay(np.full(int(older.sum()), row), at[older], bars.take(older))
        self._depth[row] = slots
        return True

    def drop(self, symbol_id: int) -> None:
        """Forget how far back a symbol's history reaches: it is to be read again."""
        row = self._find(symbol_id)
        self._depth.pop(row, None)
        self._told.pop(row, None)

    def ready(self, row: int, slots: int) -> bool:
        """Return whether a row's history reaches back so many slots."""
        return self._depth.get(row, 0) >= slots

    # -- bars ----------------------------------------------------------------------------------------------------------

    def tell(self, bars: BarBatch) -> tuple[I8, I8]:
        """Take bars that closed or were corrected; return the rows and slots of those that this tape follows."""
        rows = self.rows_of(bars.symbol_id.astype(np.int64))
        mine = rows >= 0
        if not mine.any():
            return rows[:0], rows[:0]
        rows, slots = rows[mine], bars.ts_open_ns[mine] // self.step_ns
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True) if self._told else ():
            if row in self._told:
                self._told[row].add(slot)
        self._lay(rows, slots, bars.take(mine))
        return rows, slots

    def has(self, rows: I8, slot: int) -> B1:
        """Return which rows have a bar in a slot."""
        there: B1 = ~np.isnan(self.closes[rows, slot % self.slots])
        return there

    def _lay(self, rows: I8, slots: I8, bars: BarBatch) -> None:
        self.write(rows, slots, bars.close)
        np.minimum.at(self.since, rows, slots)
        kept = slots > self.top - self.slots
        put_units(self.units, self.decimals, rows[kept], slots[kept] % self.slots, bars.volume[kept])

    def _find(self, symbol_id: int) -> int:
        return int(self.rows_of(np.array([symbol_id]))[0])

    def _more_rows(self) -> None:
        super()._more_rows()
        more = self.closes.shape[0] - self.units.shape[0]
        self.units = np.concatenate([self.units, np.zeros((more, self.slots), np.int64)])
        self.decimals = np.concatenate([self.decimals, np.zeros(more, np.int64)])
        self.since = np.concatenate([self.since, np.full(more, _NEVER)])
