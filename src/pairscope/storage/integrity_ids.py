"""A symbol's stored trades, read once through: which ids are there, how often, and which bars are not theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np

from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin, bars_of, timeframe_ns
from pairscope.market.gaps import Gap, HeldGap
from pairscope.market.id_ranges import Range, clipped, count, less, runs_of
from pairscope.market.ticks import B1, I8, TickBatch
from pairscope.storage.archive_catalogue import Reach
from pairscope.storage.documents import document_at
from pairscope.storage.ledger import Ledger, LedgerView
from pairscope.storage.reading import symbol_portions
from pairscope.storage.rebuilds import COLLECTION
from pairscope.storage.tables import Connection, Tables

__all__ = ["Look", "StoredRows", "SymbolRows", "look_at"]

_VALUES: Final = (
    "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id", "last_id"
)  # fmt: skip
_MINUTE_NS: Final = timeframe_ns("1m")
_MOST: Final = 2**62


class _Run(NamedTuple):
    """Consecutive ids with the event times of the first and the last."""

    low: int
    high: int
    low_ns: int
    high_ns: int


@dataclass
class Look:
    """What the rows of a symbol say, beside what the ledger says of it."""

    symbol: str
    symbol_id: int
    count: int = 0
    last_ns: int = 0
    bad: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    runs: list[_Run] = field(default_factory=list)
    differing: dict[str, list[int]] = field(default_factory=lambda: {timeframe: [] for timeframe in BASE_TIMEFRAMES})
    """Open times of bars that are not those of the trades, by timeframe; where trades cover them."""
    gaps: list[HeldGap] = field(default_factory=list)
    """As the ledger has them."""
    holes: list[Gap] = field(default_factory=list)
    """What no gap of the ledger has."""
    missing: list[Range] = field(default_factory=list)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    ledger_says: dict[str, int] = field(default_factory=dict)
    rows_say: dict[str, int] = field(default_factory=dict)

    @property
    def wrong_gaps(self) -> list[tuple[Gap, list[Range]]]:
        """Gaps of the ledger that say something else than what is missing, with what is."""
        return [
            (gap, now)
            for gap, ranges in self.gaps
            if (now := clipped(self.missing, gap.from_id, gap.to_id)) != ranges or gap.missing != count(ranges)
        ]


class SymbolRows(Protocol):
    """All rows of one symbol as of one state of its store; times are those of events and of bars' openings."""

    def portions(self) -> list[tuple[int, int]]:
        """Return ranges of time in order that hold all ticks, of each a bounded number, and whole minutes."""
        ...

    def ticks(self, low: int, high: int) -> TickBatch:
        """Return the ticks of a range by (id, receive time)."""
        ...

    def bars(self, timeframe: str, low: int, high: int, *, own: bool = False) -> BarBatch:
        """Return the bars of a range by time, all or those of own ticks."""
        ...

    def bar_span(self, timeframe: str) -> tuple[int, int]:
        """Return the oldest and newest open time of bars, ``NEVER`` and -1 where there is none."""
        ...

    def voids(self) -> list[int]:
        """Return the ids of what is no trade, in order, each once."""
        ...

    def pending(self) -> bytes | None:
        """Return the document of what waits to be made again."""
        ...


