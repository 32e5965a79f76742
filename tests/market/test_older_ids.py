"""Ids out of order against plain sets: what is new, what is missing, and between which times."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.gaps import Gap
from pairscope.market.id_ranges import clipped, count, inside, less, runs_of
from pairscope.market.older_ids import Span, take_older

IDS = st.sets(st.integers(0, 60), max_size=40)


def as_set(ranges):
    return {number for low, high in ranges for number in range(low, high + 1)}


def array(ids):
    return np.array(sorted(ids), np.int64)


@given(IDS, IDS, st.integers(0, 60), st.integers(0, 60))
def test_ranges_do_what_sets_do(a, b, first, last):
    ranges, taken = runs_of(array(a)), runs_of(array(b))
    assert as_set(ranges) == a
    assert count(ranges) == len(a)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))
    left = less(ranges, taken)
    assert as_set(left) == a - b
    assert left == sorted(left)
    assert as_set(clipped(ranges, first, last)) == {number for number in a if first <= number <= last}
    assert inside(array(b), ranges).tolist() == [number in a for number in sorted(b)]


@given(IDS, IDS, st.sets(st.integers(0, 60), max_size=4))
def test_what_comes_is_new_once_and_what_stays_missing_lies_between_the_times_of_its_neighbours(held, came, void):
    held, void = held | {30}, void - came
    low, high = min(held), max(held)
    gaps = [
        (Gap("BTCUSDT", a, b, "unrepairable", b - a + 1, (a - 1) * 10, (b + 1) * 10), [(a, b)])
        for a, b in less([(low, high)], runs_of(array(held)))
    ]
    taken = take_older(
        "BTCUSDT", array(came), array(came) * 10, void=array(void), span=Span(low, high + 1, low * 10, high * 10),
        gaps=gaps, ended_ns=1,
    )  # fmt: skip
    everything = held | came | void
    assert taken.new.tolist() == [number not in held for number in sorted(came)]
    assert (taken.span.first_id, taken.span.next_id) == (min(everything), max(everything) + 1)
    missing = set(range(min(everything), max(everything))) - everything
    assert as_set([range_ for _, ranges in taken.gaps for range_ in ranges]) == missing
    for gap, ranges in taken.gaps:
        assert ranges == [(gap.from_id, gap.to_id)]
        assert gap.missing == count(ranges)
        ticks = held | came
        if any(number < gap.from_id for number in ticks):
            assert gap.after_ns == 10 * max(number for number in ticks if number < gap.from_id)
        if any(number > gap.to_id for number in ticks):
            assert gap.before_ns == 10 * min(number for number in ticks if number > gap.to_id)
    gone = {gap.from_id for gap in taken.changed if gap.status == "repaired"}
    assert gone == {gap.from_id for gap, _ in gaps} - {gap.from_id for gap, _ in taken.gaps}
