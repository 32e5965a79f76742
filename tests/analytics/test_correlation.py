"""Rolling correlations and matrices: by hand, to the bit whatever lies outside a window, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.analytics.correlation import correlation_matrix, rolling_correlation
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData

KINDS = ["pearson", "spearman"]
RNG = np.random.default_rng(0)
Y, X = RNG.standard_normal((2, 100))


def test_correlations_worked_out_by_hand() -> None:
    y, x = np.array([1.0, 2.0, 9.0, 8.0]), np.array([1.0, 2.0, 3.0, 3.0])
    values = rolling_correlation(y, x, 3)
    np.testing.assert_allclose(values, [np.nan, np.nan, 4 / math.sqrt(19), 13 / math.sqrt(172)], rtol=1e-14)
    ranks = rolling_correlation(y, x, 3, kind="spearman")
    np.testing.assert_allclose(ranks, [np.nan, np.nan, 1.0, math.sqrt(0.75)], rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_leg_that_stands_still_in_a_window_has_no_correlation_there(kind: str) -> None:
    x = np.array([1.0, 2.0, 5.1, 5.1, 5.1, 3.0])
    values = rolling_correlation(np.arange(6.0), x, 3, kind=kind)  # type: ignore[arg-type]
    assert np.isnan(values).tolist() == [True, True, False, False, True, False]


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), window=st.integers(2, 30), more=st.integers(0, 70), coarse=st.booleans())
@settings(max_examples=60)
def test_a_value_has_the_same_bits_whatever_lies_outside_its_window(
    kind: str, seed: int, window: int, more: int, coarse: bool
) -> None:
    y, x = np.random.default_rng(seed).standard_normal((2, window + more))
    if coarse:
        y, x = y.round(), x.round()
    y[-1], x[-1] = 7.0, 8.0
    whole = rolling_correlation(y, x, window, kind=kind)[-1]  # type: ignore[arg-type]
    try:
        alone = rolling_correlation(y[more:], x[more:], window, kind=kind)[-1]  # type: ignore[arg-type]
    except DegenerateSeries:
        alone = np.float64(np.nan)
    assert whole.tobytes() == alone.tobytes() or (np.isnan(whole) and np.isnan(alone))


@given(
    st.lists(st.tuples(*[st.floats(-1e99, 1e99) | st.sampled_from([0.0, 1.0, 2.0])] * 2), min_size=4, max_size=40),
    st.sampled_from(KINDS),
)
def test_every_value_is_within_one_or_absent_and_nothing_warns(rows: list[tuple[float, float]], kind: str) -> None:
    y, x = np.array(rows).T
    try:
        rolling, matrix = (
            rolling_correlation(y, x, 3, kind=kind),
            correlation_matrix(np.column_stack([y, x]), kind=kind),
        )  # type: ignore[arg-type]
    except DegenerateSeries:
        return
    assert (np.abs(rolling[~np.isnan(rolling)]) <= 1).all()
    assert np.isnan(rolling[:2]).all()
    assert (np.abs(matrix[~np.isnan(matrix)]) <= 1).all()


def test_correlations_depend_on_neither_unit_nor_level() -> None:
    plain = rolling_correlation(Y, X, 20)
    np.testing.assert_allclose(rolling_correlation(1e-90 * Y, -1e90 * X, 20), -plain, rtol=1e-12)
    np.testing.assert_allclose(rolling_correlation(Y.round(6) + 1e6, X, 20), plain, atol=1e-5)


def test_ranks_hardly_notice_an_outlier() -> None:
    y = Y + X
    wild = y.copy()
    wild[50] = 1e6
    changed = [
        np.nanmax(np.abs(rolling_correlation(wild, X, 50, kind=kind) - rolling_correlation(y, X, 50, kind=kind)))  # type: ignore[arg-type]
        for kind in KINDS
    ]
    assert changed[0] > 0.4 > 0.12 > changed[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_is_symmetric_semidefinite_and_has_ones_on_its_diagonal(kind: str) -> None:
    table = np.random.default_rng(3).standard_normal((60, 90)) + 1e5
    matrix = correlation_matrix(table, kind=kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 1.0).all()
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


def test_a_constant_column_has_neither_correlations_nor_a_one() -> None:
    table = np.column_stack([Y, np.full(100, 0.1), X])
    matrix = correlation_matrix(table)
    assert np.isnan(matrix).tolist() == [[False, True, False], [True, True, True], [False, True, False]]
    np.testing.assert_allclose(matrix[0, 2], np.corrcoef(Y, X)[0, 1], rtol=1e-12)


def test_bad_series_are_refused_by_name() -> None:
    for bad, value in ((Y.copy(), np.nan), (Y.copy(), np.inf), (Y.copy(), 1e101)):
        bad[3] = value
        with pytest.raises(InputError, match=r"^y: .*(finite|beyond)"):
            rolling_correlation(bad, X, 10)
        with pytest.raises(InputError, match=r"^x: .*(finite|beyond)"):
            rolling_correlation(Y, bad, 10)
        with pytest.raises(InputError, match=r"^x: .*(finite|beyond)"):
            correlation_matrix(np.column_stack([X, bad]))
    with pytest.raises(DegenerateSeries, match="x: is constant"):
        rolling_correlation(Y, np.ones(100), 10)
    with pytest.raises(InputError, match="x: has 99 values, y has 100"):
        rolling_correlation(Y, X[1:], 10)
    with pytest.raises(NotEnoughData, match=r"^y: needs 101, has 100"):
        rolling_correlation(Y, X, 101)


def test_other_misuse_is_refused_by_name() -> None:
    for window in (0, 1, 2.5, True, math.nan):
        with pytest.raises(ValueError, match=r"^window: "):
            rolling_correlation(Y, X, window)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind: must be one of pearson, spearman"):
        rolling_correlation(Y, X, 10, kind="kendall")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x: must have two dimensions"):
        correlation_matrix(Y)
    with pytest.raises(NotEnoughData, match=r"^x: needs 3, has 2"):
        correlation_matrix(np.ones((2, 4)))
