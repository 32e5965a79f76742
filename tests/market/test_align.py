"""Two symbols meet only where both traded, and a value known later is never used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.errors import InputError
from pairscope.market.align import common_bars, last_known
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols

MINUTE = 60_000_000_000


def bars(minutes: list[int], timeframe: str = "1m") -> BarBatch:
    """Bars that open at these minutes, each closing at its own number."""
    n = len(minutes)
    times, ones = np.array(minutes, np.int64) * MINUTE, np.ones(n)
    value = np.array(minutes, np.float64)
    whole, zero = np.ones(n, np.int64), np.zeros(n, np.int32)
    return BarBatch(
        Symbols(["AUSDT"]), timeframe, zero, times, value, value, value, value, ones, ones, ones, whole, whole, whole,
        zero, np.zeros(n, np.int8),
    )  # fmt: skip


def test_only_slots_in_which_both_traded_are_common() -> None:
    a, b = common_bars(bars([1, 2, 4, 7]), bars([0, 2, 3, 4, 9]))
    assert a.close.tolist() == b.close.tolist() == [2.0, 4.0]
    assert all(len(part) == 0 for part in common_bars(bars([1]), bars([2])))


def test_bars_of_different_timeframes_have_nothing_in_common() -> None:
    with pytest.raises(InputError, match="b: has 5m bars, a has 1m"):
        common_bars(bars([1]), bars([1], "5m"))


@given(st.lists(st.integers(0, 50), min_size=1, unique=True), st.lists(st.integers(0, 60), min_size=1))
def test_the_last_value_known_is_that_of_pandas_merge_asof(known: list[int], asked: list[int]) -> None:
    times, wanted = np.sort(np.array(known, np.int64)), np.sort(np.array(asked, np.int64))
    values = times * 1.5
    found, age = last_known(times, values, wanted)
    truth = pd.merge_asof(pd.DataFrame({"t": wanted}), pd.DataFrame({"t": times, "v": values, "at": times}), on="t")
    np.testing.assert_array_equal(found, truth.v)
    np.testing.assert_array_equal(age, (truth.t - truth["at"]).fillna(-1).astype(np.int64))