class StoredRows:
    """The rows of a symbol in the embedded store and its archive, under a transaction that the caller holds."""

    def __init__(self, connection: Connection, ledger: Ledger, symbol: str) -> None:
        self._connection, self._view, self._symbol = connection, ledger.view(), symbol
        self._id = ledger.id_of(symbol)
        self._tables = Tables(self._view.symbols, self._view.archive)

    def portions(self) -> list[tuple[int, int]]:
        """Return ranges of whole quarters of an hour."""
        return symbol_portions(self._connection, self._view, self._id, -_MOST, _MOST)

    def ticks(self, low: int, high: int) -> TickBatch:
        """Return the ticks of a range by (id, receive time)."""
        return self._tables.ticks(
            self._connection,
            "symbol_id = ? AND ts_event_ns >= ? AND ts_event_ns < ?",
            (self._id, low, high),
            reach=Reach(self._id, low, high),
            order="id, ts_recv_ns",
        )

    def bars(self, timeframe: str, low: int, high: int, *, own: bool = False) -> BarBatch:
        """Return the bars of a range by time, all or those of own ticks."""
        return self._tables.bars(
            self._connection,
            timeframe,
            "symbol_id = ? AND ts_open_ns >= ? AND ts_open_ns < ?" + (f" AND origin = {Origin.OWN:d}" if own else ""),
            (self._id, low, high),
            reach=Reach(self._id, low, high),
            order="ts_open_ns",
        )

    def bar_span(self, timeframe: str) -> tuple[int, int]:
        """Return the oldest and newest open time of bars."""
        return self._tables.bar_span(self._connection, timeframe, self._id)

    def voids(self) -> list[int]:
        """Return the ids of what is no trade."""
        rows = self._connection.execute(
            "SELECT DISTINCT id FROM void_id WHERE symbol_id = ? ORDER BY id", [self._id]
        ).fetchall()
        return [number for (number,) in rows]

    def pending(self) -> bytes | None:
        """Return the document of what waits to be made again."""
        return document_at(self._connection, COLLECTION, self._symbol)


def look_at(rows: SymbolRows, ledger: Ledger, symbol: str) -> Look:
    """Read a symbol's rows in portions and compare them with its ledger."""
    view = ledger.view()
    look = Look(symbol, ledger.id_of(symbol))
    ranges = rows.portions()
    candidates: dict[str, list[int]] = {timeframe: [] for timeframe in BASE_TIMEFRAMES}
    behind = -_MOST
    for low, high in [*ranges, (_MOST, _MOST)]:
        for timeframe in BASE_TIMEFRAMES:
            if behind < low:
                alone = rows.bars(timeframe, behind, low, own=True)
                candidates[timeframe] += alone.ts_open_ns.tolist()
        if low == high:
            break
        behind = high
        once = _take_in(look, rows.ticks(low, high))
        for timeframe in BASE_TIMEFRAMES:
            stored = rows.bars(timeframe, low, high)
            candidates[timeframe] += _unlike(bars_of(once, timeframe), stored).tolist()
    _settle(look, rows, ledger, view)
    waits = rows.pending()
    pending = [] if waits is None else msgspec.msgpack.decode(waits, type=list[tuple[int, int]])
    for timeframe, times in candidates.items():
        opens = np.unique(np.array(times, np.int64))
        look.differing[timeframe] = opens[_surely_ours(look, opens, timeframe, view, pending)].tolist()
    return look


def _take_in(look: Look, ticks: TickBatch) -> TickBatch:
    """Note what a portion has, by ascending id; return its trades, each there once."""
    good = np.isfinite(ticks.price) & np.isfinite(ticks.size) & (ticks.price > 0) & (ticks.size > 0)
    good &= (ticks.ts_event_ns >= 0) & (ticks.trade_id >= 0)
    look.bad += ticks.trade_id[~good].tolist()
    look.count += len(ticks)
    ticks = ticks.take(good)
    if not len(ticks):
        return ticks
    look.last_ns = max(look.last_ns, int(ticks.ts_event_ns.max()))
    first = np.ones(len(ticks), np.bool_)
    first[1:] = ticks.trade_id[1:] != ticks.trade_id[:-1]
    look.twice += np.unique(ticks.trade_id[~first]).tolist()
    once = ticks.take(first)
    for low, high in runs_of(once.trade_id):
        at, end = np.searchsorted(once.trade_id, (low, high))
        look.runs.append(_Run(low, high, int(once.ts_event_ns[at]), int(once.ts_event_ns[end])))
    return once


