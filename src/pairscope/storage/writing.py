"""What happens inside one transaction of the embedded store: ticks, bars, gaps and the ledger move together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin, bars_of, timeframe_ns
from pairscope.market.continuity import Admission, Gap
from pairscope.market.ticks import B1, I4, TickBatch
from pairscope.ports import Document
from pairscope.storage.documents import add_document, put_documents, remove_documents
from pairscope.storage.ledger import Ledger
from pairscope.storage.parcel import last_of_each
from pairscope.storage.precedence import supersedes
from pairscope.storage.tables import BAR_FIELDS, Connection, Tables

__all__ = ["Writing"]

SAVE_EVERY_FLUSHES: Final = 256
"""Appends between two savings of the whole ledger: what a start has to read at most."""

_VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "first_id", "last_id")
"""What makes two versions of a bar differ; its trades are a count of ours, whosever the bar."""


class Writing:
    """The steps of one transaction on a connection; the caller begins and commits it."""

    def __init__(self, connection: Connection, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self._tables = Tables(ledger.symbols)
        self._flush = ledger.flush + 1
        self._save = False
        self._has_rows = False
        self.added_bars = 0

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
        self._save |= bool(batch.void)
        for each in bars:
            self.merge_bars(each)
        self.put_documents(documents)
        return admission

    def settle(self, gap: Gap) -> None:
        """Store a verdict on a gap, and the gaps that it leaves."""
        self._ledger.id_of(gap.symbol)
        self._put_gaps(self._ledger.continuity.settle(gap))
        self._save = True

    def merge_bars(self, bars: BarBatch, *, rebuilt: bool = False) -> BarBatch:
        """Store the bars that supersede what is there (see ``supersedes``) and return them as stored."""
        ledger = self._ledger
        columns = {field: getattr(bars, field) for field in BAR_FIELDS}
        columns["symbol_id"] = ledger.ids_of(bars.symbols)[bars.symbol_id]
        columns = _last_word(columns)
        newest = ledger.newest_bars(bars.timeframe)
        keep = columns["ts_open_ns"] > newest[columns["symbol_id"]]
        known = np.flatnonzero(~keep)
        if known.size:
            keep[known] = self._settle_known(bars.timeframe, columns, known, rebuilt=rebuilt)
        columns = {field: values[keep] for field, values in columns.items()}
        if columns["symbol_id"].size:
            self._has_rows = True
            self._tables.add_bars(self._connection, bars.timeframe, columns, flush=self._flush)
            ledger.saw_bars(bars.timeframe, columns["symbol_id"], columns["ts_open_ns"])
            self.added_bars += int(columns["symbol_id"].size)
        return BarBatch(ledger.symbols, bars.timeframe, *(columns[field] for field in BAR_FIELDS))

    def _settle_known(
        self, timeframe: str, columns: dict[str, NDArray[Any]], known: NDArray[np.intp], *, rebuilt: bool
    ) -> B1:
        """Compare bars with those stored at their keys, remove what loses, return which of ``known`` go in."""
        keys = {field: columns[field][known] for field in ("symbol_id", "ts_open_ns")}
        old = self._tables.bars_at(self._connection, timeframe, keys)
        keep = np.ones(known.size, np.bool_)
        at = old["row"]
        if not at.size:
            return keep
        rows = known[at]
        differs = np.zeros(at.size, np.bool_)
        for field in _VALUES:
            differs |= columns[field][rows] != old[field]
        wins = supersedes(
            new_origin=columns["origin"][rows],
            new_trades=columns["trades"][rows],
            new_revision=columns["revision"][rows],
            new_volume=columns["volume"][rows],
            old_origin=old["origin"],
            old_trades=old["trades"],
            old_revision=old["revision"],
            old_volume=old["volume"],
            covered=self._ledger.covered(old["symbol_id"], old["ts_open_ns"], timeframe),
            differs=differs,
            rebuilt=rebuilt,
        )
        wins |= _carry_over(columns, rows, old, wins)
        keep[at] = wins
        if wins.any():
            gone = {field: old[field][wins] for field in ("symbol_id", "ts_open_ns")}
            self._tables.delete_bars(self._connection, timeframe, gone)
            self.added_bars -= int(np.count_nonzero(wins))
        return keep

    def rebuild(self, symbol: str, start_ns: int, end_ns: int) -> list[BarBatch]:
        """Recompute a symbol's closed bars that overlap a range from its stored ticks; return those that changed."""
        symbol_id = self._ledger.symbols.find(symbol)
        if symbol_id is None:
            return []
        whole = timeframe_ns(BASE_TIMEFRAMES[-1])
        ticks = self._tables.ticks(
            self._connection,
            "symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ?",
            (symbol_id, start_ns // whole * whole, -(-end_ns // whole) * whole),
        )
        revised = []
        for timeframe in BASE_TIMEFRAMES:
            length = timeframe_ns(timeframe)
            low = start_ns // length * length
            high = min(-(-end_ns // length), self._ledger.watermark_ns // length) * length
            inside = ticks.take((ticks.ts_event_ns >= low) & (ticks.ts_event_ns < high))
            changed = self.merge_bars(bars_of(inside, timeframe), rebuilt=True)
            if len(changed):
                revised.append(changed)
        return revised

    def add_document(self, collection: str, key: str, body: bytes, *, replace: bool) -> bool:
        """Store a document; True if its key was new."""
        return add_document(self._connection, collection, key, body, replace=replace)

    def put_documents(self, documents: Sequence[Document]) -> int:
        """Store documents, the last of each key, and remove the keys of those without a body; return how many went."""
        final = last_of_each(documents)
        put_documents(self._connection, [document for document in final if document.body is not None])
        return remove_documents(self._connection, [document for document in final if document.body is None])

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
        if not gaps:
            return
        left = {(gap.symbol, gap.from_id): ranges for gap, ranges in self._ledger.continuity.open_gaps()}
        for gap in gaps:
            self._ledger.set_gap(gap)
        self._tables.put_gaps(
            self._connection,
            [(self._ledger.id_of(gap.symbol), gap, left.get((gap.symbol, gap.from_id), ())) for gap in gaps],
        )


def _carry_over(columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], old: dict[str, NDArray[Any]], wins: B1) -> B1:
    """Give the bars at ``rows`` what the stored ones beside them hand on; return those stored for their count alone.

    A bar corrected by own ticks has a revision above the old one's. A foreign bar keeps the count of our trades, and
    gets it where our bar came and lost: it then goes in again with that count.
    """
    own = columns["origin"][rows] == Origin.OWN
    counted: B1 = own & ~wins & (old["origin"] != Origin.OWN) & (columns["trades"][rows] != old["trades"])
    for field in set(BAR_FIELDS) - {"trades"}:
        columns[field][rows[counted]] = old[field][counted]
    columns["trades"][rows[~own]] = old["trades"][~own]
    corrected = rows[wins]
    columns["revision"][corrected] = np.maximum(columns["revision"][corrected], (old["revision"] + own)[wins])
    return counted


def _last_word(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return one bar a key, by (symbol, time): of several versions the one of most ticks and highest revision."""
    order = np.lexsort((columns["revision"], columns["trades"], columns["ts_open_ns"], columns["symbol_id"]))
    symbol_id: I4 = columns["symbol_id"][order]
    times = columns["ts_open_ns"][order]
    last = np.ones(order.size, np.bool_)
    last[:-1] = (symbol_id[1:] != symbol_id[:-1]) | (times[1:] != times[:-1])
    chosen = order[last]
    return {field: values[chosen] for field, values in columns.items()}
