"""Correlations against pandas, SciPy, statsmodels, and the double sum that Hayashi and Yoshida write."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.cluster.hierarchy
import scipy.stats
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial.distance import squareform
from statsmodels.tsa.stattools import ccf

from pairscope.analytics.correlation import (
    average_linkage,
    correlation_matrix,
    hayashi_yoshida,
    lead_lag,
    rolling_correlation,
)
from pairscope.market.ticks import TickBatch

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def pairs(minute_closes: Pair) -> dict[str, Pair]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(800)
    ties = rng.integers(-3, 4, 800).astype(float)
    return {
        "related": (0.6 * x + rng.standard_normal(800), x),
        "ties": (ties + rng.integers(-2, 3, 800), ties),
        "fat tails": (rng.standard_t(2, 800), rng.standard_t(2, 800)),
        "real returns": (np.diff(np.log(minute_closes[0]))[:1500], np.diff(np.log(minute_closes[1]))[:1500]),
    }


def test_rolling_correlations_equal_pandas(pairs: dict[str, Pair]) -> None:
    worst = 0.0
    for y, x in pairs.values():
        for window in (10, 60, 240):
            ours = rolling_correlation(y, x, window)
            theirs = pd.Series(y / y.std()).rolling(window).corr(pd.Series(x / x.std())).to_numpy()
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
            worst = max(worst, np.nanmax(np.abs(ours - theirs)))
    print(f"rolling Pearson: {worst:.1e}")
    assert worst < 1e-9


def test_rolling_rank_correlations_equal_scipy_window_by_window(pairs: dict[str, Pair]) -> None:
    worst = 0.0
    for y, x in pairs.values():
        for window in (5, 60):
            ours = rolling_correlation(y, x, window, kind="spearman")[window - 1 :]
            for t in range(0, ours.size, 7):
                rows = slice(t, t + window)
                if np.ptp(y[rows]) == 0 or np.ptp(x[rows]) == 0:
                    assert np.isnan(ours[t])
                else:
                    worst = max(worst, abs(ours[t] - scipy.stats.spearmanr(y[rows], x[rows]).statistic))
    print(f"rolling Spearman: {worst:.1e}")
    assert worst < 1e-12


def test_matrices_equal_pandas(pairs: dict[str, Pair]) -> None:
    table = np.column_stack([leg[:800] / leg[:800].std() for pair in pairs.values() for leg in pair])
    for kind in ("pearson", "spearman"):
        theirs = pd.DataFrame(table).corr(method=kind).to_numpy()
        worst = np.abs(correlation_matrix(table, kind=kind) - theirs).max()
        print(f"matrix, {kind}: {worst:.1e}")
        assert worst < 1e-12


def test_a_window_of_the_matrix_is_the_rolling_value(pairs: dict[str, Pair]) -> None:
    y, x = pairs["related"]
    last = correlation_matrix(np.column_stack([y, x])[-60:])[0, 1]
    assert rolling_correlation(y, x, 60)[-1] == pytest.approx(last, abs=1e-14)
    assert np.corrcoef(sliding_window_view(y, 60)[-1], x[-60:])[0, 1] == pytest.approx(last, abs=1e-14)


def test_cross_correlations_equal_statsmodels(pairs: dict[str, Pair]) -> None:
    worst = 0.0
    for pair in pairs.values():
        y, x = (leg / leg.std() for leg in pair)
        found = lead_lag(y, x, 20)
        after, before = (ccf(*legs, adjusted=False, nlags=21) for legs in ((y, x), (x, y)))
        theirs = np.concatenate([before[:0:-1], after])
        worst = max(worst, np.abs(found.correlations - theirs).max())
    print(f"lead-lag: {worst:.1e}")
    assert worst < 1e-12


def double_sum(ts: np.ndarray, y: np.ndarray, us: np.ndarray, x: np.ndarray) -> float:
    """Every move of y with every move of x whose intervals overlap."""
    overlap = np.maximum(ts[:-1, None], us[None, :-1]) < np.minimum(ts[1:, None], us[None, 1:])
    return float(np.diff(y) @ overlap @ np.diff(x))


def test_the_sum_over_overlapping_moves_equals_the_double_sum() -> None:
    worst = 0.0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, m = rng.integers(5, 120, 2)
        ts = np.sort(rng.choice(300, n, replace=False)) + rng.integers(0, 100)
        us = np.sort(rng.choice(300, m, replace=False)) + rng.integers(0, 100)
        y, x = rng.standard_normal(n), rng.standard_normal(m)
        found = hayashi_yoshida(ts, y, us, x)
        worst = max(worst, abs(found.covariance - double_sum(ts, y, us, x)))
    print(f"Hayashi-Yoshida: {worst:.1e}")
    assert worst < 1e-12


def test_on_the_real_tapes_the_ticks_say_more_than_a_clock_does(tape: TickBatch) -> None:
    legs = []
    for symbol_id in (1, 0):
        own = tape.take(tape.symbol_id == symbol_id)
        legs.append((own.ts_event_ns, np.log(own.price)))
    (ts, y), (us, x) = legs
    found = hayashi_yoshida(ts, y, us, x)
    newest = [np.append(np.diff(stamps) > 0, True) for stamps in (ts, us)]
    theirs = double_sum(ts[newest[0]], y[newest[0]], us[newest[1]], x[newest[1]])
    assert found.covariance == pytest.approx(theirs, rel=1e-9)
    for apart_ns in (200_000_000, 1_000_000_000):
        thinned = hayashi_yoshida(ts, y, us, x, apart_ns=apart_ns).correlation
        grid = np.arange(max(ts[0], us[0]), min(ts[-1], us[-1]), apart_ns)
        at = [values[np.searchsorted(stamps, grid, side="right") - 1] for stamps, values in legs]
        clocked = np.corrcoef(np.diff(at[0]), np.diff(at[1]))[0, 1]
        print(f"{apart_ns / 1e9} s apart: {thinned:.3f}, on a clock {clocked:.3f}; every tick {found.correlation:.3f}")
        assert thinned > clocked > found.correlation


def test_merge_heights_and_clusters_equal_scipy() -> None:
    worst = 0.0
    for seed, n in ((1, 2), (2, 13), (3, 60), (4, 200)):
        factors = np.random.default_rng(seed).standard_normal((n, 8))
        distance = np.sqrt((1 - np.corrcoef(factors)) / 2)
        distance = (distance + distance.T) / 2
        np.fill_diagonal(distance, 0)
        ours = average_linkage(distance)
        theirs = scipy.cluster.hierarchy.linkage(squareform(distance, checks=False), method="average")
        worst = max(worst, np.abs(ours.height - theirs[:, 2]).max())
        np.testing.assert_array_equal(
            np.sort(np.column_stack([ours.left, ours.right])), np.sort(theirs[:, :2]).astype(int)
        )
    print(f"average linkage: {worst:.1e}")
    assert worst < 1e-12
