"""A pair bar by bar: each row is what a report of the bars up to it says, however short the history."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.pair_series import HUBER_COST, hedge_series, huber_series, least_bars, pair_columns
from pairscope.analytics.regression import huber_hedge, ols_hedge
from pairscope.errors import InputError, NotEnoughData

from .test_pair_report import planted


def test_each_hedge_ratio_is_that_of_its_own_bars() -> None:
    y, x = planted(120)
    for series, fit in ((hedge_series, ols_hedge), (huber_series, huber_hedge)):
        found = series(y, x, 50, least=10)
        for t in (9, 10, 30, 49, 50, 119):
            rows = slice(max(0, t + 1 - 50), t + 1)
            said = fit(y[rows], x[rows])
            assert (found.alpha[t], found.beta[t], found.n[t]) == (said.alpha, said.beta, rows.stop - rows.start)
        assert np.isnan(found.beta[:9]).all()
        assert (found.n[:9] == 0).all()


def test_huber_goes_back_as_far_as_its_cost_allows() -> None:
    y, x = planted(2600)
    lookback = HUBER_COST // 100
    found = huber_series(np.tile(y, 1), x, min(lookback, 2500), least=2500)
    assert np.isfinite(found.beta[-100:]).all()
    long_y, long_x = planted(6000)
    reach = HUBER_COST // 3000
    found = huber_series(long_y, long_x, 3000, least=3000)
    assert np.isfinite(found.beta[-reach:]).all()
    assert np.isnan(found.beta[: -reach - 1]).all()


def test_the_columns_of_a_pair_do_not_depend_on_what_comes_before_their_lookback() -> None:
    y, x = planted(300)
    whole = pair_columns(y, x, lookback=50, window=20)
    part = pair_columns(y[180:], x[180:], lookback=50, window=20)
    for name, column in whole.items():
        assert np.array_equal(part[name][50:], column[230:]), name


def test_too_few_bars_are_refused_by_name() -> None:
    y, x = planted(20)
    assert least_bars(1440, 100) == 100
    with pytest.raises(NotEnoughData, match="y"):
        pair_columns(y, x, lookback=50, window=10)
    with pytest.raises(InputError, match="x: has 19"):
        hedge_series(y, x[1:], 10, least=5)
    assert np.isnan(pair_columns(y, x, lookback=20, window=20)["correlation"]).all()
