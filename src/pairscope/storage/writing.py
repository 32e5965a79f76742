"""What happens inside one transaction of the embedded store: ticks, bars, gaps and the ledger move together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import Superseded
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, BarOutcome, BarOutcomes, Origin, bars_of, timeframe_ns
from pairscope.market.continuity import Admission, Gap
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.bar_merge import BAR_FIELDS, chosen_of, judged
from pairscope.storage.documents import add_document, document_at, put_documents, remove_documents
from pairscope.storage.ledger import Ledger
from pairscope.storage.parcel import last_of_each
from pairscope.storage.tables import Tables

__all__ = ["Writing"]

_MINUTE_NS: Final = timeframe_ns("1m")
SAVE_EVERY_FLUSHES: Final = 256
"""Appends between two savings of the whole ledger: what a start has to read at most."""


class Writing:
    """The steps of one transaction on a connection; the caller begins and commits it.

    ``tables`` is the SQL of another store than the embedded one, which has the same methods.
    """

    def __init__(self, connection: Any, ledger: Ledger, *, tables: Any = None) -> None:
        self._connection = connection
        self._ledger = ledger
        self._tables: Tables = Tables(ledger.symbols, ledger.archive) if tables is None else tables
        self._flush = ledger.flush + 1
        self._save = False
        self._has_rows = False
        self.added_bars = 0
        self.stale = False

    @property
    def connection(self) -> Any:
        """The connection that the transaction is on."""
        return self._connection

    @property
    def ledger(self) -> Ledger:
        """The ledger that goes with the transaction."""
        return self._ledger

    @property
    def tables(self) -> Tables:
        """The SQL of the transaction."""
        return self._tables

    def append(self, batch: TickBatch, bars: Sequence[BarBatch], documents: Sequence[Document] = ()) -> Admission:
        """Store what is new of a batch, its gaps, its bars and its documents."""
        ledger = self._ledger
        watermark_ns = ledger.watermark_ns
        admission = ledger.admit(batch)
        fresh = batch if admission.new.all() else batch.take(admission.new)
        if len(fresh):
            ids = ledger.ids_of(batch.symbols)
            self._has_rows = True
            self._tables.add_ticks(self._connection, fresh, ids, flush=self._flush, watermark_ns=ledger.watermark_ns)
        elif ledger.watermark_ns > watermark_ns:
            self._tables.save_watermark(self._connection, ledger)
        self._put_gaps(admission.changed)
        self._put_voids(batch)
        self._save |= ledger.continuity.turned_live
        ledger.continuity.turned_live = False
        for each in bars:
            self.merge_bars(each)
        self.put_documents(documents)
        return admission

    def add_older(self, batch: TickBatch) -> Admission:
        """Store what is new of a batch that no stream brought, and the gaps that it leaves or fills."""
        ledger = self._ledger
        admission = ledger.add_older(batch)
        fresh = batch.take(admission.new)
        if len(fresh):
            ids = ledger.ids_of(batch.symbols)
            self._has_rows = True
            self._tables.add_ticks(self._connection, fresh, ids, flush=self._flush, watermark_ns=ledger.watermark_ns)
        self._put_gaps(admission.changed)
        self._put_voids(batch)
        self._save = True
        return admission

    def _put_voids(self, batch: TickBatch) -> None:
        if batch.void:
            ids = self._ledger.ids_of(batch.symbols)
            self._tables.put_voids(
                self._connection, [(int(ids[symbol_id]), number) for symbol_id, number in batch.void]
            )
            self._save = True

    def settle(self, gap: Gap) -> None:
        """Store a verdict on a gap, and the gaps that it leaves."""
        self._ledger.id_of(gap.symbol)
        self._put_gaps(self._ledger.continuity.settle(gap))
        self._save = True

    def merge_bars(self, bars: BarBatch, *, rebuilt: bool = False) -> BarBatch:
        """Store the bars that supersede what is there (see ``supersedes``) and return them as stored."""
        return self._merge(bars, rebuilt=rebuilt)[0]

    def put_bars(self, bars: BarBatch) -> BarOutcomes:
        """Store bars that no own tick made, and return what came of each."""
        return self._merge(bars)[1]

    def remove_bars(self, symbol: str, timeframes: Iterable[str], origin: Origin) -> int:
        """Remove a symbol's bars of one origin and make those of own ticks again that they stood for."""
        symbol_id = self._ledger.symbols.find(symbol)
        if symbol_id is None:
            return 0
        removed = 0
        again: set[int] = set()
        for timeframe in timeframes:
            gone = self._tables.remove_bars(self._connection, timeframe, symbol_id, origin)
            if not gone:
                continue
            removed += len(gone)
            again.update(ts_open_ns for ts_open_ns, trades in gone if trades and timeframe in BASE_TIMEFRAMES)
            self._ledger.set_bar_span(
                timeframe, symbol_id, *self._tables.bar_span(self._connection, timeframe, symbol_id)
            )
            self._save = True
        self.added_bars -= removed
        for low in sorted({at // _MINUTE_NS * _MINUTE_NS for at in again}):
            self.rebuild(symbol, low, low + _MINUTE_NS)
        if origin == Origin.UPLOAD and "1s" in timeframes:
            self._ledger.uploaded_seconds -= {symbol_id}
        return removed

    def _merge(self, bars: BarBatch, *, rebuilt: bool = False) -> tuple[BarBatch, BarOutcomes]:
        """Store the bars that supersede what is there; return them as stored, and what came of each that was given.

        Uploaded bars of a time that own ticks cover do not go in, also where nothing was traded in it.
        """
        ledger = self._ledger
        columns, chosen, outcomes, uploaded = chosen_of(ledger, bars)
        newest = ledger.newest_bars(bars.timeframe)
        keep = columns["ts_open_ns"] > newest[columns["symbol_id"]]
        known = np.flatnonzero(~keep)
        came = np.full(chosen.size, BarOutcome.INSERTED, np.int8)
        if known.size:
            came[known] = self._settle_known(bars.timeframe, columns, known, rebuilt=rebuilt)
            keep = came <= BarOutcome.UPDATED
        outcomes[chosen] = came
        columns = {field: values[keep] for field, values in columns.items()}
        if columns["symbol_id"].size:
            self._has_rows = True
            self._tables.add_bars(self._connection, bars.timeframe, columns, flush=self._flush)
            ledger.saw_bars(bars.timeframe, columns["symbol_id"], columns["ts_open_ns"])
            if uploaded and bars.timeframe == "1s":
                ledger.uploaded_seconds |= set(columns["symbol_id"].tolist())
            self.added_bars += int(columns["symbol_id"].size)
        return BarBatch(ledger.symbols, bars.timeframe, *(columns[field] for field in BAR_FIELDS)), outcomes

    def _settle_known(
        self, timeframe: str, columns: dict[str, NDArray[Any]], known: NDArray[np.intp], *, rebuilt: bool
    ) -> BarOutcomes:
        """Compare bars with those stored at their keys, remove what loses, return what comes of each of ``known``."""
        keys = {field: columns[field][known] for field in ("symbol_id", "ts_open_ns")}
        old = self._tables.bars_at(self._connection, timeframe, keys)
        came, wins = judged(self._ledger, timeframe, columns, known, old, rebuilt=rebuilt)
        if wins.any():
            gone = {field: old[field][wins] for field in ("symbol_id", "ts_open_ns")}
            self._tables.delete_bars(self._connection, timeframe, gone)
            self.added_bars -= int(np.count_nonzero(wins))
        return came

    def rebuild(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed bars that overlap a range from its stored ticks; return those that changed.

        Bars of others go where own ticks cover their time and none is in it.
        """
        symbol_id = self._ledger.symbols.find(symbol)
        if symbol_id is None:
            return []
        whole = timeframe_ns(BASE_TIMEFRAMES[-1])
        ticks = self._tables.symbol_ticks(
            self._connection, symbol_id, start_ns // whole * whole, -(-end_ns // whole) * whole
        )
        revised = []
        for timeframe in BASE_TIMEFRAMES:
            length = timeframe_ns(timeframe)
            low = start_ns // length * length
            high = min(-(-end_ns // length), self._ledger.watermark_ns // length) * length
            inside = ticks.take((ticks.ts_event_ns >= low) & (ticks.ts_event_ns < high))
            made = bars_of(inside, timeframe)
            changed = self.merge_bars(made, rebuilt=True)
            self._remove_untraded(timeframe, symbol_id, low, high, made)
            if len(changed):
                revised.append(changed)
        return revised

    def _remove_untraded(self, timeframe: str, symbol_id: int, low: int, high: int, made: BarBatch) -> None:
        """Remove stored bars of others in a range whose time own ticks cover wholly, and in which there is none."""
        found = self._tables.foreign_opens(self._connection, timeframe, symbol_id, low, high)
        opens = np.setdiff1d(np.array(found, np.int64), made.ts_open_ns)
        ids = np.full(opens.size, symbol_id, np.int32)
        gone = self._ledger.within(ids, opens, timeframe)
        if gone.any():
            self._tables.delete_bars(self._connection, timeframe, {"symbol_id": ids[gone], "ts_open_ns": opens[gone]})
            self.added_bars -= int(np.count_nonzero(gone))
            self._save = True

    def add_document(self, collection: str, key: str, body: bytes, *, replace: bool) -> bool:
        """Store a document; True if its key was new."""
        return add_document(self._connection, collection, key, body, replace=replace)

    def put_documents(self, documents: Sequence[Document]) -> int:
        """Store documents, the last of each key, and remove the keys of those without a body; return how many went."""
        final = last_of_each(documents)
        put_documents(self._connection, [document for document in final if document.body is not None])
        return remove_documents(self._connection, [document for document in final if document.body is None])

    def put_firsts(
        self, firsts: Sequence[Document], documents: Sequence[Document], guard: Document | None
    ) -> list[Document]:
        """Store documents where all ``firsts`` are new, else return what stands there; ``Superseded`` by the guard."""
        if guard is not None and document_at(self._connection, guard.collection, guard.key) != guard.body:
            raise Superseded(f"{guard.collection}/{guard.key} is another's by now")
        stands = [each._replace(body=document_at(self._connection, each.collection, each.key)) for each in firsts]
        known = [each for each in stands if each.body is not None]
        if not known:
            self.put_documents([*firsts, *documents])
        return known

    def save(self) -> None:
        """Have the whole ledger written with this transaction."""
        self._save = True

    def finish(self) -> None:
        """Write what the transaction has left to write: new names and, when it is due, the whole ledger."""
        ledger = self._ledger
        self._tables.add_symbols(self._connection, ledger.saved_symbols)
        if self._has_rows:
            ledger.flush = self._flush
        if self._save or (self._has_rows and self._flush % SAVE_EVERY_FLUSHES == 0):
            self._tables.save_ledger(self._connection, ledger)

    def _put_gaps(self, gaps: Sequence[Gap]) -> None:
        """Store gaps with what they lack; one that only files have left and that is filled leaves no row."""
        ids_of, ranges_of = self._ledger.id_of, self._ledger.continuity.ranges_of
        gone = [gap for gap in gaps if gap.status == "repaired" and gap.seen_ns == 0 == gap.ended_ns]
        self._tables.remove_gaps(self._connection, [(ids_of(gap.symbol), gap.from_id) for gap in gone])
        left = [(ids_of(gap.symbol), gap, ranges_of(gap)) for gap in gaps if gap not in gone]
        self._tables.put_gaps(self._connection, left)
