"""A rule tried on the past before it is made: what it sees now, and when it would have fired, by the live machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import isnan
from time import monotonic
from typing import Any, Final

from pairscope.engine.alerts import warm_up
from pairscope.errors import Busy, InputError
from pairscope.market.alert_rules import AlertRule
from pairscope.market.bars import timeframe_ns
from pairscope.ports import LiveView, TickStore
from pairscope.research.alert_past import AlertPast, PastPlan, past_plan
from pairscope.research.background import quiet_threads
from pairscope.research.past_ticks import past_of, past_ticks

__all__ = ["MOST_HOURS", "MOST_TICKS", "AlertPreview"]

MOST_HOURS: Final = 168.0
MOST_TICKS: Final = 2_000_000
"""Trades that are looked at; bars stand for older ones."""
MOST_WAITING: Final = 8
MOST_KEPT: Final = 4
KEPT_S: Final = 120.0
"""For so long a rule's machine is kept: asked again, it goes on from where it stood."""
_SHOWN: Final = 50
_HOUR_NS: Final = 3_600_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_MS: Final = 1_000_000
_NOW_NS: Final = 120_000_000_000
_MANY: Final = 50
"""So many ticks a step, and they take more time than bars do."""
_LASTING: Final = {"once": "every"}
_TRIED: Final = 0.25
"""After this share of the time it is clear whether it is enough for the whole range."""


@dataclass(slots=True)
class _Look:
    """A machine on its way: until when bars stood for trades, whether any were read, and when it was last used."""

    past: AlertPast
    bars_until_ns: int | None = None
    of_ticks: bool = False
    used_s: float = 0.0


