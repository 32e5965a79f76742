"""Screens that nobody keeps up to date: read from the store and computed when asked for, kept while they are new."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final

from pairscope.errors import Busy, InputError
from pairscope.market.bars import timeframe_ns
from pairscope.ports import LiveView, TickStore
from pairscope.research.background import quiet_threads
from pairscope.research.market_tape import MarketTape
from pairscope.research.moving_screen import screen_closes
from pairscope.research.standing import Standing
from pairscope.research.stored_bars import EVER, read_market

__all__ = ["MOST_SYMBOLS", "AskedScreens", "chosen_symbols"]

MOST_SYMBOLS: Final = 800
"""Symbols that are screened: of more, those in which most is traded."""

_MOST_WORK: Final = 1_500_000_000
"""Tests times bars that one question may take; a few seconds of one core."""

_MOST_ASKED: Final = 4
_KEPT: Final = 2
_SOME: Final = 10
_UNSTORED: Final = 16
"""Newest bars of a symbol that the store may not have yet."""

Key = tuple[str, int, int, int]


class AskedScreens:
    """At most four questions at once, one of them computed; the last two answers are kept until a bar closes."""

    def __init__(self, store: TickStore, live: LiveView, *, tiles: Executor) -> None:
        self._store = store
        self._live = live
        self._tiles = tiles
        self._thread = quiet_threads(1, "screen-asked")
        self._asked: OrderedDict[Key, asyncio.Task[Standing]] = OrderedDict()

    async def table(self, timeframe: str, lookback: int, *, changes: int, number: Callable[[], int]) -> Standing:
        """Return the screen of the newest bars; ``changes`` grows with every correction of older ones.

        ``NotEnoughData`` where there is too little to test, ``InputError`` where it would be too much, ``Busy`` where
        too many are being computed.
        """
        key = (timeframe, lookback, self._live.watermark_ns() // timeframe_ns(timeframe), changes)
        task = self._asked.get(key)
        if task is None:
            if self.under_way() >= _MOST_ASKED:
                raise Busy(f"{_MOST_ASKED} screens are being computed already")
            task = asyncio.create_task(self._compute(timeframe, lookback, number), name=f"screen {timeframe}")
            self._asked[key] = task
            task.add_done_callback(partial(self._settle, key))
        # Who hangs up leaves alone: others may wait for the same.
        return await asyncio.shield(task)

    def under_way(self) -> int:
        """Return how many are being read or computed."""
        return sum(not task.done() for task in self._asked.values())

    def close(self) -> None:
        """Take nothing more, and drop what is under way."""
        for task in self._asked.values():
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _compute(self, timeframe: str, lookback: int, number: Callable[[], int]) -> Standing:
        names, left_out = chosen_symbols(self._live)
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
        async for bars in read_market(self._store, self._live, timeframe, lookback, dict.fromkeys(names, EVER)):
            tape.write(bars)
        for at, name in enumerate(names):
            tape.write(self._live.recent_bars(name, timeframe, _UNSTORED))
            if at % _SOME == _SOME - 1:
                await asyncio.sleep(0)  # many symbols let others through
        closes = tape.closes(names, left_out)
        work = partial(screen_closes, closes, timeframe, lookback, number=number(), executor=self._tiles)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _settle(self, key: Key, done: asyncio.Task[Standing]) -> None:
        """Forget what failed and what is old; looking at the error also says that somebody has seen it."""
        if done.cancelled() or done.exception() is not None:
            self._asked.pop(key, None)
        ended = [key for key, task in self._asked.items() if task.done()]
        for old in ended[:-_KEPT]:
            del self._asked[old]


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
