"""The order of a heatmap: what belongs together stands together, the same every time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pairscope.analytics.clustering import average_linkage, cluster_order
from pairscope.analytics.correlation import correlation_matrix


def blocks(sizes: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of series in groups with a factor each, shuffled, and each one's group."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    factors = rng.standard_normal((400, len(sizes)))
    return correlation_matrix(factors[:, group] + 0.8 * rng.standard_normal((400, group.size))), group


def test_planted_groups_stand_together() -> None:
    for seed in range(5):
        matrix, group = blocks([12, 3, 7, 20, 1], seed)
        order = cluster_order(matrix)
        assert sorted(order.tolist()) == list(range(43))
        assert np.count_nonzero(np.diff(group[order])) == 4


def test_where_branches_meet_the_closest_ends_touch() -> None:
    """A chain in which each is like its neighbours comes out as the chain."""
    rng = np.random.default_rng(1)
    shuffled = rng.permutation(12)
    matrix = 0.9 ** np.abs(shuffled[:, None] - shuffled).astype(float)
    steps = np.abs(np.diff(shuffled[cluster_order(matrix)]))
    assert steps.max() <= 3
    assert np.mean(steps == 1) > 0.7


def test_equal_distances_merge_from_the_lowest_index_on() -> None:
    matrix = np.eye(6)
    assert cluster_order(matrix).tolist() == cluster_order(matrix.copy()).tolist() == list(range(6))
    tree = average_linkage(1.0 - matrix)
    assert (tree.left.tolist(), tree.right.tolist()) == ([0, 6, 7, 8, 9], [1, 2, 3, 4, 5])


def test_series_without_correlations_come_last() -> None:
    table = np.random.default_rng(2).standard_normal((50, 5))
    table[:, 1] = table[:, 3] = 4.0
    assert cluster_order(correlation_matrix(table))[-2:].tolist() == [1, 3]
    assert cluster_order(np.full((2, 2), np.nan)).tolist() == [0, 1]


def test_small_matrices_have_their_only_order() -> None:
    assert cluster_order(np.empty((0, 0))).tolist() == []
    assert cluster_order(np.ones((1, 1))).tolist() == [0]
    assert cluster_order(np.array([[1.0, -1.0], [-1.0, 1.0]])).tolist() == [0, 1]


def test_six_hundred_symbols_are_ordered_while_a_person_waits() -> None:
    matrix, _ = blocks([60] * 10, 3)
    began = time.process_time()
    cluster_order(matrix)
    assert time.process_time() - began < 3.0


def test_misuse_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="matrix: must be a square"):
        cluster_order(np.ones((2, 3)))
    with pytest.raises(ValueError, match="matrix: must be symmetric"):
        cluster_order(np.array([[1.0, 0.5], [0.4, 1.0]]))
    with pytest.raises(ValueError, match="matrix: has values that are no correlations"):
        cluster_order(np.array([[1.0, 1.5], [1.5, 1.0]]))
    with pytest.raises(ValueError, match="distance: has values that are negative"):
        average_linkage(np.array([[0.0, -1.0], [-1.0, 0.0]]))


def test_rows_without_a_single_correlation_keep_their_order() -> None:
    assert cluster_order(np.full((3, 3), np.nan)).tolist() == [0, 1, 2]
    assert cluster_order(np.ones((1, 1))).tolist() == [0]
