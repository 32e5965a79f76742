"""A rule's machine over the past: engine and book as they are live, given what is stored, cut where it matters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from math import ceil, gcd
from time import sleep
from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.market.alert_conditions import AlertCondition
from pairscope.market.alert_rules import AlertFiring, AlertRule, AlertState
from pairscope.market.bars import BarBatch, concat_bars, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import I8, TickBatch
from pairscope.ports import TickStore

__all__ = ["MOST_STEPS", "AlertPast", "PastPlan", "past_plan"]

MOST_STEPS: Final = 10_080
"""So many times the machine looks at bars and time; each takes about half a millisecond."""
Run = Callable[[Callable[[], None]], Awaitable[None]]
_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_LONGEST_STEP_NS: Final = 300 * _SECOND_NS
"""The engine takes ticks up to five minutes ahead of its time."""
_VOLUME_STEPS: Final = 3000
_YIELDED: Final = 4
_DIVISORS: Final = (1, 2, 3, 5, 6, 10, 15, 20, 30, 60)
_RING_NS: Final = 1500 * _MINUTE_NS
_SECONDS_NS: Final = 600 * _SECOND_NS
_AT_TICKS: Final = ("price", "price_change", "zscore", "spread", "volume", "staleness")
_EVENTS: Final = {"funding": "funding rates are not stored", "cointegration": "what screens found before is not stored"}


class PastPlan(NamedTuple):
    """How a rule is looked back for.

    ``ticks``: trades are needed, not bars alone, which are of ``timeframe``. The machine looks at bars and time every
    ``step_ns``. ``unknown`` says why there is nothing to look back on, where that is so. ``start_ns`` is not before the
    beginning that was asked for.
    """

    symbols: tuple[str, ...]
    timeframe: str
    ticks: bool
    step_ns: int
    start_ns: int
    unknown: str = ""


def past_plan(rule: AlertRule, *, start_ns: int, end_ns: int) -> PastPlan:
    """Return how a rule is looked back for over a range, so that it takes no more than ``MOST_STEPS`` steps."""
    conditions = rule.conditions
    legs = [name for one in conditions for name in (one.symbol, one.y, one.x) if name]
    symbols = tuple(dict.fromkeys(legs))
    unknown = next((_EVENTS[one.type] for one in conditions if one.type in _EVENTS), "")
    at_closes = rule.at_closes
    lengths = [timeframe_ns(one.timeframe) for one in conditions if _has_bars(one) or at_closes]
    step_ns = gcd(_LONGEST_STEP_NS, *lengths)
    short = step_ns < _MINUTE_NS
    ticks = not at_closes and any(one.type in _AT_TICKS for one in conditions)
    if not at_closes and any(one.type == "volume" for one in conditions):
        wanted_s = ceil((end_ns - start_ns) / _VOLUME_STEPS / _SECOND_NS)
        step_ns = min(step_ns, next((d for d in _DIVISORS if d >= wanted_s), 60) * _SECOND_NS)
    start_ns = max(start_ns, end_ns - MOST_STEPS * step_ns)
    return PastPlan(symbols, "1s" if short and not ticks else "1m", ticks, step_ns, start_ns, unknown)


class AlertPast:
    """One rule in a book behind an engine of its own; ``feed`` takes them through the past, in any number of parts.

    ``firings`` are those so far, ``first_ns`` when the first tick was, ``reached_ns`` how far it has come.
    """

    def __init__(self, rule: AlertRule, plan: PastPlan) -> None:
        self.rule = replace(rule, expires_ns=None)
        self.plan = plan
        self.symbols = Symbols(plan.symbols)
        self.firings: list[AlertFiring] = []
        self.first_ns: int | None = None
        self.reached_ns = plan.start_ns
        self._fed = np.zeros(len(plan.symbols), np.int64)
        self._engine = DataProcessor(self.symbols)
        self._book = AlertBook(self.symbols, self._engine)

    async def begin(self, store: TickStore, run: Run) -> None:
        """Give the engine what it would have held at the start, and the rule's gauges what they need of before it.

        The store is read where this is awaited, the rest is done where ``run`` does it.
        """
        start_ns = self.plan.start_ns
        minutes = [await self._bars(store, name, "1m", start_ns - _RING_NS) for name in self.symbols]
        seconds = [await self._bars(store, name, "1s", start_ns - _SECONDS_NS) for name in self.symbols]
        await run(lambda: self._restore(concat_bars(minutes), concat_bars(seconds)))
        for wanted in self._book.lacking():
            asked = self._book.begin(wanted)
            if asked is None:
                continue
            from_ns, slots = asked
            name, length = wanted.symbol, timeframe_ns(wanted.timeframe)
            bars = await store.bars(name, wanted.timeframe, from_ns, start_ns, limit=slots + 64, newest=True)
            bars = self._under(bars.take(bars.ts_open_ns + length <= start_ns), name)
            await run(partial(self._book.fill, wanted, slots, bars))

    def _restore(self, minutes: BarBatch, seconds: BarBatch) -> None:
        self._engine.restore(minutes, seconds, [], watermark_ns=self.plan.start_ns, first_own_ns={})
        self._book.put(self.rule)

    def feed(self, portion: TickBatch, stop: Callable[[], bool]) -> bool:
        """Take a portion its way, in steps; False where ``stop`` said so before its end."""
        for number, (start, end, until_ns) in enumerate(self._steps(portion)):
            if stop():
                return False
            if number % _YIELDED == 0:
                sleep(0)  # who waits for the interpreter goes first
            batch = portion.take(slice(start, end)).with_watermark(until_ns)
            self._book.on_ticks(batch)
            self._book.on_updates(self._engine.on_batch(batch))
            self.firings += self._book.firings()
            if end > start and self.first_ns is None:
                self.first_ns = int(portion.ts_event_ns[start])
            self._fed += np.bincount(batch.symbol_id, minlength=self._fed.size)
            self.reached_ns = until_ns
        return True

    @property
    def last_ids(self) -> dict[str, int]:
        """The newest id of each symbol: as many ticks as it was given."""
        return dict(zip(self.symbols, self._fed.tolist(), strict=True))

    @property
    def ticks(self) -> int:
        """How many ticks it was given."""
        return int(self._fed.sum())

    def state(self) -> AlertState:
        """Return how the rule stands."""
        return self._book.state(self.rule.id)

    def view(self) -> dict[str, Any]:
        """Return the values that the rule sees, and how far they are from its next edge."""
        return dict(self._book.view(self.rule.id) or {})

    def _steps(self, portion: TickBatch) -> list[tuple[int, int, int]]:
        """Return (first row, end row, watermark) of each batch that a portion is cut into."""
        end_ns, step_ns = portion.watermark_ns, self.plan.step_ns
        times: I8 = np.arange(self.reached_ns // step_ns + 1, end_ns // step_ns + 1) * step_ns
        edges = times if times.size and times[-1] == end_ns else np.append(times, end_ns)
        rows = np.searchsorted(portion.ts_event_ns, edges)
        firsts = np.concatenate([[0], rows[:-1]])
        traded = rows > firsts
        needed = traded | np.concatenate([[True], traded[:-1]])  # nothing happens in between but that time goes by
        needed[-1:] = True
        steps = zip(firsts[needed].tolist(), rows[needed].tolist(), edges[needed].tolist(), strict=True)
        return list(steps)

    async def _bars(self, store: TickStore, name: str, timeframe: str, from_ns: int) -> BarBatch:
        end_ns = self.plan.start_ns // timeframe_ns(timeframe) * timeframe_ns(timeframe)
        return self._under(await store.bars(name, timeframe, max(from_ns, 0), end_ns, limit=2000, newest=True), name)

    def _under(self, bars: BarBatch, name: str) -> BarBatch:
        return replace(bars, symbols=self.symbols, symbol_id=np.full(len(bars), self.symbols.id_of(name), np.int32))


def _has_bars(condition: AlertCondition) -> bool:
    """Return whether a condition's value depends on bars of its timeframe."""
    return condition.condition == "moves" or condition.type not in {"price", "staleness", *_EVENTS}
