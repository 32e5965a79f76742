"""Hedge ratios by regression as a user meets them: what they withstand, how they scale, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pairscope.analytics import regression
from pairscope.analytics.regression import (
    ewm_ols_hedge,
    huber_hedge,
    kalman_hedge,
    ols_hedge,
    rolling_ols_hedge,
    theil_sen_hedge,
    tls_hedge,
)
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData

Call = Callable[[np.ndarray, np.ndarray], Any]

ONE_ANSWER: dict[str, Call] = {
    "ols": ols_hedge,
    "newey-west": lambda y, x: ols_hedge(y, x, newey_west="auto"),
    "huber": huber_hedge,
    "tls": tls_hedge,
    "theil-sen": theil_sen_hedge,
    "kalman": kalman_hedge,
}
EVERY = {
    **ONE_ANSWER,
    "rolling": lambda y, x: rolling_ols_hedge(y, x, 10),
    "ewm": lambda y, x: ewm_ols_hedge(y, x, half_life=20.0),
}


def pair(n: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 11.0 + 1e-2 * np.cumsum(rng.standard_normal(n))
    return 2.0 + 0.7 * x + 1e-3 * rng.standard_normal(n), x


@pytest.mark.parametrize("name", ONE_ANSWER)
def test_alpha_beta_and_the_error_of_beta_are_there_by_name(name: str) -> None:
    fit = ONE_ANSWER[name](*pair())
    assert abs(fit.beta - 0.7) < 5 * fit.stderr
    assert fit.alpha == pytest.approx(2.0, abs=0.1)
    assert 0.0 < fit.stderr < 0.01
    assert all(isinstance(value, float) for value in (fit.alpha, fit.beta, fit.stderr))


@pytest.mark.parametrize("name", ONE_ANSWER)
@pytest.mark.parametrize(("by_y", "by_x"), [(1e-6, 1.0), (1.0, 1e5), (1e30, 1e-30)])
def test_other_units_scale_the_answer(name: str, by_y: float, by_x: float) -> None:
    y, x = pair()
    plain = ONE_ANSWER[name](y, x)
    if name == "tls":
        scaled = tls_hedge(by_y * y, by_x * x, noise_ratio=(by_y / by_x) ** 2)
    else:
        scaled = ONE_ANSWER[name](by_y * y, by_x * x)
    assert scaled.beta == pytest.approx(plain.beta * by_y / by_x, rel=1e-8)
    assert scaled.stderr == pytest.approx(plain.stderr * by_y / by_x, rel=1e-6)


def test_the_three_hedges_of_a_pair_and_their_kin_are_exported_by_name() -> None:
    for name in ("ols_hedge", "huber_hedge", "kalman_hedge", "rolling_ols_hedge"):
        assert name in regression.__all__


@pytest.mark.parametrize("name", EVERY)
def test_bad_input_is_refused_by_its_name(name: str) -> None:
    y, x = pair(40)
    hole, endless = y.copy(), x.copy()
    hole[7], endless[7] = np.nan, -np.inf
    for legs, error, culprit in (
        ((hole, x), InputError, "y"),
        ((y, endless), InputError, "x"),
        ((y, x[1:]), InputError, "x"),
        ((np.full(40, 3.0), x), DegenerateSeries, "y"),
        ((y, np.full(40, 3.0)), DegenerateSeries, "x"),
        ((y[:2], x[:2]), NotEnoughData, "y"),
        ((y.reshape(4, 10), x), InputError, "y"),
    ):
        with pytest.raises(error, match=rf"^{culprit}\b") as caught:
            EVERY[name](*legs)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ONE_ANSWER)
@pytest.mark.parametrize(
    "kind", ["three bars", "one move", "one ulp", "equal legs", "integers", "huge", "small", "underflow"]
)
def test_finite_input_gives_a_finite_answer_or_an_error_of_ours(name: str, kind: str) -> None:
    y, x = pair(60)
    match kind:
        case "three bars":
            y, x = y[:3], x[:3]
        case "one move":
            x = np.where(np.arange(60) < 59, 5.0, 6.0)
        case "one ulp":
            x = np.where(np.arange(60) % 2 == 0, 11.0, np.nextafter(11.0, 12.0))
        case "equal legs":
            y = x.copy()
        case "integers":
            y, x = np.round(100 * y), np.round(10 * x)
        case "huge":
            y, x = 1e73 * y, 1e73 * x
        case "small":
            y, x = 1e73 * y, 1e-70 * x
        case "underflow":
            x = 1e-200 * np.arange(60.0)
    try:
        fit = ONE_ANSWER[name](y, x)
    except ValueError as error:
        assert str(error).startswith(("y:", "x:"))
    else:
        assert np.isfinite([fit.alpha, fit.beta, fit.stderr]).all()


def test_a_fifth_of_wild_bars_moves_the_robust_ratios_little_and_ols_much() -> None:
    y, x = pair()
    y[60:300:5] += np.linspace(0.5, 3.0, 48)
    assert abs(ols_hedge(y, x).beta - 0.7) > 1.0
    assert abs(theil_sen_hedge(y, x).beta - 0.7) < 0.01
    assert abs(huber_hedge(y, x).beta - 0.7) < 0.02


def test_wild_values_of_x_too_leave_theil_sen_in_place() -> None:
    y, x = pair()
    x[::7] += 5.0
    assert abs(theil_sen_hedge(y, x).beta - 0.7) < 0.05
    assert ols_hedge(y, x).beta < 0.1


def test_total_least_squares_treats_both_legs_alike() -> None:
    y, x = pair()
    y = 2.0 + 0.7 * x + 0.05 * np.random.default_rng(3).standard_normal(300)
    assert tls_hedge(y, x).beta * tls_hedge(x, y).beta == pytest.approx(1.0, rel=1e-10)
    assert tls_hedge(-y, x).beta == pytest.approx(-tls_hedge(y, x).beta, rel=1e-12)
    assert ols_hedge(y, x).beta * ols_hedge(x, y).beta < 0.9


def test_legs_without_correlation_have_no_orthogonal_line() -> None:
    x = np.tile([1.0, 1.0, -1.0, -1.0], 10)
    y = np.tile([2.0, -2.0, 2.0, -2.0], 10)
    with pytest.raises(DegenerateSeries, match=r"^y"):
        tls_hedge(y, x)
    assert tls_hedge(0.1 * y, x).beta == 0.0


def test_newey_west_says_how_many_lags_it_used() -> None:
    y, x = pair()
    assert ols_hedge(y, x).lags is None
    assert ols_hedge(y, x, newey_west=12).lags == 12
    assert ols_hedge(y, x, newey_west="auto").lags == int(4 * 3 ** (2 / 9))
    assert ols_hedge(y, x, newey_west=0).stderr != ols_hedge(y, x).stderr
    assert ols_hedge(y, x, newey_west=12).beta == ols_hedge(y, x).beta


@pytest.mark.parametrize("bad", [-1, 300, 2.5, True, "hac", np.nan])
def test_lags_that_cannot_be_are_refused_by_name(bad: Any) -> None:
    with pytest.raises(InputError, match=r"^newey_west"):
        ols_hedge(*pair(), newey_west=bad)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("window", lambda y, x: rolling_ols_hedge(y, x, 2)),
        ("window", lambda y, x: rolling_ols_hedge(y, x, 2.5)),  # type: ignore[arg-type]
        ("half_life", lambda y, x: ewm_ols_hedge(y, x, half_life=0.0)),
        ("half_life", lambda y, x: ewm_ols_hedge(y, x, half_life=np.nan)),
        ("tuning", lambda y, x: huber_hedge(y, x, tuning=0.0)),
        ("tol", lambda y, x: huber_hedge(y, x, tol=-1.0)),
        ("most", lambda y, x: huber_hedge(y, x, most=0)),
        ("level", lambda y, x: theil_sen_hedge(y, x, level=1.0)),
        ("level", lambda y, x: ols_hedge(y, x).interval(1.5)),
        ("noise_ratio", lambda y, x: tls_hedge(y, x, noise_ratio=np.inf)),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_its_name(name: str, call: Call) -> None:
    with pytest.raises(InputError, match=rf"^{name}\b"):
        call(*pair(40))


def test_an_interval_is_wider_at_a_higher_level_and_for_a_spread_that_persists() -> None:
    y, x = pair()
    y = y + 1e-2 * np.sin(np.arange(300) / 15.0)
    fit = ols_hedge(y, x)
    narrow, wide, plain = fit.interval(0.5), fit.interval(0.99), fit.interval(persistent=False)
    assert wide[0] < narrow[0] < fit.beta < narrow[1] < wide[1]
    assert plain[1] - plain[0] == pytest.approx(2 * 1.959963984540054 * fit.stderr)
    assert fit.stderr_ar1 > 3 * fit.stderr
    assert fit.persistence > 0.9


def test_rolling_ols_is_nan_exactly_while_its_window_cannot_answer() -> None:
    y, x = pair(60)
    x[20:40] = x[20]
    fit = rolling_ols_hedge(y, x, 10)
    unknown = [*range(9), *range(29, 40)]
    assert np.flatnonzero(np.isnan(fit.beta)).tolist() == unknown
    assert np.isnan(fit.stderr[unknown]).all()
