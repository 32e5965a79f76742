"""What the engine tells, as digests: written down live, and worked out again from stored ticks to be compared.

One function makes both. A batch at which nothing closes, is corrected or gets a new value leaves no entry: its ticks
belong to the next one, which says how far they and the time had come. So an engine that is given the same ticks up to
the same times has to tell the same. Where the order of ticks is not that of their receipt, and where something else is
given to the engine, the entry of what came before ends: alerts are judged tick by tick. So it does with each second in
which nobody traded: a tick that comes for it afterwards revises, and does not make, its bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pairscope.engine.pairs import PairBook
from pairscope.engine.rolling import RollingStats
from pairscope.engine.updates import Updates
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I8, TickBatch
from pairscope.schemas.journal import BarsTold, Entry, Note, ValuesTold

__all__ = [
    "PAIR_KIND",
    "STATISTICS_KIND",
    "Journal",
    "PairTeller",
    "Teller",
    "Values",
    "bar_keys",
    "digests",
    "pair_key",
    "pair_of_key",
    "plain_values",
    "told_values",
]

U8 = NDArray[np.uint64]

STATISTICS_KIND: Final = "statistics"
PAIR_KIND: Final = "pairs"

_SECOND_NS: Final = 1_000_000_000
_SEED: Final = np.uint64(0x9E3779B97F4A7C15)
_PRIME: Final = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT: Final = np.uint64(33)
_BAR_COLUMNS: Final = (
    "ts_open_ns", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id",
    "last_id", "origin",
)  # fmt: skip
"""How often a bar was revised is no part of it: that depends on which of its ticks happened to share a batch.
Nor is, of a bar that is not made of own ticks, how many of those are stored: the store counts them in its own time."""
_STATISTICS: Final = ("n", "mean", "std", "min", "max", "zscore", "volatility", "vwap")
_PAIR_FIGURES: Final = (
    "slot", "since", "n", "kalman_n", "close_y", "close_x", "ols_alpha", "ols_beta", "ols_stderr", "ols_r_squared",
    "kalman_alpha", "kalman_beta", "kalman_stderr", "alpha", "beta", "stderr", "last", "mean", "std", "zscore",
    "correlation",
)  # fmt: skip


class Values(NamedTuple):
    """Values that were told, a row each: whose, of which time (ns), the digest of its bits, and a number to look at."""

    keys: list[str]
    times: I8
    digests: U8
    numbers: F8


class Teller(Protocol):
    """Whoever else tells values at a batch, under a ``kind`` of its own: live pairs, paper positions, alerts."""

    kind: str

    def told(self) -> Values:
        """Return what it has told since the batch before."""
        ...

    def again(self, keys: Sequence[str]) -> Values:
        """Return what it says now of each of these, as ``told`` would have; rows that it does not know are absent."""
        ...

    def knows(self, key: str) -> bool:
        """Return whether it can work out at all what this one says."""
        ...


def digests(columns: Iterable[NDArray[Any]], size: int) -> U8:
    """Return a 64-bit digest of each row of some columns of numbers: of their bits, every NaN being the same one."""
    found = np.full(size, _SEED, np.uint64)
    for column in columns:
        if column.dtype.kind == "f":
            bits = np.where(np.isnan(column), np.nan, column).astype(np.float64).view(np.uint64)
        else:
            bits = column.astype(np.int64).view(np.uint64)
        found = (found ^ bits) * _PRIME
        found ^= found >> _SHIFT
    return found


class PairTeller:
    """The live pairs of a book."""

    kind = PAIR_KIND

    def __init__(self, book: PairBook) -> None:
        self._book = book

    def told(self) -> Values:
        """Return what the pairs say that have a new value; ``PairBook.moved`` forgets which those are."""
        return self._values(self._book.fresh())

    def again(self, keys: Sequence[str]) -> Values:
        """Return what these pairs say now."""
        return self._values(self._book.figures([(s.y, s.x) for s in map(pair_of_key, keys)]))

    def knows(self, key: str) -> bool:
        """Return whether the pair is in the book."""
        pair = pair_of_key(key)
        return self._book.settings(pair.y, pair.x) is not None

    def _values(self, figures: Sequence[tuple[list[PairSettings], NDArray[Any], F8, int]]) -> Values:
        keys: list[str] = []
        times, found, numbers = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], [np.empty(0)]
        for settings, records, sentinels, step_ns in figures:
            keys += map(pair_key, settings)
            times.append(records["slot"] * step_ns)
            found.append(digests([*(records[name] for name in _PAIR_FIGURES), *sentinels.T], records.size))
            numbers.append(records["zscore"])
        return Values(keys, np.concatenate(times), np.concatenate(found), np.concatenate(numbers))


class Journal:
    """Makes an entry of each batch that tells something. ``symbols`` are the engine's; O(what was told) a batch."""

    def __init__(self, symbols: Symbols, tellers: Sequence[Teller] = ()) -> None:
        self._symbols = symbols
        self._tellers = tellers
        self._names: U8 = np.empty(0, np.uint64)
        self._notes: list[Note] = []
        self._stragglers: list[tuple[str, int]] = []
        self._recv_ns = 0
        self._newest_ns = 0
        self._ticks = 0
        self._silent_ns: int | None = None
        self._second = 0
        self._begun = False

    def note(self, kind: str, name: str = "", timeframe: str = "", start_ns: int = 0, end_ns: int = 0) -> None:
        """Write down what happens between two batches; see ``Note``."""
        self._notes.append(Note(kind, name, timeframe, start_ns, end_ns, self._newest_ns))

    def take(self, batch: TickBatch, updates: Updates) -> list[Entry]:
        """Return the entries that end with a batch that the engine and all tellers have taken.

        There is none where nothing was told within a second, and one for the silent batches before this one where it
        was given notes, or ticks that had been received before theirs.
        """
        made: list[Entry] = []
        held = bool(len(batch)) and int(batch.ts_recv_ns.min()) <= self._newest_ns
        if self._silent_ns is not None and (held or self._notes):
            notes, self._notes = self._notes, []
            made.append(self._entry(self._silent_ns, [], []))
            self._notes = notes
        if len(batch):
            if held:
                late = np.flatnonzero(batch.ts_recv_ns <= self._recv_ns)
                ids = zip(batch.symbol_id[late].tolist(), batch.trade_id[late].tolist(), strict=True)
                self._stragglers += [(batch.symbols[symbol_id], trade_id) for symbol_id, trade_id in ids]
            self._newest_ns = max(self._newest_ns, int(batch.ts_recv_ns.max()))
            self._ticks += len(batch)
        bars, values = self.of_updates(updates)
        for teller in self._tellers:
            told = teller.told()
            if told.keys:
                values.append(told_values(teller.kind, told))
        passed = self._begun and updates.watermark_ns // _SECOND_NS > self._second
        if not (bars or values or held or passed or self._notes or (len(batch) and not self._begun)):
            self._silent_ns = batch.watermark_ns
            return made
        made.append(self._entry(batch.watermark_ns, bars, values))
        self._begun = self._begun or updates.watermark_ns > 0
        self._second = updates.watermark_ns // _SECOND_NS
        return made

    def _entry(self, watermark_ns: int, bars: list[BarsTold], values: list[ValuesTold]) -> Entry:
        """Return the entry of what has come since the one before."""
        entry = Entry(watermark_ns, self._newest_ns, self._ticks, self._stragglers, self._notes, bars, values)
        self._stragglers, self._notes, self._recv_ns, self._ticks = [], [], self._newest_ns, 0
        self._silent_ns = None
        return entry

    def of_updates(self, updates: Updates) -> tuple[list[BarsTold], list[ValuesTold]]:
        """Return what the engine itself told."""
        bars = [self._bars(batch, revised=False) for batch in updates.closed if len(batch)]
        bars += [self._bars(batch, revised=True) for batch in updates.revised if len(batch)]
        stats = updates.stats
        return bars, [told_values(STATISTICS_KIND, statistics_told(stats))] if len(stats) else []

    def _bars(self, bars: BarBatch, *, revised: bool) -> BarsTold:
        keys = bar_keys(bars, self._hashes(bars.symbols))
        whole = blake2b(keys.tobytes(), digest_size=8).digest()
        each = (keys & np.uint64(0xFF)).astype(np.uint8).tobytes()
        return BarsTold(bars.timeframe, revised, int.from_bytes(whole, "little"), each)

    def _hashes(self, symbols: Symbols) -> U8:
        """Return a number for each symbol that follows from its name alone."""
        if symbols is not self._symbols:
            return name_hashes(symbols)
        if len(symbols) > self._names.size:
            self._names = name_hashes(symbols)
        return self._names


