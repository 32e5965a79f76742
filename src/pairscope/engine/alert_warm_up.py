"""Compiling what rules are judged with, on a made-up market, so that no batch waits for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.engine.alert_bars import BarGauges
from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, Moment, TickRows
from pairscope.engine.alert_pairs import PairGauges
from pairscope.engine.data_processor import DataProcessor
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

__all__ = ["warm_up"]

_SECOND: Final = 1_000_000_000
_SECONDS: Final = 45


def warm_up() -> None:
    """Compile what gauges of pairs and bars call. Seconds at the first start, a tenth of one later."""
    engine = DataProcessor(Symbols(["Y", "X"]))
    engine.on_batch(TickBatch.empty(engine.symbols_table, 600 * _SECOND))
    sources: list[GaugeSource] = [PairGauges(engine.symbols_table, engine), BarGauges(engine.symbols_table, engine)]
    for key in _keys():
        gauge = Gauge(key, _nobody, low=0.0, high=0.0)
        next(source for source in sources if source.handles(key)).add(gauge)
    for source in sources:
        for wanted in source.lacking():
            asked = source.begin_reading(wanted)
            if asked is not None:
                source.fill(wanted, asked[1], BarBatch.empty(engine.symbols_table, wanted.timeframe))
    for i in range(_SECONDS):
        _second(engine, sources, i)


def _keys() -> list[GaugeKey]:
    """Return gauges that between them call each kernel."""
    pairs = [GaugeKey(type_, "", "Y", "X", "1s", 3, 0, 31, "ols", "log") for type_ in ("zscore", "hedge_drift")]
    pairs += [GaugeKey(type_, "", "Y", "X", "1s", 3, 0, 31, "kalman", "linear") for type_ in ("spread", "hedge_drift")]
    return [*pairs, GaugeKey("volume", "Y", timeframe="5s", window=1), GaugeKey("volatility", "Y", "", "", "5s", 2)]


def _second(engine: DataProcessor, sources: list[GaugeSource], i: int) -> None:
    """Take a second in which both legs trade."""
    at_ns = (600 + i) * _SECOND
    times = np.array([at_ns, at_ns + 1], np.int64)
    prices = np.array([100.0 + np.sin(i), 100.0 + np.cos(3.0 * i)])
    ids, maker = np.arange(2, dtype=np.int32), np.zeros(2, np.bool_)
    numbers = np.full(2, i, np.int64)
    batch = TickBatch(engine.symbols_table, ids, times, times, numbers, prices, np.ones(2), maker, at_ns + _SECOND)
    rows = TickRows(batch, at_ns, np.ones(2, np.bool_))
    for source in sources:
        source.begin(rows)
        for row in range(2):
            source.tick(row)
    updates = engine.on_batch(batch)
    for source in sources:
        source.on_updates(updates, Moment(at_ns + _SECOND, at_ns, at_ns + _SECOND))


def _nobody(*_: object) -> None:
    """Hear of nothing."""
