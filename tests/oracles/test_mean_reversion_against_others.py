"""Mean reversion against pandas, statsmodels, arch, SciPy's optimiser, dense linear algebra and published figures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import statsmodels.api as sm
from arch.unitroot import VarianceRatio
from scipy.signal import lfilter

from pairscope.analytics.autoregression import ar1_fit, coefficient_cdf
from pairscope.analytics.mean_reversion import half_life, hurst_exponent, spread, variance_ratio, zscore
from pairscope.analytics.ornstein_uhlenbeck import ou_fit

Pair = tuple[np.ndarray, np.ndarray]


def reverting(phi: float, n: int, seed: int) -> np.ndarray:
    return lfilter([1], [1, -phi], np.random.default_rng(seed).standard_normal(n + 2000))[2000:]


@pytest.fixture(scope="module")
def series(minute_closes: Pair) -> dict[str, np.ndarray]:
    y, x = (np.log(leg) for leg in minute_closes)
    return {
        "reverting": reverting(0.9, 500, 1),
        "persistent": reverting(0.995, 1440, 2),
        "walk": np.cumsum(np.random.default_rng(3).standard_normal(1000)),
        "offset": 1e8 + reverting(0.95, 1440, 4),
        "tiny": 1e-9 * reverting(0.95, 600, 5),
        "log price": y,
        "real spread": y - 0.6 * x,
    }


def test_z_scores_equal_pandas(series: dict[str, np.ndarray]) -> None:
    worst = 0.0
    for x in series.values():
        level = x - np.median(x)  # pandas slides sums, which an offset spoils
        for window in (2, 20, 60, 300):
            rolling = pd.Series(level).rolling(window)
            theirs = ((level - rolling.mean()) / rolling.std()).to_numpy()
            ours = zscore(x, window)
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
            worst = max(worst, np.nanmax(np.abs(ours - theirs)))
    print(f"z-score: {worst:.1e}")
    assert worst < 1e-9


def test_an_autoregression_equals_statsmodels_least_squares(series: dict[str, np.ndarray]) -> None:
    worst = 0.0
    for x in series.values():
        unit = x.std()
        level = (x - x[0]) / unit
        theirs = sm.OLS(level[1:], sm.add_constant(level[:-1])).fit()
        ours = ar1_fit(x)
        pairs = [(ours.phi, theirs.params[1]), (ours.phi_stderr, theirs.bse[1])]
        pairs.append((ours.residual_std, math.sqrt(theirs.scale) * unit))
        worst = max(worst, *(abs(a / b - 1) for a, b in pairs))
    print(f"AR(1): {worst:.1e}")
    assert worst < 1e-9


def test_the_half_life_of_gld_on_gdx_is_the_published_one_to_every_digit(
    chan_pair: Callable[[str, str], Pair],
) -> None:
    y, x = chan_pair("GLD", "GDX")
    beta = float(x @ y) / float(x @ x)
    left = spread(y, x, alpha=0.0, beta=beta)
    assert (len(y), f"{beta:.6f}") == (385, "1.639523")
    assert f"{half_life(left):.5f}" == "7.48711"
    assert f"{-math.log(2) / (ar1_fit(left).phi - 1):.5f}" == "7.83903"


def test_variance_ratios_equal_arch(series: dict[str, np.ndarray]) -> None:
    worst = 0.0
    for x in series.values():
        ours = variance_ratio(x, [2, 3, 10, 60])
        level = (x - x[0]) / x.std()
        for i, lag in enumerate(ours.lags.tolist()):
            theirs = VarianceRatio(level, lags=lag, robust=True, debiased=True, overlap=True)
            worst = max(worst, abs(ours.ratio[i] / theirs.vr - 1), abs(ours.statistic[i] / theirs.stat - 1))
            assert ours.pvalue[i] == pytest.approx(theirs.pvalue, abs=1e-9)
    print(f"variance ratio: {worst:.1e}")
    assert worst < 1e-8


def negative_log_likelihood(p: np.ndarray, x: np.ndarray, dt: float) -> float:
    theta, mu, sigma = math.exp(p[0]), p[1], math.exp(p[2])
    spread_, decay = sigma**2 / (2 * theta), math.exp(-theta * dt)
    step = -spread_ * math.expm1(-2 * theta * dt)
    left = x[1:] - mu - decay * (x[:-1] - mu)
    first = math.log(2 * math.pi * spread_) + (x[0] - mu) ** 2 / spread_
    return 0.5 * (first + float(np.sum(math.log(2 * math.pi * step) + left**2 / step)))


@pytest.mark.parametrize("name", ["reverting", "persistent", "walk", "log price", "real spread"])
def test_no_search_finds_a_likelier_ornstein_uhlenbeck_process(series: dict[str, np.ndarray], name: str) -> None:
    x, dt = series[name][:1000], 0.25
    ours = ou_fit(x, dt=dt)
    found = min(
        (
            scipy.optimize.minimize(
                negative_log_likelihood,
                [math.log(ours.theta * far), ours.mu + 0.3 * ours.stationary_std, math.log(ours.sigma * 1.1)],
                (x, dt),
                method="Nelder-Mead",
                options={"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000, "maxfev": 4000},
            )
            for far in (0.3, 3.0)
        ),
        key=lambda result: float(result.fun),
    )
    theirs = math.exp(found.x[0]), found.x[1], math.exp(found.x[2])
    worst = max(
        abs(ours.theta / theirs[0] - 1), abs(ours.mu - theirs[1]) / ours.mu_stderr, abs(ours.sigma / theirs[2] - 1)
    )
    print(f"Ornstein-Uhlenbeck, {name}: {worst:.1e}, log likelihood {abs(ours.log_likelihood + found.fun):.1e}")
    assert worst < 1e-5
    assert ours.log_likelihood >= -found.fun - 1e-8 * abs(found.fun)


def test_ornstein_uhlenbeck_standard_errors_are_the_curvature_of_the_likelihood() -> None:
    """At 20,000 values the expected information and the observed one, by differences, are close."""
    x = reverting(0.9, 20_000, 7)
    ours = ou_fit(x)
    at = np.array([math.log(ours.theta), ours.mu, math.log(ours.sigma)])
    steps = np.diag([3e-3, 3e-3 * ours.stationary_std, 3e-4])

    def value(move: np.ndarray) -> float:
        return negative_log_likelihood(at + move, x, 1.0)

    curvature = np.array(
        [[(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / 4 for b in steps] for a in steps]
    ) / np.outer(steps.sum(axis=0), steps.sum(axis=0))
    log_errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    theirs = log_errors * [ours.theta, 1.0, ours.sigma]
    np.testing.assert_allclose([ours.theta_stderr, ours.mu_stderr, ours.sigma_stderr], theirs, rtol=0.03)


def exact_probability(r: float, phi: float, n: int) -> float:
    """P(coefficient <= r) by Imhof's integral over the eigenvalues of the whole quadratic form."""
    rows = np.arange(n)
    factor = np.linalg.cholesky(phi ** np.abs(rows[:, None] - rows) / (1 - phi * phi))
    centring = np.eye(n - 1) - 1 / (n - 1)
    form = np.zeros((n, n))
    form[:-1, 1:] += centring
    form[:-1, :-1] -= r * centring
    weights = np.linalg.eigvalsh(factor.T @ (form + form.T) @ factor / 2)
    weights /= np.sqrt((weights**2).sum())
    nodes = 2 * np.exp(np.arange(-20.0, 10.0, 0.04))[:, None] * weights
    angle, damping = 0.5 * np.arctan(nodes).sum(axis=1), -0.25 * np.log1p(nodes**2).sum(axis=1)
    return float(0.5 - 0.04 / np.pi * (np.sin(angle) * np.exp(damping)).sum())


