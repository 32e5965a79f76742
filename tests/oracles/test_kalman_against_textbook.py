"""The Kalman hedge against a filter written from the textbook's equations, OLS, and a dense Gaussian likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import statsmodels.api as sm
from scipy.signal import lfilter

from pairscope.analytics.kalman import (
    KALMAN_BETA,
    KALMAN_COUNT,
    KALMAN_VARIANCE,
    kalman_hedge,
    kalman_state,
    kalman_step,
)
from pairscope.analytics.kalman_filter import state_of
from pairscope.analytics.regression import rolling_ols_hedge
from pairscope.market.kernel import kernel

Pair = tuple[np.ndarray, np.ndarray]

HYPOTHESES = [
    ("nothing walks", 0.0, 10.0),
    *[("beta walks", step, 1.0) for step in (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 100.0)],
    *[("both walk", step, 0.01) for step in (1e-2, 1.0, 100.0)],
]


def drifting(n: int, seed: int, *, level: float = 3.0, step: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pair whose x walks about a level, whose beta walks, and the betas."""
    rng = np.random.default_rng(seed)
    x = level + 0.3 * np.cumsum(rng.standard_normal(n))
    beta = 1.2 + step * np.cumsum(rng.standard_normal(n))
    return 5.0 + beta * x + rng.standard_normal(n), x, beta


