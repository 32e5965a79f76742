"""Pages of bars: what the store holds, then what the engine has closed since, then the open bar.

The rule of a page: a cursor is the first open time that the following page may hold, which is the last bar's close.
So pages follow each other without a bar missed or repeated, whatever is closed between two requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairscope.api.parameters import MAX_NS
from pairscope.errors import InputError
from pairscope.market.bars import BarBatch, Origin, concat_bars, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1
from pairscope.ports import Services

__all__ = ["BarPage", "fill_page", "live_bars", "newest_bars", "read_page", "warm_page"]

_UNSTORED = 120
"""Closed bars that may still be on their way to the store."""
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class BarPage:
    """Bars of one symbol, oldest first; ``closed`` says which are final, ``next_cursor`` where the next page begins."""

    bars: BarBatch
    closed: B1
    next_cursor: str | None


async def newest_bars(services: Services, symbol: str, timeframe: str, limit: int, end_ns: int = MAX_NS) -> BarPage:
    """Return the newest ``limit`` bars that open before ``end_ns``, the open one included."""
    stored = await services.store.bars(symbol, timeframe, 0, end_ns, limit=limit, newest=True)
    bars, closed = _with_live(services, stored, symbol, timeframe, 0, end_ns)
    keep = slice(max(0, len(bars) - limit), None)
    return BarPage(bars.take(keep), closed[keep], None)


async def live_bars(services: Services, symbol: str, timeframe: str, count: int) -> BarPage:
    """Return the newest bars as the stream's publisher sees them, from memory; from the store where none are there."""
    bars = services.live.recent_bars(symbol, timeframe, count, with_open=True)
    if not len(bars):
        return await newest_bars(services, symbol, timeframe, count)
    return BarPage(bars, bars.ts_open_ns + timeframe_ns(timeframe) <= services.live.watermark_ns(), None)


