"""No look-ahead: the declarations of what the rules of a sweep share, and of cross-validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairscope.analytics import sweep_moments

from .declaring import Declaration, PerBar, Series, Whole


def _legs(s: Series) -> sweep_moments.SweepLegs:
    none = np.zeros(s.x.size)
    return sweep_moments.SweepLegs(s.y, s.x, s.y, s.x, s.y, s.x, none, none, none, none, False, False, False, 0)


def _scores(s: Series) -> np.ndarray:
    beta, allowed = np.full(s.x.size, 0.5), np.ones(s.x.size, np.bool_)
    zscore, coming = np.empty(s.x.size), np.empty(s.x.size + 1, np.int64)
    moments = sweep_moments.window_moments(s.y, s.x, 7)
    sweep_moments.entry_scores(_legs(s), beta, moments, 7, np.array([1.5]), 1.5, allowed, zscore, coming)
    return zscore


_TRIALS = Whole("says one thing of trials that are over")

SWEEP: Mapping[str, Declaration] = {
    "pairscope.analytics.sweep_moments.window_moments": PerBar(
        lambda s: list(sweep_moments.window_moments(s.y, s.x, 7)), 7
    ),
    "pairscope.analytics.sweep_moments.trailing_hedges": PerBar(
        lambda s: [
            column for huber in (False, True) for column in sweep_moments.trailing_hedges(s.y, s.x, 12, huber=huber)
        ],
        12,
    ),
    "pairscope.analytics.sweep_moments.entry_scores": PerBar(_scores, 7),
    "pairscope.analytics.pair_sizes.in_steps": Whole("rounds one quantity"),
    "pairscope.analytics.pair_sizes.leg_quantities": Whole("sizes one order at prices that are there"),
    "pairscope.analytics.sweep_moments.spread_std": Whole("one number of one bar"),
    **{
        f"pairscope.analytics.sweep_paths.{name}": Whole("a part of sweep_rows, of one position")
        for name in ("bar_lines", "close_path", "enter_path", "extend_path", "extend_scores", "first_crossing")
    },
    "pairscope.analytics.sweep_kernel.sweep_rows": Whole("sums up what backtest_pair does, which is checked"),
    **{
        f"pairscope.analytics.overfitting.{name}": _TRIALS
        for name in ("cross_validate", "judge_splits", "split_halves", "summarize_splits")
    },
}