def _settle(look: Look, rows: SymbolRows, ledger: Ledger, view: LedgerView) -> None:
    """Join the runs and work out what is missing, what the ledger does not know of, and what it says."""
    joined: list[_Run] = []
    for run in sorted(look.runs):
        if joined and run.low <= joined[-1].high:
            look.twice += range(run.low, min(run.high, joined[-1].high) + 1)
        if joined and run.low <= joined[-1].high + 1:
            last = joined[-1]
            end = run if run.high > last.high else last
            joined[-1] = _Run(last.low, end.high, last.low_ns, end.high_ns)
        else:
            joined.append(run)
    look.runs = joined
    continuity = ledger.continuity
    look.gaps = sorted(continuity.unrepaired(look.symbol), key=lambda held: held[0].from_id)
    first_ns, last_ns, counted = view.tick_span(look.symbol_id)
    first_id, following = view.id_span(look.symbol_id)
    look.ledger_says = {
        "ticks": counted, "first id": first_id, "next id": following, "first time": first_ns, "last time": last_ns,
    }  # fmt: skip
    for timeframe in BASE_TIMEFRAMES:
        look.spans[timeframe] = rows.bar_span(timeframe)
        for word, told, found in zip(
            ("oldest", "newest"), view.bar_span(look.symbol_id, timeframe), look.spans[timeframe], strict=True
        ):
            look.ledger_says[f"{word} {timeframe}"] = told
            look.rows_say[f"{word} {timeframe}"] = found
    voids = [(number, number) for number in rows.voids()]
    known = sorted((gap.from_id, gap.to_id) for gap, _ in look.gaps)
    look.rows_say |= {"ticks": look.count}
    lowest, highest = first_id, following - 1
    if joined:
        declared = max([gap.to_id for gap, _ in look.gaps] + [number for number, _ in voids], default=-1)
        highest = max(joined[-1].high, min(declared, following - 1))
        if not 0 <= first_id < joined[0].low or less(less([(first_id, joined[0].low - 1)], voids), known):
            lowest = joined[0].low
        look.rows_say |= {
            "first id": lowest,
            "next id": highest + 1,
            "first time": joined[0].low_ns,
            "last time": look.last_ns,
        }
    look.missing = (
        less(less([(lowest, highest)], [(run.low, run.high) for run in joined]), voids) if lowest >= 0 else []
    )
    for first, final in less(look.missing, known):
        after_ns = max((run.high_ns for run in joined if run.high < first), default=0)
        before_ns = min((run.low_ns for run in joined if run.low > final), default=0)
        seen_ns = max(before_ns, 1)
        look.holes.append(Gap(look.symbol, first, final, "open", final - first + 1, after_ns, before_ns, seen_ns))


def _unlike(made: BarBatch, stored: BarBatch) -> I8:
    """Return the open times at which two sets of one symbol's bars are not the same."""
    same, here, there = np.intersect1d(made.ts_open_ns, stored.ts_open_ns, return_indices=True)
    differs = np.zeros(same.size, np.bool_)
    for name in _VALUES:
        differs |= getattr(made, name)[here] != getattr(stored, name)[there]
    alone: I8 = np.setxor1d(made.ts_open_ns, stored.ts_open_ns)
    return np.concatenate([same[differs], alone])


def _surely_ours(look: Look, opens: I8, timeframe: str, view: LedgerView, pending: list[Range]) -> B1:
    """Which bars own trades cover wholly, with nothing missing in them, closed, and not about to be made again."""
    ends = opens + timeframe_ns(timeframe)
    if not look.runs:
        return np.zeros(opens.size, np.bool_)
    sure: B1 = (opens > look.runs[0].low_ns) & (ends <= view.watermark_ns)
    for before, after in zip(look.runs[:-1], look.runs[1:], strict=True):
        if clipped(look.missing, before.high + 1, after.low - 1):
            sure &= (ends <= before.high_ns) | (opens > after.low_ns)
    if look.missing and look.missing[-1][1] > look.runs[-1].high:
        sure &= ends <= look.runs[-1].high_ns
    for low, high in pending:
        sure &= (ends <= low // _MINUTE_NS * _MINUTE_NS) | (opens >= -(-high // _MINUTE_NS) * _MINUTE_NS)
    return sure
