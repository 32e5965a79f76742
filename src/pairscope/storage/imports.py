"""What the embedded store takes from outside the live stream: bars of any timeframe, older trades, and back again."""

from __future__ import annotations

from collections.abc import Sequence

from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES, BarBatch, BarOutcome, BarOutcomes, Origin
from pairscope.market.continuity import Admission, HeldIds
from pairscope.market.ticks import B1, TickBatch
from pairscope.ports import Document, UploadedSpan
from pairscope.storage import bar_reading, reading
from pairscope.storage.duckdb_file import DuckDBFile

__all__ = ["Imports", "demand_timeframe"]


def demand_timeframe(timeframe: str) -> None:
    """Raise ``InputError`` where there is no such timeframe."""
    if timeframe not in TIMEFRAMES:
        raise InputError(f"timeframe {timeframe!r} is none of {', '.join(TIMEFRAMES)}", loc="timeframe")


class Imports(DuckDBFile):
    """The part of ``TickStore`` that nothing live uses."""

    async def put_bars(self, bars: BarBatch) -> int:
        """Store bars that no own tick made; return how many rows changed."""
        [outcomes] = await self.put_bars_all([bars])
        return int((outcomes <= BarOutcome.UPDATED).sum())

    async def put_bars_all(self, batches: Sequence[BarBatch], documents: Sequence[Document] = ()) -> list[BarOutcomes]:
        """Store several batches of bars, and documents, in one transaction; return what came of each bar."""
        for bars in batches:
            demand_timeframe(bars.timeframe)

        def work() -> list[BarOutcomes]:
            with self._transaction() as writing:
                outcomes = [writing.put_bars(bars) for bars in batches]
                writing.put_documents(documents)
                return outcomes

        return await self._write(work)

    async def covered(self, bars: BarBatch) -> B1:
        """Which bars own ticks cover wholly, from their first tick to their newest without a hole."""
        demand_timeframe(bars.timeframe)

        def work() -> B1:
            return self._current().covers(bars)

        return await self._write(work)

    async def remove_bars(self, symbol: str, timeframe: str | None, origin: Origin) -> int:
        """Remove a symbol's bars of one origin, of one timeframe or of all; return how many."""
        if timeframe is not None:
            demand_timeframe(timeframe)

        def work() -> int:
            with self._transaction() as writing:
                return writing.remove_bars(symbol, TIMEFRAMES if timeframe is None else (timeframe,), origin)

        return await self._write(work)

    async def uploaded(self) -> list[UploadedSpan]:
        """What was uploaded, by (symbol, length of timeframe)."""
        return await self._read(lambda con, view: bar_reading.uploaded(con, view, reading.tables_of(view)))

    async def kept_timeframes(self, symbol: str) -> tuple[str, ...]:
        """The timeframes under which bars of a symbol are kept, the shortest first. Reads no table."""
        symbol_id = self._view.find(symbol)
        return () if symbol_id is None else self._view.timeframes(symbol_id)

    async def add_older(self, batch: TickBatch) -> Admission:
        """Store trades that the live stream did not bring; see ``TickStore.add_older``."""

        def work() -> Admission:
            with self._transaction() as writing:
                return writing.add_older(batch)

        return await self._write(work)

    async def held(self, symbol: str | None = None) -> list[HeldIds]:
        """The intervals of consecutive trade ids that are stored, by (symbol, from_id)."""
        return await self._read(lambda con, view: reading.held(con, view, symbol))
