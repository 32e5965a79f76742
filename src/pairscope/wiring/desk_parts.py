"""The parts of an instance that work in one replica only: taken up when it becomes the desk, at rest until then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import structlog

from pairscope.alerts import SharedFirings
from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.errors import StoreUnavailable
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.wiring.instance import Instance

__all__ = ["DeskParts", "TradesBefore"]

_log = structlog.get_logger(__name__)

REMEMBERED_NS: Final = 30_000_000_000
MOST_ROWS: Final = 300_000
"""Ticks of the time before that are judged when a replica becomes the desk: at most these."""


class TradesBefore:
    """What rules see of the engine; while past batches are judged, not the trades that are in these batches."""

    def __init__(self, engine: DataProcessor) -> None:
        self._engine = engine
        self.hidden: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def last_trade(self, symbol: str) -> tuple[int, float, int] | None:
        """Return (trade id, price, event time) of a symbol's newest tick, None of one whose ticks are to be judged."""
        return None if symbol in self.hidden else self._engine.last_trade(symbol)


class DeskParts:
    """Rules, deliveries, positions, screens, jobs, backtests and the keeping of the store, as one thing that works.

    Also the rules that a pipeline steps: while the desk is elsewhere it only remembers the last batches. Once it is
    here they are judged first, from where the desk before had come, so that what came while no replica was the desk
    is judged too; a firing that was kept already is refused by its key.
    """

    def __init__(self, instance: Instance, trades: TradesBefore, shared: SharedFirings | None = None) -> None:
        self._shared = shared
        self._instance = instance
        self._trades = trades
        self._past: deque[tuple[TickBatch, Updates | None]] = deque()
        self._rows = 0
        self._taken_up = False
        self.is_open = False

    # -- what the desk asks of its work --------------------------------------------------------------------------------

    async def overhear(self) -> None:
        """Know how far the desk's alerts have come, for those who listen to them here."""
        await self._instance.alerts.overhear()

    async def restore(self) -> None:
        """Take up what records hold. The second time needs a process of its own: ``StoreUnavailable``."""
        if self._taken_up:
            raise StoreUnavailable("this replica was the desk before and has to start again to be it once more")
        self._taken_up = True
        await self._instance.restore_desk()

    def runs(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what is to run while the desk is here, by name."""
        return self._instance.desk_work()

    def open(self) -> None:
        """Judge what came lately, then every batch as it comes."""
        self.is_open = True
        past, self._past, self._rows = self._not_judged(), deque(), 0
        self._trades.hidden = frozenset(
            batch.symbols[i] for batch, _ in past for i in np.unique(batch.symbol_id).tolist()
        )
        for batch, updates in past:
            self._instance.alerts.on_ticks(batch)
            if updates is not None:
                self._step(updates)
        self._trades.hidden = frozenset()
        _log.info("the desk is here", judged_batches=len(past))

    def shut(self) -> None:
        """Judge no more."""
        self.is_open = False

    async def rest(self) -> None:
        """Cancel jobs, let deliveries end, and write what runs and positions came to, while that may be written."""
        await self._instance.jobs.close()
        await self._instance.backtests.close()
        await self._instance.paper.close()
        await self._instance.courier.close()

    # -- what a pipeline asks of rules ---------------------------------------------------------------------------------

    def on_ticks(self, batch: TickBatch) -> None:
        """Take a batch's ticks before the engine does."""
        if self.is_open:
            self._instance.alerts.on_ticks(batch)
            return
        self._past.append((batch, None))
        self._rows += len(batch)

    def on_updates(self, updates: Updates) -> None:
        """Take what the engine made of them."""
        if self.is_open:
            self._step(updates)
            return
        if self._past:
            batch, _ = self._past[-1]
            self._past[-1] = batch, updates
        oldest_ns = updates.watermark_ns - REMEMBERED_NS
        while self._past and (self._rows > MOST_ROWS or self._past[0][0].watermark_ns < oldest_ns):
            self._rows -= len(self._past.popleft()[0])

    def take(self) -> tuple[Sequence[Document], bool]:
        """Return what is to be stored of it, and whether at once."""
        return self._instance.alerts.take() if self.is_open else ((), False)

    async def tell(self) -> None:
        """Tell who listens of what came true."""
        if self.is_open:
            await self._instance.alerts.tell()

    def revise(self, batches: Sequence[BarBatch]) -> None:
        """Take closed bars that changed otherwise than by a batch."""
        self._instance.alerts.revise(batches)

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the history of symbols read again."""
        self._instance.alerts.reload(symbols)

    def screen(self, updates: Updates) -> None:
        """Let the screens take what closed."""
        if self.is_open:
            self._instance.screener.take(updates)

    def _not_judged(self) -> list[tuple[TickBatch, Updates | None]]:
        """Return what is remembered from behind the last batch that the desk before has judged."""
        past = list(self._past)
        judged_ns = 0 if self._shared is None else self._shared.judged_ns
        known = [i for i, (batch, _) in enumerate(past) if len(batch) and int(batch.ts_recv_ns.max()) <= judged_ns]
        return past[known[-1] + 1 :] if known else past

    def _step(self, updates: Updates) -> None:
        self._instance.positions.take(updates)
        self._instance.alerts.on_updates(updates)
