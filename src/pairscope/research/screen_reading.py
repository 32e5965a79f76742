"""What continuous screens lack, read from the store in portions, again where the store refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog

from pairscope.errors import StorageError
from pairscope.ports import LiveView, TickStore
from pairscope.research.screen_line import ScreenLine
from pairscope.research.stored_bars import Span, read_market

__all__ = ["ScreenReading"]

READ_REST_S: Final = 1.0
AGAIN_S: Final = 1.0

_log = structlog.get_logger(__name__)


class ScreenReading:
    """Fills screens' lines with stored bars; ``changed`` is told of a line that was filled, ``refused`` counts."""

    def __init__(
        self,
        lines: Collection[ScreenLine],
        store: TickStore,
        live: LiveView,
        *,
        changed: Callable[[ScreenLine], None],
        now_s: Callable[[], float],
    ) -> None:
        self.refused = 0
        self._lines = lines
        self._store = store
        self._live = live
        self._changed = changed
        self._now_s = now_s
        self._lacks = asyncio.Event()

    def wake(self) -> None:
        """Have what is lacking read."""
        self._lacks.set()

    async def run(self) -> None:
        """Read what is lacking, for ever."""
        while True:
            began_s = self._now_s()
            for line in self._lines:
                if line.lacking:
                    await self._read(line)
            # The store has others to serve; and what comes meanwhile is read in one go.
            await asyncio.sleep(max(READ_REST_S, self._now_s() - began_s))
            if not any(line.lacking for line in self._lines):
                self._lacks.clear()
                await self._lacks.wait()

    async def _read(self, line: ScreenLine) -> None:
        """Read what a screen lacks; a store that refuses is asked again later."""
        wanted = line.begin_reading()
        try:
            async for bars in read_market(self._store, self._live, line.timeframe, line.lookback, wanted):
                line.fill(bars)
        except StorageError as error:
            self.refused += 1
            _lack_again(line, wanted)
            _log.warning("a screen waits for the store", screen=line.name, error=str(error))
            await asyncio.sleep(AGAIN_S)
        except BaseException:
            _lack_again(line, wanted)
            raise
        finally:
            line.reading = False
        self._changed(line)


def _lack_again(line: ScreenLine, wanted: Mapping[str, Span]) -> None:
    for name, span in wanted.items():
        line.lack([name], span)
