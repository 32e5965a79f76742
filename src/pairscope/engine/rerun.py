"""What was told live, worked out again: a fresh engine steps through the journal's entries and tells each anew.

Deterministic and without I/O: ticks, history and rebuilt bars come as arguments, as they do live.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from pairscope.engine.alerts import ALERTS_KIND, AlertBook
from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.engine.journal import (
    PAIR_KIND,
    Journal,
    PairTeller,
    Teller,
    Values,
    bar_order,
    name_hashes,
    pair_of_key,
    plain_values,
)
from pairscope.engine.pairs import PairBook
from pairscope.engine.paper import PAPER_KIND, PaperBook
from pairscope.market.alert_rules import AlertFiring
from pairscope.market.bars import BarBatch
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.schemas.journal import BarsTold, Entry, ValuesTold

__all__ = ["Difference", "Rerun"]

_EVERYTHING: Final = 1 << 60


class Difference(NamedTuple):
    """One thing that is not as it was recorded; numbers where there are any, ``what`` in words otherwise.

    ``kind`` is ``bars``, ``statistics``, ``pairs`` or what a teller calls itself, ``key`` whose it is, ``time_ns`` the
    open of its bar.
    """

    kind: str
    key: str
    timeframe: str
    time_ns: int
    recorded: float | None
    replayed: float | None
    what: str = ""


class Rerun:
    """A fresh engine with its pairs, paper positions and alerts.

    ``compared`` counts by kind, ``unknown`` what cannot be worked out again. ``fired`` are the firings that were told
    and told again, by id.
    """

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.fired: dict[str, AlertFiring] = {}
        self.restart()

    def restart(self) -> None:
        """Begin with nothing, as a process does; the counts go on."""
        self.engine = DataProcessor(Symbols())
        self.book = PairBook(self.engine.symbols_table, self.engine)
        self.paper = PaperBook(self.engine.symbols_table, remember=True)
        self.alerts = AlertBook(self.engine.symbols_table, self.engine)
        self._journal = Journal(self.engine.symbols_table)
        self._tellers: dict[str, Teller] = {
            PAIR_KIND: PairTeller(self.book),
            PAPER_KIND: self.paper,
            ALERTS_KIND: self.alerts,
        }
        self._alerted: Values | None = None
        self._fired: list[AlertFiring] = []

    def step(self, ticks: TickBatch, entry: Entry) -> Updates:
        """Take the ticks of an entry, up to its time."""
        batch = ticks.with_watermark(entry.watermark_ns)
        self.alerts.on_ticks(batch)
        updates = self.engine.on_batch(batch)
        self.book.take(updates)
        self.paper.take(updates)
        self.alerts.on_updates(updates)
        self._alerted = self.alerts.told()
        self._fired = self.alerts.firings()
        return updates

    def unseen(self, entry: Entry) -> list[PairSettings]:
        """Return the pairs that an entry tells of and that nobody has taken up."""
        told = (key for values in entry.values if values.kind == PAIR_KIND for key in values.keys)
        return [pair for pair in map(pair_of_key, told) if self.book.settings(pair.y, pair.x) != pair]

    def compare(self, entry: Entry, updates: Updates) -> Iterator[Difference]:
        """Yield what an entry says otherwise than this engine."""
        self.book.settle(_EVERYTHING)
        bars, values = self._journal.of_updates(updates)
        batches = {(b.timeframe, False): b for b in updates.closed} | {(b.timeframe, True): b for b in updates.revised}
        mine = {(told.timeframe, told.revised): told for told in bars}
        for told in entry.bars:
            which = told.timeframe, told.revised
            self.compared[f"{told.timeframe} bars as told"] += len(told.each)
            yield from _bar_differences(told, mine.pop(which, None), batches.get(which))
        for left in mine.values():
            yield from _bar_differences(None, left, batches[left.timeframe, left.revised])
        own = {told.kind: plain_values(told) for told in values}
        if self._alerted is not None and self._alerted.keys:
            own[ALERTS_KIND] = self._alerted
        for said in entry.values:
            teller = None if said.kind == ALERTS_KIND else self._tellers.get(said.kind)
            again = own.pop(said.kind, None) if teller is None else teller.again(said.keys)
            yield from self._value_differences(said, again)
            if said.kind == ALERTS_KIND and again is not None:
                known = set(zip(said.keys, plain_values(said).times.tolist(), strict=True))
                self.fired |= {one.id: one for one in self._fired if (one.rule_id, one.time_ns) in known}
                yield from _not_told(known, again)
        for kind, rest in own.items():
            for key, time_ns, number in zip(rest.keys, rest.times.tolist(), rest.numbers.tolist(), strict=True):
                timeframe = "" if kind == ALERTS_KIND else "1m"
                yield Difference(kind, key, timeframe, time_ns, None, _number(number), "not told live")

    def _value_differences(self, told: ValuesTold, again: Values | None) -> Iterator[Difference]:
        said = plain_values(told)
        if again is not None and said.keys == again.keys and np.array_equal(said.digests, again.digests):
            self.compared[told.kind] += len(said.keys)
            return
        if again is None and told.kind not in self._tellers and told.kind != "statistics":
            self.unknown[told.kind] += len(said.keys)
            return
        found: dict[str, list[tuple[int, int, float]]] = {}
        if again is not None:
            rows = zip(again.keys, again.times.tolist(), again.digests.tolist(), again.numbers.tolist(), strict=True)
            for key, time_ns, digest, number in rows:
                found.setdefault(key, []).append((time_ns, digest, number))
        rows = zip(said.keys, said.times.tolist(), said.digests.tolist(), said.numbers.tolist(), strict=True)
        teller = self._tellers.get(told.kind)
        for key, time_ns, digest, number in rows:
            if teller is not None and not teller.knows(key):
                self.unknown[told.kind] += 1
                continue
            self.compared[told.kind] += 1
            same = [row for row in found.get(key, ()) if row[0] == time_ns]
            if any(row[1] == digest for row in same):
                continue
            replayed = _number(same[0][2]) if same else None
            what = "" if same else "not told by the replay"
            if told.kind == ALERTS_KIND and not same:
                what = f"told live at {number:.12g}, not told by the replay"
            yield Difference(told.kind, key, "", time_ns, _number(number), replayed, what)


def _bar_differences(told: BarsTold | None, mine: BarsTold | None, bars: BarBatch | None) -> Iterator[Difference]:
    """Yield the bars that were told otherwise, as far as their bytes say which those are."""
    recorded = np.frombuffer(b"" if told is None else told.each, np.uint8)
    if bars is None or mine is None:
        timeframe = "" if told is None else told.timeframe
        yield Difference("bars", "", timeframe, 0, None, None, f"{recorded.size} told live, none by the replay")
        return
    again = np.frombuffer(mine.each, np.uint8)
    if told is not None and told.digest == mine.digest and recorded.size == again.size:
        return
    if recorded.size == again.size and (recorded != again).any():
        order = bar_order(bars, name_hashes(bars.symbols))
        for row in order[recorded != again].tolist():
            name, time_ns, close = bars.symbols[int(bars.symbol_id[row])], bars.ts_open_ns[row], bars.close[row]
            yield Difference(
                "bars", name, bars.timeframe, int(time_ns), None, float(close), "told otherwise when it closed"
            )
        return
    what = f"{recorded.size} told live, {again.size} by the replay"
    yield Difference("bars", "", bars.timeframe, int(bars.ts_open_ns.max()), None, None, what)


def _not_told(known: set[tuple[str, int]], again: Values) -> Iterator[Difference]:
    """Yield the firings that a replay tells and that were not told live."""
    for key, time_ns, number in zip(again.keys, again.times.tolist(), again.numbers.tolist(), strict=True):
        if (key, time_ns) not in known:
            yield Difference(ALERTS_KIND, key, "", time_ns, None, _number(number), f"{number:.12g}, not told live")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