async def read_page(
    services: Services, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, cursor: str | None
) -> BarPage:
    """Return the first ``limit`` bars that open in [start, end), from the cursor on."""
    if cursor is not None:
        start_ns = max(start_ns, _read_cursor(cursor))
    if start_ns >= end_ns:
        return _none(symbol, timeframe)
    stored = await services.store.bars(symbol, timeframe, start_ns, end_ns, limit=limit + 1)
    bars, closed = stored, np.ones(len(stored), np.bool_)
    if len(stored) <= limit:
        bars, closed = _with_live(services, stored, symbol, timeframe, start_ns, end_ns)
    if len(bars) <= limit:
        return BarPage(bars, closed, None)
    after_ns = int(bars.ts_open_ns[limit - 1]) + timeframe_ns(timeframe)
    return BarPage(bars.take(slice(0, limit)), closed[:limit], str(after_ns // _MS))


async def warm_page(services: Services, page: BarPage, symbol: str, timeframe: str, warmup: int) -> BarPage:
    """Put up to ``warmup`` closed bars before a page, so that what is computed over it has settled where it begins."""
    if not len(page.bars) or warmup <= 0:
        return page
    begin_ns = int(page.bars.ts_open_ns[0])
    before = await newest_bars(services, symbol, timeframe, warmup, begin_ns)
    closed = np.concatenate([before.closed, page.closed])
    return BarPage(_join(symbol, before.bars, page.bars), closed, page.next_cursor)


async def fill_page(
    services: Services,
    symbol: str,
    timeframe: str,
    start_ns: int,
    end_ns: int,
    *,
    limit: int,
    cursor: str | None,
    newest: bool,
) -> BarPage:
    """Return a page in which every slot has a bar: one without a trade repeats the close before it, with volume 0.

    It begins at the first bar there is, or with ``newest`` so that ``limit`` slots end at the last one.
    """
    step = timeframe_ns(timeframe)
    last_ns = await _last_slot(services, symbol, timeframe, end_ns)
    if cursor is not None:
        start_ns = max(start_ns, _read_cursor(cursor))
    first_ns = max(0, last_ns - (limit - 1) * step if newest else -(-start_ns // step) * step)
    before = await services.store.bars(symbol, timeframe, 0, first_ns, limit=1, newest=True)
    if not len(before):
        found = await read_page(services, symbol, timeframe, first_ns, end_ns, limit=1, cursor=None)
        first_ns = int(found.bars.ts_open_ns[0]) if len(found.bars) else last_ns + step
    stop_ns = min(last_ns + step, first_ns + limit * step)
    if first_ns >= stop_ns:
        return _none(symbol, timeframe)
    page = await read_page(services, symbol, timeframe, first_ns, stop_ns, limit=limit, cursor=None)
    slots = np.arange(first_ns, stop_ns, step, dtype=np.int64)
    bars = _filled(_join(symbol, before, page.bars), slots)
    closed = np.ones(slots.size, np.bool_)
    if not page.closed.all():
        closed = slots < page.bars.ts_open_ns[~page.closed][0]
    return BarPage(bars, closed, str(stop_ns // _MS) if stop_ns <= last_ns else None)


async def _last_slot(services: Services, symbol: str, timeframe: str, end_ns: int) -> int:
    """Return the last open time that a filled page may hold: of the newest bar, or of the newest slot that is over."""
    step = timeframe_ns(timeframe)
    newest = (await newest_bars(services, symbol, timeframe, 1, end_ns)).bars
    over_ns = min((services.live.watermark_ns() // step - 1) * step, (end_ns - 1) // step * step)
    return max(over_ns, int(newest.ts_open_ns[-1])) if len(newest) else over_ns


def _with_live(
    services: Services, stored: BarBatch, symbol: str, timeframe: str, start_ns: int, end_ns: int
) -> tuple[BarBatch, B1]:
    """Put behind stored bars what the engine closed since, and what is still open.

    The engine is asked after the store has answered, so that nothing can have gone from the one to the other unseen.
    """
    live = services.live
    recent = live.recent_bars(symbol, timeframe, _UNSTORED, with_open=True)
    after_ns = int(stored.ts_open_ns[-1]) if len(stored) else start_ns - 1
    recent = recent.take((recent.ts_open_ns > after_ns) & (recent.ts_open_ns < end_ns))
    bars = _join(symbol, stored, recent)
    closed = np.ones(len(bars), np.bool_)
    closed[len(stored) :] = recent.ts_open_ns + timeframe_ns(timeframe) <= live.watermark_ns()
    return bars, closed


def _filled(bars: BarBatch, slots: NDArray[np.int64]) -> BarBatch:
    """Lay bars out on slots; the first slot has a bar at or before it."""
    at = np.searchsorted(bars.ts_open_ns, slots, side="right") - 1
    laid = bars.take(at)
    empty = laid.ts_open_ns != slots
    return replace(
        laid,
        ts_open_ns=slots,
        open=np.where(empty, laid.close, laid.open),
        high=np.where(empty, laid.close, laid.high),
        low=np.where(empty, laid.close, laid.low),
        volume=np.where(empty, 0.0, laid.volume),
        quote_volume=np.where(empty, 0.0, laid.quote_volume),
        buy_volume=np.where(empty, 0.0, laid.buy_volume),
        trades=np.where(empty, 0, laid.trades),
        first_id=np.where(empty, -1, laid.first_id),
        last_id=np.where(empty, -1, laid.last_id),
        origin=np.where(empty, np.int8(Origin.OWN), laid.origin),
    )


def _read_cursor(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and int(cursor) * _MS <= MAX_NS):
        raise InputError("not a cursor of this listing; send `next` of the page before", loc="cursor")
    return int(cursor) * _MS


def _join(symbol: str, *parts: BarBatch) -> BarBatch:
    """Join bars of one symbol that come from different symbol tables."""
    table = Symbols([symbol])
    return concat_bars([replace(part, symbols=table, symbol_id=np.zeros(len(part), np.int32)) for part in parts])


def _none(symbol: str, timeframe: str) -> BarPage:
    return BarPage(BarBatch.empty(Symbols([symbol]), timeframe), np.empty(0, np.bool_), None)
