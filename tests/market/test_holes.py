"""Which bars and days a hole touches, against the definition looked at one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.continuity import Gap
from pairscope.market.holes import DAY_NS, Holes, days_of, holes_of, missing_in, span_of, touches

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25), st.integers(1, 9)), max_size=6)
opens = st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted)


def holes(rows: list[tuple[int, int, int]]) -> Holes:
    """Holes given as (begin, length, ids)."""
    return holes_of(
        Gap("BTCUSDT", i, i, "open", ids, after_ns=begin + 1, before_ns=begin + 1 + length)
        for i, (begin, length, ids) in enumerate(rows)
    )


@given(rows=spans, slots=opens, length=st.integers(1, 7))
def test_a_bar_is_touched_where_a_missing_trade_may_lie_in_it(
    rows: list[tuple[int, int, int]], slots: list[int], length: int
) -> None:
    times = np.array(slots, np.int64) * length
    missed = [(begin + 1, begin + 1 + span, ids) for begin, span, ids in rows]
    meets = [[any(low <= t <= high for t in range(at, at + length)) for low, high, _ in missed] for at in times]
    assert touches(holes(rows), times, length).tolist() == [any(row) for row in meets]
    lacking = sum(ids for k, (_, _, ids) in enumerate(missed) if any(row[k] for row in meets))
    assert missing_in(holes(rows), times, length) == lacking


def test_only_what_is_still_missing_is_a_hole() -> None:
    gaps = [
        Gap("BTCUSDT", 1, 2, "repaired", 0, after_ns=5, before_ns=6),
        Gap("BTCUSDT", 30, 40, "unrepairable", 11, after_ns=50, before_ns=60),
        Gap("BTCUSDT", 10, 20, "open", 4, after_ns=10, before_ns=20),
    ]
    found = holes_of(gaps)
    assert (found.after_ns.tolist(), found.before_ns.tolist(), found.missing.tolist()) == ([10, 50], [20, 60], [4, 11])
    assert len(holes_of([]).after_ns) == 0


@pytest.mark.parametrize(
    ("gap", "span"),
    [
        (Gap("A", 1, 1, "open", 1, after_ns=3, before_ns=9), (3, 9)),
        (Gap("A", 1, 1, "open", 1, after_ns=3, seen_ns=8), (3, 8)),
        (Gap("A", 1, 1, "open", 1, before_ns=9, seen_ns=12), (9, 9)),
        (Gap("A", 1, 1, "open", 1, after_ns=9, before_ns=4), (9, 9)),
    ],
)
def test_an_unknown_side_never_makes_a_hole_endless(gap: Gap, span: tuple[int, int]) -> None:
    assert span_of(gap) == span


def test_a_hole_over_midnight_is_split_and_adds_up() -> None:
    whole = Holes(np.array([DAY_NS - 100, 7]), np.array([3 * DAY_NS + 50, 7]), np.array([1001, 3]))
    days = days_of(whole)
    assert days.row.tolist() == [0, 0, 0, 0, 1]
    assert days.day.tolist() == [0, 1, 2, 3, 0]
    assert days.span_ns.tolist() == [100, DAY_NS, DAY_NS, 50, 0]
    assert days.missing.sum() == 1004
    assert days.missing[:4].tolist() == [0, 500, 500, 1]


def test_a_hole_that_ends_at_midnight_has_nothing_of_the_next_day() -> None:
    days = days_of(Holes(np.array([DAY_NS - 10]), np.array([DAY_NS]), np.array([5])))
    assert (days.day.tolist(), days.missing.tolist()) == ([0], [5])
    assert days_of(holes_of([])).day.tolist() == []
