"""Windows: every moment once, the near ones first, few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.bars import TIMEFRAMES
from pairscope.storage.bar_reading import base_of
from pairscope.storage.reading import windows

TIMES = st.integers(0, 2**62)


@given(TIMES, TIMES, TIMES, st.integers(1, 2**50), st.booleans())
def test_windows_cover_a_range_once_and_in_order(start, end, hint, width, newest):
    found = list(windows(start, end, hint, width, newest=newest))
    inner = found[::-1] if newest else found
    assert all(low < high for low, high in found)
    assert [low for low, _ in inner][1:] == [high for _, high in inner][:-1]
    if start < end:
        assert (inner[0][0], inner[-1][1]) == (start, end)
        assert len(found) <= 25
    else:
        assert found == []


@pytest.mark.parametrize("newest", [False, True])
def test_the_first_window_reaches_from_the_ranges_edge_to_where_rows_begin(newest):
    first = next(windows(0, 1000, 300 if not newest else 700, 50, newest=newest))
    assert first == ((650, 1000) if newest else (0, 350))


def test_every_timeframe_follows_from_a_stored_one():
    assert [t for t in TIMEFRAMES if base_of(t) == "1s"] == ["1s", "5s", "15s"]
