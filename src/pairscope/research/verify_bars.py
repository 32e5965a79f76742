"""Every stored bar against its ticks: a fresh engine is given all of them in order of time and closes each anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.rerun import Difference
from pairscope.market.bars import BASE_TIMEFRAMES, TIMEFRAMES, BarBatch, Origin, resample, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, I8, TickBatch
from pairscope.research.recorded import Recorded, ended

__all__ = ["BarsVerified", "verify_bars"]

_MINUTE_NS: Final = 60_000_000_000
_INDEX_BITS: Final = 40
_VALUES: Final = (
    "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "first_id", "last_id",
)  # fmt: skip


class BarsVerified(NamedTuple):
    """How many bars of each timeframe were compared, and how many of each no stored tick can make again."""

    compared: Counter[str]
    foreign: Counter[str]
    ticks: int


async def verify_bars(
    source: Recorded,
    *,
    symbols: frozenset[str],
    since_ns: int,
    until_ns: int,
    on_difference: Callable[[Difference], None],
    progress: Callable[[int], None] = lambda _: None,
) -> BarsVerified:
    """Close every bar of a range again and compare it with the stored one, and longer bars with what the store answers.

    ``symbols`` restricts it to some, where any are named. Bars that began before ``since_ns``, or end after
    ``until_ns`` or after the time that the store has come to, are none of it. The exchange's bars and uploads are
    counted as foreign, and so are longer bars with such a part. Memory: a portion of ticks, and the bars of its time.
    """
    engine = DataProcessor(Symbols())
    until_ns = min(until_ns, await source.watermark_ns())
    start_ns = since_ns // _MINUTE_NS * _MINUTE_NS
    verified = BarsVerified(Counter(), Counter(), 0)
    ticks = 0
    reached_ns = start_ns
    async with ended(source.ticks_since(start_ns)) as batches:
        async for batch in batches:
            first_ns, last_ns = int(batch.ts_event_ns.min()), int(batch.ts_event_ns.max())
            if first_ns >= until_ns:
                break
            if not engine.watermark_ns():
                reached_ns = max(start_ns, first_ns // _MINUTE_NS * _MINUTE_NS)
            mine = _of_symbols(batch, symbols)
            mine = mine.take(mine.ts_event_ns < until_ns)
            ticks += len(mine)
            end_ns = min((last_ns // _MINUTE_NS + 1) * _MINUTE_NS, until_ns)
            if not engine.watermark_ns():
                engine.on_batch(TickBatch.empty(engine.symbols_table, max(reached_ns, 1)))
            updates = engine.on_batch(mine.with_watermark(end_ns))
            closed = {bars.timeframe: bars for bars in updates.closed}
            for timeframe in TIMEFRAMES:
                length = timeframe_ns(timeframe)
                low_ns, high_ns = reached_ns // length * length, end_ns // length * length
                if high_ns <= low_ns:
                    continue
                replayed = closed.get(timeframe, BarBatch.empty(engine.symbols_table, timeframe))
                stored, foreign = await _stored(source, engine.symbols_table, timeframe, low_ns, high_ns, symbols)
                verified.foreign[timeframe] += foreign.size
                for difference in _compared(replayed, stored, foreign, start_ns, verified.compared):
                    on_difference(difference)
            reached_ns = end_ns
            progress(reached_ns)
    return verified._replace(ticks=ticks)


def _of_symbols(batch: TickBatch, symbols: frozenset[str]) -> TickBatch:
    if not symbols:
        return batch
    ids = [i for i, name in enumerate(batch.symbols) if name in symbols]
    return batch.take(np.isin(batch.symbol_id, ids))


async def _stored(
    source: Recorded, table: Symbols, timeframe: str, start_ns: int, end_ns: int, symbols: frozenset[str]
) -> tuple[BarBatch, I8]:
    """Return the stored bars of a range under a table of symbols, and the keys of those that no own tick made."""
    base = timeframe if timeframe in BASE_TIMEFRAMES else "1s" if timeframe_ns(timeframe) < _MINUTE_NS else "1m"
    bars = await source.base_bars(base, start_ns, end_ns)
    if symbols:
        bars = bars.take(np.isin(bars.symbol_id, [i for i, name in enumerate(bars.symbols) if name in symbols]))
    ids = np.array([table.id_of(name) for name in bars.symbols], np.int32)
    bars = replace(bars, symbols=table, symbol_id=ids[bars.symbol_id]) if len(bars) else BarBatch.empty(table, base)
    foreign = np.unique(_keys(bars.take(bars.origin != Origin.OWN), timeframe_ns(timeframe)))
    if timeframe != base:
        bars = resample(bars.take(np.lexsort((bars.ts_open_ns, bars.symbol_id))), timeframe)
    return bars, foreign


def _keys(bars: BarBatch, length_ns: int) -> I8:
    return bars.symbol_id.astype(np.int64) << _INDEX_BITS | bars.ts_open_ns // length_ns


def _compared(
    replayed: BarBatch, stored: BarBatch, foreign: I8, start_ns: int, compared: Counter[str]
) -> list[Difference]:
    """Return the differences between the bars of one timeframe, and count what was compared."""
    length = timeframe_ns(stored.timeframe)
    sides = []
    for bars in (replayed, stored):
        keys = _keys(bars, length)
        ours = ~np.isin(keys, foreign) & (bars.ts_open_ns >= start_ns)
        order = np.flatnonzero(ours)[np.argsort(keys[ours], kind="stable")]
        sides.append((bars.take(order), keys[order]))
    (replayed, mine), (stored, theirs) = sides
    _, at, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    compared[stored.timeframe] += int(np.union1d(mine, theirs).size)
    found = []
    both_replayed, both_stored = replayed.take(at), stored.take(there)
    differs: B1 = np.zeros(at.size, np.bool_)
    for name in _VALUES:
        differs |= getattr(both_replayed, name) != getattr(both_stored, name)
    for row in np.flatnonzero(differs).tolist():
        pairs = {name: (getattr(both_stored, name)[row], getattr(both_replayed, name)[row]) for name in _VALUES}
        told = [f"{name} {_said(a)} stored, {_said(b)} replayed" for name, (a, b) in pairs.items() if a != b]
        found.append(_difference(both_stored, row, (*map(float, pairs["close"]),), "; ".join(told)))
    for bars, alone, stored_too, what in (
        (replayed, ~np.isin(mine, theirs), False, "no bar is stored of its ticks"),
        (stored, ~np.isin(theirs, mine), True, "no tick is stored of this bar"),
    ):
        for row in np.flatnonzero(alone).tolist():
            close = float(bars.close[row])
            found.append(_difference(bars, row, (close, None) if stored_too else (None, close), what))
    return found


def _difference(bars: BarBatch, row: int, closes: tuple[float | None, ...], what: str) -> Difference:
    name, time_ns = bars.symbols[int(bars.symbol_id[row])], int(bars.ts_open_ns[row])
    return Difference("bars", name, bars.timeframe, time_ns, closes[0], closes[1], what)


def _said(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, np.floating) else f"{value}"
