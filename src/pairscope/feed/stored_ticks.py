"""Stored ticks as a tape, to be played again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pairscope.errors import InputError
from pairscope.feed.agg_trades import AggTrades, Listing, concat_trades
from pairscope.feed.tape import Tape
from pairscope.market.ticks import F8, TickBatch

__all__ = ["tape_of_ticks"]

_MS = 1_000_000


def tape_of_ticks(batches: Iterable[TickBatch]) -> Tape:
    """Return stored ticks as a tape, in order of event time; an aggregate's own id stands for its trade ids."""
    listings: dict[str, list[AggTrades]] = {}
    grids: dict[str, tuple[int, int]] = {}
    kept = list(batches)
    for batch in kept:
        for symbol_id in np.unique(batch.symbol_id).tolist():
            symbol = batch.symbols[symbol_id]
            own = batch.take(batch.symbol_id == symbol_id)
            old = grids.get(symbol, (0, 0))
            grids[symbol] = max(old[0], _decimals(own.price)), max(old[1], _decimals(own.size))
            listings.setdefault(symbol, [])
    rows = {symbol: i for i, symbol in enumerate(sorted(listings))}
    for batch in kept:
        for symbol_id in np.unique(batch.symbol_id).tolist():
            symbol = batch.symbols[symbol_id]
            listings[symbol].append(_of_ticks(batch.take(batch.symbol_id == symbol_id), rows[symbol], *grids[symbol]))
    trades = concat_trades([part for symbol in sorted(listings) for part in listings[symbol]])
    if len(trades) == 0:
        raise InputError("nothing to play: no tick in the range", loc="path")
    order = np.lexsort((trades.agg_id, trades.event_ms))
    return Tape(
        tuple(Listing(s, *grids[s]) for s in sorted(grids)), trades.take(order), (), stamped=False, truncated=False
    )


def _decimals(values: F8) -> int:
    """Return how many decimals the values need, at most 12."""
    for decimals in range(12):
        scaled = values * 10.0**decimals
        if bool(np.all(np.rint(scaled) / 10.0**decimals == values)):
            return decimals
    return 12


def _of_ticks(batch: TickBatch, row: int, price_decimals: int, size_decimals: int) -> AggTrades:
    """Return the ticks of one symbol as aggregate trades."""
    n = len(batch)
    t = batch.ts_event_ns // _MS
    price = np.rint(batch.price * 10.0**price_decimals).astype(np.int64)
    size = np.rint(batch.size * 10.0**size_decimals).astype(np.int64)
    net = np.full(n, -1, np.int64)
    ids = batch.trade_id
    return AggTrades(np.full(n, row, np.int32), t, t, ids, ids, ids, price, size, net, batch.buyer_is_maker)
