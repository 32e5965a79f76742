"""Many symbols' closed bars out of a store with few questions: all symbols' at once where that reads no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import numpy as np

from pairscope.market.bars import BarBatch, resample, timeframe_ns
from pairscope.ports import LiveView, TickStore
from pairscope.research.market_tape import reach

__all__ = ["EVER", "Span", "joined", "read_market"]

Span = tuple[int, int]
"""A range of time, [start, end) in ns."""

EVER: Final[Span] = (0, 9_223_372_036_854 * 1_000_000)

_MINUTE_NS: Final = 60_000_000_000
_PORTION: Final = 200_000
"""Rows that one question for all symbols answers, at most about."""
_SLACK: Final = 2


def joined(a: Span | None, b: Span) -> Span:
    """Return the shortest span that holds both.

    >>> joined((5, 7), (1, 2)), joined(None, (1, 2))
    ((1, 7), (1, 2))
    """
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))


async def read_market(
    store: TickStore, live: LiveView, timeframe: str, lookback: int, wanted: Mapping[str, Span]
) -> AsyncIterator[BarBatch]:
    """Yield the stored closed bars of symbols within their spans that a screen of ``lookback`` bars may need."""
    step, base = timeframe_ns(timeframe), "1m" if timeframe_ns(timeframe) >= _MINUTE_NS else "1s"
    newest_ns, symbols = live.watermark_ns(), max(1, len(live.symbols()))
    if not newest_ns:
        summaries = await store.symbols()
        newest_ns, symbols = max((s.last_ns for s in summaries), default=0) + timeframe_ns(base), max(1, len(summaries))
    first_ns = max((newest_ns // step - reach(lookback)) * step, 0)
    end_ns = (newest_ns // step + 1) * step
    spans = {
        name: (max(lo // step * step, first_ns), min(-(-hi // step) * step, end_ns))
        for name, (lo, hi) in wanted.items()
    }
    spans = {name: span for name, span in spans.items() if span[0] < span[1]}
    if not spans:
        return
    whole = (min(lo for lo, _ in spans.values()), max(hi for _, hi in spans.values()))
    alone = sum(hi - lo for lo, hi in spans.values())
    if symbols * (whole[1] - whole[0]) > _SLACK * alone + _PORTION * timeframe_ns(base) // 10:
        for name, (lo, hi) in spans.items():
            bars = await store.bars(name, timeframe, lo, hi, limit=reach(lookback) + 1, newest=True)
            yield bars.take(bars.ts_open_ns + step <= newest_ns)
        return
    width = max(step, _PORTION // symbols * timeframe_ns(base) // step * step)
    for lo in range(whole[0], whole[1], width):
        bars = await store.base_bars(base, lo, min(lo + width, whole[1]))
        ids = [i for i, name in enumerate(bars.symbols) if name in spans]
        bars = bars.take(np.isin(bars.symbol_id, ids))
        if timeframe != base and len(bars):
            bars = resample(bars, timeframe)
        yield bars.take(bars.ts_open_ns + step <= newest_ns)
