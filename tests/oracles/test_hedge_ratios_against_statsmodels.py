"""Hedge ratios against statsmodels, SciPy, fractions and linear algebra, and their stability over ten million bars."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from statsmodels.regression.rolling import RollingOLS

from pairscope.analytics.ewm_hedge import EWM_ALPHA, EWM_BETA, ewm_ols_state, ewm_ols_step
from pairscope.analytics.pair_window import correlation_window, fit_window, zscore_window
from pairscope.analytics.regression import (
    ewm_ols_hedge,
    huber_hedge,
    ols_hedge,
    rolling_ols_hedge,
    theil_sen_hedge,
    tls_hedge,
)
from pairscope.market.kernel import kernel

Pair = tuple[np.ndarray, np.ndarray]

GENERATED = {
    "logs": (11.0, 1e-3, 5e-4),
    "prices": (60_000.0, 40.0, 25.0),
    "tiny prices": (1e-5, 1e-8, 1e-8),
    "around zero": (0.0, 1.0, 1.0),
}
"""Level, step and noise of a pair whose x walks and whose y is 3 + 0.8 x and a spread with fat tails."""


def generated(level: float, step: float, noise: float, n: int = 700) -> Pair:
    rng = np.random.default_rng(11)
    x = level + step * np.cumsum(rng.standard_normal(n))
    spread = lfilter([1.0], [1.0, -0.9], noise * rng.standard_t(4, n))
    return 3.0 * level + 0.8 * x + spread, x


@pytest.fixture(scope="module", params=[*GENERATED, "real"])
def pair(request: pytest.FixtureRequest) -> Pair:
    if request.param == "real":
        y, x = request.getfixturevalue("minute_closes")
        return np.log(y[-1440:]), np.log(x[-1440:])
    return generated(*GENERATED[request.param])


def centred(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an oracle is given: it loses digits to a level that the slope does not depend on."""
    return y - y.mean(), sm.add_constant(x - x.mean())


def worst(ours: object, theirs: object) -> float:
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    return float(np.max(np.abs(a - b) / np.abs(b)))


def test_ols_equals_statsmodels(pair: Pair) -> None:
    y, x = pair
    ours, theirs = ols_hedge(y, x), sm.OLS(*centred(y, x)).fit()
    n, mean = y.size, x.mean()
    gap = {
        "beta": worst(ours.beta, theirs.params[1]),
        "stderr": worst(ours.stderr, theirs.bse[1]),
        "r_squared": worst(ours.r_squared, theirs.rsquared),
        "residual_std": worst(ours.residual_std, np.sqrt(theirs.mse_resid)),
        "alpha": abs(ours.alpha - (y.mean() - theirs.params[1] * mean)) / ours.stderr_alpha,
        "stderr_alpha": worst(ours.stderr_alpha, theirs.bse[1] * np.sqrt(mean**2 + np.mean((x - mean) ** 2))),
    }
    print("OLS, largest difference:", gap)
    assert max(gap.values()) < 1e-9
    assert (ours.n, ours.lags) == (n, None)


@pytest.mark.parametrize("lags", [0, 1, 30, "auto"])
def test_newey_west_equals_statsmodels(pair: Pair, lags: int | str) -> None:
    y, x = pair
    ours = ols_hedge(y, x, newey_west=lags)
    used = int(4 * (y.size / 100) ** (2 / 9)) if lags == "auto" else lags
    assert ours.lags == used
    right, design = centred(y, x)
    cov = sm.OLS(right, design).fit(cov_type="HAC", cov_kwds={"maxlags": used}).cov_params()
    back = np.array([1.0, -x.mean()])
    gap = worst([ours.stderr, ours.stderr_alpha], [np.sqrt(cov[1, 1]), np.sqrt(back @ cov @ back)])
    print("Newey-West, largest difference:", gap)
    assert gap < 1e-8


