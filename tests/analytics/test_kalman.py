"""The Kalman hedge as a user meets it: causal, in any units, sane on series that stand still or jump."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.kalman import (
    KALMAN_ALPHA,
    KALMAN_BETA,
    KALMAN_COUNT,
    KALMAN_INNOVATION,
    KALMAN_INNOVATION_STD,
    KALMAN_STATE,
    KALMAN_VARIANCE,
    kalman_hedge,
    kalman_state,
    kalman_step,
)
from pairscope.errors import DegenerateSeries, InputError


def pair(n: int = 400, *, seed: int = 1, level: float = 11.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = level + 1e-3 * level * np.cumsum(rng.standard_normal(n))
    return 0.5 * level + 0.7 * x + 1e-3 * level * rng.standard_normal(n), x


@pytest.mark.parametrize("train", [None, 50])
def test_cutting_the_series_changes_no_earlier_value(train: int | None) -> None:
    y, x = pair()
    whole, part = kalman_hedge(y, x, train=train), kalman_hedge(y[:200], x[:200], train=train)
    for name in ("alphas", "betas", "stderrs", "innovations", "innovation_stds"):
        np.testing.assert_array_equal(getattr(whole, name)[:200], getattr(part, name))
    assert (part.alpha, part.beta, part.stderr) == (part.alphas[-1], part.betas[-1], part.stderrs[-1])


def test_innovations_are_y_less_what_the_bars_before_said() -> None:
    y, x = pair()
    made = kalman_hedge(y, x)
    foretold = made.alphas[:-1] + made.betas[:-1] * x[1:]
    np.testing.assert_allclose(made.innovations[2:], (y[1:] - foretold)[1:], atol=1e-12)


@pytest.mark.parametrize(("by_y", "by_x"), [(3.0, 1.0), (1.0, 0.3), (1e-6, 1e5), (1e40, 1e-40)])
@pytest.mark.parametrize("train", [None, 100])
def test_other_units_scale_the_answer_and_change_nothing_else(by_y: float, by_x: float, train: int | None) -> None:
    y, x = pair()
    plain, scaled = kalman_hedge(y, x, train=train), kalman_hedge(by_y * y, by_x * x, train=train)
    for name, by in (
        ("alphas", by_y),
        ("betas", by_y / by_x),
        ("stderrs", by_y / by_x),
        ("innovation_stds", by_y),
    ):
        np.testing.assert_allclose(getattr(scaled, name), by * getattr(plain, name), rtol=1e-7)
    deviation = plain.innovation_stds[-1]
    np.testing.assert_allclose(scaled.innovations / by_y, plain.innovations, atol=1e-9 * deviation)


@pytest.mark.parametrize("level", [1e-5, 11.0, 60_000.0, 1e8])
def test_logs_and_prices_of_any_size_are_followed(level: float) -> None:
    made = kalman_hedge(*pair(level=level))
    assert abs(made.beta - 0.7) < 4 * made.stderr
    assert made.stderr < 0.01


def test_the_first_bars_say_what_can_be_known() -> None:
    y, x = pair()
    made = kalman_hedge(y, x)
    assert np.isnan(made.betas).tolist()[:3] == [True, False, False]
    assert np.isnan(made.stderrs).tolist()[:4] == [True, True, False, False]
    assert np.isnan(made.innovations).tolist()[:4] == [True, True, False, False]
    assert np.isnan(made.innovation_stds).tolist()[:4] == [True, True, True, False]
    assert made.betas[1] == pytest.approx((y[1] - y[0]) / (x[1] - x[0]))
    assert np.isfinite(made.innovation_stds[3:]).all()


def test_bars_before_x_has_moved_say_nothing_of_beta() -> None:
    y, x = pair()
    x[:50] = x[0]
    made = kalman_hedge(y, x)
    assert np.isnan(made.betas[:50]).all()
    assert np.isfinite(made.betas[50:]).all()
    assert np.isfinite(made.innovation_stds[51:]).all()


def test_training_bars_are_nan_and_what_was_found_is_told() -> None:
    y, x = pair()
    made = kalman_hedge(y, x, train=100)
    for column in (made.alphas, made.betas, made.stderrs, made.innovations, made.innovation_stds):
        assert np.isnan(column[:100]).all()
        assert np.isfinite(column[100:]).all()
    assert made.noise is not None
    assert made.noise.observation == pytest.approx(0.011**2, rel=0.4)
    assert kalman_hedge(y, x).noise is None


def test_training_looks_at_no_bar_after_its_own() -> None:
    y, x = pair()
    other = y.copy()
    other[100:] += 5.0
    assert kalman_hedge(y, x, train=100).noise == kalman_hedge(other, x, train=100).noise


def test_a_stale_leg_and_a_wrong_print_leave_the_filter_sane() -> None:
    y, x = pair(3000)
    x[500:2000] = x[500]
    stale = kalman_hedge(y, x)
    assert np.isfinite(stale.stderrs[3:]).all()
    assert abs(stale.beta - 0.7) < 4 * stale.stderr + 0.02
    y, x = pair(3000)
    y[1000] *= 100.0
    hit = kalman_hedge(y, x)
    assert hit.innovations[1000] > 1000.0
    assert abs(hit.betas[1001] - 0.7) < 0.05
    assert hit.innovation_stds[1001] < 2.0 * hit.innovation_stds[1000]
    y, x = pair(3000)
    x[1000] *= 100.0
    hit = kalman_hedge(y, x)
    assert abs(hit.betas[1001] - 0.7) < 0.05
    assert abs(hit.beta - 0.7) < 4 * hit.stderr


def test_a_new_level_is_learned_from_the_second_bar_on() -> None:
    y, x = pair(1500)
    y[1000:] += 1.0
    made = kalman_hedge(y, x)
    assert made.innovations[1000] > 50 * made.innovation_stds[1000]
    assert np.abs(made.innovations[1003:]).max() < 0.3
    assert abs(made.beta - 0.7) < 4 * made.stderr


def test_a_relation_without_noise_is_found_exactly() -> None:
    x = np.random.default_rng(4).standard_normal(200)
    made = kalman_hedge(2.0 * x, x)
    assert made.beta == pytest.approx(2.0, rel=1e-12)
    assert np.isfinite(made.stderrs[2:]).all()


def test_a_state_is_stepped_in_place_and_copied_freely() -> None:
    y, x = pair(60)
    made, state = kalman_hedge(y, x), kalman_state()
    assert state.size == KALMAN_STATE
    for t in range(60):
        aside = state.copy()
        kalman_step(aside, y[t] + 1.0, x[t])
        kalman_step(state, y[t], x[t])
    assert (state[KALMAN_ALPHA], state[KALMAN_BETA]) == (made.alpha, made.beta)
    assert np.sqrt(state[KALMAN_VARIANCE]) == made.stderr
    assert state[KALMAN_INNOVATION] == made.innovations[-1]
    assert state[KALMAN_INNOVATION_STD] == made.innovation_stds[-1]
    assert state[KALMAN_COUNT] == 60.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_without_a_price_changes_nothing_but_the_innovation(bad: float) -> None:
    y, x = pair(60)
    state = kalman_state()
    for t in range(60):
        kalman_step(state, y[t], x[t])
    before = state.copy()
    kalman_step(state, bad, x[0])
    kalman_step(state, y[0], bad)
    assert np.isnan(state[[KALMAN_INNOVATION, KALMAN_INNOVATION_STD]]).all()
    state[[KALMAN_INNOVATION, KALMAN_INNOVATION_STD]] = before[[KALMAN_INNOVATION, KALMAN_INNOVATION_STD]]
    np.testing.assert_array_equal(state, before)


@pytest.mark.parametrize("train", [9, 400, 0, -5, 50.5, True, np.nan])
def test_a_train_that_leaves_nothing_is_refused_by_its_name(train: float) -> None:
    with pytest.raises(InputError, match=r"^train"):
        kalman_hedge(*pair(), train=train)  # type: ignore[arg-type]


def test_bars_to_train_on_that_say_nothing_are_refused_by_name() -> None:
    y, x = pair()
    with pytest.raises(DegenerateSeries, match=r"^x"):
        kalman_hedge(y, np.where(np.arange(400) < 50, x[0], x), train=50)
    with pytest.raises(DegenerateSeries, match=r"^y"):
        kalman_hedge(np.where(np.arange(400) < 50, 2.0, y), x, train=50)
