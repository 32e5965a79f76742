"""What live pairs and gauges lack of the past, read from the store: the most traded symbols first, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from pairscope.engine.pairs import Wanted
from pairscope.errors import StorageError
from pairscope.market.bars import BarBatch
from pairscope.ports import LiveView, TickStore

__all__ = ["LackingHistory"]

READERS: Final = 2
RETRY_S: Final = 1.0
LATEST_NS: Final = 9_223_372_036_854 * 1_000_000
_SPARE: Final = 64

_log = structlog.get_logger(__name__)


class Lacks(Protocol):
    """A book that has to be given bars before it can tell: live pairs, or the gauges of alerts."""

    def lacking(self) -> Sequence[Wanted]: ...

    def begin(self, wanted: Wanted) -> tuple[int, int] | None: ...

    def fill(self, wanted: Wanted, slots: int, bars: BarBatch) -> None: ...


class LackingHistory:
    """Reads what a book lacks. ``filled`` hears of what was read; ``reload`` has a symbol asked for again.

    ``refused`` counts how often the store said no; ``whose`` says in the log what waits for it then.
    """

    def __init__(
        self,
        book: Lacks,
        *,
        store: TickStore,
        live: LiveView,
        reload: Callable[[Sequence[str]], None],
        filled: Callable[[Wanted], None],
        whose: str,
    ) -> None:
        self._book = book
        self._store = store
        self._live = live
        self._reload = reload
        self._filled = filled
        self._whose = whose
        self.refused = 0

    async def read(self, *, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Read once all that is lacking; ``meanwhile`` is called behind each few symbols."""
        lacking = sorted(self._book.lacking(), key=lambda wanted: -self._traded(wanted.symbol))
        for first in range(0, len(lacking), READERS):
            await asyncio.gather(*(self._read(wanted) for wanted in lacking[first : first + READERS]))
            meanwhile()

    async def _read(self, wanted: Wanted) -> None:
        """Read one symbol's bars; a store that refuses is asked again later."""
        asked = self._book.begin(wanted)
        if asked is None:
            return
        start_ns, slots = asked
        try:
            bars = await self._store.bars(
                wanted.symbol, wanted.timeframe, start_ns, LATEST_NS, limit=slots + _SPARE, newest=True
            )
        except StorageError as error:
            self.refused += 1
            self._reload([wanted.symbol])
            _log.warning("history waits for the store", of=self._whose, symbol=wanted.symbol, error=str(error))
            await asyncio.sleep(RETRY_S)
            return
        self._book.fill(wanted, slots, bars)
        self._filled(wanted)

    def _traded(self, symbol: str) -> float:
        """Return what was traded of a symbol in a day, in quote units."""
        view = self._live.price(symbol)
        return 0.0 if view is None else float(view["price"]) * float(view["volume_24h"] or 0.0)