@pytest.mark.parametrize("window", [3, 60, 333])
def test_rolling_ols_equals_statsmodels(pair: Pair, window: int) -> None:
    y, x = pair
    ours = rolling_ols_hedge(y, x, window)
    theirs = RollingOLS(*centred(y, x), window=window).fit()
    constant = np.ptp(sliding_window_view(x, window), axis=1) == 0.0
    assert np.isnan(ours.beta[: window - 1]).all()
    np.testing.assert_array_equal(np.isnan(ours.beta[window - 1 :]), constant)
    found, given = ours.beta[window - 1 :][~constant], theirs.params[window - 1 :, 1][~constant]
    gap = np.max(np.abs(found - given) / (np.abs(given) + theirs.bse[window - 1 :, 1][~constant]))
    print("rolling OLS, largest difference:", gap)
    assert gap < 1e-7
    for t in (window - 1, 400, y.size - 1):
        rows = slice(t + 1 - window, t + 1)
        fit = sm.OLS(*centred(y[rows], x[rows])).fit()
        assert (
            worst([ours.beta[t], ours.stderr[t], ours.r_squared[t]], [fit.params[1], fit.bse[1], fit.rsquared]) < 1e-9
        )
        assert ours.beta[t] == fit_window(y, x, t + 1, window).beta


