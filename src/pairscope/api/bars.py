"""Pages of bars: what the store holds, then what the engine has closed since, then the open bar.

The rule of a page: a cursor is the first open time that the following page may hold, which is the last bar's close.
So pages follow each other without a bar missed or repeated, whatever is closed between two requests.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pairscope.api.parameters import MAX_NS
from pairscope.errors import InputError
from pairscope.market.bars import BarBatch, Origin, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1
from pairscope.ports import Services

__all__ = ["BarPage", "fill_page", "newest_bars", "read_page", "warm_page"]

_UNSTORED = 120
"""Closed bars that may still be on their way to the store."""
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class BarPage:
    """Bars of one symbol, oldest first; ``closed`` says which are final, ``next_cursor`` where the next page begins."""

    bars: BarBatch
    closed: B1
    next_cursor: str | None

    def tail(self, first: int) -> BarPage:
        """Return the page from a row on."""
        return BarPage(_take(self.bars, slice(first, None)), self.closed[first:], self.next_cursor)


async def newest_bars(services: Services, symbol: str, timeframe: str, limit: int, end_ns: int = MAX_NS) -> BarPage:
    """Return the newest ``limit`` bars that open before ``end_ns``, the open one included."""
    stored = await services.store.bars(symbol, timeframe, 0, end_ns, limit=limit, newest=True)
    bars, closed = _with_live(services, stored, symbol, timeframe, 0, end_ns)
    keep = slice(max(0, len(bars) - limit), None)
    return BarPage(_take(bars, keep), closed[keep], None)


async def read_page(
    services: Services, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, cursor: str | None
) -> BarPage:
    """Return the first ``limit`` bars that open in [start, end), from the cursor on."""
    if cursor is not None:
        start_ns = max(start_ns, _read_cursor(cursor))
    if start_ns >= end_ns:
        return BarPage(_none(symbol, timeframe), np.empty(0, np.bool_), None)
    stored = await services.store.bars(symbol, timeframe, start_ns, end_ns, limit=limit + 1)
    bars, closed = stored, np.ones(len(stored), np.bool_)
    if len(stored) <= limit:
        bars, closed = _with_live(services, stored, symbol, timeframe, start_ns, end_ns)
    if len(bars) <= limit:
        return BarPage(bars, closed, None)
    after_ns = int(bars.ts_open_ns[limit - 1]) + timeframe_ns(timeframe)
    return BarPage(_take(bars, slice(0, limit)), closed[:limit], str(after_ns // _MS))


async def warm_page(services: Services, page: BarPage, symbol: str, timeframe: str, warmup: int) -> BarPage:
    """Put up to ``warmup`` closed bars before a page, so that what is computed over it has settled where it begins."""
    if not len(page.bars) or warmup <= 0:
        return page
    begin_ns = int(page.bars.ts_open_ns[0])
    before = await services.store.bars(symbol, timeframe, 0, begin_ns, limit=warmup, newest=True)
    closed = np.concatenate([np.ones(len(before), np.bool_), page.closed])
    return BarPage(_join(symbol, before, page.bars), closed, page.next_cursor)


async def fill_page(
    services: Services, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, cursor: str | None
) -> BarPage:
    """Return a page in which every slot has a bar: one without a trade repeats the close before it, with volume 0.

    It begins at the first bar there is. With ``start_ns`` 0 and no end, the newest ``limit`` slots.
    """
    step = timeframe_ns(timeframe)
    last_ns = await _last_slot(services, symbol, timeframe, end_ns)
    newest = start_ns == 0 and end_ns == MAX_NS and cursor is None
    if cursor is not None:
        start_ns = max(start_ns, _read_cursor(cursor))
    first_ns = last_ns - (limit - 1) * step if newest else -(-start_ns // step) * step
    before = await services.store.bars(symbol, timeframe, 0, max(first_ns, 0), limit=1, newest=True)
    if not len(before):
        found = await read_page(services, symbol, timeframe, max(first_ns, 0), end_ns, limit=1, cursor=None)
        first_ns = int(found.bars.ts_open_ns[0]) if len(found.bars) else last_ns + step
    stop_ns = min(last_ns + step, first_ns + limit * step)
    if first_ns >= stop_ns:
        return BarPage(_none(symbol, timeframe), np.empty(0, np.bool_), None)
    page = await read_page(services, symbol, timeframe, first_ns, stop_ns, limit=limit, cursor=None)
    slots = np.arange(first_ns, stop_ns, step, dtype=np.int64)
    bars = _filled(_join(symbol, before, page.bars), slots)
    closed = np.ones(slots.size, np.bool_)
    closed[np.isin(slots, page.bars.ts_open_ns[~page.closed])] = False
    return BarPage(bars, closed, str(stop_ns // _MS) if stop_ns <= last_ns else None)


async def _last_slot(services: Services, symbol: str, timeframe: str, end_ns: int) -> int:
    """Return the last open time that a filled page may hold."""
    step = timeframe_ns(timeframe)
    newest = await newest_bars(services, symbol, timeframe, 1, end_ns)
    last_ns = int(newest.bars.ts_open_ns[-1]) if len(newest.bars) else -step
    passed_ns = min(services.live.watermark_ns(), end_ns)
    return max(last_ns, (passed_ns // step - 1) * step if passed_ns else last_ns)


def _with_live(
    services: Services, stored: BarBatch, symbol: str, timeframe: str, start_ns: int, end_ns: int
) -> tuple[BarBatch, B1]:
    """Put behind stored bars what the engine closed since, and the open bar."""
    live = services.live
    open_bar = live.open_bar(symbol, timeframe)
    parts = [stored]
    after_ns = int(stored.ts_open_ns[-1]) if len(stored) else start_ns - 1
    for batch in (live.recent_bars(symbol, timeframe, _UNSTORED), open_bar):
        if batch is None or not len(batch):
            continue
        inside = (batch.ts_open_ns > after_ns) & (batch.ts_open_ns >= start_ns) & (batch.ts_open_ns < end_ns)
        parts.append(_take(batch, inside))
        after_ns = max(after_ns, int(batch.ts_open_ns[-1]))
    bars = _join(symbol, *parts)
    closed = np.ones(len(bars), np.bool_)
    if open_bar is not None and len(open_bar):
        closed[bars.ts_open_ns >= open_bar.ts_open_ns[-1]] = False
    return bars, closed


def _filled(bars: BarBatch, slots: NDArray[np.int64]) -> BarBatch:
    """Lay bars out on slots; the first slot has a bar at or before it."""
    at = np.searchsorted(bars.ts_open_ns, slots, side="right") - 1
    laid = _take(bars, at)
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


_COLUMNS = tuple(f.name for f in fields(BarBatch) if f.name not in {"symbols", "timeframe"})


def _take(bars: BarBatch, index: slice | NDArray[np.int64] | B1) -> BarBatch:
    return replace(bars, **{name: getattr(bars, name)[index] for name in _COLUMNS})


def _join(symbol: str, *parts: BarBatch) -> BarBatch:
    """Join bars of one symbol that come from tables with different symbol ids."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    columns["symbol_id"] = np.zeros(columns["symbol_id"].size, np.int32)
    return BarBatch(symbols=Symbols([symbol]), timeframe=parts[0].timeframe, **columns)


def _none(symbol: str, timeframe: str) -> BarBatch:
    i4, i8, f8 = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64)
    return BarBatch(
        Symbols([symbol]), timeframe, i4, i8, f8, f8, f8, f8, f8, f8, f8, i8, i8, i8, i4, np.empty(0, np.int8)
    )
