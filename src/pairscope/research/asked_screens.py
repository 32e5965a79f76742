"""Screens that nobody keeps up to date: jobs that read the store and compute, whose newest answers are kept a while."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from pairscope.errors import Busy, InputError, UnknownJob
from pairscope.market.bars import timeframe_ns
from pairscope.ports import LiveView, TickStore
from pairscope.ports_research import JobHandle, Jobs, JobView
from pairscope.research.closes import Closes
from pairscope.research.jobs import ANSWERS
from pairscope.research.market_tape import MarketTape
from pairscope.research.moving_screen import screen_closes
from pairscope.research.standing import Standing
from pairscope.research.stored_bars import EVER, read_market

__all__ = ["KIND", "MOST_SYMBOLS", "AskedScreens", "chosen_symbols"]

KIND: Final = "screen"

MOST_SYMBOLS: Final = 800
"""Symbols that are screened: of more, those in which most is traded."""

_MOST_WORK: Final = 1_500_000_000
"""Tests times bars that one question may take; a few seconds of one core."""

_MOST_ASKED: Final = 4
_SOME: Final = 10
_UNSTORED: Final = 16
"""Newest bars of a symbol that the store may not have yet."""

Key = tuple[str, int, tuple[str, ...], int, int]


class AskedScreens:
    """At most four questions at once, one of them computed; the last two answers are kept until a bar closes.

    ``ready`` is awaited before anything is computed: the kernels are there then.
    """

    def __init__(
        self,
        store: TickStore,
        live: LiveView,
        jobs: Jobs,
        *,
        tiles: Executor,
        ready: Callable[[], Awaitable[None]],
        number: Callable[[], int],
    ) -> None:
        self._store = store
        self._live = live
        self._jobs = jobs
        self._tiles = tiles
        self._ready = ready
        self._number = number
        self._asked: OrderedDict[Key, str] = OrderedDict()

    def ask(self, timeframe: str, lookback: int, symbols: Sequence[str] = (), *, changes: int) -> JobView:
        """Have the screen of the newest bars computed, or return the job that does it or has done it.

        Of all that are followed, or of ``symbols``. ``changes`` grows with every correction of older bars; ``Busy``
        where too many are being computed.
        """
        named = tuple(sorted(symbols))
        key = (timeframe, lookback, named, self._live.watermark_ns() // timeframe_ns(timeframe), changes)
        known = self._jobs.view(self._asked.get(key, ""))
        if known is not None and (known.ended_ms is None or known.id in self._kept()):
            return known
        if self.under_way() >= _MOST_ASKED:
            raise Busy(f"{_MOST_ASKED} screens are being computed already")
        name = secrets.token_hex(8)
        of = f"&symbols={','.join(map(quote, named))}" if named else ""
        read_so_far: list[tuple[Closes, int]] = []

        async def read() -> None:
            await self._ready()
            read_so_far.append((await self._closes(timeframe, lookback, named), self._number()))

        def work(job: JobHandle) -> Standing:
            closes, number = read_so_far[0]
            standing = screen_closes(
                closes,
                timeframe,
                lookback,
                number=number,
                executor=self._tiles,
                progress=job.progress,
                cancelled=job.cancelled,
            )
            return replace(standing, chosen=bool(named))

        view = self._jobs.start(
            KIND,
            f"every pair{f' of {len(named)} symbols' if named else ''} on {lookback:,} {timeframe} bars",
            work,
            result=f"/api/analytics/screen?timeframe={timeframe}&lookback={lookback}{of}&job={name}",
            id=name,
            read=read,
        )
        self._asked[key] = view.id
        self._forget()
        return view

    async def table(self, timeframe: str, lookback: int, symbols: Sequence[str] = (), *, changes: int) -> Standing:
        """Return the screen of the newest bars; whatever kept it from being computed is raised.

        Who hangs up leaves alone: others may wait for the same.
        """
        return await self.answer(self.ask(timeframe, lookback, symbols, changes=changes).id)

    async def answer(self, job: str) -> Standing:
        """Return what a job of ``ask`` computed; ``UnknownJob`` where that was let go of, or is no such job."""
        view = self._jobs.view(job)
        if view is None or view.kind != KIND:
            raise UnknownJob(job)
        standing: Standing = await self._jobs.wait(job)
        return standing

    def under_way(self) -> int:
        """Return how many are being read or computed."""
        views = [self._jobs.view(job) for job in self._asked.values()]
        return sum(view is not None and view.status in {"queued", "running"} for view in views)

    def close(self) -> None:
        """Drop what is under way."""
        for job in self._asked.values():
            self._jobs.cancel(job)

    async def _closes(self, timeframe: str, lookback: int, named: Sequence[str]) -> Closes:
        """Read the market as it is now, or the newest bars of the symbols that are named."""
        names, left_out = (list(named), {}) if named else chosen_symbols(self._live)
        if not names:
            names = [summary.symbol for summary in await self._store.symbols()][:MOST_SYMBOLS]
        tests = len(names) * (len(names) - 1)
        if tests * lookback > _MOST_WORK:
            raise InputError(
                f"lookback: {lookback:,} bars of {len(names)} symbols are more than one question may test",
                loc="lookback",
                hint=f"at most {_MOST_WORK // tests:,} bars",
            )
        tape = MarketTape(timeframe, lookback)
        if named:
            for name in names:
                tape.write(await self._store.bars(name, timeframe, *EVER, limit=tape.slots, newest=True))
        else:
            async for bars in read_market(self._store, self._live, timeframe, lookback, dict.fromkeys(names, EVER)):
                tape.write(bars)
        for at, name in enumerate(names):
            tape.write(self._live.recent_bars(name, timeframe, _UNSTORED))
            if at % _SOME == _SOME - 1:
                await asyncio.sleep(0)  # many symbols let others through
        return tape.closes(names, left_out)

    def _forget(self) -> None:
        """Forget what failed and what is old."""
        kept = self._kept()
        for key, job in list(self._asked.items()):
            view = self._jobs.view(job)
            if view is None or (view.ended_ms is not None and view.id not in kept):
                del self._asked[key]

    def _kept(self) -> list[str]:
        """Return the jobs whose answers are still there."""
        return [view.id for view in self._jobs.views(KIND) if view.status == "done"][:ANSWERS]


def chosen_symbols(live: LiveView) -> tuple[list[str], Mapping[str, str]]:
    """Return the symbols to screen, and those that are left out because there are too many, with the reason."""
    names = list(live.symbols())
    if len(names) <= MOST_SYMBOLS:
        return names, {}
    views: dict[str, Any] = {name: live.price(name) or {} for name in names}
    traded = {
        name: float(view.get("price") or 0.0) * float(view.get("volume_24h") or 0.0) for name, view in views.items()
    }
    names.sort(key=lambda name: (-traded[name], name))
    reason = f"is not among the {MOST_SYMBOLS} symbols in which most is traded"
    return names[:MOST_SYMBOLS], dict.fromkeys(names[MOST_SYMBOLS:], reason)
