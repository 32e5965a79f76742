"""No look-ahead: the declarations of the kernels of the break sentinel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairscope.analytics import sentinel

from .declaring import Declaration, PerBar, Series, Whole

_TRAIN = 50


def _batch(s: Series) -> list[np.ndarray]:
    made = sentinel.break_sentinel(s.y, s.x, train=_TRAIN)
    return [made.statistic, made.threshold, made.warn_threshold, made.status.astype(float)]


def _resumed(s: Series, k: int) -> list[np.ndarray]:
    """Step to row ``k``, and with a copy of the state from there on."""
    state = sentinel.sentinel_train(s.y[:_TRAIN], s.x[:_TRAIN])
    out = np.full((4, s.x.size), np.nan)
    out[3, :_TRAIN] = sentinel.SentinelStatus.TRAINING
    for t in range(_TRAIN, s.x.size):
        state = state.copy() if t == k else state
        sentinel.sentinel_step(state, s.y[t], s.x[t])
        out[:, t] = state[:4]
    return list(out)


SENTINEL: Mapping[str, Declaration] = {
    "pairscope.analytics.sentinel.break_sentinel": PerBar(_batch, _TRAIN, _resumed),
    "pairscope.analytics.sentinel.sentinel_step": Whole("one bar into a state; that it may be resumed is shown above"),
    "pairscope.analytics.sentinel.sentinel_train": Whole("a state of exactly the bars given"),
    "pairscope.analytics.sentinel_table.alarm_threshold": Whole("reads a table"),
    "pairscope.analytics.sentinel_table.knots": Whole("reads a table"),
}
