"""How the invariants compare what engines said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.market.bars import TIMEFRAMES, BarBatch
from pairscope.market.ticks import TickBatch

Same = Callable[[BarBatch, BarBatch], None]


@pytest.fixture(scope="session")
def assert_same_updates(assert_same_bars: Same) -> Callable[[Updates, Updates], None]:
    """Demand that two engines of one symbol table said the same, bit for bit."""

    def check(a: Updates, b: Updates) -> None:
        assert (a.late, a.rebuild, a.watermark_ns) == (b.late, b.rebuild, b.watermark_ns)
        np.testing.assert_array_equal(a.touched, b.touched)
        for field in fields(TickBatch)[1:-1]:
            np.testing.assert_array_equal(getattr(a.prices, field.name), getattr(b.prices, field.name))
        for ours, theirs in ((a.closed, b.closed), (a.revised, b.revised)):
            assert len(ours) == len(theirs)
            for left, right in zip(ours, theirs, strict=True):
                assert_same_bars(left, right)
        for field in fields(a.stats)[1:]:
            np.testing.assert_array_equal(getattr(a.stats, field.name), getattr(b.stats, field.name), field.name)

    return check


@pytest.fixture(scope="session")
def assert_same_state(assert_same_bars: Same) -> Callable[[DataProcessor, DataProcessor], None]:
    """Demand that two engines answer every question alike."""

    def check(a: DataProcessor, b: DataProcessor) -> None:
        assert (sorted(a.symbols()), a.watermark_ns()) == (sorted(b.symbols()), b.watermark_ns())
        for symbol in a.symbols():
            assert a.price(symbol) == b.price(symbol)
            assert a.first_own_ns(symbol) == b.first_own_ns(symbol)
            for timeframe in TIMEFRAMES:
                ours, theirs = a.open_bar(symbol, timeframe), b.open_bar(symbol, timeframe)
                assert (ours is None) == (theirs is None)
                if ours is not None and theirs is not None:
                    assert_same_bars(ours, theirs)
                recent = (engine.recent_bars(symbol, timeframe, 5000, with_open=True) for engine in (a, b))
                assert_same_bars(*recent)

    return check
