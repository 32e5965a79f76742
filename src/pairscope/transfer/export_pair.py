"""A pair's past as it was known bar by bar: hedge ratio, spread, z-score and correlation of every bar of a range.

Each page is computed from its own bars and those before them that a row may look back on, so that where a page begins
changes nothing in it: every row is what ``/api/analytics/pair`` says with ``end`` at that bar's close, of a Kalman
filter with ``recursion=live``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.analytics.pair_recursions import anchored_kalman
from pairscope.analytics.pair_report import pair_rows
from pairscope.analytics.pair_series import (
    HUBER_COST,
    HedgeSeries,
    hedge_series,
    huber_series,
    least_bars,
    pair_columns,
)
from pairscope.market.align import common_bars
from pairscope.market.anchors import offset_of
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import F8, I8
from pairscope.ports import TickStore
from pairscope.transfer.export_source import Mark, Page, Size, digest_of_pages
from pairscope.transfer.export_table import Column, Kind, Table

__all__ = ["PairSource"]

PAIR_PAGE: Final = 16_384
"""Bars of a leg that one page is computed from, besides those before it."""

_SPARE: Final = 60
_DEEPEST: Final = 16
_MS: Final = 1_000_000
_FIGURES: Final = ("alpha", "beta", "spread", "mean", "std", "zscore", "correlation")


class PairSource:
    """The closed bars that both legs have in [start, end), with what was known of the pair at each.

    With Kalman the filter is the live pair's (``anchored_kalman``). NaN where nothing was known yet, or a leg stood
    still.
    """

    def __init__(
        self, store: TickStore, settings: PairSettings, start_ns: int, end_ns: int, *, rows: int = PAIR_PAGE
    ) -> None:
        self._store = store
        self._settings = settings
        self._length = timeframe_ns(settings.timeframe)
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._bars = rows
        if settings.method == "huber":
            self._bars = max(1, min(rows, HUBER_COST // settings.lookback))
        self.asked = ("pair", settings, start_ns, end_ns)

    async def page(self, mark: Mark | None, *, most: int | None = None) -> Page:
        """Return the first page, or the one at a mark: where its first bar may open."""
        begin_ns = int(mark[0]) if mark else self._start_ns
        limit = self._bars if most is None else min(most, self._bars)
        legs = [await self._read(name, begin_ns, self._end_ns, limit) for name in (self._settings.y, self._settings.x)]
        ends = [int(leg.ts_open_ns[-1]) + self._length for leg in legs if len(leg) == limit]
        cut_ns = min(ends, default=self._end_ns)
        legs = [leg.take(leg.ts_open_ns < cut_ns) for leg in legs]
        both = common_bars(legs[0], legs[1])
        following = (cut_ns,) if ends else None
        before = await self._before(int(both[0].ts_open_ns[0])) if len(both[0]) else both
        return Page(self._table(before, both), following)

    async def fingerprint(self) -> str | None:
        """Return a digest of every row."""
        return await digest_of_pages(self)

    async def size(self) -> Size:
        """Return about how many bars both have: no more than the one with fewer."""
        spans = []
        for name in (self._settings.y, self._settings.x):
            first = await self._read(name, self._start_ns, self._end_ns, 1)
            last = await self._read(name, self._start_ns, self._end_ns, 1, newest=True)
            if not len(first):
                return Size(0, None, None, exact=True)
            spans.append((int(first.ts_open_ns[0]), int(last.ts_open_ns[0])))
        low, high = max(span[0] for span in spans), min(span[1] for span in spans)
        if high < low:
            return Size(0, None, None, exact=True)
        return Size((high - low) // self._length + 1, low // _MS, high // _MS, exact=False)

    async def _read(self, name: str, start_ns: int, end_ns: int, limit: int, *, newest: bool = False) -> BarBatch:
        timeframe = self._settings.timeframe
        return await self._store.bars(name, timeframe, start_ns, max(end_ns, start_ns), limit=limit, newest=newest)

    async def _before(self, end_ns: int) -> tuple[BarBatch, BarBatch]:
        """Return the common bars before a time that a row there looks back on, where there are so many."""
        settings = self._settings
        need = settings.lookback * (2 if settings.method == "kalman" else 1) + settings.window
        limit, most = need + _SPARE, _DEEPEST * (need + _SPARE)
        while True:
            y = await self._read(settings.y, 0, end_ns, limit, newest=True)
            x = await self._read(settings.x, 0, end_ns, limit, newest=True)
            both = common_bars(y, x)
            if len(both[0]) >= need or limit >= most or (len(y) < limit and len(x) < limit):
                rows = slice(max(0, len(both[0]) - need), None)
                return both[0].take(rows), both[1].take(rows)
            limit = min(most, 2 * limit)

    def _table(self, before: tuple[BarBatch, BarBatch], both: tuple[BarBatch, BarBatch]) -> Table:
        first, rows = len(before[0]), len(both[0])
        prices = [np.concatenate([early.close, late.close]) for early, late in zip(before, both, strict=True)]
        slots = np.concatenate([before[0].ts_open_ns, both[0].ts_open_ns]) // self._length
        found = self._figures(prices[0], prices[1], slots, first) if rows else {}
        nothing = np.full(rows, np.nan)
        fitted = found["n"][first:].astype(np.int64) if found else np.zeros(rows, np.int64)
        return Table(
            (
                Column("timestamp", Kind.TIME, both[0].ts_open_ns // _MS),
                Column("price_y", Kind.DECIMAL, both[0].close),
                Column("price_x", Kind.DECIMAL, both[1].close),
                *(
                    Column(name, Kind.DECIMAL, found[name][first:] if found else nothing)
                    for name in _FIGURES
                ),
                Column("bars", Kind.INTEGER, fitted),
            )
        )  # fmt: skip

    def _figures(self, prices_y: F8, prices_x: F8, slots: I8, first: int) -> dict[str, F8]:
        """Return the figures of every row from ``first`` on; nothing where they cannot be computed."""
        settings = self._settings
        least = least_bars(settings.lookback, settings.window)
        try:
            y, x = pair_rows(prices_y, prices_x, settings.price_space)
            match settings.method:
                case _ if y.size < least:
                    ratio = HedgeSeries(np.full(y.size, np.nan), np.full(y.size, np.nan), np.zeros(y.size, np.int64))
                case "ols":
                    ratio = hedge_series(y, x, settings.lookback, least=least, first=first)
                case "huber":
                    ratio = huber_series(y, x, settings.lookback, least=least, first=first)
                case _:
                    offset = offset_of(settings.key, settings.lookback)
                    filtered = anchored_kalman(y, x, slots, lookback=settings.lookback, offset=offset, least=least)
                    seen = np.where(np.isfinite(filtered.betas), filtered.n, 0)
                    ratio = HedgeSeries(filtered.alphas, filtered.betas, seen)
            return pair_columns(y, x, lookback=settings.lookback, window=settings.window, hedge=ratio)
        except ValueError:  # two rows, or a leg that stood still all the time
            return {}
