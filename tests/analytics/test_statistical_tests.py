"""The statistical tests: what they say of series that are made to be one thing or another, and what they refuse."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.analytics.johansen_tables import johansen_critical_values
from pairscope.analytics.mackinnon import mackinnon_critical_values, mackinnon_pvalues
from pairscope.analytics.statistical_tests import (
    adf_test,
    benjamini_hochberg,
    benjamini_yekutieli,
    engle_granger,
    johansen,
    kpss_test,
)
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData

RNG = np.random.default_rng(11)
NOISE = RNG.standard_normal(600)
WALK = np.cumsum(RNG.standard_normal(600))
FOLLOWER = 5 + 0.7 * WALK + NOISE
TABLE = np.column_stack([WALK, FOLLOWER])


def test_noise_reverts_and_a_walk_does_not() -> None:
    assert adf_test(NOISE).rejects(0.01)
    assert not adf_test(WALK).rejects(0.05)
    assert not kpss_test(NOISE).rejects(0.05)
    assert kpss_test(WALK).rejects(0.05)
    assert "unit root" in adf_test(WALK).null
    assert "stationary around a line" in kpss_test(WALK, regression="ct").null


def test_noise_around_a_line_reverts_to_the_line_only() -> None:
    tilted = NOISE + 0.05 * np.arange(600)
    assert adf_test(tilted, regression="ct").rejects(0.01)
    assert not adf_test(tilted).rejects(0.10)
    assert not kpss_test(tilted, regression="ct").rejects(0.05)
    assert kpss_test(tilted).rejects(0.01)


def test_a_follower_is_cointegrated_and_a_stranger_is_not() -> None:
    pair = engle_granger(FOLLOWER, WALK)
    assert pair.rejects(0.01)
    assert pair.beta == pytest.approx(0.7, abs=0.02)
    assert pair.alpha == pytest.approx(5, abs=0.3)
    assert pair.drift == ()
    assert "not cointegrated" in pair.null
    assert not engle_granger(np.cumsum(NOISE), WALK).rejects(0.10)


def test_the_drift_of_a_pair_is_found_in_bars() -> None:
    t = np.arange(1, 601)
    pair = engle_granger(FOLLOWER + 0.3 * t + 0.002 * t**2, WALK, trend="ctt")
    assert pair.drift == pytest.approx((0.3, 0.002), abs=0.02)
    assert len(engle_granger(FOLLOWER, WALK, trend="ct").drift) == 1


def test_a_unit_of_price_changes_the_hedge_ratio_and_nothing_else() -> None:
    pair, scaled = engle_granger(FOLLOWER, WALK), engle_granger(FOLLOWER * 1e-200, WALK * 1e100)
    assert scaled.statistic == pytest.approx(pair.statistic, rel=1e-10)
    assert scaled.beta == pytest.approx(pair.beta * 1e-300, rel=1e-10)
    assert scaled.alpha == pytest.approx(pair.alpha * 1e-200, rel=1e-10)
    with pytest.raises(DegenerateSeries, match=r"^x: is so many orders of magnitude from y"):
        engle_granger(FOLLOWER * 1e200, WALK * 1e-200)


def test_three_series_on_two_walks_have_one_relation() -> None:
    other = np.cumsum(np.random.default_rng(3).standard_normal(600))
    result = johansen(np.column_stack([WALK, other, WALK + 0.5 * other + NOISE]))
    assert result.rank() == result.rank(by="max_eigenvalue") == result.rank(0.01) == 1
    weights = result.eigenvectors[:, 0] / result.eigenvectors[2, 0]
    np.testing.assert_allclose(weights, [-1, -0.5, 1], atol=0.05)
    assert johansen(np.column_stack([WALK, other])).rank() == 0


def test_a_relation_of_johansen_has_unit_variance_and_a_first_weight_that_is_not_negative() -> None:
    result = johansen(TABLE, k_ar_diff=0)
    assert (result.eigenvectors[0] >= 0).all()
    relation = (TABLE[1:] - TABLE[1:].mean(axis=0)) @ result.eigenvectors
    np.testing.assert_allclose(relation.std(axis=0), 1, rtol=1e-10)


@pytest.mark.parametrize("regression", ["n", "c", "ct", "ctt"])
def test_under_a_unit_root_adf_rejects_as_often_as_it_says(regression: str) -> None:
    """Binomial: 400 walks at 10 %, four standard errors are 6 %."""
    rng = np.random.default_rng(17)
    rejected = [
        adf_test(np.cumsum(rng.standard_normal(250)), regression=regression, maxlag=1, autolag=None).rejects(0.10)
        for _ in range(400)
    ]
    assert abs(np.mean(rejected) - 0.10) < 0.06


def test_unrelated_walks_are_called_cointegrated_as_often_as_it_says() -> None:
    rng = np.random.default_rng(18)
    walks = np.cumsum(rng.standard_normal((800, 250)), axis=1)
    rejected = [engle_granger(y, x, maxlag=1).rejects(0.10) for y, x in zip(walks[::2], walks[1::2], strict=True)]
    assert abs(np.mean(rejected) - 0.10) < 0.06


def test_whole_numbers_and_lists_are_series_too() -> None:
    prices = np.rint(1000 + 10 * WALK)
    assert adf_test(prices.astype(np.int64)) == adf_test(prices)
    assert adf_test(prices.tolist()) == adf_test(prices)  # type: ignore[arg-type]


def test_the_input_is_left_as_it_was() -> None:
    y, x, table = FOLLOWER.copy(), WALK.copy(), TABLE.copy()
    for array in (y, x, table):
        array.setflags(write=False)
    engle_granger(y, x)
    kpss_test(y, regression="ct")
    johansen(table)
    adf_test(x)


def test_a_price_that_hardly_ever_moves_is_tested_all_the_same() -> None:
    """Most lagged changes are then columns of zeros, which explain nothing and cost nothing."""
    steps = np.zeros(300)
    steps[[40, 180, 181, 250]] = [1.0, -2.0, 1.5, 0.25]
    result = adf_test(np.cumsum(steps))
    assert 0.0 <= result.pvalue <= 1.0
    assert np.isfinite(result.statistic)


CALLS: dict[str, tuple[str, Callable[[np.ndarray], object]]] = {
    "adf_test": ("x", adf_test),
    "kpss_test": ("x", kpss_test),
    "engle_granger, y": ("y", lambda v: engle_granger(v, np.resize(WALK, np.size(v)))),
    "engle_granger, x": ("x", lambda v: engle_granger(np.resize(WALK, np.size(v)), v)),
    "johansen": ("x", lambda v: johansen(np.column_stack([v, np.resize(WALK, np.size(v))]))),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", ["NaN", "infinite", "constant", "short", "empty"])
def test_what_cannot_be_tested_is_refused_by_the_name_of_the_argument(call: str, bad: str) -> None:
    series = FOLLOWER.copy()
    if bad in {"NaN", "infinite"}:
        series[100] = np.nan if bad == "NaN" else -np.inf
    series = {"constant": np.full(600, 0.1), "short": series[:2], "empty": series[:0]}.get(bad, series)
    name, function = CALLS[call]
    # A pair that is too short is too short in both legs; the first is named.
    names = f"[{name}y]" if bad in {"short", "empty"} else name
    with pytest.raises(ValueError, match=f"^{names}: "):
        function(series)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"^x: has 599 values, y has 600"):
        engle_granger(FOLLOWER, WALK[1:])


@pytest.mark.parametrize(
    ("series", "error"),
    [
        (np.arange(50.0), DegenerateSeries),
        (0.5 ** np.arange(40.0), DegenerateSeries),
        (np.r_[np.ones(40), 2.0], DegenerateSeries),
        (np.r_[2.0, np.ones(40)], DegenerateSeries),
        (np.tile([0.0, 1.0], 30), DegenerateSeries),
    ],
    ids=["a line", "a decay", "a last jump", "a first jump", "a zigzag"],
)
def test_a_series_that_follows_from_its_own_past_is_refused(series: np.ndarray, error: type[ValueError]) -> None:
    with pytest.raises(error, match=r"^x: follows from its own trend and past"):
        adf_test(series, regression="ct")


def test_collinear_legs_are_refused() -> None:
    with pytest.raises(DegenerateSeries, match=r"^x: is collinear with y"):
        engle_granger(2 * WALK + 1, WALK)
    with pytest.raises(DegenerateSeries, match=r"^x: is nothing but its trend"):
        engle_granger(WALK, np.arange(600.0), trend="ct")
    with pytest.raises(DegenerateSeries, match=r"^x: has collinear columns"):
        johansen(np.column_stack([WALK, FOLLOWER, WALK + FOLLOWER]))
    with pytest.raises(DegenerateSeries, match=r"^x: is a straight line"):
        kpss_test(np.arange(50.0), regression="ct")


def test_a_regression_that_would_fit_perfectly_is_not_made() -> None:
    """Twenty values without a constant bear nine lags, which leave nothing: a criterion would choose just that."""
    with pytest.raises(NotEnoughData, match=r"^x: needs 21, has 20$"):
        adf_test(WALK[:20], regression="n")
    with pytest.raises(NotEnoughData, match=r"^y: needs 21, has 20$"):
        engle_granger(FOLLOWER[:20], WALK[:20])
    assert adf_test(WALK[:20], regression="n", autolag="t-stat").lags < 9


def test_what_an_option_may_be_is_said() -> None:
    refused: list[tuple[str, Callable[[], object]]] = [
        ("regression", lambda: adf_test(WALK, regression="t")),  # type: ignore[arg-type]
        ("autolag", lambda: adf_test(WALK, autolag="hqic")),  # type: ignore[arg-type]
        ("maxlag", lambda: adf_test(WALK, maxlag=299)),
        ("maxlag", lambda: adf_test(WALK, maxlag=-1)),
        ("maxlag", lambda: engle_granger(FOLLOWER, WALK, maxlag=1.5)),  # type: ignore[arg-type]
        ("trend", lambda: engle_granger(FOLLOWER, WALK, trend="n")),  # type: ignore[arg-type]
        ("regression", lambda: kpss_test(WALK, regression="ctt")),  # type: ignore[arg-type]
        ("lags", lambda: kpss_test(WALK, lags=600)),
        ("lags", lambda: kpss_test(WALK, lags="legacy")),  # type: ignore[arg-type]
        ("level", lambda: kpss_test(WALK).rejects(0.2)),
        ("x", lambda: johansen(WALK)),
        ("x", lambda: johansen(np.ones((50, 13)))),
        ("det_order", lambda: johansen(TABLE, 2)),
        ("k_ar_diff", lambda: johansen(TABLE, 0, -1)),
        ("level", lambda: johansen(TABLE).rank(0.2)),
        ("by", lambda: johansen(TABLE).rank(by="eigenvalue")),  # type: ignore[arg-type]
        ("trend", lambda: mackinnon_pvalues(WALK, "t")),  # type: ignore[arg-type]
        ("series", lambda: mackinnon_pvalues(WALK, series=7)),
        ("series", lambda: mackinnon_critical_values("n", series=2)),
        ("nobs", lambda: mackinnon_critical_values("c", nobs=0)),
        ("k", lambda: johansen_critical_values(13)),
        ("pvalues", lambda: benjamini_hochberg(np.array([0.5, 1.1]))),
    ]
    for name, call in refused:
        with pytest.raises(InputError, match=f"^{name}: ") as caught:
            call()
        assert caught.value.loc == name


@given(st.lists(st.floats(-1e300, 1e300), max_size=30), st.sampled_from(["n", "c", "ct", "ctt"]))
def test_finite_numbers_give_a_finite_answer_or_a_named_error(values: list[float], regression: str) -> None:
    series = np.array(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (
            lambda: adf_test(series, regression=regression),  # type: ignore[arg-type]
            lambda: kpss_test(series),
            lambda: engle_granger(series, series[::-1]),
        ):
            try:
                answer = call()
            except ValueError as error:
                assert str(error).partition(":")[0] in {"x", "y"}
            else:
                assert np.isfinite([answer.statistic, answer.pvalue]).all()


def test_p_values_of_many_statistics_are_those_of_each() -> None:
    statistics = np.linspace(-30, 5, 500)
    many = mackinnon_pvalues(statistics, "c", series=2)
    assert many.tolist() == [float(mackinnon_pvalues(np.array(t), "c", series=2)) for t in statistics]
    assert (np.diff(many) >= 0).all()
    assert np.isnan(mackinnon_pvalues(np.array([np.nan]))).all()


def test_false_discovery_rates_worked_out_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.025, 0.05, 0.05, 0.025, 0.5], rtol=1e-14)
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5
    expected = np.minimum(1, np.array([0.025, 0.05, 0.05, 0.025, 0.5]) * harmonic)
    np.testing.assert_allclose(benjamini_yekutieli(p), expected, rtol=1e-14)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_false_discovery_rates_follow_their_tests_whatever_the_order(p: list[float]) -> None:
    order = np.random.default_rng(len(p)).permutation(len(p))
    for adjust in (benjamini_hochberg, benjamini_yekutieli):
        q = adjust(np.array(p))
        np.testing.assert_array_equal(adjust(np.array(p)[order]), q[order])
        assert (q >= np.array(p)).all()
        assert (q <= 1).all()
        assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [[0.1]]])
def test_p_values_that_are_none_are_refused(bad: list[float]) -> None:
    for adjust in (benjamini_hochberg, benjamini_yekutieli):
        with pytest.raises(ValueError, match=r"^pvalues: "):
            adjust(np.array(bad))