def textbook(y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """Predict and update with whole covariances in (level at x's mean, beta), one filter a hypothesis.

    In extended precision: in (alpha, beta) itself logs of prices would leave these equations few digits, so steps of
    alpha and beta are carried over. The first two rows, in which x differs, give a start by generalised least squares.
    """
    wide = np.longdouble
    y, x = y.astype(wide), x.astype(wide)
    price, middle = x, x.mean()
    over = np.array([[1, middle], [0, 1]], wide)
    x = x - middle
    n = y.size
    out = [np.full((n, len(HYPOTHESES)), np.nan, wide) for _ in range(5)]
    for k, (kind, step, _) in enumerate(HYPOTHESES):
        m, p, square_sum, degrees, wild = np.zeros(2, wide), np.zeros((2, 2), wide), wide(0), wide(0), False
        for t in range(1, n):
            h = np.array([1, x[t]], wide)
            w = np.zeros((2, 2), wide)
            if kind == "beta walks":
                w = over @ np.diag([0, step / np.mean(price[:t] ** 2)]) @ over.T
            if kind == "both walk":
                w[0, 0] = step
            if t == 1:
                # y0 = [1, x0] (s1 - w1) + e0 and y1 = [1, x1] s1 + e1 determine s1.
                h0 = np.array([1, x[0]], wide)
                noise = np.array([1 + h0 @ w @ h0, 1], wide)
                back = np.array([[x[1], -x[0]], [-1, 1]], wide) / (x[1] - x[0])
                m, p = back @ y[:2], (back * noise) @ back.T
            else:
                if kind == "both walk" and x[t] != x[t - 1]:
                    slope = p[:, 1]
                    w = w + (1 / wide(0.98) - 1) * np.outer(slope, slope) / p[1, 1]
                p = p + w
                s = h @ p @ h + 1
                e = y[t] - h @ m
                variance = square_sum / degrees if degrees > 0 else wide(np.nan)
                out[0][t, k], out[1][t, k] = h @ m, s * variance
                too_far = degrees > 10 and abs(e) > 6 * np.sqrt(s * variance)
                passed_over, wild = too_far and not wild, too_far
                e = 6 * np.sqrt(s * variance) if passed_over else e
                out[4][t, k] = e
                gain = np.zeros(2, wide) if passed_over else p @ h / s
                m = m + gain * e
                left = np.eye(2, dtype=wide) - np.outer(gain, h)
                p = left @ p @ left.T + np.outer(gain, gain)
                square_sum, degrees = wide(0.998) * square_sum + e**2 / s, wide(0.998) * degrees + 1
            out[2][t, k] = m[1]
            out[3][t, k] = p[1, 1] * (square_sum / degrees if degrees > 0 else wide(np.nan))
    return out


def averaged(y: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Average the hypotheses: prior times what is left of the evidence, evidence by Student's t."""
    guess, variance, beta, beta_variance, counted = textbook(y, x)
    prior = np.array([row[2] for row in HYPOTHESES])
    evidence = np.zeros(len(HYPOTHESES), np.longdouble)
    found = {name: np.full(y.size, np.nan) for name in ("beta", "stderr", "innovation", "innovation_std")}
    weights = prior / prior.sum()
    degrees = 0.0
    for t in range(1, y.size):
        if t > 1:
            mean = weights @ guess[t]
            found["innovation"][t] = y[t] - mean
            found["innovation_std"][t] = np.sqrt(weights @ (variance[t] + (guess[t] - mean) ** 2))
            if degrees > 0.0:
                miss = counted[t] ** 2 / variance[t] / degrees
                evidence = 0.999 * evidence - 0.5 * (np.log(variance[t]) + (degrees + 1.0) * np.log1p(miss))
                weights = prior * np.exp(evidence - evidence.max())
                weights = weights / weights.sum()
            degrees = 0.998 * degrees + 1.0
        found["beta"][t] = weights @ beta[t]
        found["stderr"][t] = np.sqrt(weights @ (beta_variance[t] + (beta[t] - found["beta"][t]) ** 2))
    return found


@pytest.mark.parametrize("kind", ["drifting", "constant", "persistent", "spiky", "real"])
def test_every_bar_equals_the_textbook_filter(kind: str, request: pytest.FixtureRequest) -> None:
    y, x, _ = drifting(300, 1, step=0.0 if kind == "constant" else 0.02)
    if kind == "persistent":
        y = 5.0 + 1.2 * x + lfilter([1.0], [1.0, -0.97], np.random.default_rng(2).standard_normal(300))
    if kind == "spiky":
        y[[100, 200]] += 1000.0
        y[230:] += 50.0
        x[150] += 40.0
    if kind == "real":
        y, x = (np.log(leg[:300]) for leg in request.getfixturevalue("minute_closes"))
    ours, theirs = kalman_hedge(y, x), averaged(y, x)
    gaps = {}
    for name, column in (
        ("beta", ours.betas),
        ("stderr", ours.stderrs),
        ("innovation", ours.innovations),
        ("innovation_std", ours.innovation_stds),
    ):
        np.testing.assert_array_equal(np.isnan(column), np.isnan(theirs[name]))
        known = ~np.isnan(column)
        size = theirs["innovation_std"][known] if name == "innovation" else np.abs(theirs[name][known])
        gaps[name] = float(np.nanmax(np.abs(column[known] - theirs[name][known]) / size))
    print(f"Kalman on a {kind} pair, largest difference:", gaps)
    assert max(gaps.values()) < 1e-9


def test_one_hypothesis_that_nothing_walks_is_ols_of_all_bars_so_far() -> None:
    y, x, _ = drifting(400, 3)
    state = state_of([(0.0, 0.0, 1.0, 1.0)], noise=1.0, square=1.0)
    for t in range(400):
        kalman_step(state, y[t], x[t])
        if t in {2, 10, 399}:
            fit = sm.OLS(y[: t + 1], sm.add_constant(x[: t + 1])).fit()
            assert state[KALMAN_BETA] == pytest.approx(fit.params[1], rel=1e-10)
            assert state[KALMAN_VARIANCE] == pytest.approx(fit.normalized_cov_params[1, 1], rel=1e-10, abs=0.0)


def dense_likelihood(y: np.ndarray, x: np.ndarray, alpha_step: float, beta_step: float) -> float:
    """The likelihood of all rows at once, the start integrated out and the noise's variance at its best.

    Left out: what depends on x alone.
    """
    n = y.size
    both = np.minimum.outer(np.arange(n), np.arange(n))
    cov = np.eye(n) + alpha_step * both + beta_step / np.mean(x * x) * np.outer(x, x) * both
    design = sm.add_constant(x - x.mean())
    root = np.linalg.cholesky(cov)
    a, b = np.linalg.solve(root, design), np.linalg.solve(root, y)
    left = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
    logs = 2.0 * np.log(np.diag(root)).sum() + np.linalg.slogdet(a.T @ a)[1]
    return float(-0.5 * ((n - 2) * np.log(left @ left) + logs))


@pytest.mark.parametrize("seed", range(2))
def test_training_finds_the_maximum_of_the_dense_likelihood(seed: int) -> None:
    y, x, _ = drifting(81, seed, step=0.05)
    noise = kalman_hedge(y, x, train=80).noise
    assert noise is not None
    y, x = y[:80], x[:80]

    def judged(at: np.ndarray) -> float:
        return -dense_likelihood(y, x, *(10.0**at))

    starts = [(-1.0, -1.0), (-6.0, -1.0)]
    best = min((scipy.optimize.minimize(judged, start, method="Nelder-Mead") for start in starts), key=lambda r: r.fun)
    ours = dense_likelihood(
        y, x, noise.alpha_step / noise.observation, noise.beta_step / noise.observation * np.mean(x * x)
    )
    print("likelihood short of the best found, nats:", -best.fun - ours)
    assert ours > -best.fun - 1e-4


def test_training_recovers_the_noise_that_made_the_series() -> None:
    found = []
    for seed in range(12):
        y, x, _ = drifting(1500, seed, step=0.05)
        noise = kalman_hedge(y, x, train=1400).noise
        assert noise is not None
        found.append((noise.observation**0.5, noise.beta_step**0.5))
    observation, step = np.mean(found, axis=0)
    print("deviation of the noise and of beta's step:", observation, step)
    assert observation == pytest.approx(1.0, rel=0.05)
    assert step == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize("level", [0.0, 11.0, 100.0])
@pytest.mark.parametrize("step", [0.01, 0.05])
def test_a_drifting_beta_is_followed_more_closely_than_by_any_rolling_ols(level: float, step: float) -> None:
    errors: dict[str, list[float]] = {}
    for seed in range(10):
        y, x, beta = drifting(1500, seed, level=level, step=step)
        late = slice(300, None)
        followed = {"kalman": kalman_hedge(y, x).betas}
        followed |= {f"rolling {window}": rolling_ols_hedge(y, x, window).beta for window in (30, 60, 120, 250)}
        for name, betas in followed.items():
            errors.setdefault(name, []).append(float(np.mean((betas[late] - beta[late]) ** 2)))
    rmse = {name: float(np.sqrt(np.mean(values))) for name, values in errors.items()}
    print(f"root mean square error of beta, x about {level}, steps of {step}:", rmse)
    assert rmse["kalman"] < 0.8 * min(value for name, value in rmse.items() if name != "kalman")


def test_a_constant_beta_is_estimated_about_as_well_as_by_ols() -> None:
    late = slice(300, None)
    for level in (0.0, 100.0):
        ratios = []
        for seed in range(20):
            y, x, beta = drifting(1000, seed, level=level, step=0.0)
            kalman = kalman_hedge(y, x).betas[late] - beta[late]
            whole = np.array([rolling_ols_hedge(y[:t], x[:t], t).beta[-1] for t in range(300, 1000, 20)]) - beta[0]
            ratios.append((np.mean(kalman**2), np.mean(whole**2)))
        mine, ols = np.sqrt(np.mean(ratios, axis=0))
        print(f"x about {level}: root mean square error {mine:.5f}, of OLS of all bars so far {ols:.5f}")
        assert mine < 1.3 * ols


@pytest.mark.parametrize("train", [None, 700])
def test_innovations_are_white_and_as_large_as_was_foretold(train: int | None) -> None:
    kinds = [(0.0, False), (0.01, False), (0.05, False), *([(0.01, True)] if train is None else [])]
    for step, fat in kinds:
        spread, white = [], []
        for seed in range(10):
            y, x, beta = drifting(2000, seed, level=11.0, step=step)
            if fat:
                y = 5.0 + beta * x + np.random.default_rng(seed + 99).standard_t(4, 2000)
            made = kalman_hedge(y, x, train=train)
            scaled = (made.innovations / made.innovation_stds)[700:]
            spread.append(scaled.std())
            white.append(np.corrcoef(scaled[1:], scaled[:-1])[0, 1])
        print(f"train {train}, steps of {step}, fat {fat}: deviation {np.mean(spread):.3f}", end=", ")
        print(f"correlation of neighbours {np.mean(white):.3f}")
        assert np.mean(spread) == pytest.approx(1.0, abs=0.04)
        assert abs(np.mean(white)) < 0.03


@kernel
def _step_through(state: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
    for t in range(x.size):
        kalman_step(state, y[t], x[t])


def test_ten_million_bars_at_an_offset_of_a_hundred_million_leave_what_the_last_would() -> None:
    """A filter that forgets within hundreds of bars, against the same begun 5,000 bars before the end."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(10_000_000)
    x *= 0.1
    x += 1e8
    y = rng.standard_normal(10_000_000)
    y *= 0.1
    y += 1.5 * (x - 1e8) + 1e8
    long, short = (state_of([(1e-3, 0.0, 0.98, 1.0)], noise=0.01, square=1e16) for _ in range(2))
    _step_through(long, y, x)
    _step_through(short, y[-5000:], x[-5000:])
    assert long[KALMAN_COUNT] == 10_000_000
    assert long[KALMAN_BETA] == pytest.approx(short[KALMAN_BETA], rel=1e-9)
    assert long[KALMAN_VARIANCE] == pytest.approx(short[KALMAN_VARIANCE], rel=1e-9, abs=0.0)


def test_after_a_million_bars_every_covariance_is_one() -> None:
    rng = np.random.default_rng(6)
    x = 1e8 + 0.1 * np.cumsum(rng.standard_normal(1_000_000))
    x[200_000:400_000] = x[200_000]
    y = 1e8 + 1.5 * (x - 1e8) + 0.1 * rng.standard_normal(1_000_000)
    made = kalman_hedge(y, x)
    assert np.isfinite(made.stderrs[3:]).all()
    assert np.isfinite(made.innovation_stds[3:]).all()
    assert made.stderrs[3:].min() > 0.0
    assert made.beta == pytest.approx(1.5, abs=5 * made.stderr)
    state = kalman_state()
    _step_through(state, y, x)
    models = state[-len(HYPOTHESES) * 13 :].reshape(-1, 13)
    assert (models[:, 7:9] > 0.0).all()
    assert models[:, 11].sum() == pytest.approx(1.0)
