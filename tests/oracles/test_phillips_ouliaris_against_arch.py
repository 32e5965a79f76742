"""The screen's Phillips-Ouliaris variant against arch, and its MAIC lags against regressions made one by one."""

from __future__ import annotations

import numpy as np
import pytest
from arch.unitroot.cointegration import phillips_ouliaris
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant
from statsmodels.tsa.stattools import adfuller

from pairscope.research.modified_criterion import modified_lags
from pairscope.research.screen import screen_pairs


def market(bars: int = 300) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(21)
    walk = np.cumsum(rng.standard_normal(bars))
    bounce = rng.standard_normal((2, bars))
    return {
        "walk": walk,
        "other": np.cumsum(rng.standard_normal(bars)),
        "tied": 2.0 * walk + np.convolve(rng.standard_normal(bars), 0.8 ** np.arange(40))[:bars],
        "bouncing": np.cumsum(rng.standard_normal(bars)) + 3.0 * bounce[0],
        "shaken": walk + 0.5 * bounce[1],
    }


@pytest.mark.parametrize("bandwidth", [0, 3, 7])
def test_z_t_of_every_pair_equals_arch(bandwidth: int) -> None:
    legs = market()
    result = screen_pairs(np.column_stack(list(legs.values())), list(legs), log=False, statistic="pp", maxlag=bandwidth)
    worst = 0.0
    for row in result:
        theirs = phillips_ouliaris(
            legs[row.y], legs[row.x], trend="c", test_type="Zt", kernel="bartlett", bandwidth=bandwidth
        )
        worst = max(worst, abs(row.statistic / theirs.stat - 1.0))
        assert row.lags == bandwidth
    print(f"\nZ_t, bandwidth {bandwidth}: {len(result)} pairs differ from arch by {worst:.1e} of themselves")
    assert worst <= 1e-8


def test_the_rest_of_a_row_is_the_same_whatever_judges_the_residual() -> None:
    legs = market()
    table, names = np.column_stack(list(legs.values())), list(legs)
    plain = {(row.y, row.x): row for row in screen_pairs(table, names, log=False)}
    for row in screen_pairs(table, names, log=False, statistic="pp"):
        other = plain[row.y, row.x]
        for name in ("alpha", "beta", "half_life", "zscore", "spread_std"):
            assert getattr(row, name) == pytest.approx(getattr(other, name), rel=1e-8, nan_ok=True)
        assert np.isnan(row.correlation) == np.isnan(other.correlation)


def test_maic_lags_and_statistic_equal_regressions_made_one_by_one() -> None:
    legs = market()
    table, names, most = np.column_stack(list(legs.values())), list(legs), 10
    result = screen_pairs(table, names, log=False, autolag="maic", maxlag=most)
    worst = 0.0
    for row in result:
        u = np.asarray(OLS(legs[row.y], add_constant(legs[row.x])).fit().resid)
        lags = maic(u, most)
        assert row.lags == lags == modified_lags(u, most)
        worst = max(
            worst,
            abs(row.statistic / adfuller(u, maxlag=lags, autolag=None, regression="n", result_object=False)[0] - 1.0),
        )
    print(f"\nMAIC: {len(result)} pairs, the same lags, statistic differs by {worst:.1e} of itself")
    assert worst <= 1e-8
    bouncing = {row.lags for row in result if "bouncing" in (row.y, row.x)}
    assert max(bouncing) >= 2


def maic(u: np.ndarray, most: int) -> int:
    """Ng and Perron's criterion from ordinary regressions, as their paper states it."""
    change = np.diff(u)
    values = []
    for lags in range(most + 1):
        columns = [u[most:-1], *(change[most - i : -i] for i in range(1, lags + 1))]
        fit = OLS(change[most:], np.column_stack(columns)).fit()
        n = change.size - most
        variance = fit.ssr / n
        tau = fit.params[0] ** 2 * (u[most:-1] ** 2).sum() / variance
        values.append(np.log(variance) + 2.0 * (tau + lags) / n)
    return int(np.argmin(values))
