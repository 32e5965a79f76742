"""The live pairs of one timeframe: their records beside the tape they read, stepped slot by slot as bars close."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import KALMAN_STATE, kalman_state
from pairscope.analytics.pair_recursions import why_untrained
from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.regression import huber_hedge
from pairscope.analytics.sentinel import ALARM, SENTINEL_STATE, STATUS, SentinelStatus, sentinel_train
from pairscope.engine.pair_checkpoints import EVERY, Checkpoints
from pairscope.engine.pair_kernels import HUBER, LINEAR, LOG, PAIR, READY, peek, read, relearn, step
from pairscope.engine.pair_tape import CloseTape
from pairscope.errors import InputError, NotConverged, NumericalError
from pairscope.market.anchors import anchor_of, epoch_of, offset_of
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import F8, I8

__all__ = ["LEAST_BARS", "STALE", "WAITING", "PairGroup", "Provisional"]

FREE: Final = 0
WAITING: Final = 1
"""The history of a leg is being read."""
STALE: Final = 2
"""A bar that the pair holds was corrected: its recursions begin anew before it is told again."""
LEAST_BARS: Final = 30
"""Bars in common from which on a hedge ratio is told, or the window where that is longer, at most the lookback."""
CATCH_UP: Final = 64
"""Slots that are stepped one by one; where more close at once, pairs are computed anew as of the last of them."""
_METHODS: Final = ("ols", "huber", "kalman")
_NO_EPOCH: Final = -(1 << 60)
_ANY: Final = -2
"""Any bar may have changed."""
OVERHEAD: Final = 200
"""What computing a pair anew costs beside its bars, in bars."""


class Provisional:
    """What a pair would say if its open bar closed now: its record, and the rows of its window."""

    def __init__(self, record: NDArray[Any], y: F8, x: F8) -> None:
        self.record = record
        self.y = y
        self.x = x


class PairGroup:
    """Pairs by place. ``next_slot`` is the first slot that has not closed; ``moved`` are places with a new value.

    A pair's recursions begin at anchors: slots that have the remainder ``offset`` by its lookback. The offset follows
    from the pair's name, so that not all pairs train their sentinels at one bar. ``untrained`` says why one has none.
    """

    def __init__(self, timeframe: str, watermark_ns: int) -> None:
        self.timeframe = timeframe
        self.step_ns = timeframe_ns(timeframe)
        self.next_slot = watermark_ns // self.step_ns
        self.tape = CloseTape()
        self.tape.reach(self.next_slot)
        self.pairs: NDArray[Any] = np.zeros(0, PAIR)
        self.sentinels: F8 = np.zeros((0, SENTINEL_STATE))
        self.untrained: dict[int, str] = {}
        self.moved: dict[int, None] = {}
        self.stale: dict[int, int] = {}
        self.steps = 0
        self.rebuilt = 0
        self.filters: F8 = np.zeros((0, 2, KALMAN_STATE))
        self.fresh = kalman_state()
        self._rows = np.full((4, 8), np.nan)
        self._checkpoints = Checkpoints()
        self._stepped = 0
        self._told: dict[int, set[int]] = {}
        self._depth: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._need: I8 = np.zeros(0, np.int64)
        self._windows_only: set[int] = set()

    # -- pairs ---------------------------------------------------------------------------------------------------------

    def add(
        self, settings: PairSettings, symbol_y: int, symbol_x: int, *, more: int = 0, windows_only: bool = False
    ) -> int:
        """Take a pair and return its place; it is told once its legs' history is there, and ``more`` slots of it.

        With ``windows_only`` it has no figures by recursion: neither a Kalman filter's nor a sentinel's, which take a
        thousand times as long to be computed anew as all others.
        """
        free = np.flatnonzero(self.pairs["state"] == FREE)
        if not free.size:
            self._grow()
            free = np.flatnonzero(self.pairs["state"] == FREE)
        place, lookback = int(free[0]), settings.lookback
        record = np.zeros(1, PAIR)
        record["state"] = WAITING
        record["leg_y"], record["leg_x"] = self.tape.row(symbol_y), self.tape.row(symbol_x)
        record["lookback"], record["window"] = lookback, settings.window
        record["least"] = min(lookback, max(settings.window, LEAST_BARS))
        record["method"] = _METHODS.index(settings.method)
        record["space"] = LOG if settings.price_space == "log" else LINEAR
        record["offset"] = offset_of(settings.key, lookback)
        self.pairs[place] = record[0]
        self._forget(place)
        self._need[place] = _history(lookback) + more
        if windows_only:
            self._windows_only.add(place)
        self.tape.keep(int(self._need[place]))
        if self._rows.shape[1] < lookback + 2:
            self._rows = np.full((4, lookback + 2), np.nan)
        for row in self._legs(place):
            self._held[row] = self._held.get(row, 0) + 1
            self._depth.setdefault(row, 0)
        self._loaded(place)
        return place

    def remove(self, place: int) -> None:
        """Let a pair go, and the rows that nobody else reads."""
        legs = self._legs(place)
        self.pairs["state"][place] = FREE
        for places in (self.moved, self.stale, self.untrained):
            places.pop(place, None)
        self._windows_only.discard(place)
        for row in legs:
            self._held[row] -= 1
            if not self._held[row]:
                del self._held[row], self._depth[row]
                self._told.pop(row, None)
                self.tape.release(row)

    # -- history -------------------------------------------------------------------------------------------------------

    def lacking(self) -> list[int]:
        """Return the symbols whose history has to be read and is not being read."""
        need = self._needs()
        rows = [row for row, slots in need.items() if self._depth[row] < slots and row not in self._told]
        return [self.tape.symbol_of(row) for row in rows]

    def begin(self, symbol_id: int) -> tuple[int, int] | None:
        """Say from which time on a symbol's bars are needed, and how many slots; what closes from now on is newer."""
        row = int(self.tape.rows_of(np.array([symbol_id]))[0])
        if row < 0:
            return None
        slots = self._needs()[row]
        self._told[row] = set()
        return max(0, self.next_slot - slots) * self.step_ns, slots

    def fill(self, symbol_id: int, slots: int, bars: BarBatch) -> None:
        """Lay a symbol's history under what closed since it was asked for; its pairs are to be computed anew."""
        row = int(self.tape.rows_of(np.array([symbol_id]))[0])
        told = self._told.pop(row, None)
        if told is None:
            return
        at = bars.ts_open_ns // self.step_ns
        older = np.array([slot not in told for slot in at.tolist()], np.bool_)
        self.tape.write(np.full(int(older.sum()), row), at[older], bars.close[older])
        self._depth[row] = slots
        for place in np.flatnonzero(self._of_rows(np.array([row]))).tolist():
            self._loaded(place)

    def drop(self, symbol_id: int) -> None:
        """Forget how far back a symbol's history reaches: it is to be read again."""
        row = int(self.tape.rows_of(np.array([symbol_id]))[0])
        if row >= 0:
            self._depth[row] = 0
            self._told.pop(row, None)

    # -- bars ----------------------------------------------------------------------------------------------------------

    def tell(self, bars: BarBatch) -> None:
        """Take bars that closed or were corrected; pairs that have seen one of the slots before are to be redone."""
        rows = self.tape.rows_of(bars.symbol_id.astype(np.int64))
        mine = rows >= 0
        if not mine.any():
            return
        rows, slots = rows[mine], bars.ts_open_ns[mine] // self.step_ns
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True) if self._told else ():
            if row in self._told:
                self._told[row].add(slot)
        late = self.tape.write(rows, slots, bars.close[mine]) & (slots < self.next_slot)
        if late.any():
            self._outdate(self._of_rows(rows[late]) & (self.pairs["state"] >= STALE), int(slots[late].min()))

    def advance(self, watermark_ns: int) -> None:
        """Step every pair through the slots that the watermark has closed."""
        end = watermark_ns // self.step_ns
        if end <= self.next_slot:
            return
        self.tape.reach(end)
        start, self.next_slot = self.next_slot, end
        slots = self.tape.filled(start, end).tolist()
        if len(slots) > CATCH_UP:
            self._outdate(self.pairs["state"] >= STALE, slots[0])
            return
        for slot in slots:
            self._step(slot)

    def settle(self, work: int) -> int:
        """Compute pairs anew whose history came or changed, for about so many bars; return what is left of that."""
        while self.stale and work > 0:
            work -= self.rebuild(next(iter(self.stale)))
        return work

    def rebuild(self, place: int) -> int:
        """Take a pair through the bars that the tape holds, as if it had seen no others; return how many that were.

        Where a copy of its state is older than the first bar that changed, from there; else from the anchor.
        """
        changed = self.stale.pop(place, _ANY)
        self.rebuilt += 1
        pair, tape = self.pairs[place], self.tape
        slots = tape.common(*self._legs(place), self.next_slot)
        first = self._checkpoints.restore(place, changed, self.pairs, self.filters, self.sentinels)
        pair["state"] = READY
        pair["revision"] += 1
        self.moved[place] = None
        lookback, offset = int(pair["lookback"]), int(pair["offset"])
        epoch = epoch_of(int(slots[-1]), lookback, offset) if slots.size else _NO_EPOCH
        before = slots[:0]
        if place in self._windows_only:
            self._forget(place)
            pair["slot"] = slots[-1] if slots.size else -1
            slots, first = before, 0
        elif first is None or epoch != pair["epoch"]:
            self._forget(place)
            if not slots.size:
                return OVERHEAD
            first = anchor_of(epoch, lookback, offset)
            before = slots[(slots >= anchor_of(epoch - 1, lookback, offset)) & (slots < first)]
            self._train(place, epoch)
        after = slots[slots >= first]
        filters, sentinel = self.filters[place], self.sentinels[place]
        relearn(self.pairs, place, filters, sentinel, self.fresh, tape.logs, tape.closes, before, after)
        if pair["slot"] >= 0:
            n = read(self.pairs, place, filters, tape.logs, tape.closes, self._rows)
            self._robust(self.pairs[place : place + 1], n)
        return OVERHEAD + before.size + 2 * after.size

    # -- what is asked -------------------------------------------------------------------------------------------------

    def rows(self, place: int, slot: int) -> tuple[F8, F8]:
        """Return the bars that a pair's hedge ratio was fitted on as of a slot, y and x in its price space."""
        copy, filters = self.pairs[place : place + 1].copy(), self.filters[place].copy()
        copy["slot"] = slot
        n = read(copy, 0, filters, self.tape.logs, self.tape.closes, self._rows)
        return self._window(copy, n)

    def tripped(self, place: int) -> int | None:
        """Return the slot at which a pair's sentinel alarmed; None where it has not."""
        pair, alarm = self.pairs[place], self.sentinels[place, ALARM]
        if not alarm >= 0.0:
            return None
        slots = self.tape.common(*self._legs(place), self.next_slot)
        anchor = anchor_of(int(pair["epoch"]), int(pair["lookback"]), int(pair["offset"]))
        watched = slots[slots >= anchor]
        return int(watched[int(alarm)]) if alarm < watched.size else None

    def provisional(self, place: int, slot: int, price_y: float, price_x: float) -> Provisional:
        """Return what a pair would say if a slot closed at these prices; nothing is kept of it."""
        copy, filters = self.pairs[place : place + 1].copy(), self.filters[place].copy()
        prices = np.array([price_y, price_x])
        both = np.array([prices, np.log(prices)])
        n = peek(copy, filters, self.fresh, self.tape.logs, self.tape.closes, slot, self._rows, both)
        self._robust(copy, n)
        return Provisional(copy, *self._window(copy, n))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _step(self, slot: int) -> None:
        pairs, tape = self.pairs, self.tape
        there = ~np.isnan(tape.closes[:, slot % tape.slots])
        epochs = epoch_of(slot, np.maximum(pairs["lookback"], 1), pairs["offset"])
        turns = (pairs["state"] == READY) & (epochs != pairs["epoch"])
        for place in np.flatnonzero(turns & there[pairs["leg_y"]] & there[pairs["leg_x"]]).tolist():
            if place not in self._windows_only:
                self._train(place, int(epochs[place]))
        due = np.arange(self._stepped % EVERY, pairs.size, EVERY)
        due = due[pairs["state"][due] == READY]
        self._checkpoints.save(due, slot, pairs, self.filters, self.sentinels)
        self._stepped += 1
        stepped = np.empty(pairs.size, np.int64)
        most = int(pairs["lookback"].max(initial=0)) + 1
        runs = np.empty(there.size, np.int64)
        found = step(
            pairs,
            self.filters,
            self.sentinels,
            self.fresh,
            tape.logs,
            tape.closes,
            slot,
            most,
            runs,
            self._rows,
            stepped,
        )
        self.steps += found
        for place in stepped[:found].tolist():
            self.moved[place] = None
            if pairs["method"][place] == HUBER:
                n = read(pairs, place, self.filters[place], tape.logs, tape.closes, self._rows)
                self._robust(pairs[place : place + 1], n)

    def _train(self, place: int, epoch: int) -> None:
        """Train a pair's sentinel on the lookback of slots that an anchor ends."""
        pair, tape = self.pairs[place], self.tape
        leg_y, leg_x = self._legs(place)
        start, end = (anchor_of(e, int(pair["lookback"]), int(pair["offset"])) for e in (epoch - 1, epoch))
        slots = tape.common(leg_y, leg_x, end)
        at = slots[slots >= start] % tape.slots
        values = tape.closes if pair["space"] == LINEAR else tape.logs
        try:
            self.sentinels[place] = sentinel_train(values[leg_y, at], values[leg_x, at])
            self.untrained.pop(place, None)
        except (InputError, NumericalError) as error:
            self._without_sentinel(place, why_untrained(error))

    def _robust(self, record: NDArray[Any], n: int) -> None:
        """Give a pair whose method is Huber's its spread, from the window at the end of the rows."""
        pair = record[0]
        if pair["method"] != HUBER or pair["n"] < pair["least"]:
            return
        y, x = self._window(record, n)
        try:
            fit = huber_hedge(y, x)
        except (InputError, NumericalError, NotConverged):
            return
        told = zscore_window(y, x, y.size, int(pair["window"]), fit.alpha, fit.beta)
        pair["alpha"], pair["beta"], pair["stderr"] = fit.alpha, fit.beta, fit.stderr
        pair["last"], pair["mean"], pair["std"], pair["zscore"] = told

    def _window(self, record: NDArray[Any], n: int) -> tuple[F8, F8]:
        """Return copies of the window at the end of the rows, not longer than the lookback."""
        n = min(n, int(record["lookback"][0]))
        last = self._rows.shape[1]
        return self._rows[0, last - n :].copy(), self._rows[1, last - n :].copy()

    def _loaded(self, place: int) -> None:
        """Let a pair be computed anew where the history of both legs is there."""
        if all(self._depth[row] >= self._need[place] for row in self._legs(place)):
            self.pairs["state"][place] = STALE
            self.stale[place] = _ANY

    def _outdate(self, places: NDArray[np.bool_], slot: int) -> None:
        """Have pairs computed anew before they are told again: their bars from a slot on have changed."""
        self.pairs["state"][places] = STALE
        for place in np.flatnonzero(places).tolist():
            self.stale[place] = min(slot, self.stale.get(place, slot))

    def _needs(self) -> dict[int, int]:
        """Return how many slots of history each row is to have: three lookbacks of the longest pair that reads it."""
        used = self.pairs["state"] != FREE
        need = np.zeros(self.tape.closes.shape[0], np.int64)
        for leg in ("leg_y", "leg_x"):
            np.maximum.at(need, self.pairs[leg][used], self._need[used])
        return {row: int(need[row]) for row in self._held}

    def _of_rows(self, rows: I8) -> NDArray[np.bool_]:
        """Return which places hold a pair with a leg among these rows."""
        pairs = self.pairs
        legs = np.isin(pairs["leg_y"], rows) | np.isin(pairs["leg_x"], rows)
        found: NDArray[np.bool_] = legs & (pairs["state"] != FREE)
        return found

    def _legs(self, place: int) -> tuple[int, int]:
        pair = self.pairs[place]
        return int(pair["leg_y"]), int(pair["leg_x"])

    def _forget(self, place: int) -> None:
        """Put a pair's recursions where they have seen nothing."""
        pair = self.pairs[place]
        pair["epoch"], pair["slot"], pair["since"], pair["since_next"] = _NO_EPOCH, -1, -1, -1
        pair["n"] = pair["kalman_n"] = 0
        self.filters[place] = self.fresh
        self._without_sentinel(place, "no bars to train on")

    def _without_sentinel(self, place: int, reason: str) -> None:
        """Let a pair's sentinel say nothing, and why."""
        self.sentinels[place] = np.nan
        self.sentinels[place, STATUS] = SentinelStatus.NO_VERDICT
        self.untrained[place] = reason

    def _grow(self) -> None:
        more = max(8, self.pairs.size)
        self.pairs = np.concatenate([self.pairs, np.zeros(more, PAIR)])
        self._need = np.concatenate([self._need, np.zeros(more, np.int64)])
        self._checkpoints.grow(more)
        self.filters = np.concatenate([self.filters, np.zeros((more, 2, KALMAN_STATE))])
        self.sentinels = np.concatenate([self.sentinels, np.zeros((more, SENTINEL_STATE))])


def _history(lookback: int) -> int:
    """Return how many slots a pair needs: it may have stopped a lookback ago, and reaches back two from there."""
    return 3 * lookback + 16
