"""Covariance without a clock: a planted correlation is found where a clock hides it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.hayashi_yoshida import hayashi_yoshida

Ticks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def market(rho: float, seed: int) -> Ticks:
    """Two correlated walks over 20,000 steps, each seen at times of its own: every 10th and every 25th on average."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((2, 20_000))
    y, x = np.cumsum(rho * moves[1] + np.sqrt(1 - rho * rho) * moves[0]), np.cumsum(moves[1])
    seen = [np.flatnonzero(rng.random(20_000) < share) for share in (0.1, 0.04)]
    return seen[0] * 1_000_000, y[seen[0]], seen[1] * 1_000_000, x[seen[1]]


def clocked(ticks: Ticks, step: int) -> float:
    ts, y, us, x = ticks
    grid = np.arange(max(ts[0], us[0]), min(ts[-1], us[-1]), step)
    legs = [v[np.searchsorted(s, grid, side="right") - 1] for s, v in ((ts, y), (us, x))]
    return float(np.corrcoef(np.diff(legs[0]), np.diff(legs[1]))[0, 1])


@pytest.mark.parametrize("rho", [0.8, 0.0, -0.5])
def test_a_planted_correlation_is_found_where_a_clock_draws_it_to_nought(rho: float) -> None:
    markets = [market(rho, seed) for seed in range(60)]
    found = np.array([hayashi_yoshida(*ticks).correlation for ticks in markets])
    assert abs(found.mean() - rho) < 4 * found.std() / np.sqrt(60)
    assert found.std() < 0.06
    if rho:
        assert abs(np.mean([clocked(ticks, 5_000_000) for ticks in markets])) < 0.45 * abs(rho)


def test_on_common_times_it_is_the_sum_of_products() -> None:
    rng = np.random.default_rng(1)
    ts = np.cumsum(rng.integers(1, 100, 300))
    y, x = rng.standard_normal((2, 300))
    found = hayashi_yoshida(ts, y, ts, x)
    assert found.covariance == pytest.approx(np.diff(y) @ np.diff(x), rel=1e-12)
    assert found.variance_y == pytest.approx(np.sum(np.diff(y) ** 2), rel=1e-12)
    assert (found.moves_y, found.moves_x) == (299, 299)


def test_the_order_of_the_legs_does_not_matter() -> None:
    ts, y, us, x = market(0.5, 3)
    one, other = hayashi_yoshida(ts, y, us, x), hayashi_yoshida(us, x, ts, y)
    assert one.covariance == pytest.approx(other.covariance, rel=1e-12)
    assert one.correlation == pytest.approx(other.correlation, rel=1e-12)


def test_of_several_ticks_at_one_time_the_last_counts() -> None:
    ts, y = np.array([0, 10, 10, 10, 20]), np.array([0.0, 9.0, -4.0, 1.0, 3.0])
    us, x = np.array([0, 10, 20]), np.array([0.0, 2.0, 6.0])
    assert hayashi_yoshida(ts, y, us, x) == hayashi_yoshida(ts[[0, 3, 4]], y[[0, 3, 4]], us, x)


def test_ticks_may_be_asked_to_lie_apart() -> None:
    ts, y = np.array([0, 4, 5, 9, 10, 30]), np.arange(6.0) ** 2
    us, x = np.array([0, 30]), np.array([0.0, 1.0])
    rows = [0, 2, 4, 5]
    assert hayashi_yoshida(ts, y, us, x, apart_ns=5) == hayashi_yoshida(ts[rows], y[rows], us, x)
    with pytest.raises(ValueError, match=r"^apart_ns: "):
        hayashi_yoshida(ts, y, us, x, apart_ns=-1)
    with pytest.raises(ValueError, match=r"^ts_y_ns: at times so far apart needs 2, has 1"):
        hayashi_yoshida(ts, y, us, x, apart_ns=31)


def test_noise_on_every_tick_hides_less_where_ticks_lie_apart() -> None:
    rng = np.random.default_rng(9)
    moves = rng.standard_normal((2, 20_000))
    ts, walk = np.arange(20_000), np.cumsum(moves, axis=1)
    y, x = 0.9 * walk[1] + np.sqrt(0.19) * walk[0] + rng.choice([-2, 2], 20_000), walk[1] + rng.choice([-2, 2], 20_000)
    every, apart = (hayashi_yoshida(ts, y, ts, x, apart_ns=gap).correlation for gap in (0, 50))
    assert every < 0.2
    assert apart == pytest.approx(0.9 / 1.16, abs=0.1)


def test_what_lies_outside_the_common_span_changes_nothing() -> None:
    ts, y, us, x = market(0.5, 4)
    late = us > 8_000_000_000
    whole, part = hayashi_yoshida(ts, y, us[late], x[late]), ts > 7_900_000_000
    assert hayashi_yoshida(ts[part], y[part], us[late], x[late]).covariance == pytest.approx(
        whole.covariance, rel=1e-12
    )
    assert whole.variance_y < 0.7 * np.sum(np.diff(y) ** 2)


def test_the_correlation_stays_within_one() -> None:
    found = hayashi_yoshida(
        np.array([0, 10]), np.array([0.0, 1.0]), np.array([0, 4, 6, 10]), np.array([0.0, 1.0, 2.0, 3.0])
    )
    assert found.covariance == 3.0
    assert found.correlation == 1.0


def test_misuse_is_refused_by_name() -> None:
    ts, v = np.arange(10), np.random.default_rng(5).standard_normal(10)
    cases = {
        "ts_y_ns: goes back": (ts[::-1], v, ts, v),
        "ts_x_ns: goes back": (ts, v, ts[::-1], v),
        "ts_x_ns: has 9 times, x has 10 values": (ts, v, ts[1:], v),
        "ts_y_ns: must be one row of whole": (ts / 2, v, ts, v),
        "ts_x_ns: does not overlap": (ts, v, ts + 9, v),
        "y: has values that are not finite": (ts, np.where(ts == 3, np.nan, v), ts, v),
        "x: is constant$": (ts, v, ts, np.ones(10)),
        "y: is constant where both": (ts, np.where(ts < 5, v, 0.0), ts + 6, v),
        "x: needs 2, has 1": (ts, v, ts[:1], v[:1]),
        "y: has values beyond": (ts, 1e101 * v, ts, v),
    }
    for message, arguments in cases.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            hayashi_yoshida(*arguments)
