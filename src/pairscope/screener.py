"""The continuous screen: the whole market tested again at every close, beside everything else and in nobody's way."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Final

import orjson
import structlog

from pairscope.engine.data_processor import Updates
from pairscope.errors import Busy, InputError, NotEnoughData, NumericalError, PairscopeError
from pairscope.market.bars import BarBatch
from pairscope.ports import Bus, LiveView, Records, TickStore
from pairscope.ports_research import Jobs, JobView
from pairscope.research.asked_screens import AskedScreens, chosen_symbols
from pairscope.research.background import compiled, quiet_threads
from pairscope.research.kept_nulls import KeptNulls
from pairscope.research.moving_screen import load_kernels
from pairscope.research.screen_line import ScreenLine
from pairscope.research.screen_reading import ScreenReading
from pairscope.research.screen_records import ScreenRecords
from pairscope.research.standing import Standing
from pairscope.research.stored_bars import EVER, Span

__all__ = ["TOPIC", "Screener"]

TOPIC: Final = "discoveries"
TOLD: Final = 100
"""Newest events in a message of the topic."""
COMPILED_S: Final = 8.0
"""Who asks for a screen waits so long for the kernels to be compiled, then is told to come again."""
RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
SETTLE_S: Final = 1.0
"""Corrected bars and history are waited for so long before a screen that no close asked for."""
REST: Final = 4.0
"""Times its own duration that a screen rests before another one that no close asked for."""

_log = structlog.get_logger(__name__)


class Screener:
    """``MarketScreen`` over a store, an engine's closes and records; ``run`` keeps the screens going, for ever.

    Each of ``settings`` is tested again when its timeframe closes: one screen at a time, in threads of low priority; a
    close that comes meanwhile has the next screen use the newest bars. Bars come from the engine as they close, and
    from the store at the start and where others came to be known.
    """

    def __init__(
        self,
        settings: Sequence[tuple[str, int]],
        *,
        store: TickStore,
        records: Records,
        bus: Bus,
        live: LiveView,
        jobs: Jobs,
        surrogates: int = 0,
        prepare: Callable[[], Awaitable[None]] = compiled,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._lines = {setting: ScreenLine(*setting) for setting in settings}
        self._bus = bus
        self._live = live
        self._prepare = prepare
        self._now_s = now_s
        self._closing = threading.Event()
        self._woken = asyncio.Event()
        self._screened = asyncio.Event()
        self._free = threading.Event()
        self._free.set()
        self._thread = quiet_threads(1, "screen")
        self._tiles = quiet_threads(max(1, (os.cpu_count() or 1) - 1), "screen-tiles")
        self._reading = ScreenReading(self._lines.values(), store, live, changed=self._changed, now_s=now_s)
        self._kept = ScreenRecords(records)
        self._jobs = jobs
        self._asked = AskedScreens(store, live, jobs, tiles=self._tiles, ready=self._ready, number=self._next_number)
        self._nulls = KeptNulls(jobs, records, daily=surrogates, free=self._free)
        self._preparing: asyncio.Task[None] | None = None
        self._number = 0
        self._changes = 0
        self._restarted = 0

    # -- MarketScreen --------------------------------------------------------------------------------------------------

    def continuous(self) -> list[tuple[str, int]]:
        """Return (timeframe, lookback) of the screens that are kept up to date."""
        return list(self._lines)

    async def table(self, timeframe: str, lookback: int, symbols: Sequence[str] = ()) -> Standing:
        """Return the newest screen; one that is not kept up to date, or not yet, is computed from stored bars.

        So is one of ``symbols`` alone, which need not be followed.

        ``NotEnoughData`` where there is too little to test, ``InputError`` where it would be too much, ``Busy`` where
        too many are being computed, ``JobCancelled`` where somebody did not want it any more.
        """
        ready = None if symbols else self._standing(timeframe, lookback)
        if ready is not None:
            return self._beside_null(ready)
        try:
            async with asyncio.timeout(COMPILED_S):
                await self._ready()
        except TimeoutError:
            raise Busy("what a screen needs is still being compiled, as at every first start") from None
        return self._beside_null(await self._asked.table(timeframe, lookback, symbols, changes=self._changes))

    async def ask(self, timeframe: str, lookback: int, symbols: Sequence[str] = ()) -> Standing | JobView:
        """Return the newest screen where it is there, else the job that computes it; ``Busy`` as ``table``."""
        ready = None if symbols else self._standing(timeframe, lookback)
        if ready is not None:
            return self._beside_null(ready)
        job = self._asked.ask(timeframe, lookback, symbols, changes=self._changes)
        return job if job.status != "done" else await self.answer(job.id)

    async def answer(self, job: str) -> Standing:
        """Return the screen that a job of ``ask`` computed; ``UnknownJob`` where it was let go of."""
        return self._beside_null(await self._asked.answer(job))

    def ask_null(self, timeframe: str, lookback: int, surrogates: int) -> JobView | None:
        """Have surrogates of the market screened; None where so many are known of today already."""
        now_ms = self._live.watermark_ns() // 1_000_000
        if self._nulls.enough(timeframe, lookback, surrogates, now_ms):
            return None
        return self._nulls.ask(timeframe, lookback, surrogates, partial(self.table, timeframe, lookback))

    async def null(self, timeframe: str, lookback: int, surrogates: int) -> None:
        """Wait until so many surrogates of the market are known; what kept them from being screened is raised."""
        job = self.ask_null(timeframe, lookback, surrogates)
        if job is not None:
            await self._nulls.made(job.id)

    def history(self, y: str, x: str, timeframe: str, lookback: int) -> Mapping[str, Any]:
        """Return a pair's q-values over time; ``InputError`` where no history is kept of such a screen."""
        line = self._lines.get((timeframe, lookback))
        if line is None:
            kept = ", ".join(f"{name} of {bars:,} bars" for name, bars in self._lines) or "none"
            raise InputError(
                f"lookback: no history is kept of screens of {lookback:,} {timeframe} bars",
                loc="lookback",
                hint=f"it is kept of: {kept}",
            )
        return line.history(y, x)

    def discoveries(
        self, limit: int = TOLD, *, timeframe: str | None = None, lookback: int | None = None
    ) -> Mapping[str, Any]:
        """Return who entered and who left, newest first, and where each screen stands: what the topic says."""
        lines = [
            line
            for line in self._lines.values()
            if timeframe in {None, line.timeframe} and lookback in {None, line.lookback}
        ]
        events = [event for line in lines for event in line.discoveries.events(limit)]
        events.sort(key=lambda event: -int(event["timestamp"]))
        return {"discoveries": events[:limit], "screens": [line.told() for line in lines], "next": None}

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of the screens, for ``/api/stats``."""
        return {
            **{line.name: line.counters() for line in self._lines.values()},
            "asked": self._asked.under_way(),
            "refused": self._reading.refused + self._kept.refused + self._nulls.refused,
            "restarted": self._restarted,
            "nulls": self._nulls.kept,
        }

    def _standing(self, timeframe: str, lookback: int) -> Standing | None:
        """Return the newest of a screen that is kept up to date."""
        line = self._lines.get((timeframe, lookback))
        return None if line is None else line.standing

    def _beside_null(self, standing: Standing) -> Standing:
        """Return a screen with what surrogates of the market offer, where that is known."""
        null = None if standing.chosen else self._nulls.of(standing.timeframe, standing.lookback)
        return standing if null is None else replace(standing, null=null)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def take(self, updates: Updates) -> None:
        """Take what a batch closed or corrected. O(symbols) where something did."""
        for line in self._lines.values():
            for bars in updates.closed:
                if bars.timeframe == line.timeframe:
                    self._closed(line, bars)
            for bars in updates.revised:
                if bars.timeframe == line.timeframe:
                    line.put(bars, self._now_s())
                    self._changed(line)
        self._changes += len(updates.revised)

    def bars_came(self, bars: BarBatch) -> None:
        """Have stored bars read again of which the engine told nothing: fetched from the exchange, or rebuilt."""
        if len(bars):
            span = int(bars.ts_open_ns.min()), int(bars.ts_open_ns.max()) + 1
            self.history_came({bars.symbols[i] for i in set(bars.symbol_id.tolist())}, span)

    def history_came(self, symbols: Iterable[str], span: Span = EVER) -> None:
        """Have the stored bars of symbols read again, of a time or all of them."""
        names = list(symbols)
        self._changes += 1
        for line in self._lines.values():
            line.lack(names, span)
        self._reading.wake()

    def _closed(self, line: ScreenLine, bars: BarBatch) -> None:
        line.put(bars, self._now_s())
        line.closes += 1
        line.lack({bars.symbols[i] for i in bars.symbol_id.tolist()} - line.known)
        if line.lacking:
            self._reading.wake()
        self._woken.set()

    def _changed(self, line: ScreenLine) -> None:
        """Have a screen computed anew when things have settled."""
        if line.changed_s is None:
            line.changed_s = self._now_s()
        self._woken.set()

    # -- what goes on --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what screens lack and screen what has closed, until cancelled; what dies begins again."""
        if not self._lines:
            return
        await self.restore()
        self.history_came(self._live.symbols())
        await asyncio.gather(
            *(
                self._kept_going(what, work)
                for what, work in (
                    ("reading", self._reading.run),
                    ("screening", self._screen_on),
                    ("null", self._null_on),
                )
            )
        )

    async def restore(self) -> None:
        """Take up what an earlier run kept: discoveries, and the market's own nulls."""
        for line in self._lines.values():
            await self._kept.restore(line)
        await self._nulls.restore()

    def close(self) -> None:
        """Take nothing more; what is being screened ends at its next tile."""
        self._closing.set()
        self._free.set()
        self._asked.close()
        self._nulls.close()
        if self._preparing is not None:
            self._preparing.cancel()
        for pool in (self._thread, self._tiles):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _kept_going(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a piece of work again whenever it dies, after a pause that doubles."""
        pause_s = RETRY_S
        while True:
            began_s = self._now_s()
            try:
                await work()
            except Exception:  # noqa: BLE001 - logged in full and counted; the live market must not end with its screen
                _log.exception("a part of the continuous screen died", part=what, again_in_s=pause_s)
            self._restarted += 1
            await asyncio.sleep(pause_s)
            lived = self._now_s() - began_s > 2 * LONGEST_RETRY_S
            pause_s = RETRY_S if lived else min(2 * pause_s, LONGEST_RETRY_S)

    # -- screening -----------------------------------------------------------------------------------------------------

    async def _screen_on(self) -> None:
        await self._ready()
        while True:
            line = self._due()
            if line is None:
                await self._rest()
            else:
                await self.screen(line.timeframe, line.lookback)

    async def _ready(self) -> None:
        """Wait until the kernels are there; whoever is first has them compiled."""
        task = self._preparing
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._preparing = asyncio.create_task(self._load(), name="screen kernels")
        await asyncio.shield(task)

    async def _load(self) -> None:
        await self._prepare()
        await asyncio.get_running_loop().run_in_executor(self._thread, load_kernels)

    async def _rest(self) -> None:
        """Wait until something comes, or what has come has settled."""
        now_s = self._now_s()
        waits = [
            max(line.changed_s + SETTLE_S, line.rest_until_s) - now_s
            for line in self._lines.values()
            if line.changed_s is not None and line.ready
        ]
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, min(waits)) if waits else None):
                await self._woken.wait()

    def _due(self) -> ScreenLine | None:
        """Return the line to screen next: one that closed, else one that changed and has settled; as they were set."""
        now_s = self._now_s()
        ready = [line for line in self._lines.values() if line.ready]
        for line in ready:
            if line.closes and (now_s >= line.rest_until_s or not line.failures):
                return line
        for line in ready:
            if line.changed_s is not None and now_s >= max(line.changed_s + SETTLE_S, line.rest_until_s):
                return line
        return None

    async def screen(self, timeframe: str, lookback: int) -> None:
        """Screen one of the settings on what has closed by now, keep what was discovered, and tell of it."""
        line = self._lines[timeframe, lookback]
        symbols, left_out = chosen_symbols(self._live)
        work = partial(
            line.work,
            line.begin(),
            symbols,
            left_out,
            number=self._next_number(),
            executor=self._tiles,
            cancelled=self._closing.is_set,
        )
        began_s = self._now_s()
        self._free.clear()
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (NotEnoughData, NumericalError) as error:
            line.standing, line.waits_for = None, str(error)
            return
        except Exception:  # noqa: BLE001 - logged in full and counted; the next close is screened all the same
            self._failed(line)
            return
        finally:
            self._free.set()
        took_s = self._now_s() - began_s
        line.failures, line.rest_until_s = 0, self._now_s() + REST * took_s
        if done is not None:
            standing, document = done
            line.ended(standing, took_s)
            self._bus.publish(TOPIC, orjson.dumps(self.discoveries()))
            await self._kept.keep(line, document)
            self._screened.set()

    def _failed(self, line: ScreenLine) -> None:
        """Have a screen that raised begin anew from the store, after a pause that doubles."""
        line.counts["failed"] += 1
        pause_s = min(RETRY_S * 2.0**line.failures, LONGEST_RETRY_S)
        line.failures += 1
        line.rest_until_s = self._now_s() + pause_s
        line.lack(line.known)
        self._reading.wake()
        self._changed(line)
        _log.exception("a screen failed", screen=line.name, again_in_s=pause_s)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    # -- the market's own null -----------------------------------------------------------------------------------------

    async def _null_on(self) -> None:
        """Have surrogates of the market screened once a day, when a screen says so."""
        while True:
            await self._screened.wait()
            self._screened.clear()
            for line in self._lines.values():
                standing = line.standing
                if standing is None or line.changed_s is not None or not self._nulls.due(standing):
                    continue
                with suppress(PairscopeError):  # its job says it; tomorrow is another day
                    await self.null(line.timeframe, line.lookback, self._nulls.daily)
