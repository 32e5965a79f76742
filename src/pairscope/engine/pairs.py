"""The live pairs: stepped at every bar that both legs have, looked at between them; a function of bars, not of history.

Deterministic: no clock, no I/O. Whoever holds the bars of the last three lookbacks finds the same values, bit for bit,
however they came: a stream that was never cut, a restart, a replay, a late tick (ADR 0021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.regression import huber_hedge
from pairscope.analytics.sentinel import STATISTIC, STATUS
from pairscope.engine.pair_group import STALE, WAITING, PairGroup
from pairscope.engine.pair_kernels import READY
from pairscope.engine.pair_view import Leg, Robust, document
from pairscope.engine.updates import Updates
from pairscope.errors import InputError, NotConverged, NumericalError
from pairscope.market.bars import BarBatch
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I8
from pairscope.ports import LiveView

__all__ = ["PairBook", "Wanted", "warm_up"]

Key = tuple[str, str]
Figures = tuple[list[PairSettings], NDArray[Any], F8, int]
MS: Final = 1_000_000
MINUTE_NS: Final = 60_000_000_000
ROBUST_NS: Final = 10_000_000_000
"""How often Huber's hedge ratio is computed where it does not make the spread; at every bar where one is longer."""
WORK_A_BATCH: Final = 6_000
"""Bars that pairs are computed anew with in one batch; other pairs wait for the next, and are not told meanwhile."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """History that pairs lack: a symbol's newest bars of a timeframe."""

    symbol: str
    timeframe: str


@dataclass(slots=True)
class _Entry:
    """A pair in the book: where it stands, and Huber's hedge ratio as it was last computed, by (slot, revision)."""

    settings: PairSettings
    listed: bool
    group: PairGroup
    place: int
    fields: Mapping[str, Any]
    robust: tuple[tuple[int, int], Robust] = ((-1, -1), Robust())


