"""Recursions begun at anchors: each row is that of a filter begun there, older rows change nothing, gaps begin anew."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.analytics.kalman import kalman_hedge
from pairscope.analytics.pair_recursions import anchored_kalman, anchored_sentinel
from pairscope.analytics.sentinel import break_sentinel
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData

from .test_pair_report import planted

LOOKBACK, OFFSET = 60, 17


def test_each_row_is_that_of_a_filter_begun_at_the_anchor_before_its_own() -> None:
    y, x = planted(400)
    slots = np.cumsum(np.random.default_rng(3).integers(1, 4, 400))
    found = anchored_kalman(y, x, slots, lookback=LOOKBACK, offset=OFFSET)
    for t in range(3, 400):
        anchor = (slots[t] - OFFSET) // LOOKBACK * LOOKBACK + OFFSET
        first = int(np.searchsorted(slots, anchor - LOOKBACK))
        assert (found.since[t], found.n[t]) == (slots[first], t + 1 - first)
        if t - first > 3:
            alone = kalman_hedge(y[first : t + 1], x[first : t + 1])
            assert (found.alphas[t], found.betas[t], found.stderrs[t]) == (alone.alpha, alone.beta, alone.stderr)
            assert found.innovations[t] == alone.innovations[-1]


def test_rows_older_than_two_lookbacks_change_nothing() -> None:
    y, x = planted(400)
    slots = np.arange(400)
    whole = anchored_kalman(y, x, slots, lookback=LOOKBACK, offset=OFFSET, least=30)
    part = anchored_kalman(y[200:], x[200:], slots[200:], lookback=LOOKBACK, offset=OFFSET, least=30)
    for name, column in whole._asdict().items():
        assert np.array_equal(column[200 + 2 * LOOKBACK :], getattr(part, name)[2 * LOOKBACK :]), name


def test_after_a_lookback_without_a_bar_the_filter_begins_anew_and_says_nothing_until_it_has_seen_enough() -> None:
    y, x = planted(200)
    slots = np.arange(200) + np.where(np.arange(200) < 100, 0, 3 * LOOKBACK)
    found = anchored_kalman(y, x, slots, lookback=LOOKBACK, offset=OFFSET, least=10)
    assert (found.n[99] > 60, found.n[100], found.since[100]) == (True, 1, slots[100])
    assert np.isnan(found.betas[100:109]).all()
    assert np.isfinite(found.betas[109:]).all()


def test_the_sentinel_is_trained_on_one_epoch_and_watches_the_next() -> None:
    y, x = planted(400, half_life=5)
    y[330:] += np.cumsum(np.random.default_rng(4).standard_normal(70)) / 300
    slots = np.arange(400)
    found = anchored_sentinel(y, x, slots, lookback=150, offset=40)
    assert (found.since, found.train, found.verdict["n"]) == (340, 150, 60)
    alone = break_sentinel(y[190:], x[190:], train=150)
    assert found.verdict["statistic"] == alone.statistic[-1]
    assert found.verdict["threshold"] == alone.threshold[-1]
    assert found.tripped == (None if alone.tripped_at is None else 190 + alone.tripped_at)


def test_rows_that_a_sentinel_cannot_be_trained_on_are_said_and_no_error() -> None:
    y, x = planted(100)
    few = anchored_sentinel(y[:40], x[:40], np.arange(40), lookback=60, offset=0)
    assert (few.verdict["status"], few.since, few.tripped) == ("training", None, None)
    assert "50" in few.verdict["reason"]
    still = anchored_sentinel(y, np.where(np.arange(100) < 60, x[0], x), np.arange(100), lookback=60, offset=0)
    assert still.verdict["status"] == "training"
    assert "constant" in still.verdict["reason"]


@pytest.mark.parametrize("compute", [anchored_kalman, anchored_sentinel])
def test_bad_rows_and_slots_are_refused_by_name(compute: object) -> None:
    y, x = planted(50)
    good = {"y": y, "x": x, "slots": np.arange(50), "lookback": 20, "offset": 0}
    for name, bad, kind in (
        ("y", np.full(50, np.nan), InputError),
        ("x", np.full(50, np.inf), InputError),
        ("x", np.ones(50), DegenerateSeries),
        ("y", y[:2], NotEnoughData),
        ("slots", np.arange(49), InputError),
        ("slots", np.arange(50)[::-1], InputError),
    ):
        with pytest.raises(kind, match=name):
            compute(**{**good, name: bad})  # type: ignore[operator]