class AlertPreview:
    """Tries rules on what a store holds, one at a time, in a thread that gives way; ``live`` says what time it is.

    A look back takes at most the seconds that it is given: where those will not do for the whole range, it begins
    later, and says so. A rule that is asked for again within two minutes is not tried anew, its machine goes on.
    """

    def __init__(self, *, store: TickStore, live: LiveView, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._live = live
        self._now_s = monotonic_s
        self._threads = quiet_threads(1, "alert preview")
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._warm = False
        self._kept: dict[tuple[AlertRule, float], _Look] = {}

    def close(self) -> None:
        """Try nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def of(self, rule: AlertRule, *, hours: float = 24.0, seconds: float = 3.0) -> Mapping[str, Any]:
        """Return what a rule sees now and when it would have fired in the hours before.

        ``values``, ``distance``, ``holds`` and ``reason`` are those of ``AlertBook.view``. ``fired`` counts firings
        (None where there is nothing to look back on), ``times`` are the newest 50 (ms, newest first) and ``marks``
        those with their values, ``suppressed`` what a cooldown kept back, ``paused`` when the storm guard would have
        stopped the rule. ``from`` and ``to`` (ms) are what was looked at, ``basis`` says in words of what it was made,
        ``complete`` whether that is all that is stored of the range. ``InputError`` names ``hours`` outside 0 to 168;
        ``Busy`` where too many wait. Cancelled, it ends at once.
        """
        if not 0.0 < hours <= MOST_HOURS:
            raise InputError(f"hours: must be above 0 and at most {MOST_HOURS:.0f}", loc="hours")
        if self._waiting >= MOST_WAITING:
            raise Busy("too many rules are being tried on the past at once", hint="try again in some seconds")
        self._waiting += 1
        try:
            async with self._turn:
                if not self._warm:
                    await asyncio.get_running_loop().run_in_executor(self._threads, warm_up)
                    self._warm = True
                return await self._of(replace(rule, id="preview"), hours, self._now_s() + seconds, seconds)
        finally:
            self._waiting -= 1

    async def _of(self, rule: AlertRule, hours: float, deadline_s: float, seconds: float) -> dict[str, Any]:
        end_ns = self._live.watermark_ns() or await self._store.watermark_ns()
        start_ns = max(end_ns - round(hours * _HOUR_NS), 0) // _MINUTE_NS * _MINUTE_NS
        plan = past_plan(rule, start_ns=start_ns, end_ns=end_ns)
        if plan.unknown or not end_ns:
            return _nothing(
                rule, f"{plan.unknown}: there is nothing to look back on" if end_ns else "nothing is stored"
            )
        asked_ns = await self._first_ns(plan.symbols, start_ns, end_ns)
        plan = plan._replace(start_ns=max(plan.start_ns, asked_ns))
        look = await self._whole((rule, hours), plan, end_ns, deadline_s, seconds)
        now = look.past
        whole = now.state().status != "active" or now.reached_ns >= end_ns - _MINUTE_NS
        if not whole or now.state().status != "active":
            calm = replace(rule, frequency=_LASTING.get(rule.frequency, rule.frequency), cooldown_ns=_NOW_NS)
            recent = plan._replace(start_ns=max(plan.start_ns, end_ns - _NOW_NS))
            now = (await self._looked(calm, recent, end_ns, lambda: False)).past
        told = _told(look, now.view(), end_ns - round(hours * _HOUR_NS))
        return told | {"complete": whole and look.past.plan.start_ns <= asked_ns, "basis": _basis(look, asked_ns)}

    async def _first_ns(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> int:
        """Return when what is stored of a range begins, in whole minutes; without any bar, shortly before its end."""
        firsts = [await self._store.bars(name, "1m", start_ns, end_ns, limit=1) for name in symbols]
        first_ns = min((int(bars.ts_open_ns[0]) for bars in firsts if len(bars)), default=end_ns - _NOW_NS)
        return max(start_ns, first_ns // _MINUTE_NS * _MINUTE_NS)

    async def _whole(
        self, key: tuple[AlertRule, float], plan: PastPlan, end_ns: int, deadline_s: float, seconds: float
    ) -> _Look:
        """Look back over the whole of a plan, or as much of its end as there is time for."""
        self._kept = {key: look for key, look in self._kept.items() if self._now_s() - look.used_s < KEPT_S}
        look = self._kept.pop(key, None)
        if look is None:
            tried_s = deadline_s - (1.0 - _TRIED) * seconds
            look = await self._looked(key[0], plan, end_ns, lambda: self._now_s() > tried_s)
            done = (look.past.reached_ns - plan.start_ns) / max(end_ns - plan.start_ns, 1)
            if done < _TRIED and look.past.state().status == "active":
                shorter, most_ticks = _shorter(look.past, plan, end_ns, done)
                look = await self._looked(key[0], shorter, end_ns, lambda: self._now_s() > deadline_s, most_ticks)
        look.used_s = self._now_s()
        await self._go_on(look, end_ns, lambda: self._now_s() > deadline_s)
        if len(self._kept) < MOST_KEPT:
            self._kept[key] = look
        return look

    async def _looked(
        self, rule: AlertRule, plan: PastPlan, end_ns: int, stop: Callable[[], bool], most_ticks: int | None = None
    ) -> _Look:
        """Look back from a plan's beginning."""
        look = _Look(AlertPast(rule, plan))
        await look.past.begin(self._store, partial(asyncio.get_running_loop().run_in_executor, self._threads))
        await self._go_on(look, end_ns, stop, most_ticks)
        return look

    async def _go_on(self, look: _Look, end_ns: int, stop: Callable[[], bool], most_ticks: int | None = None) -> None:
        """Take a machine as far as there is something stored, or until it is told to stop."""
        machine, plan = look.past, look.past.plan
        if not plan.ticks:
            step_ns = timeframe_ns(plan.timeframe)
            end_ns = end_ns // step_ns * step_ns  # bars are taken when they have closed
        if end_ns <= machine.reached_ns or machine.state().status != "active":
            return
        past = await past_of(
            self._store,
            plan.symbols,
            timeframe=plan.timeframe,
            start_ns=machine.reached_ns,
            end_ns=end_ns,
            most_ticks=(most_ticks or MOST_TICKS) if plan.ticks else 0,
        )
        look.of_ticks = look.of_ticks or past.ticks > 0
        if past.bars_until_ns is not None:
            look.bars_until_ns = past.bars_until_ns
        loop, cancelled = asyncio.get_running_loop(), False

        def halted() -> bool:
            return cancelled or stop()

        portions = past_ticks(self._store, past, machine.symbols, last_ids=machine.last_ids)
        try:
            async for portion in portions:
                if not await loop.run_in_executor(self._threads, machine.feed, portion, halted):
                    return
                if machine.state().status != "active":
                    return
        finally:
            cancelled = True
            await portions.aclose()  # type: ignore[attr-defined]  # a generator is behind it


def _shorter(tried: AlertPast, plan: PastPlan, end_ns: int, done: float) -> tuple[PastPlan, int | None]:
    """Return what there is time for, after a trial that took a quarter of it: fewer trades, or a later beginning.

    Where trades take the time, bars can stand for the older ones.
    """
    steps = max((tried.reached_ns - plan.start_ns) // plan.step_ns, 1)
    if plan.ticks and tried.ticks > _MANY * steps:
        return plan, max(tried.ticks // 2, 1)
    left_ns = max(round((end_ns - plan.start_ns) * done / _TRIED * 0.5), _NOW_NS)
    return plan._replace(start_ns=(end_ns - left_ns) // _MINUTE_NS * _MINUTE_NS), None


def _told(look: _Look, view: Mapping[str, Any], asked_ns: int) -> dict[str, Any]:
    machine = look.past
    state = machine.state()
    firings = [firing for firing in machine.firings if firing.time_ns >= asked_ns]
    newest = firings[::-1][:_SHOWN]
    paused = firings[-1].time_ns // _MS if state.status == "paused" and firings else None
    return {
        "values": view["values"],
        "distance": view["distance"],
        "holds": view["holds"],
        "reason": view.get("reason") or "",
        "fired": len(firings),
        "suppressed": state.suppressed,
        "paused": paused,
        "times": [firing.time_ns // _MS for firing in newest],
        "marks": [{"timestamp": f.time_ns // _MS, "value": None if isnan(f.value) else f.value} for f in newest],
        "from": None if machine.first_ns is None else max(machine.first_ns, asked_ns) // _MS,
        "to": machine.reached_ns // _MS,
    }


def _basis(look: _Look, asked_ns: int) -> str:
    """Say in words what was looked at."""
    machine, plan = look.past, look.past.plan
    bars = "one-second bars" if plan.timeframe == "1s" else "one-minute bars"
    if machine.first_ns is None:
        return f"nothing is stored of {' and '.join(plan.symbols)}"
    if look.bars_until_ns is not None and look.of_ticks:
        said = f"from {bars} up to {_clock(look.bars_until_ns)} UTC, from trades since"
    elif look.bars_until_ns is not None:
        said = f"from {bars}"
    else:
        said = f"from {machine.ticks:,} trades"
    if plan.step_ns < _MINUTE_NS and plan.ticks:
        said += f", looked at every {plan.step_ns // 10**9} s"
    if plan.start_ns > asked_ns:
        said += f"; before {_clock(plan.start_ns)} UTC would take too long"
    return said


def _nothing(rule: AlertRule, why: str) -> dict[str, Any]:
    none: list[None] = [None] * len(rule.conditions)
    return {
        "values": none,
        "distance": list(none),
        "holds": [False] * len(none),
        "reason": why,
        "fired": None,
        "suppressed": 0,
        "paused": None,
        "times": [],
        "marks": [],
        "from": None,
        "to": None,
        "complete": False,
        "basis": why,
    }


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%d %b %H:%M")
