"""Which bars and symbols are compared: holes, late listings and stops are left out, and said."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.research.closes import Closes, aligned, closes_of, iso, lengthened

MINUTE = 60_000_000_000
START = 29_000_000 * MINUTE


def market(bars: int, size: int) -> Closes:
    times = START + np.arange(bars) * MINUTE
    prices = 1.0 + np.arange(bars * size, dtype=float).reshape(bars, size)
    return Closes(times, tuple(f"S{i}" for i in range(size)), prices)


def test_symbols_on_different_clocks_meet_in_one_table() -> None:
    table = closes_of(["A", "B"], [np.array([3, 1]), np.array([2, 3])], [np.array([30.0, 10.0]), np.array([2.0, 3.0])])
    assert table.times_ns.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(table.prices, [[10.0, np.nan], [np.nan, 2.0], [30.0, 3.0]])


def test_what_has_everything_is_kept_as_it_is() -> None:
    kept = aligned(market(200, 4), 100)
    assert kept.symbols == ("S0", "S1", "S2", "S3")
    assert not kept.excluded
    np.testing.assert_array_equal(kept.prices, market(200, 4).prices[-100:])


def test_who_lacks_more_than_one_bar_in_a_hundred_is_left_out_with_the_reason() -> None:
    table = market(200, 8)
    table.prices[50:53, 1] = np.nan  # 1.5 %
    table.prices[:100, 2] = np.nan
    table.prices[198:, 3] = np.nan  # 1 %, its last
    table.prices[150:, 4] = np.nan
    table.prices[:, 5] = np.nan
    table.prices[[7, 60], 6] = np.nan  # 1 %
    kept = aligned(table, 1440)
    assert kept.symbols == ("S0", "S3", "S6", "S7")
    assert kept.excluded == {
        "S1": "lacks 3 of the last 200 bars",
        "S2": f"begins only at {iso(START + 100 * MINUTE)}",
        "S4": f"ends at {iso(START + 149 * MINUTE)}",
        "S5": "has none of the last 200 bars",
    }
    assert len(kept) == 196
    assert kept.asked == 200
    assert np.isfinite(kept.prices).all()


def test_one_symbol_that_goes_on_alone_does_not_move_everybody_s_end() -> None:
    table = market(300, 5)
    table.prices[200:, :4] = np.nan
    kept = aligned(table, 100)
    assert kept.symbols == table.symbols
    assert kept.times_ns[-1] == START + 199 * MINUTE


def test_holes_of_many_cost_the_symbols_with_most_holes_and_not_everybody_s_bars() -> None:
    table = market(200, 40)
    for i in range(1, 40):
        table.prices[[4 * i, 4 * i + 1][: 1 + i % 2], i] = np.nan  # each lacks one or two bars of its own
    kept = aligned(table, 200)
    assert len(kept) == 181
    assert len(kept.symbols) + len(kept.excluded) == 40
    assert len(kept.symbols) == 20  # the full one and those with one hole
    assert all("fewer than 90% of theirs" in reason for reason in kept.excluded.values())


def test_too_little_in_common_is_refused_and_says_who_lacks_what() -> None:
    table = market(100, 3)
    table.prices[[10, 20, 30], 1] = np.nan
    table.prices[[40, 50, 60], 2] = np.nan
    with pytest.raises(
        ValueError, match=r"1 of 3 symbols have nearly all the bars; .*\(S1 lacks 3 of the last 100 bars"
    ):
        aligned(table, 100)
    with pytest.raises(ValueError, match="2 symbols have 29 bars in common"):
        aligned(market(29, 2), 100)
    with pytest.raises(ValueError, match="0 of 0 symbols"):
        aligned(market(29, 0), 100)


def test_longer_bars_end_with_their_last_close_and_an_open_one_is_left_out() -> None:
    table = market(10, 2)  # from a quarter of an hour on
    table.prices[4, 1] = np.nan
    table.prices[5:, 0] = np.nan
    longer = lengthened(table, "5m")
    assert START % (15 * MINUTE) == 5 * MINUTE
    assert longer.times_ns.tolist() == [START, START + 5 * MINUTE]
    np.testing.assert_array_equal(longer.prices, [[table.prices[4, 0], table.prices[3, 1]], [np.nan, 20.0]])
    assert len(lengthened(market(9, 2), "5m")) == 1
    assert lengthened(table, "1m") is table


@pytest.mark.parametrize(("timeframe", "told"), [("7m", "no timeframe"), ("1s", "60 s apart"), ("5m", "180 s apart")])
def test_a_timeframe_that_cannot_be_made_is_refused(timeframe: str, told: str) -> None:
    table = market(90, 2)
    if timeframe == "5m":
        table = Closes(table.times_ns * 3, table.symbols, table.prices)
    with pytest.raises(ValueError, match=told):
        lengthened(table, timeframe)
