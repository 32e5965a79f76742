"""Rolling statistics as cache entries: the newest close of each symbol, a missing number as null."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.market.symbols import Symbols
from pairscope.wiring.statistics_keys import statistics_entries


def test_each_window_of_each_symbol_has_its_entry_and_what_is_not_known_is_null(ticks_of, noon_ns) -> None:
    symbols = Symbols(["BTCUSDT", "ETHUSDT"])
    closes = [100.0 + (7 * i) % 11 for i in range(61)]
    rows = [
        (name, i + 1, noon_ns + i * 60_000_000_000, f"{closes[i]}", "1", False) for name in symbols for i in range(61)
    ]
    engine = DataProcessor(symbols)
    updates = engine.on_batch(ticks_of(rows, symbols=symbols, watermark_ns=noon_ns + 61 * 60_000_000_000))
    entries = {key: json.loads(value) for key, value in statistics_entries(updates.stats).items()}
    assert {f"stats:{name}:{window}" for name in symbols for window in (20, 60, 240, 1440)} == set(entries)
    said = entries["stats:ETHUSDT:60"]
    assert said["timestamp"] == (noon_ns + 60 * 60_000_000_000) // 1_000_000
    assert said["mean"] == pytest.approx(np.mean(closes[1:]))
    assert said["std"] == pytest.approx(np.std(closes[1:], ddof=1))
    assert said["zscore"] == pytest.approx((closes[60] - np.mean(closes[1:])) / np.std(closes[1:], ddof=1))
    assert entries["stats:ETHUSDT:240"]["mean"] is None