def exact_fit(y: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    """Beta, the residuals' deviation and 1 - r² in fractions."""
    legs = [[Fraction(float(value)) for value in leg] for leg in (x, y)]
    means = [sum(leg) / len(leg) for leg in legs]
    du, dv = [[value - mean for value in leg] for leg, mean in zip(legs, means, strict=True)]
    beta = sum(a * b for a, b in zip(du, dv, strict=True)) / sum(a * a for a in du)
    left = sum((b - beta * a) ** 2 for a, b in zip(du, dv, strict=True))
    return float(beta), float(left / (x.size - 2)) ** 0.5, float(left / sum(b * b for b in dv))


def test_a_fit_next_to_perfect_keeps_its_digits() -> None:
    """Against exact fractions, where r² is 1 less 1e-12."""
    x = 11.0 + 1e-2 * np.cumsum(np.random.default_rng(5).standard_normal(300))
    y = 3.0 + 0.8 * x + 1e-8 * np.random.default_rng(6).standard_normal(300)
    fit, (beta, deviation, unexplained) = fit_window(y, x, 300, 300), exact_fit(y, x)
    assert 1.0 - fit.r_squared == pytest.approx(unexplained, rel=1e-3, abs=0.0)
    assert fit.residual_std == pytest.approx(deviation, rel=1e-9, abs=0.0)
    assert fit.beta == pytest.approx(beta, rel=1e-14, abs=0.0)


def test_a_newest_row_far_from_all_others_costs_no_digits() -> None:
    """Rows are measured from it, so that all the others carry its distance; against exact fractions."""
    rng = np.random.default_rng(7)
    x = 11.0 + 1e-3 * np.cumsum(rng.standard_normal(1000))
    y = 3.0 + 0.8 * x + 1e-3 * rng.standard_normal(1000)
    x[-1], y[-1] = 60.0, 75.0
    fit, (beta, deviation, _) = fit_window(y, x, 1000, 1000), exact_fit(y, x)
    assert fit.beta == pytest.approx(beta, rel=3e-15, abs=0.0)
    assert fit.residual_std == pytest.approx(deviation, rel=1e-12, abs=0.0)


def test_ewm_ols_equals_weighted_least_squares_at_every_bar(pair: Pair) -> None:
    y, x = (leg[:400] for leg in pair)
    half_life = 40.0
    ours = ewm_ols_hedge(y, x, half_life=half_life)
    gap = 0.0
    for t in range(3, y.size):
        weights = 0.5 ** (np.arange(t, -1, -1) / half_life)
        right, design = centred(y[: t + 1], x[: t + 1])
        fit = sm.WLS(right, design, weights=weights).fit()
        # The standard error of that estimate where every bar has the same variance, by the hat matrix.
        d = design[:, 1] - np.average(design[:, 1], weights=weights)
        part = weights * d / (weights @ d**2)
        hat = design @ np.linalg.solve(design.T * weights @ design, design.T * weights)
        leave = np.eye(t + 1) - hat
        expected = weights @ (leave**2).sum(axis=1)
        stderr = np.sqrt((weights @ fit.resid**2) / expected * (part @ part))
        gap = max(gap, worst([ours.beta[t], ours.stderr[t]], [fit.params[1], stderr]))
        gap = max(gap, abs(ours.r_squared[t] - fit.rsquared))
    print("exponentially weighted OLS, largest difference:", gap)
    assert gap < 1e-7


def test_huber_equals_rlm(pair: Pair) -> None:
    y, x = pair
    noise = ols_hedge(y, x).residual_std
    # RLM stops by a sum that depends on the units: it is given a spread of one.
    right, design = centred(y / noise, x / noise)
    theirs = sm.RLM(right, design, M=sm.robust.norms.HuberT()).fit(tol=1e-12, maxiter=200)
    ours = huber_hedge(y, x)
    level = theirs.params[0] * noise + y.mean() - ours.beta * x.mean()
    gap = {
        "beta": worst(ours.beta, theirs.params[1]),
        "stderr": worst(ours.stderr, theirs.bse[1]),
        "scale": worst(ours.scale, theirs.scale * noise),
        "alpha": abs(ours.alpha - level) / noise,
    }
    print("Huber, largest difference:", gap)
    assert max(gap.values()) < 1e-8


@pytest.mark.parametrize("tuning", [0.8, 2.0])
def test_huber_equals_rlm_with_another_tuning(tuning: float) -> None:
    y, x = generated(*GENERATED["around zero"])
    theirs = sm.RLM(*centred(y, x), M=sm.robust.norms.HuberT(tuning)).fit(tol=1e-12, maxiter=200)
    ours = huber_hedge(y, x, tuning=tuning)
    assert worst([ours.beta, ours.stderr, ours.scale], [theirs.params[1], theirs.bse[1], theirs.scale]) < 1e-8


@pytest.mark.parametrize("noise_ratio", [1.0, 2.5])
def test_total_least_squares_equals_the_singular_vectors(pair: Pair, noise_ratio: float) -> None:
    y, x = pair
    ours = tls_hedge(y, x, noise_ratio=noise_ratio)
    root = np.sqrt(noise_ratio)
    (u, v) = np.linalg.svd(np.column_stack([x - x.mean(), (y - y.mean()) / root]), full_matrices=False)[2][0]
    gap = worst(ours.beta, v / u * root)
    print("total least squares, largest difference:", gap)
    assert gap < 1e-9


def test_the_stderr_of_total_least_squares_is_how_much_it_varies_and_it_has_no_bias() -> None:
    rng = np.random.default_rng(4)
    truth = np.cumsum(rng.standard_normal(300))
    fits = []
    for _ in range(500):
        x, y = truth + 2.0 * rng.standard_normal(300), 0.7 * truth + 2.0 * rng.standard_normal(300)
        fits.append((tls_hedge(y, x).beta, tls_hedge(y, x).stderr, ols_hedge(y, x).beta))
    beta, stderr, by_ols = np.array(fits).T
    assert beta.std() == pytest.approx(stderr.mean(), rel=0.1)
    assert abs(beta.mean() - 0.7) < 3 * beta.std() / 500**0.5
    assert by_ols.mean() < 0.7 - 10 * beta.std() / 500**0.5


def test_theil_sen_equals_scipy(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = (leg[-500:] for leg in pair)
    rounded = np.round(y / np.std(y), 1), np.round(x / np.std(x), 1)
    for right, left in ((y, x), rounded):
        theirs = scipy.stats.theilslopes(right, left)
        for at_once in (4_000_000, 1000):
            monkeypatch.setattr("pairscope.analytics.theil_sen._AT_ONCE", at_once)
            ours = theil_sen_hedge(right, left)
            assert (ours.beta, ours.low, ours.high) == (theirs.slope, theirs.low_slope, theirs.high_slope)
            assert ours.alpha == pytest.approx(theirs.intercept, rel=1e-12, abs=1e-12)


def test_z_score_and_correlation_of_a_window_equal_numpy(pair: Pair) -> None:
    y, x = pair
    n, window = y.size, 60
    fit = fit_window(y, x, n, 300)
    ours = zscore_window(y, x, n, window, fit.alpha, fit.beta)
    spread = ((y - y[-1]) - fit.beta * (x - x[-1]))[-window:]
    assert worst([ours.std, ours.zscore], [spread.std(ddof=1), -spread.mean() / spread.std(ddof=1)]) < 1e-9
    assert ours.last == pytest.approx(y[-1] - (fit.alpha + fit.beta * x[-1]), abs=1e-9 * ours.std)
    assert ours.last - ours.mean == pytest.approx(ours.zscore * ours.std, rel=1e-6)
    rho = np.corrcoef(np.diff(y[-window - 1 :]), np.diff(x[-window - 1 :]))[0, 1]
    assert correlation_window(y, x, n, window) == pytest.approx(rho, abs=1e-10)


def test_intervals_cover_the_hedge_ratio_though_the_spread_persists() -> None:
    """The rate of a 95 % interval, by the standard error that allows for it, and by the usual one."""
    rng = np.random.default_rng(8)
    for half_life, n in ((5, 500), (20, 500), (60, 1440)):
        covered = plain = 0
        for _ in range(400):
            x = 11.0 + np.cumsum(rng.standard_normal(n))
            spread = lfilter([1.0], [1.0, -(0.5 ** (1 / half_life))], rng.standard_normal(n + 500))[500:]
            fit = ols_hedge(2.0 + 0.7 * x + spread, x)
            for persistent in (True, False):
                low, high = fit.interval(persistent=persistent)
                covered += persistent and low <= 0.7 <= high
                plain += (not persistent) and low <= 0.7 <= high
        print(f"half-life {half_life}, n {n}: covered {covered / 400:.3f}, by the usual error {plain / 400:.3f}")
        assert 0.95 - 3 * 0.011 < covered / 400 < 0.95 + 3 * 0.011
        assert plain / 400 < 0.75


@kernel
def _step_through(state: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
    for t in range(x.size):
        ewm_ols_step(state, y[t], x[t])


def test_nothing_drifts_over_ten_million_bars_at_an_offset_of_a_hundred_million() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(10_000_000)
    np.cumsum(x, out=x)
    x *= 0.01
    x += 1e8
    y = rng.standard_normal(10_000_000)
    y *= 0.1
    y += 1.5 * (x - 1e8) + 1e8
    state = ewm_ols_state(half_life=100.0)
    _step_through(state, y, x)
    tail = slice(-7000, None)
    weights = 0.5 ** (np.arange(6999, -1, -1) / 100.0)
    exact_y, exact_x = y[tail] - 1e8, x[tail] - 1e8
    fit = sm.WLS(exact_y, sm.add_constant(exact_x), weights=weights).fit()
    assert state[EWM_BETA] == pytest.approx(fit.params[1], rel=1e-9)
    spread = (state[EWM_ALPHA] - 1e8) + state[EWM_BETA] * 1e8
    assert spread == pytest.approx(fit.params[0], abs=1e-7)
    whole = sm.OLS(exact_y[-1440:], sm.add_constant(exact_x[-1440:])).fit()
    live = fit_window(y, x, y.size, 1440)
    assert worst([live.beta, live.stderr], [whole.params[1], whole.bse[1]]) < 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(ols_hedge(y[tail], x[tail]).stderr_ar1)
