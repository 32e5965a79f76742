"""The break sentinel: alarms as rarely as it says, tells a far spread from a broken pair, refuses what it cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pairscope.analytics.sentinel import (
    ALARM,
    BARS,
    SENTINEL_STATE,
    STATISTIC,
    STATUS,
    BreakSentinel,
    SentinelStatus,
    break_sentinel,
    sentinel_step,
    sentinel_train,
)
from pairscope.analytics.sentinel_table import RATES, THRESHOLDS, TRAINS, alarm_threshold, knots

ROOT = Path(__file__).resolve().parents[2]
TRAIN, PAIRS, BREAK = 300, 1000, 330


@cache
def script() -> ModuleType:
    """The script that found the thresholds."""
    spec = importlib.util.spec_from_file_location("calibrate_sentinel", ROOT / "scripts" / "calibrate_sentinel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spread_of(noise: np.ndarray, half_life: float, until: int | None = None) -> np.ndarray:
    """An autoregression of a half-life, which from bar ``until`` on is a random walk."""
    phi = 0.5 ** (1 / half_life) if half_life > 0 else 0.0
    whole = script().autoregression(noise, phi)
    if until is None:
        return whole
    return np.concatenate([whole[:until], whole[until - 1] + np.cumsum(noise[until:])])


def pair(seed: int, half_life: float, until: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    walk, noise = np.random.default_rng([11, seed]).standard_normal((2, 2 * TRAIN))
    x = np.cumsum(walk)
    return 3.0 + 0.7 * x + spread_of(noise, half_life, until), x


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def fat(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(4, n)


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    """GARCH(1, 1) with 0.1 and 0.88: wild and quiet hours."""
    shocks, out, variance = rng.standard_normal(n), np.empty(n), 1.0
    for t in range(n):
        out[t] = np.sqrt(variance) * shocks[t]
        variance = 0.02 + 0.1 * out[t] ** 2 + 0.88 * variance
    return out


def alarms(
    half_life: float, rate: float, noise: Callable[[np.random.Generator, int], np.ndarray], pairs: int = PAIRS
) -> tuple[int, int]:
    """How many of so many unbroken pairs are watched, and how many alarm."""
    watched = tripped = 0
    for seed in range(pairs):
        rng = np.random.default_rng([7, seed])
        x = np.cumsum(noise(rng, 2 * TRAIN))
        y = x + spread_of(noise(rng, 2 * TRAIN), half_life)
        made = break_sentinel(y, x, train=TRAIN, rate=rate, warn_rate=rate)
        watched += made.status[-1] != SentinelStatus.NO_VERDICT
        tripped += made.tripped_at is not None
    return watched, tripped


@pytest.mark.parametrize("half_life", [0.0, 5.0, 15.0, 50.0])
def test_of_a_thousand_unbroken_pairs_as_many_alarm_as_the_rate_says(half_life: float) -> None:
    watched, tripped = alarms(half_life, 0.05, normal)
    print(f"half-life {half_life:g}: {watched} of {PAIRS} pairs watched, {tripped / PAIRS:.2%} alarmed, stated 5 %")
    assert abs(tripped / PAIRS - 0.05) < 3.0 * np.sqrt(0.05 * 0.95 / PAIRS)
    assert watched > (0.4 if half_life == 50.0 else 0.85) * PAIRS


@pytest.mark.parametrize(("noise", "most"), [(fat, 0.07), (clustered, 0.1)])
def test_fat_tails_and_wild_hours_hardly_raise_false_alarms(
    noise: Callable[[np.random.Generator, int], np.ndarray], most: float
) -> None:
    _, tripped = alarms(10.0, 0.05, noise, 500)
    print(f"{noise.__name__}: {tripped / 500:.2%} alarmed, stated 5 %")
    assert tripped / 500 < most


def test_a_spread_that_shares_its_steps_with_x_raises_false_alarms_to_no_more_than_about_twice_the_rate() -> None:
    tripped = 0
    for seed in range(500):
        walk, own = np.random.default_rng([13, seed]).standard_normal((2, 2 * TRAIN))
        x = np.cumsum(walk)
        y = x + spread_of(0.6 * walk + 0.8 * own, 3.0)
        tripped += break_sentinel(y, x, train=TRAIN, rate=0.05).tripped_at is not None
    print(f"correlation 0.6 with x: {tripped / 500:.2%} alarmed, stated 5 %")
    assert tripped / 500 < 0.12


@pytest.mark.parametrize(("half_life", "share", "delay"), [(0.0, 0.99, 15), (2.0, 0.95, 50), (5.0, 0.6, 200)])
def test_a_pair_whose_spread_stops_reverting_is_found(half_life: float, share: float, delay: float) -> None:
    found = [break_sentinel(*pair(seed, half_life, BREAK), train=TRAIN).tripped_at for seed in range(300)]
    after = [np.inf if at is None else at - BREAK for at in found if at is None or at >= BREAK]
    print(f"half-life {half_life:g}: {np.isfinite(after).mean():.1%} found, median delay {np.median(after)} bars")
    assert np.isfinite(after).mean() > share
    assert np.median(after) < delay


def test_a_hedge_ratio_that_shifts_and_a_level_that_jumps_are_found() -> None:
    shifted = jumped = 0
    for seed in range(200):
        y, x = pair(seed, 3.0)
        after = np.arange(y.size) >= BREAK
        shifted += break_sentinel(y + after * 0.7 * (x - x[BREAK]), x, train=TRAIN).tripped_at is not None
        jumped += break_sentinel(y + after * 12.0, x, train=TRAIN).tripped_at is not None
    print(f"hedge ratio doubled: {shifted / 200:.1%} found, level jumped: {jumped / 200:.1%} found")
    assert shifted > 160
    assert jumped > 190


def z_rule(y: np.ndarray, x: np.ndarray) -> bool:
    """The usual rule: the spread leaves four standard deviations of training."""
    beta, alpha = np.polyfit(x[:TRAIN], y[:TRAIN], 1)
    spread = y - alpha - beta * x
    return bool((np.abs(spread[TRAIN:] / spread[:TRAIN].std()) > 4.0).any())


def test_a_spread_that_strays_far_and_comes_back_trips_a_limit_on_z_but_not_the_sentinel() -> None:
    by_z = by_sentinel = 0
    for seed in range(200):
        walk, noise = np.random.default_rng([5, seed]).standard_normal((2, 2 * TRAIN))
        x = np.cumsum(walk)
        noise[BREAK] += 8.0 * np.sqrt(1.0 / (1.0 - 0.5**0.4))
        y = x + spread_of(noise, 5.0)
        by_z += z_rule(y, x)
        by_sentinel += break_sentinel(y, x, train=TRAIN).tripped_at is not None
    print(f"strayed eight deviations: |z| > 4 trips on {by_z / 200:.1%}, the sentinel on {by_sentinel / 200:.1%}")
    assert by_z > 195
    assert by_sentinel <= 8


def test_two_random_walks_mostly_get_no_verdict() -> None:
    verdicts = []
    for seed in range(300):
        y, x = np.cumsum(np.random.default_rng([3, seed]).standard_normal((2, TRAIN)), axis=1)
        verdicts.append(sentinel_train(y, x)[STATUS])
    share = np.mean(np.array(verdicts) == SentinelStatus.NO_VERDICT)
    print(f"no verdict on {share:.0%} of two random walks")
    assert share > 0.5


def test_the_readings_of_a_broken_pair_from_training_to_the_end() -> None:
    y, x = pair(4, 3.0, BREAK)
    made = break_sentinel(y, x, train=TRAIN)
    assert isinstance(made, BreakSentinel)
    assert set(made.status[:TRAIN]) == {SentinelStatus.TRAINING}
    assert np.isnan(made.statistic[:TRAIN]).all()
    assert np.isnan(made.threshold[:TRAIN]).all()
    at = made.tripped_at
    assert at is not None
    assert made.statistic[at] > made.threshold[at] > made.warn_threshold[at]
    assert (made.statistic[TRAIN:at] <= made.threshold[at]).all()
    assert set(made.status[at:]) == {SentinelStatus.TRIPPED}
    warned = made.status == SentinelStatus.WARNED
    assert ((made.statistic[warned] > made.warn_threshold[-1]) & (made.statistic[warned] <= made.threshold[-1])).all()


def test_after_the_horizon_the_sentinel_says_that_it_expired() -> None:
    steps = np.random.default_rng(8).standard_normal((2, 250))
    x = np.cumsum(steps[0])
    made = break_sentinel(x + steps[1], x, train=100)
    assert made.tripped_at is None
    assert SentinelStatus.EXPIRED not in made.status[:200]
    assert set(made.status[200:]) == {SentinelStatus.EXPIRED}


def test_neither_scale_nor_offset_of_the_series_matters() -> None:
    y, x = pair(2, 5.0)
    plain = break_sentinel(y, x, train=TRAIN)
    moved = break_sentinel(1e-4 * y + 11.0, 1e3 * x - 5e4, train=TRAIN)
    np.testing.assert_allclose(moved.statistic[TRAIN:], plain.statistic[TRAIN:], rtol=1e-6, atol=1e-8)


def test_a_bar_without_a_number_is_not_seen() -> None:
    y, x = pair(2, 5.0)
    state = sentinel_train(y[:TRAIN], x[:TRAIN])
    before = state.copy()
    sentinel_step(state, np.nan, x[TRAIN])
    sentinel_step(state, y[TRAIN], np.inf)
    np.testing.assert_array_equal(state, before)
    sentinel_step(state, y[TRAIN], x[TRAIN])
    assert state[BARS] == 1.0


@pytest.mark.parametrize("size", [1e12, 1e200, -1e300])
def test_a_number_beyond_all_measure_leaves_the_readings_finite(size: float) -> None:
    y, x = pair(2, 5.0)
    state = sentinel_train(y[:TRAIN], x[:TRAIN])
    for value in (size, -size, 0.0, size):
        sentinel_step(state, value, x[TRAIN])
        sentinel_step(state, y[TRAIN], value)
    assert state.size == SENTINEL_STATE
    assert np.isfinite(state).all()
    assert state[STATISTIC] >= 0.0


def test_a_threshold_falls_with_the_rate_and_lies_between_its_neighbours() -> None:
    for train in (50, 77, 1440, 10_000):
        for reversion in (10.0, 25.0, 0.9 * train, 2.0 * train):
            values = [alarm_threshold(reversion, train, rate) for rate in (0.005, 0.007, 0.01, 0.03, 0.1)]
            assert values == sorted(values, reverse=True)
    row = THRESHOLDS[RATES.index(0.01)][TRAINS.index(250)]
    assert [alarm_threshold(kappa, 250, 0.01) for kappa in knots(250)] == pytest.approx(row)


def test_the_script_finds_the_thresholds_of_the_table_again() -> None:
    found = script().calibrate(100, 300, (0.05,))[0]
    table = THRESHOLDS[RATES.index(0.05)][TRAINS.index(100)]
    print("found", found.round(2), "table", table)
    assert found[3:] == pytest.approx(table[3:], rel=0.35)


ROWS = np.arange(120.0)
Y, X = np.random.default_rng(0).standard_normal((2, 120)).cumsum(axis=1)
WAVE = np.sin(ROWS)
SHARED = X - np.cov(X[:60], WAVE[:60])[0, 1] / WAVE[:60].var(ddof=1) * WAVE
"""A walk that has nothing in common with the wave in training."""


@pytest.mark.parametrize(
    ("y", "x", "says"),
    [
        (np.where(ROWS == 7, np.nan, Y), X, "y: has values that are not finite"),
        (Y, np.where(ROWS == 110, np.inf, X), "x: has values that are not finite"),
        (np.where(ROWS < 60, 1.0, Y), X, "y: is constant"),
        (Y, np.where(ROWS < 60, 1.0, X), "x: is constant"),
        (Y, X[:-1], "y: has 120 values, x has 119"),
        (Y[:40], X, "y: needs 60, has 40"),
        (Y, X[:40], "x: needs 60, has 40"),
        (2.0 * X + 1.0, X, "y: is a straight function of x"),
        (SHARED + WAVE, SHARED, "y: its spread follows from its own past"),
        (X + 1e-3 * ROWS, ROWS**2, "y:"),
        (Y * 1e300, X, "y:"),
        (Y, X * 1e200, "y:"),
        (Y, ROWS, "x: it or the spread is a straight line"),
    ],
)
def test_what_cannot_be_watched_is_refused_by_name(y: np.ndarray, x: np.ndarray, says: str) -> None:
    if says == "y:":
        try:
            break_sentinel(y, x, train=60)
        except ValueError as error:
            assert str(error).startswith(("y:", "x:"))
    else:
        with pytest.raises(ValueError, match=says):
            break_sentinel(y, x, train=60)


@pytest.mark.parametrize("train", [49, 10_001, 60.5, True])
def test_a_training_span_that_was_not_calibrated_is_refused(train: int) -> None:
    with pytest.raises(ValueError, match="train: must be a whole number from 50 to 10000"):
        break_sentinel(Y, X, train=train)


@pytest.mark.parametrize(("rate", "name"), [(0.2, "rate"), (0.001, "rate"), (float("nan"), "rate")])
def test_a_rate_that_was_not_calibrated_is_refused(rate: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: must be 0.005 to 0.1"):
        break_sentinel(Y, X, train=60, rate=rate)


def test_a_state_says_which_bar_alarmed() -> None:
    y, x = pair(4, 3.0, BREAK)
    state = sentinel_train(y[:TRAIN], x[:TRAIN])
    for t in range(TRAIN, y.size):
        sentinel_step(state, y[t], x[t])
    assert TRAIN + int(state[ALARM]) == break_sentinel(y, x, train=TRAIN).tripped_at