@pytest.mark.parametrize("n", [10, 50, 120])
def test_the_law_of_the_coefficient_equals_that_of_the_whole_matrix(n: int) -> None:
    worst = 0.0
    for phi in (-0.9, 0.0, 0.9, 0.99, 0.9999):
        for k in (-3, -1, 0, 2):
            r = phi - (1 + 3 * phi) / n + k * math.sqrt((1 - phi**2) / n + 1 / n**2)
            worst = max(worst, abs(coefficient_cdf(r, phi, n) - exact_probability(r, phi, n)))
    print(f"law of the coefficient, n = {n}: {worst:.1e}")
    assert worst < (1e-4 if n < 50 else 2e-5)


def test_at_a_unit_root_the_law_has_the_percentiles_of_fuller_s_table() -> None:
    """Fuller (1976), table 8.5.1, n (rho - 1) with constant, n without end."""
    table = {0.01: -20.7, 0.025: -16.9, 0.05: -14.1, 0.1: -11.3, 0.9: -0.85, 0.95: -0.13, 0.975: 0.41, 0.99: 1.04}
    for probability, percentile in table.items():
        assert coefficient_cdf(1 + percentile / 20_000, 1.0, 20_000) == pytest.approx(probability, abs=0.0015)


def test_the_hurst_exponent_equals_its_definition_computed_by_pandas(series: dict[str, np.ndarray]) -> None:
    worst = 0.0
    for x in series.values():
        level, n = pd.Series((x - x[0]) / x.std()), x.size
        lags = sorted({round(math.exp(k / 11 * math.log(2 * math.sqrt(n)))) for k in range(12)})
        sizes = [
            math.log((level.diff(lag).dropna() ** 2).mean()) + (2 * lag * lag + 1) / (3 * lag * (n - lag))
            for lag in lags
        ]
        worst = max(worst, abs(hurst_exponent(x) - min(1, max(0, np.polyfit(np.log(lags), sizes, 1)[0] / 2))))
    print(f"Hurst: {worst:.1e}")
    assert worst < 1e-8
