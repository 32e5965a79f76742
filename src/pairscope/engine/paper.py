"""Paper positions: a rule followed live, at each closed bar that both legs have, by the steps of a backtest.

Deterministic: no clock, no I/O. What is decided is decided of the bars as they stand at that moment and stays, also
where a late tick corrects one of them afterwards; what comes later is judged by the corrected bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from pairscope.analytics.kalman import KALMAN_STATE, kalman_state
from pairscope.analytics.pair_positions import (
    POSITION_BARS,
    POSITION_EQUITY,
    POSITION_OPEN,
    POSITION_ORDER,
    POSITION_ROW,
    POSITION_SKIPPED,
    position_state,
)
from pairscope.analytics.pair_terms import POSITION_FIELDS, REASONS
from pairscope.analytics.signals import SIGNAL_POSITION
from pairscope.engine.journal import Values
from pairscope.engine.paper_kernels import JUDGED, METHODS, paper_step, warm_filter
from pairscope.engine.paper_rules import Kept, PaperEvent, PaperRule, need_of
from pairscope.engine.updates import Updates
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import F8, I8

__all__ = ["PAPER_KIND", "PaperBook"]

PAPER_KIND: Final = "paper"
_REMEMBERED: Final = 64
_ENTERED: Final = (
    "side", "quantity_y", "quantity_x", "entry_price_y", "entry_price_x", "entry_value", "entry_zscore", "beta",
)  # fmt: skip
_ENTER: Final = 1
_REHEDGE: Final = 7
_ORDERS: Final = {1: "enter", 2: "exit", 3: "stop", 4: "max_holding", 7: "rehedge"}


@dataclass(slots=True)
class _Position:
    """A rule as it stands. ``times`` to ``spaced`` hold its bars, ``end`` how many; ``next_ns`` is not decided yet."""

    rule: PaperRule
    step_ns: int
    state: F8
    kalman: F8
    next_ns: int
    times: I8 = field(default_factory=lambda: np.empty(0, np.int64))
    prices: F8 = field(default_factory=lambda: np.empty((2, 0)))
    spaced: F8 = field(default_factory=lambda: np.empty((2, 0)))
    end: int = 0
    filled: bool = False
    wanted: bool = True
    judged: F8 = field(default_factory=lambda: np.full(JUDGED, np.nan))
    waiting: list[tuple[int, F8]] = field(default_factory=list)
    said: list[tuple[int, int, float]] = field(default_factory=list)
    counted: bool = False
    entry_ns: int = 0


class PaperBook:
    """Every paper position by its rule's id; a ``Teller`` of the journal. O(rules · lookback) a bar.

    With ``remember`` it can say ``again`` what it said since it was last asked, and of the last bars before.
    """

    kind = PAPER_KIND

    def __init__(self, symbols: Symbols, *, remember: bool = False) -> None:
        self._symbols = symbols
        self._remember = remember
        self._positions: dict[str, _Position] = {}
        self._by_timeframe: dict[str, list[_Position]] = {}
        self._events: list[PaperEvent] = []
        self._told: list[tuple[str, int, int, float]] = []

    # -- rules ---------------------------------------------------------------------------------------------------------

    def put(self, rule: PaperRule, kept: Kept | None = None) -> None:
        """Follow a rule from its start on, or from where it was kept; its history is wanted then."""
        self.remove(rule.id)
        made = _Position(
            rule,
            timeframe_ns(rule.timeframe),
            position_state(rule.terms.capital) if kept is None else kept.state.copy(),
            kalman_state() if rule.method == "kalman" else np.zeros(KALMAN_STATE),
            rule.since_ns if kept is None else kept.next_ns,
            counted=kept is not None,
            entry_ns=0 if kept is None else kept.entry_ns,
        )
        self._positions[rule.id] = made
        self._by_timeframe.setdefault(rule.timeframe, []).append(made)

    def remove(self, rule_id: str) -> bool:
        """Follow a rule no longer; False where it was not followed."""
        gone = self._positions.pop(rule_id, None)
        if gone is None:
            return False
        self._by_timeframe[gone.rule.timeframe].remove(gone)
        return True

    def rules(self) -> list[PaperRule]:
        """Return the rules that are followed, by id."""
        return [self._positions[key].rule for key in sorted(self._positions)]

    def knows(self, rule_id: str) -> bool:
        """Return whether a rule is followed."""
        return rule_id in self._positions

    # -- history -------------------------------------------------------------------------------------------------------

    def lacking(self) -> list[PaperRule]:
        """Return the rules whose history has to be read."""
        return [position.rule for position in self._positions.values() if position.wanted]

    def begin(self, rule_id: str) -> bool:
        """Say that a rule's history is being read: bars that close from now on are kept until it is there."""
        position = self._positions.get(rule_id)
        if position is not None:
            position.wanted = False
        return position is not None

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of rules with a leg among these symbols read again: stored bars have changed."""
        names = set(symbols)
        for position in self._positions.values():
            if position.rule.y in names or position.rule.x in names:
                position.wanted = True

    def fill(self, rule_id: str, bars_y: BarBatch, bars_x: BarBatch) -> None:
        """Take a rule's history, bars in common from its beginning on; those that it has not decided on are stepped."""
        position = self._positions.get(rule_id)
        if position is None:
            return
        found = sorted((_in_common(bars_y, bars_x) | dict(position.waiting)).items())
        position.waiting = []
        past = [(time_ns, row) for time_ns, row in found if position.rule.begin_ns <= time_ns < position.next_ns]
        self._lay(position, past)
        if not position.counted:
            position.state[POSITION_BARS] = len(past)
            position.counted = True
        position.filled = True
        for time_ns, row in found:
            if time_ns >= position.next_ns:
                self._step(position, time_ns, row)

    # -- bars ----------------------------------------------------------------------------------------------------------

    def take(self, updates: Updates) -> None:
        """Take what a batch closed and corrected."""
        if not self._positions:
            return
        for bars in updates.closed:
            if self._by_timeframe.get(bars.timeframe):
                self._closed(bars)
        self.revise(updates.revised)

    def revise(self, batches: Iterable[BarBatch]) -> None:
        """Take corrected bars; rules whose prices changed by that read their history again."""
        for bars in batches:
            for position in self._by_timeframe.get(bars.timeframe, ()):
                if not position.wanted and self._changes(position, bars):
                    position.wanted = True

    # -- what is asked -------------------------------------------------------------------------------------------------

    def events(self) -> list[PaperEvent]:
        """Return what has been done since this was last asked, in order."""
        events, self._events = self._events, []
        return events

    def told(self) -> Values:
        """Return what the rules said of the bars since the batch before."""
        told, self._told = self._told, []
        return _values(told)

    def again(self, keys: Sequence[str]) -> Values:
        """Return what these rules said of the last bars that they remember."""
        known = [self._positions[key] for key in dict.fromkeys(keys) if key in self._positions]
        rows = [(position.rule.id, *said) for position in known for said in position.said]
        for position in known:
            del position.said[:-_REMEMBERED]
        return _values(rows)

    def kept(self, rule_id: str) -> Kept | None:
        """Return what is to be kept of a rule over a restart; None where it has not decided on anything yet."""
        position = self._positions.get(rule_id)
        if position is None or not position.counted:
            return None
        return Kept(position.next_ns, position.entry_ns, position.state.copy())

    def view(self, rule_id: str) -> Mapping[str, Any] | None:
        """Return how a rule stands; None where it is not followed. Numbers that there are not are NaN."""
        position = self._positions.get(rule_id)
        if position is None:
            return None
        state, judged = position.state, position.judged
        row = dict(zip(POSITION_FIELDS, state[POSITION_ROW:].tolist(), strict=True))
        return {
            "bars": int(state[POSITION_BARS]),
            "next_ns": position.next_ns,
            "entry_ns": position.entry_ns,
            "waiting": not position.filled,
            "equity": float(state[POSITION_EQUITY]),
            "open": bool(state[POSITION_OPEN]),
            "order": _ORDERS.get(int(state[POSITION_ORDER])),
            "side": int(state[SIGNAL_POSITION]),
            "skipped": int(state[POSITION_SKIPPED]),
            "alpha": float(judged[0]),
            "beta": float(judged[1]),
            "zscore": float(judged[2]),
            "row": row,
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _closed(self, bars: BarBatch) -> None:
        """Step the rules of which both legs have a bar among these."""
        keys = zip(bars.ts_open_ns.tolist(), bars.symbol_id.tolist(), strict=True)
        rows = {key: i for i, key in enumerate(keys)}
        for time_ns in sorted({time_ns for time_ns, _ in rows}):
            for position in list(self._by_timeframe[bars.timeframe]):
                at = [rows.get((time_ns, self._symbols.id_of(leg))) for leg in (position.rule.y, position.rule.x)]
                if at[0] is None or at[1] is None or time_ns < position.next_ns:
                    continue
                row = _row(bars, at[0], bars, at[1])
                if position.filled and not position.wanted:
                    self._step(position, time_ns, row)
                else:
                    position.waiting.append((time_ns, row))

    def _changes(self, position: _Position, bars: BarBatch) -> bool:
        """Return whether corrected bars change a price that a rule has seen, or bring a bar that it has not."""
        for leg, name in enumerate((position.rule.y, position.rule.x)):
            mine = bars.symbol_id == (self._symbols.find(name) if name in self._symbols else -1)
            times, closes = bars.ts_open_ns[mine], bars.close[mine]
            for time_ns, close in zip(times.tolist(), closes.tolist(), strict=True):
                if not position.rule.begin_ns <= time_ns < position.next_ns:
                    continue
                at = int(np.searchsorted(position.times[: position.end], time_ns))
                known = at < position.end and position.times[at] == time_ns
                if known and position.prices[leg, at] != close:
                    return True
                if not known and position.end and time_ns > position.times[0]:
                    return True
        return False

    def _lay(self, position: _Position, past: Sequence[tuple[int, F8]]) -> None:
        """Put bars where a rule reads them, and take its filter through them."""
        rule = position.rule
        size = len(past)
        kept = past if rule.method == "kalman" else past[max(0, size - need_of(rule)) :]
        prices = np.array([[row[0] for _, row in kept], [row[1] for _, row in kept]]).reshape(2, len(kept))
        if rule.method == "kalman":
            position.kalman[:] = kalman_state()
            spaced = np.log(prices) if rule.terms.log else prices
            warm_filter(position.kalman, spaced[0].copy(), spaced[1].copy())
            prices, kept = prices[:, max(0, size - need_of(rule)) :], kept[max(0, size - need_of(rule)) :]
        room = 2 * need_of(rule) + 64
        position.times, position.prices = np.zeros(room, np.int64), np.ones((2, room))
        position.end = len(kept)
        position.times[: len(kept)] = [time_ns for time_ns, _ in kept]
        position.prices[:, : len(kept)] = prices
        position.spaced = np.log(position.prices) if rule.terms.log else position.prices

    def _step(self, position: _Position, time_ns: int, row: F8) -> None:
        """Take one closed bar: judge it, fill, value and decide as a backtest does."""
        rule, state = position.rule, position.state
        self._append(position, time_ns, row)
        before = state.copy()
        closed = paper_step(
            state,
            position.kalman,
            position.spaced[0],
            position.spaced[1],
            position.end,
            METHODS.index(rule.method),
            rule.beta,
            rule.lookback,
            rule.window,
            rule.rule,
            rule.terms,
            row,
            position.judged,
        )
        position.next_ns = time_ns + position.step_ns
        self._note_events(position, time_ns, row, before, closed=closed)
        digest = blake2b(position.judged.tobytes() + state.tobytes(), digest_size=8).digest()
        said = (time_ns, int.from_bytes(digest, "little"), float(position.judged[2]))
        if self._remember:
            position.said.append(said)
        self._told.append((rule.id, *said))

    def _append(self, position: _Position, time_ns: int, row: F8) -> None:
        """Put a bar behind those that a rule reads; where the room is full, the oldest go."""
        if position.end == position.times.size:
            need = need_of(position.rule)
            start = position.end - need
            for columns in (position.times, *position.prices, *position.spaced):
                columns[:need] = columns[start:].copy()
            position.end = need
        at = position.end
        position.times[at] = time_ns
        position.prices[:, at] = row[:2]
        position.spaced[:, at] = np.log(row[:2]) if position.rule.terms.log else row[:2]
        position.end += 1

    def _note_events(self, position: _Position, time_ns: int, row: F8, before: F8, *, closed: bool) -> None:
        """Write down what a step did: every bar has prices, so an order is filled in the bar after its decision's."""
        rule, state, judged = position.rule, position.state, position.judged
        order, placed = int(before[POSITION_ORDER]), int(state[POSITION_ORDER])
        if not (closed or order or placed):
            return
        fields = dict(zip(POSITION_FIELDS, state[POSITION_ROW:].tolist(), strict=True))
        entered = order == _ENTER and state[POSITION_OPEN] > 0.0
        if entered:
            position.entry_ns = time_ns
        kept = Kept(position.next_ns, position.entry_ns, state.copy())
        done: list[tuple[str, str, Mapping[str, float | str]]] = []
        if closed:
            reason = REASONS[int(fields["reason"]) - 2]
            done.append(("fill", reason, {**fields, "entry_ns": position.entry_ns}))
        elif entered:
            done.append(("fill", "enter", {name: fields[name] for name in _ENTERED}))
        elif order == _REHEDGE:
            done.append(("fill", "rehedge", {"quantity_x": fields["exit_quantity_x"], "rehedges": fields["rehedges"]}))
        if placed:
            named = {"zscore": float(judged[2]), "alpha": float(judged[0]), "beta": float(judged[1])}
            named |= {"held_zscore": fields["exit_zscore"] if placed != _ENTER else float("nan")}
            named |= {"close_y": float(row[0]), "close_x": float(row[1]), "side": float(state[SIGNAL_POSITION])}
            done.append(("decision", _ORDERS[placed], named))
        for number, (kind, name, said) in enumerate(done):
            self._events.append(PaperEvent(rule.id, time_ns, number, kind, name, said, kept))


def _row(bars_y: BarBatch, i: int, bars_x: BarBatch, j: int) -> F8:
    """Return what a step reads of a bar of both legs: closes, opens, ranges."""
    return np.array(
        [
            bars_y.close[i],
            bars_x.close[j],
            bars_y.open[i],
            bars_x.open[j],
            bars_y.high[i] - bars_y.low[i],
            bars_x.high[j] - bars_x.low[j],
        ]
    )


def _in_common(bars_y: BarBatch, bars_x: BarBatch) -> dict[int, F8]:
    """Return the bars that both legs have, by time."""
    times, at, there = np.intersect1d(bars_y.ts_open_ns, bars_x.ts_open_ns, assume_unique=True, return_indices=True)
    rows = zip(times.tolist(), at.tolist(), there.tolist(), strict=True)
    return {time_ns: _row(bars_y, i, bars_x, j) for time_ns, i, j in rows}


def _values(rows: Sequence[tuple[str, int, int, float]]) -> Values:
    return Values(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.uint64),
        np.array([row[3] for row in rows], np.float64),
    )
