"""An upload against a store: which bars own ticks cover, what each would change, and all of it in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from pairscope.market.bars import BarBatch, BarOutcome, timeframe_ns
from pairscope.market.ticks import B1
from pairscope.ports import Document, TickStore
from pairscope.transfer.upload_faults import LISTED, Fault
from pairscope.transfer.upload_reading import UploadReading

__all__ = ["UPLOADS", "UploadOutcome", "judge_upload", "store_upload", "upload_key"]

UPLOADS: Final = "uploads"
"""The collection of records that says when each symbol and timeframe was uploaded last, and from which file."""

_PAGE: Final = 50_000
_PREVIEW: Final = 10
_MS: Final = 1_000_000
_VALUES: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume")
_COVERED: Final = "own ticks cover this time"
_PRECEDENCE: Final = "what is stored for this time has precedence"


@dataclass(frozen=True, slots=True, eq=False)
class UploadOutcome:
    """What came of a file, or would: ``stored`` tells which; ``accepted`` whether nothing speaks against storing it.

    ``bars`` are those that went in, the unchanged ones left out; the faults are the reading's and the store's.
    """

    reading: UploadReading
    bars: BarBatch
    inserted: int
    updated: int
    unchanged: int
    faults: Sequence[Fault]
    fault_count: int
    faulty_rows: int
    accepted: bool
    stored: bool

    def document(self) -> dict[str, Any]:
        """Return the answer of ``/api/upload/ohlc``, without its preview."""
        held = self.reading.bars
        times = held.ts_open_ns // _MS
        return {
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            **self.rejections(),
            "accepted": self.accepted,
            "stored": self.stored,
            "symbols": list(self.reading.symbols),
            "timeframe": held.timeframe,
            "rows": self.reading.rows,
            "first_timestamp": int(times.min()) if times.size else None,
            "last_timestamp": int(times.max()) if times.size else None,
            "columns": dict(self.reading.columns),
            "time_unit": self.reading.time_unit,
        }

    def rejections(self) -> dict[str, Any]:
        """Return the rows that are rejected and why, as many as are listed, and how many there are."""
        return {
            "rejected": [fault._asdict() for fault in self.faults],
            "rejected_total": self.fault_count,
            "rejected_rows": self.faulty_rows,
        }

    def preview(self) -> list[dict[str, Any]]:
        """Return the first good rows as bars, by symbol and time."""
        held = self.reading.bars.take(slice(_PREVIEW))
        columns = {name: getattr(held, name) for name in _VALUES}
        columns["quote_volume"] = np.where(held.untold, np.nan, columns["quote_volume"])
        columns["buy_volume"] = np.where(held.untold, np.nan, columns["buy_volume"])
        return [
            {
                "symbol": held.symbols[int(held.symbol_id[i])],
                "timestamp": int(held.ts_open_ns[i]) // _MS,
                **{name: float(values[i]) for name, values in columns.items()},
            }
            for i in range(len(held))
        ]


def upload_key(symbol: str, timeframe: str) -> str:
    """Return the key of an upload's record.

    >>> upload_key("BTCUSDT", "1m")
    'BTCUSDT:1m'
    """
    return f"{symbol}:{timeframe}"


async def judge_upload(store: TickStore, reading: UploadReading, *, partial: bool) -> UploadOutcome:
    """Return what would come of a reading, storing nothing."""
    bars = reading.bars
    covered = await store.covered(bars) if len(bars) else np.zeros(0, np.bool_)
    came = np.where(covered, BarOutcome.KEPT, await _against(store, bars)).astype(np.int8)
    return _outcome(reading, came, _COVERED, stored=False, partial=partial)


async def store_upload(
    store: TickStore, reading: UploadReading, *, partial: bool, filename: str, now_ns: int
) -> UploadOutcome:
    """Store a reading in one transaction, with a note of when and from what; nothing at all where a row has a fault.

    With ``partial`` the good rows are stored whatever the others are. Uploading again what is stored changes nothing.
    """
    bars = reading.bars
    covered = await store.covered(bars) if len(bars) else np.zeros(0, np.bool_)
    blocked = bool(reading.fault_count or covered.any()) and not partial
    if blocked or covered.all():
        came = np.where(covered, BarOutcome.KEPT, BarOutcome.UNCHANGED).astype(np.int8)
        return _outcome(reading, came, _COVERED, stored=False, partial=partial)
    rows = np.flatnonzero(~covered)
    about = orjson.dumps(
        {"uploaded_at": now_ns // _MS, "filename": filename.replace("\\", "/").rpartition("/")[2][:200]}
    )
    documents = [Document(UPLOADS, upload_key(symbol, bars.timeframe), about) for symbol in reading.symbols]
    came = np.full(len(bars), BarOutcome.KEPT, np.int8)
    came[rows] = (await store.put_bars_all([bars.take(rows)], documents))[0]
    return _outcome(reading, came, _COVERED, stored=True, partial=partial, kept_besides=(came == 3) & ~covered)


def _outcome(
    reading: UploadReading,
    came: NDArray[np.int8],
    reason: str,
    *,
    stored: bool,
    partial: bool,
    kept_besides: B1 | None = None,
) -> UploadOutcome:
    """Put what came of each good row together with the faults of the others."""
    kept = np.flatnonzero(came == BarOutcome.KEPT)
    column = reading.columns["timestamp"]
    later = kept_besides if kept_besides is not None else np.zeros(came.size, np.bool_)
    also = [
        Fault(int(reading.row[i]), column, _PRECEDENCE if later[i] else reason)
        for i in kept[np.argsort(reading.row[kept], kind="stable")][:LISTED].tolist()
    ]
    accepted = stored or ((partial or not (reading.fault_count or kept.size)) and kept.size < came.size)
    counts = np.bincount(came, minlength=4) if stored or accepted or partial else np.zeros(4, np.int64)
    return UploadOutcome(
        reading=reading,
        bars=reading.bars.take(came <= BarOutcome.UPDATED),
        inserted=int(counts[BarOutcome.INSERTED]),
        updated=int(counts[BarOutcome.UPDATED]),
        unchanged=int(counts[BarOutcome.UNCHANGED]),
        faults=sorted([*reading.faults, *also], key=lambda fault: fault.row or 0)[:LISTED],
        fault_count=reading.fault_count + kept.size,
        faulty_rows=reading.faulty_rows + kept.size,
        accepted=accepted,
        stored=stored,
    )


async def _against(store: TickStore, bars: BarBatch) -> NDArray[np.int8]:
    """Return whether each bar is new, differs from what is answered now, or is the same; by (symbol, time) given."""
    came = np.full(len(bars), BarOutcome.INSERTED, np.int8)
    length = timeframe_ns(bars.timeframe)
    for symbol_id in np.unique(bars.symbol_id).tolist():
        rows = np.flatnonzero(bars.symbol_id == symbol_id)
        for part in np.array_split(rows, -(-rows.size // _PAGE)):
            start_ns, end_ns = int(bars.ts_open_ns[part[0]]), int(bars.ts_open_ns[part[-1]]) + length
            while start_ns < end_ns:
                held = await store.bars(bars.symbols[symbol_id], bars.timeframe, start_ns, end_ns, limit=_PAGE)
                if not len(held):
                    break
                _compare(came, bars, part, held)
                start_ns = int(held.ts_open_ns[-1]) + length
    return came


def _compare(came: NDArray[np.int8], bars: BarBatch, rows: NDArray[np.intp], held: BarBatch) -> None:
    """Note of each bar at ``rows`` that is among those held whether it differs; both are in order of time."""
    at = np.searchsorted(held.ts_open_ns, bars.ts_open_ns[rows]).clip(max=len(held) - 1)
    there = held.ts_open_ns[at] == bars.ts_open_ns[rows]
    rows, at = rows[there], at[there]
    same = np.ones(rows.size, np.bool_)
    for name in _VALUES:
        same &= getattr(bars, name)[rows] == getattr(held, name)[at]
    came[rows] = np.where(same, BarOutcome.UNCHANGED, BarOutcome.UPDATED)