def name_hashes(symbols: Iterable[str]) -> U8:
    """Return a number for each symbol that follows from its name alone."""
    hashes = [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") for name in symbols]
    return np.array(hashes, np.uint64)


def bar_order(bars: BarBatch, names: U8) -> NDArray[np.intp]:
    """Return the order in which bars are written down: by their symbols' hashes, then by time."""
    return np.lexsort((bars.ts_open_ns, names[bars.symbol_id]))


def bar_keys(bars: BarBatch, names: U8) -> U8:
    """Return the digests of bars, in ``bar_order``."""
    own = bars.origin == Origin.OWN
    columns = {name: getattr(bars, name) for name in _BAR_COLUMNS}
    columns["trades"] = np.where(own, columns["trades"], 0)
    found: U8 = digests([names[bars.symbol_id].view(np.int64), *columns.values()], len(bars))[bar_order(bars, names)]
    return found


def statistics_told(stats: RollingStats) -> Values:
    """Return rolling statistics as values; the number is the z-score of the second window, or of the only one."""
    columns = [stats.ts_open_ns, *(column for name in _STATISTICS for column in getattr(stats, name).T)]
    shown = stats.zscore[:, min(1, len(stats.windows) - 1)]
    keys = [stats.symbols[i] for i in stats.symbol_id.tolist()]
    return Values(keys, stats.ts_open_ns, digests(columns, len(stats)), np.ascontiguousarray(shown))


def told_values(kind: str, values: Values) -> ValuesTold:
    """Return values as they are written down."""
    columns = values.times.astype("<i8"), values.digests.astype("<u8"), values.numbers.astype("<f8")
    return ValuesTold(kind, values.keys, *(column.tobytes() for column in columns))


def plain_values(told: ValuesTold) -> Values:
    """Return values as they were written down."""
    return Values(
        list(told.keys),
        np.frombuffer(told.times, "<i8"),
        np.frombuffer(told.digests, "<u8"),
        np.frombuffer(told.numbers, "<f8"),
    )


def pair_key(settings: PairSettings) -> str:
    """Return what tells a live pair and how it is computed from every other.

    >>> pair_key(PairSettings("ETHUSDT", "BTCUSDT"))
    'ETHUSDT BTCUSDT 1m 1440 60 ols log'
    """
    s = settings
    return f"{s.y} {s.x} {s.timeframe} {s.lookback} {s.window} {s.method} {s.price_space}"


def pair_of_key(key: str) -> PairSettings:
    """Return the settings that a key stands for.

    >>> pair_of_key("ETHUSDT BTCUSDT 1m 1440 60 ols log").lookback
    1440
    """
    y, x, timeframe, lookback, window, method, space = key.split(" ")
    return PairSettings(y, x, timeframe, int(lookback), int(window), method, space)  # type: ignore[arg-type]
