"""The grid of a sweep: what lists may be written, what cannot be read, and how many rules it makes."""

from __future__ import annotations

import pytest

from pairscope.dashboard.backtest_choice import BacktestChoice
from pairscope.dashboard.backtest_grid import GRID, GridChoice, count_words, sweep_body, values_of


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("entry", "1.5, 2, 2.5", [1.5, 2.0, 2.5]),
        ("entry", "1 to 2 step 0.1", [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]),
        ("entry", "3; 1..2 by 0.5; 2", [3.0, 1.0, 1.5, 2.0]),
        ("window", "30 to 90 step 30, 120", [30, 60, 90, 120]),
        ("window", "5 to 8", [5, 6, 7, 8]),
        ("stop", "none, 4", [None, 4.0]),
        ("method", "ols, OLS, Kalman", ["ols", "kalman"]),
    ],
)
def test_lists_and_ranges_are_read_as_they_are_written(name: str, text: str, values: list[object]) -> None:
    found = values_of(text, GRID[name])
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("entry", "", "has no values"),
        ("entry", "two", "'two' is no number"),
        ("entry", "nan", "'nan' is no number"),
        ("entry", "none", "cannot be none"),
        ("entry", "0", "must be at least 0.1"),
        ("entry", "3 to 1 step 0.5", "never ends"),
        ("entry", "1 to 3 step 0", "never ends"),
        ("entry", "1 to 3 step -1", "never ends"),
        ("entry", "1 to 999999 step 0.1", "more than 1,000 values"),
        ("window", "30.5", "whole bars"),
        ("window", "1", "must be at least 2"),
        ("method", "ridge", "no hedge ratio 'ridge'"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_write(name: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        values_of(text, GRID[name])


def test_a_grid_s_lists_stand_where_the_rule_had_a_number() -> None:
    choice = BacktestChoice("ETHUSDT", "BTCUSDT", method="fixed", beta=1.5, rehedge=0.2)
    grid = GridChoice({"entry": [1.0, 2.0], "lookback": [120, 240], "method": ["ols"], "rehedge": [None, 0.1]})
    body = sweep_body(choice, grid)
    assert body["entry"] == [1.0, 2.0]
    assert body["hedge"] == {"method": ["ols"], "lookback": [120, 240]}
    assert body["rehedge"] == [None, 0.1]
    assert body["window"] == 60


def test_rules_without_sense_are_counted_before_anything_starts() -> None:
    choice = BacktestChoice("ETHUSDT", "BTCUSDT", window=100, lookback=200)
    grid = GridChoice({"stop": [None, 2.0, 3.0], "lookback": [50, 200], "cooldown": [0, 5]})
    # a lookback of 50 is below the window, a stop of 2 is not above the entry of 2: 4 of the 6, for each cooldown
    assert count_words(choice, grid).startswith("3 × 2 × 2 = 12 combinations; 8 make no sense")


def test_a_grid_that_is_too_large_is_only_counted() -> None:
    grid = GridChoice({"entry": list(range(1, 1001)), "exit": list(range(1000)), "window": list(range(2, 1002))})
    assert count_words(BacktestChoice("A", "B"), grid) == "1,000 × 1,000 × 1,000 = 1,000,000,000 combinations."
