"""One window of a pair: the same bits wherever it stands, and NaN where there is no answer."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.pair_window import (
    checked_pair,
    correlation_window,
    fit_window,
    fit_windows,
    rolling_pair_correlation,
    spread_windows,
    zscore_window,
)
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData


def pair(n: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 11.0 + 1e-3 * np.cumsum(rng.standard_normal(n))
    return 2.0 + 0.7 * x + 1e-3 * rng.standard_normal(n), x


@pytest.mark.parametrize("window", [3, 31, 32, 33, 64, 100])
def test_a_window_says_the_same_bits_wherever_its_rows_stand(window: int) -> None:
    y, x = pair()
    end = 250
    for start in (0, 1, 5, end - window - 1):
        rows = slice(start, end)
        moved, length = (y[rows].copy(), x[rows].copy()), end - start
        assert fit_window(*moved, length, window) == fit_window(y, x, end, window)
        assert zscore_window(*moved, length, window, 2.0, 0.7) == zscore_window(y, x, end, window, 2.0, 0.7)
        assert correlation_window(*moved, length, window) == correlation_window(y, x, end, window)


def test_an_offset_of_a_hundred_million_costs_no_digits_of_the_slope() -> None:
    y, x = pair()
    y, x = np.round(y * 2**20) / 2**20, np.round(x * 2**20) / 2**20
    near, far = fit_window(y, x, 300, 300), fit_window(y + 2.0**27, x + 2.0**27, 300, 300)
    assert far.beta == near.beta
    assert (far.stderr, far.r_squared) == (near.stderr, near.r_squared)
    assert correlation_window(y + 2.0**27, x + 2.0**27, 300, 60) == pytest.approx(
        correlation_window(y, x, 300, 60), rel=1e-12
    )


def test_a_leg_that_stands_still_gives_nan_and_one_tick_of_movement_an_answer() -> None:
    y, x = pair()
    x[100:200] = x[100]
    assert np.isnan(fit_window(y, x, 200, 100)).all()
    assert np.isnan(fit_windows(y, x, 50).beta[149:200]).all()
    assert np.isnan(correlation_window(y, x, 200, 60))
    x[150] = np.nextafter(x[150], np.inf)
    assert np.isfinite(fit_window(y, x, 200, 100).beta)
    assert np.isnan(fit_window(x, y, 90, 90)[0:1]).sum() == 0


def test_a_y_that_stands_still_has_a_slope_of_zero_that_explains_nothing() -> None:
    x = pair()[1]
    fit = fit_window(np.full(300, 5.0), x, 300, 300)
    assert (fit.alpha, fit.beta, fit.stderr, fit.residual_std) == (5.0, 0.0, 0.0, 0.0)
    assert np.isnan(fit.r_squared)


def test_a_perfect_fit_explains_everything_and_has_no_error() -> None:
    x = np.arange(100.0)
    fit = fit_window(3.0 + 2.0 * x, x, 100, 100)
    assert (fit.beta, fit.alpha, fit.r_squared) == (2.0, 3.0, 1.0)
    assert 0.0 <= fit.stderr < 1e-15


def test_a_spread_that_only_rounds_is_constant() -> None:
    x = 60_000.0 + np.cumsum(np.random.default_rng(2).standard_normal(100)) * 7.3
    y = 0.1 + 0.3 * x
    spread = zscore_window(y, x, 100, 60, 0.1, 0.3)
    assert spread.std == 0.0
    assert np.isnan(spread.zscore)
    assert spread.last == pytest.approx(spread.mean, abs=1e-9)
    moving = zscore_window(y + 1e-9 * np.arange(100), x, 100, 60, 0.1, 0.3)
    assert moving.std > 0.0


def test_what_reaches_beyond_the_rows_or_holds_nan_is_nan() -> None:
    y, x = pair(20)
    for end, window in ((5, 6), (21, 5), (0, 3), (10, 2)):
        assert np.isnan(fit_window(y, x, end, window)).all()
    for end, window in ((5, 6), (21, 5), (0, 2), (10, 1)):
        assert np.isnan(zscore_window(y, x, end, window, 1.0, 1.0)).all()
    for end, window in ((5, 5), (21, 5), (10, 1)):
        assert np.isnan(correlation_window(y, x, end, window))
    y[7] = np.nan
    assert np.isnan(fit_window(y, x, 10, 5)).all()
    assert np.isnan(zscore_window(y, x, 10, 5, 1.0, 1.0)).all()
    assert np.isnan(correlation_window(y, x, 10, 5))
    assert np.isfinite(fit_window(y, x, 20, 5)).all()
    assert np.isnan(zscore_window(y, x, 20, 5, np.nan, np.nan)).all()


def test_columns_are_the_windows_one_by_one() -> None:
    y, x = pair()
    fits, window = fit_windows(y, x, 50), 20
    spreads = spread_windows(y, x, window, alpha=fits.alpha, beta=fits.beta)
    correlations = rolling_pair_correlation(y, x, window)
    assert np.isnan(fits.beta[:49]).all()
    assert np.isnan(spreads.zscore[:49]).all()
    assert np.isnan(correlations[:window]).all()
    for t in (49, 50, 299):
        assert tuple(column[t] for column in fits) == fit_window(y, x, t + 1, 50)
        expected = zscore_window(y, x, t + 1, window, fits.alpha[t], fits.beta[t])
        assert tuple(column[t] for column in spreads) == expected
        assert correlations[t] == correlation_window(y, x, t + 1, window)
    assert np.isfinite(spread_windows(y, x, window, alpha=2.0, beta=0.7).zscore[19:]).all()


def test_a_correlation_never_leaves_its_bounds() -> None:
    x = np.cumsum(np.random.default_rng(3).standard_normal(200))
    for y, rho in ((0.1 * x, 1.0), (-7.0 * x, -1.0)):
        found = rolling_pair_correlation(y, x, 5)[5:]
        assert np.abs(found).max() <= 1.0
        assert found == pytest.approx(rho)


@pytest.mark.parametrize("call", [fit_windows, rolling_pair_correlation, lambda y, x, n: checked_pair(y, x, need=n)])
def test_bad_input_is_refused_by_its_name(call) -> None:
    y, x = pair(40)
    spoiled = y.copy()
    spoiled[3] = np.inf
    for legs, error, name in (
        ((spoiled, x), InputError, "y"),
        ((y, np.where(x == x[5], np.nan, x)), InputError, "x"),
        ((y[:-1], x), InputError, "x"),
        ((y, np.full(40, 2.0)), DegenerateSeries, "x"),
        ((np.full(40, 2.0), x), DegenerateSeries, "y"),
        ((y[:4], x[:4]), NotEnoughData, "y"),
        ((y * 1e120, x), InputError, "y"),
        ((y, x.reshape(2, 20)), InputError, "x"),
    ):
        with pytest.raises(error, match=rf"^{name}\b") as caught:
            call(*legs, 10)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("bad", [0, 2.5, -1, True, np.nan])
def test_a_window_that_is_no_count_is_refused_by_its_name(bad: float) -> None:
    y, x = pair(40)
    with pytest.raises(InputError, match=r"^lookback"):
        fit_windows(y, x, bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^window"):
        rolling_pair_correlation(y, x, bad)  # type: ignore[arg-type]


def test_a_hedge_ratio_of_another_length_is_refused_by_its_name() -> None:
    y, x = pair(40)
    with pytest.raises(InputError, match=r"^beta"):
        spread_windows(y, x, 10, alpha=1.0, beta=np.ones(39))
    with pytest.raises(InputError, match=r"^alpha"):
        spread_windows(y, x, 10, alpha=np.nan, beta=1.0)
