"""Trades that an export wrote, into a store: the file is judged whole, compared with what is held, and then stored.

The rows of a file take the way of the exchange's archive files: block by block, and a kill loses nothing. To read a
file again changes nothing; one that was broken off is simply read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any, Final, Protocol

import numpy as np

from pairscope.errors import ForeignFile
from pairscope.feed.exchange_import import Progress, each, runner
from pairscope.feed.older_ticks import MINUTE_NS, OlderTicks, Shelf
from pairscope.market.continuity import HeldIds
from pairscope.market.ticks import TickBatch
from pairscope.ports import Clock, TickStore

__all__ = ["TradeFile", "import_ticks"]

_MS: Final = 1_000_000
_PAGE: Final = 131_072


class TradeFile(Protocol):
    """A file of trades: its ``name``, up to when they were asked for (0: not known), and what it has given so far."""

    name: str
    end_ns: int
    rows: int

    @property
    def symbols(self) -> Mapping[str, int]:
        """Rows by symbol."""
        ...

    def batches(self, *, now_ns: int) -> Iterator[TickBatch]:
        """Give the trades from the first on, a batch of one symbol each, by id; ``ForeignFile`` where one cannot be."""
        ...


async def import_ticks(
    file: TradeFile,
    shelf: Shelf,
    *,
    clock: Clock,
    progress: Progress = lambda _done, _total: None,
    executor: Executor | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Read a file into a store and return what came of it; ``ForeignFile`` before any row went in where one is bad.

    That is one that is none, or another trade than the one that is stored under its id. A minute that the last trade
    leaves unfinished has no bar, unless the file's name says that it was over. Parsing goes on in a thread of
    ``executor``; with ``dry_run`` nothing is stored.
    """
    run, now_ns = runner(executor), clock()
    found: dict[str, OlderTicks] = {}
    held: dict[str, list[HeldIds]] = {}
    first_ns, last_ns = now_ns * 2, 0
    progress(0, 0)
    async with aclosing(each(file.batches(now_ns=now_ns), run)) as batches:
        async for batch in batches:
            symbol = batch.symbols[0]
            if symbol not in found:
                found[symbol] = OlderTicks(symbol, shelf)
                held[symbol] = await shelf.store.held(symbol)
                await _compare(batch, held[symbol], shelf.store)
                await found[symbol].look(batch)
            else:
                await _compare(batch, held[symbol], shelf.store)
            first_ns = min(first_ns, int(batch.ts_event_ns.min()))
            last_ns = max(last_ns, int(batch.ts_event_ns.max()))
    total, done = file.rows, 0
    healed = 0
    if not dry_run:
        async with aclosing(each(file.batches(now_ns=now_ns), run)) as batches:
            async for batch in batches:
                await found[batch.symbols[0]].take(batch)
                done += len(batch)
                progress(done, total)
        over_ns = file.end_ns if last_ns < file.end_ns <= min(last_ns + MINUTE_NS, now_ns) else 0
        for ticks in found.values():
            healed += await ticks.finish(watermark_ns=over_ns)
    return {
        "file": file.name,
        "symbol": ",".join(found),
        "kind": "trades",
        "timeframe": None,
        "rows": total,
        "stored": sum(ticks.stored for ticks in found.values()),
        "repeats": sum(ticks.repeats for ticks in found.values()),
        "healed": healed,
        "bars": sum(ticks.bars for ticks in found.values()),
        "rejected": 0,
        "void": 0,
        "without_trades": 0,
        "reasons": {},
        "examples": [],
        "notes": [],
        "first_timestamp": first_ns // _MS,
        "last_timestamp": last_ns // _MS,
    }


async def _compare(batch: TickBatch, held: list[HeldIds], store: TickStore) -> None:
    """Refuse a batch of which a trade is another than the one that is stored under its id."""
    ids, symbol = batch.trade_id, batch.symbols[0]
    inside = np.zeros(ids.size, np.bool_)
    for span in held:
        inside[np.searchsorted(ids, span.from_id) : np.searchsorted(ids, span.to_id, "right")] = True
    if not inside.any():
        return
    at_ns = batch.ts_event_ns[inside]
    begin_ns, end_ns, after_id, known = int(at_ns.min()), int(at_ns.max()) + _MS, None, 0
    while True:
        stored = await store.ticks(symbol, begin_ns, end_ns, limit=_PAGE, after_id=after_id)
        rows = np.searchsorted(ids, stored.trade_id).clip(max=ids.size - 1)
        same = np.flatnonzero(ids[rows] == stored.trade_id)
        rows, known = rows[same], known + same.size
        for column, has, given in (
            ("timestamp", stored.ts_event_ns // _MS, batch.ts_event_ns // _MS),
            ("price", stored.price, batch.price),
            ("size", stored.size, batch.size),
            ("buyer_is_maker", stored.buyer_is_maker, batch.buyer_is_maker),
        ):
            other = np.flatnonzero(has[same] != given[rows])
            if other.size:
                at, row = same[other[0]], rows[other[0]]
                raise ForeignFile(
                    f"trade {ids[row]} of {symbol}, column {column}: {given[row]}, "
                    f"but {has[at]} is stored under this id",
                    loc="file",
                )
        if len(stored) < _PAGE:
            break
        begin_ns, after_id = int(stored.ts_event_ns[-1]), int(stored.trade_id[-1])
    if not known:
        raise ForeignFile(
            f"trades {ids[inside][0]} to {ids[inside][-1]} of {symbol} are stored with other times",
            loc="file",
        )
