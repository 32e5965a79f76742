"""The table of days and months: what each made, all of them together the whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pairscope.research.calendar_returns import calendar_returns


def test_days_and_months_are_those_of_pandas_and_add_up() -> None:
    times = pd.date_range("2025-04-29 22:00", "2025-06-02 03:00", freq="15min")
    equity = 1000 + np.cumsum(np.random.default_rng(1).standard_normal(times.size))
    made = calendar_returns(times.to_numpy().astype("M8[ns]").astype(np.int64), equity, 1000.0)
    for name, unit in (("daily", "D"), ("monthly", "M")):
        last = pd.Series(equity, times).groupby(times.to_period(unit)).last()
        expected = last.diff().fillna(last.iloc[0] - 1000.0) / 1000.0
        assert [row["period"] for row in made[name]] == [str(period) for period in expected.index]
        assert [row["return"] for row in made[name]] == pytest.approx(expected.tolist())
        assert sum(row["return"] for row in made[name]) == pytest.approx(equity[-1] / 1000.0 - 1.0)


def test_a_day_without_bars_is_not_in_the_table() -> None:
    times = pd.DatetimeIndex(["2025-05-01 10:00", "2025-05-04 10:00"]).to_numpy().astype("M8[ns]").astype(np.int64)
    made = calendar_returns(times, np.array([100.0, 90.0]), 100.0)
    assert made["daily"] == [{"period": "2025-05-01", "return": 0.0}, {"period": "2025-05-04", "return": -0.1}]
    assert made["monthly"] == [{"period": "2025-05", "return": -0.1}]
