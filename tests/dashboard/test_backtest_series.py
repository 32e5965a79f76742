"""A run thinned for its chart: no more points than asked for, no extreme lost, even steps of time."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.dashboard.backtest_series import MOST_MARKS, chart_data, curve_data, thinned


@pytest.mark.parametrize("n", [4001, 9999, 100_000])
def test_a_long_series_keeps_its_extremes_its_end_and_an_even_time(n: int) -> None:
    dice = np.random.default_rng(n)
    walk, noise = np.cumsum(dice.normal(size=n)), dice.normal(size=n)
    noise[:60] = np.nan
    times, columns, width = thinned(range(n), {"walk": walk, "noise": noise})
    assert len(times) <= 4001
    assert times[0] == 0
    assert times[-1] == n - 1
    assert np.diff(times[:-1]).max() <= -(-width // 2)
    assert (np.diff(times) > 0).all()
    for name, column in (("walk", walk), ("noise", noise)):
        drawn = columns[name]
        assert np.nanmax(drawn) == np.nanmax(column)
        assert np.nanmin(drawn[:-1]) == np.nanmin(column[:-1])
        assert drawn[-1] == column[-1]


def test_the_low_and_the_high_of_a_stretch_come_in_their_order() -> None:
    rising = np.arange(1000.0)
    _, up, _ = thinned(range(1000), {"a": rising}, most=100)
    _, down, _ = thinned(range(1000), {"a": -rising}, most=100)
    assert (np.diff(up["a"]) > 0).all()
    assert (np.diff(down["a"]) < 0).all()


def test_a_short_series_is_left_alone() -> None:
    times, columns, width = thinned([1, 2, 3], {"a": np.array([1.0, np.nan, 3.0])})
    assert (times, width) == ([1, 2, 3], 1)
    assert columns["a"].tolist()[::2] == [1.0, 3.0]


def test_of_very_many_trades_the_largest_are_marked_in_their_order() -> None:
    trades = [
        {"entry_timestamp": i, "exit_timestamp": i + 1, "side": "long", "pnl": float(i % 500), "reason": "exit"}
        for i in range(MOST_MARKS + 300)
    ]
    data = chart_data({"equity": {"timestamp": [0, 1], "equity": [1.0, 2.0], "drawdown": [0.0, 0.0]}, "trades": trades})
    at, pnl = (data["trade_columns"].index(name) for name in ("entry_timestamp", "pnl"))
    assert (len(data["trades"]), data["all_trades"]) == (MOST_MARKS, MOST_MARKS + 300)
    assert [row[at] for row in data["trades"]] == sorted(row[at] for row in data["trades"])
    assert min(row[pnl] for row in data["trades"]) >= 50.0


def test_a_run_without_bars_or_z_scores_is_drawn_without_them() -> None:
    assert chart_data({})["times"] == []
    assert curve_data({})["values"] == []
    one = {"equity": {"timestamp": [0], "equity": [100.0], "drawdown": [None]}, "series": {"zscore": []}}
    data = chart_data(one)
    assert data["columns"] == {"equity": [100.0], "drawdown": [None]}


def test_curves_begin_at_nothing_won_or_lost() -> None:
    data = curve_data({"equity": {"timestamp": [0, 1], "equity": [200.0, 210.0]}})
    assert data["values"] == [0.0, 0.05]