class PairBook:
    """Every live pair by (y, x). ``live`` knows last prices and the watermark; ``timer`` measures, nothing else.

    >>> from pairscope.engine.data_processor import DataProcessor
    >>> engine = DataProcessor(Symbols(["ETHUSDT", "BTCUSDT"]))
    >>> book = PairBook(engine.symbols_table, engine)
    >>> book.put(PairSettings("ETHUSDT", "BTCUSDT"))
    >>> [wanted.symbol for wanted in book.lacking()], book.view("ETHUSDT", "BTCUSDT")["reason"]
    (['ETHUSDT', 'BTCUSDT'], 'history is being read; ETHUSDT has no price yet')
    """

    def __init__(self, symbols: Symbols, live: LiveView, *, timer: Callable[[], int] | None = None) -> None:
        self._symbols = symbols
        self._live = live
        self._timer = timer or (lambda: 0)
        self._entries: dict[Key, _Entry] = {}
        self._groups: dict[str, PairGroup] = {}
        self._at: dict[tuple[str, int], Key] = {}
        self._last_ns = 0
        self._max_ns = 0

    # -- which pairs there are -----------------------------------------------------------------------------------------

    def put(self, settings: PairSettings, *, listed: bool = True) -> None:
        """Take a pair, or change how it is computed; ``listed`` says if it stands on the watch-list."""
        key = (settings.y, settings.x)
        known = self._entries.get(key)
        if known is not None:
            if known.settings == settings:
                known.listed = listed
                return
            self.remove(*key)
        group = self._groups.get(settings.timeframe)
        if group is None:
            group = self._groups[settings.timeframe] = PairGroup(settings.timeframe, self._live.watermark_ns())
        place = group.add(settings, self._symbols.id_of(settings.y), self._symbols.id_of(settings.x))
        self._entries[key] = _Entry(settings, listed, group, place, asdict(settings))
        self._at[settings.timeframe, place] = key

    def remove(self, y: str, x: str) -> bool:
        """Let a pair go; False where there was none."""
        entry = self._entries.pop((y, x), None)
        if entry is None:
            return False
        entry.group.remove(entry.place)
        del self._at[entry.settings.timeframe, entry.place]
        return True

    def settings(self, y: str, x: str) -> PairSettings | None:
        """Return how a pair is computed; None where it is not in the book."""
        entry = self._entries.get((y, x))
        return None if entry is None else entry.settings

    def listed(self, y: str, x: str) -> bool:
        """Return whether a pair stands on the watch-list."""
        entry = self._entries.get((y, x))
        return entry is not None and entry.listed

    def all(self) -> Sequence[PairSettings]:
        """Return every pair that stands on the watch-list, by name."""
        return [self._entries[key].settings for key in sorted(self._entries) if self._entries[key].listed]

    def unlisted(self) -> Sequence[Key]:
        """Return the pairs that are only listened to."""
        return [key for key, entry in self._entries.items() if not entry.listed]

    # -- history -------------------------------------------------------------------------------------------------------

    def lacking(self) -> list[Wanted]:
        """Return what has to be read before every pair can be told."""
        return [
            Wanted(self._symbols[symbol_id], group.timeframe)
            for group in self._groups.values()
            for symbol_id in group.lacking()
        ]

    def begin(self, wanted: Wanted) -> tuple[int, int] | None:
        """Return from which time on bars are wanted, and how many slots that is; None where nobody wants them now.

        What closes after this call is newer than what will be read, and is kept over it.
        """
        group = self._groups[wanted.timeframe]
        return group.begin(self._symbols.id_of(wanted.symbol))

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None:
        """Take the bars that were read."""
        self._groups[wanted.timeframe].fill(self._symbols.id_of(wanted.symbol), slots, bars)

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again: bars changed that the engine does not tell of."""
        known = [s for s in map(self._symbols.find, symbols) if s is not None]
        for group in self._groups.values():
            for symbol_id in known:
                group.drop(symbol_id)

    # -- what happens --------------------------------------------------------------------------------------------------

    def take(self, updates: Updates) -> None:
        """Take what a batch closed and corrected, and step the pairs whose bars it closed. O(pairs · lookback)."""
        if not self._entries:
            self._groups.clear()
            return
        began, before = self._timer(), self._steps()
        self.revise(updates.closed)
        self.revise(updates.revised)
        for group in self._groups.values():
            group.advance(updates.watermark_ns)
        if self._steps() > before:
            self._last_ns = self._timer() - began
            self._max_ns = max(self._max_ns, self._last_ns)
        self.settle(WORK_A_BATCH)

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take closed bars; pairs that had seen others in their place are computed anew."""
        for bars in batches:
            group = self._groups.get(bars.timeframe)
            if group is not None:
                group.tell(bars)

    def settle(self, work: int = WORK_A_BATCH) -> bool:
        """Compute pairs anew whose bars have changed, for about so many bars; return whether any still waits."""
        for group in self._groups.values():
            work = group.settle(work)
        return any(group.stale for group in self._groups.values())

    def moved(self) -> list[Key]:
        """Return the pairs that have had a new value since this was last asked."""
        found = []
        for group in self._groups.values():
            found += [self._at[group.timeframe, place] for place in group.moved]
            group.moved.clear()
        return found

    def fresh(self) -> list[Figures]:
        """Return the figures of pairs that have a new value, by timeframe; ``moved`` forgets which they are."""
        return [self._figures(group, list(group.moved)) for group in self._groups.values() if group.moved]

    def figures(self, keys: Iterable[Key]) -> list[Figures]:
        """Return the figures of some pairs as of their newest bars; those that are not in the book are left out."""
        wanted: dict[str, list[int]] = {}
        for entry in (self._entries[key] for key in keys if key in self._entries):
            if entry.group.pairs["state"][entry.place] == STALE:
                entry.group.rebuild(entry.place)
            wanted.setdefault(entry.group.timeframe, []).append(entry.place)
        return [self._figures(self._groups[timeframe], places) for timeframe, places in wanted.items()]

    # -- what is asked -------------------------------------------------------------------------------------------------

    def view(self, y: str, x: str, *, closed: bool = False) -> Mapping[str, Any] | None:
        """Return what a pair says: as of its open bar where a leg has traded in one, unless ``closed`` is asked for.

        None where the pair is not in the book.
        """
        entry = self._entries.get((y, x))
        if entry is None:
            return None
        group, place = entry.group, entry.place
        if group.pairs["state"][place] == STALE:
            group.rebuild(place)
        legs = self._leg(y), self._leg(x)
        watermark_ns = self._live.watermark_ns()
        waiting = bool(group.pairs["state"][place] == WAITING)
        record, robust, open_slot = group.pairs[place : place + 1], Robust(), None
        alive = not waiting and int(record["slot"][0]) >= max(0, group.next_slot - entry.settings.lookback)
        if alive:
            traded = max(leg.traded_ns for leg in legs) // group.step_ns
            if not closed and traded >= group.next_slot and all(leg.price is not None for leg in legs):
                open_slot = traded
                prices = [leg.price or 0.0 for leg in legs]
                record = group.provisional(place, traded, *prices).record
            robust = self._robust(entry, record, traded if open_slot is not None else int(record["slot"][0]))
        return document(
            entry.settings,
            entry.fields,
            record[0],
            group.sentinels[place],
            robust,
            legs=legs,
            step_ns=group.step_ns,
            watermark_ns=watermark_ns,
            open_slot=open_slot,
            alive=alive,
            waiting=waiting,
            untrained=group.untrained.get(place),
            tripped=group.tripped(place) if alive else None,
            listed=entry.listed,
        )

    def counters(self) -> Mapping[str, Any]:
        """Return how many pairs there are, how often they stepped, and how long a bar's steps take."""
        groups = self._groups.values()
        return {
            "pairs": len(self._entries),
            "listed": sum(entry.listed for entry in self._entries.values()),
            "steps": self._steps(),
            "last_step_ms": self._last_ns / MS,
            "max_step_ms": self._max_ns / MS,
            "loading": len({(wanted.symbol, wanted.timeframe) for wanted in self.lacking()}),
            "waiting": sum(len(group.stale) for group in groups),
            "rebuilt": sum(group.rebuilt for group in groups),
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _figures(self, group: PairGroup, places: list[int]) -> Figures:
        """Return those of some places that are up to date: settings, records, sentinels, and how long a slot is."""
        pairs = group.pairs
        ready = [place for place in places if pairs["state"][place] == READY and pairs["slot"][place] >= 0]
        settings = [self._entries[self._at[group.timeframe, place]].settings for place in ready]
        sentinels = group.sentinels[np.ix_(ready, (STATUS, STATISTIC))] if ready else np.empty((0, 2))
        return settings, pairs[ready], sentinels, group.step_ns

    def _steps(self) -> int:
        return sum(group.steps for group in self._groups.values())

    def _leg(self, symbol: str) -> Leg:
        """Return a leg's last trade; where only bars are known, their last close, at the end of that bar."""
        view = self._live.price(symbol)
        if view is None:
            return Leg(None, -1)
        at_ns = int(view["timestamp"]) * MS
        return Leg(float(view["price"]), at_ns if view["size"] is not None else at_ns - 1)

    def _robust(self, entry: _Entry, record: NDArray[Any], slot: int) -> Robust:
        """Return Huber's hedge ratio: the record's where it makes the spread, else that of some seconds ago at most.

        That is as of the newest bar before a slot that follows from the time alone, so that it does not depend on who
        asked when; it takes longer than all the rest together.
        """
        group, place, pair = entry.group, entry.place, record[0]
        if entry.settings.method == "huber" and pair["beta"] == pair["beta"]:
            at_ms = slot * group.step_ns // MS
            return Robust(float(pair["alpha"]), float(pair["beta"]), float(pair["stderr"]), at_ms)
        every = max(1, ROBUST_NS // group.step_ns)
        newest, phase = int(group.pairs["slot"][place]), int(pair["offset"])
        as_of = (newest + 1 - phase) // every * every + phase - 1
        key = as_of, int(pair["revision"])
        if entry.robust[0] != key:
            entry.robust = key, self._robust_as_of(group, place, min(as_of, newest))
        return entry.robust[1]

    def _robust_as_of(self, group: PairGroup, place: int, end: int) -> Robust:
        """Return Huber's hedge ratio as of the newest bar in common up to a slot."""
        pair = group.pairs[place]
        slots = group.tape.common(int(pair["leg_y"]), int(pair["leg_x"]), end + 1)
        slot = int(slots[-1]) if slots.size else -1
        if slot < 0 or slot <= end - int(pair["lookback"]):
            return Robust(reason="no bars in common yet")
        y, x = group.rows(place, slot)
        if y.size < pair["least"]:
            return Robust(reason=f"needs {int(pair['least'])} bars in common, has {y.size}")
        try:
            fit = huber_hedge(y, x)
        except (InputError, NumericalError, NotConverged) as error:
            return Robust(reason=str(error))
        return Robust(float(fit.alpha), float(fit.beta), float(fit.stderr), slot * group.step_ns // MS)


def warm_up() -> None:
    """Compile the kernels of live pairs on a made-up one, so that no bar waits for it. Seconds at the first start."""
    symbols = Symbols(["Y", "X"])
    group = PairGroup("1m", 80 * MINUTE_NS)
    group.add(PairSettings("Y", "X", lookback=60, window=3), 0, 1)
    index = np.arange(80)
    for symbol_id in (0, 1):
        closes = 100.0 + np.sin(index * (1.0 + symbol_id)) + 0.1 * np.cos(7.0 * index)
        group.begin(symbol_id)
        group.fill(symbol_id, 180, _bars(symbols, symbol_id, index, closes))
    group.settle(WORK_A_BATCH)
    for symbol_id in (0, 1):
        group.tell(_bars(symbols, symbol_id, np.array([80]), np.array([100.5])))
    group.advance(81 * MINUTE_NS)
    group.provisional(0, 81, 100.0, 100.0)


def _bars(symbols: Symbols, symbol_id: int, index: I8, closes: F8) -> BarBatch:
    """Return one-minute bars of one price each."""
    n, none = index.size, np.zeros(index.size, np.int64)
    rows = np.full(n, symbol_id, np.int32)
    sizes = np.ones(n)
    return BarBatch(
        symbols,
        "1m",
        rows,
        index * MINUTE_NS,
        closes,
        closes,
        closes,
        closes,
        sizes,
        closes,
        sizes,
        none,
        none,
        none,
        np.zeros(n, np.int32),
        np.zeros(n, np.int8),
    )
