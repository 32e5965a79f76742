"""What tests of alerts on pairs and bars share: history that is read for them, and legs that trade second by second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pairscope.engine.pairs import PairBook, Wanted
from pairscope.market.alert_rules import AlertFiring
from pairscope.market.bars import BarBatch, concat_bars, timeframe_ns
from pairscope.market.pairs import PairSettings
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

from .walking import NOON_NS, SECOND, Trade, Walk, batch_of

Y, X = "ETHUSDT", "BTCUSDT"

History = Callable[[str, str, int], BarBatch]
"""Bars of a symbol and timeframe from a time on, as a store would have them."""


def bars_like(
    symbols: Symbols, name: str, timeframe: str, opens_ns: Sequence[int], closes: Sequence[float], volume: float = 1.0
) -> BarBatch:
    """Bars of own ticks at one price each."""
    n, close = len(opens_ns), np.array(closes, np.float64)
    whole = np.ones(n, np.int64)
    return BarBatch(
        symbols,
        timeframe,
        symbol_id=np.full(n, symbols.id_of(name), np.int32),
        ts_open_ns=np.array(opens_ns, np.int64),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=np.full(n, volume),
        quote_volume=close * volume,
        buy_volume=np.full(n, volume),
        trades=whole,
        first_id=whole,
        last_id=whole,
        revision=np.zeros(n, np.int32),
        origin=np.zeros(n, np.int8),
    )


class Legs(Walk):
    """Two symbols, with what stands before noon: closes that end there, one a bar, by symbol."""

    def __init__(self, timeframe: str = "1s", before: Mapping[str, Sequence[float]] | None = None) -> None:
        super().__init__([Y, X])
        self.timeframe = timeframe
        self.before = before or {}
        self.numbers = dict.fromkeys((Y, X), 0)
        self.trades([], until_s=0.0)

    def read(self) -> None:
        """Read what the rules lack, as the store and the engine have it."""
        for wanted in self.book.lacking():
            asked = self.book.begin(wanted)
            assert asked is not None
            self.book.fill(wanted, asked[1], self.stored(wanted, asked[0]))

    def stored(self, wanted: Wanted, start_ns: int) -> BarBatch:
        """A symbol's bars from a time on: those from before noon and what the engine has closed since."""
        table, step_ns = self.engine.symbols_table, timeframe_ns(wanted.timeframe)
        closes = self.before.get(wanted.symbol, ()) if wanted.timeframe == self.timeframe else ()
        opens = [NOON_NS - step_ns * (len(closes) - i) for i in range(len(closes))]
        own = self.engine.recent_bars(wanted.symbol, wanted.timeframe, 10_000)
        found = concat_bars([bars_like(table, wanted.symbol, wanted.timeframe, opens, closes), own])
        return found.take(found.ts_open_ns >= start_ns)

    def follow(self, settings: PairSettings) -> PairBook:
        """Follow a live pair beside the rules, with the same history."""
        book = PairBook(self.engine.symbols_table, self.engine)
        book.put(settings)
        for wanted in book.lacking():
            asked = book.begin(wanted)
            assert asked is not None
            book.fill(wanted, asked[1], self.stored(wanted, asked[0]))
        book.settle(1 << 60)
        self.between = lambda updates: (book.take(updates), book.settle(1 << 60), None)[-1]
        return book

    def restart(self) -> None:
        """Let a new book take up the rules, and read their history."""
        super().restart()
        self.read()

    def numbered(self, trades: Sequence[tuple[str, float, float]]) -> list[Trade]:
        """Trades as (symbol, seconds after noon, price) with the next ids of their symbols."""
        found = []
        for name, at_s, price in trades:
            self.numbers[name] += 1
            found.append((name, self.numbers[name], at_s, price))
        return found

    def sizes(self, trades: Sequence[tuple[str, float, float, float]], until_s: float) -> list[AlertFiring]:
        """Take trades with their sizes as one batch."""
        plain = self.numbered([(name, at_s, price) for name, at_s, price, _ in trades])
        batch = batch_of(self.engine.symbols_table, plain, NOON_NS + round(until_s * SECOND))
        return self.take(replace(batch, size=np.array([size for *_, size in trades], np.float64)))


def second_of(time_ns: int) -> float:
    """Seconds after noon."""
    return (time_ns - NOON_NS) / SECOND


def merged(batches: Sequence[TickBatch], cuts: set[int]) -> list[TickBatch]:
    """The same ticks in other batches: one is not ended where it has no watermark of its own, unless a cut is there."""
    from pairscope.market.ticks import concat_ticks

    found: list[TickBatch] = []
    waiting: list[TickBatch] = []
    for i, batch in enumerate(batches):
        waiting.append(batch)
        if len(batch) == 0 or i in cuts:
            found.append(concat_ticks(waiting))
            waiting = []
    return found + ([concat_ticks(waiting)] if waiting else [])
