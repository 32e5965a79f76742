"""The merge of shards: one order whatever the order of arrival, and nobody waits for the dead."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.shard_merge import ShardEntry, ShardMerge

TABLE = Symbols(["BTCUSDT"])
BOUND = 100


def said(shard: int, at_ns: int, watermark_ns: int, trade_id: int = 0, until_ns: int = 0) -> ShardEntry:
    number = np.array([trade_id], np.int64)
    batch = TickBatch(
        TABLE,
        np.zeros(1, np.int32),
        number,
        np.array([at_ns], np.int64),
        number,
        np.ones(1),
        np.ones(1),
        np.zeros(1, np.bool_),
        watermark_ns,
    )
    return ShardEntry(shard, at_ns, batch, until_ns=until_ns)


def brief(entry: ShardEntry) -> tuple[int, int, int]:
    return entry.shard, int(entry.batch.trade_id[0]), entry.batch.watermark_ns


def shards_said(dice: random.Random) -> list[list[ShardEntry]]:
    """Two to four shards, none of which is silent for half of the bound before all end."""
    lanes, number = [], 0
    for shard in range(dice.randint(2, 4)):
        at, until, lane = 0, 0, []
        while at < 4 * BOUND:
            at, number, until = max(at, until) + dice.choice((0, 1, 7, 20, BOUND // 2 - 1)), number + 1, 0
            if dice.random() < 0.5:
                until = at + dice.randint(0, 5)
            lane.append(said(shard, at, max(0, at - dice.randint(0, 9)), number, until))
        lanes.append(lane)
    return lanes


def merged(lanes: list[list[ShardEntry]], dice: random.Random) -> list[tuple[int, int, int]]:
    """Let the entries arrive in an order of the dice's in which no shard is half of the bound behind another."""
    merge = ShardMerge(range(len(lanes)), silence_ns=BOUND)
    left, found = [list(lane) for lane in lanes], []
    while any(left):
        oldest = min(lane[0].at_ns for lane in left if lane)
        may = [i for i, lane in enumerate(left) if lane and lane[0].at_ns <= oldest + BOUND // 2]
        merge.put(left[dice.choice(may)].pop(0))
        if dice.random() < 0.5:
            found += [brief(entry) for entry in merge.ready()]
    for shard in range(len(lanes)):  # so that nothing waits any more
        merge.put(said(shard, 5 * BOUND, 0))
    return [*found, *(brief(entry) for entry in merge.ready())][: sum(map(len, lanes))]


@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_the_order_and_the_watermarks_are_the_same_however_the_entries_arrive(market: int, arrival: int) -> None:
    lanes = shards_said(random.Random(market))
    first, second = merged(lanes, random.Random(arrival)), merged(lanes, random.Random(arrival + 1))
    assert first == second
    times = {int(e.batch.trade_id[0]): (e.at_ns, e.shard) for lane in lanes for e in lane}
    assert [times[number] for _, number, _ in first] == sorted(times.values())
    watermarks = [watermark for *_, watermark in first]
    assert watermarks == sorted(watermarks)


def test_the_watermark_is_that_of_the_slowest_shard() -> None:
    merge = ShardMerge([0, 1])
    for entry in (said(0, 10, 9), said(1, 11, 3), said(0, 20, 19), said(1, 21, 20), said(0, 30, 30)):
        merge.put(entry)
    assert [entry.batch.watermark_ns for entry in merge.ready()] == [0, 3, 3, 19]


def test_a_shard_that_said_up_to_when_it_had_received_is_not_waited_for() -> None:
    merge = ShardMerge([0, 1])
    merge.put(said(0, 99, 90, 1, until_ns=100))
    merge.put(said(1, 98, 90, 2, until_ns=100))
    assert [brief(entry)[1] for entry in merge.ready()] == [2, 1]


def test_what_a_shard_received_before_the_time_that_it_spoke_of_comes_behind_that_time_for_everybody() -> None:
    lanes = [[said(0, 10, 9, 1, until_ns=20), said(0, 15, 9, 2)], [said(1, 12, 9, 3), said(1, 18, 9, 4)]]
    orders = {tuple(number for _, number, _ in merged(lanes, random.Random(seed))) for seed in range(20)}
    assert orders == {(1, 3, 4, 2)}


def test_a_shard_that_died_is_waited_for_no_longer_than_the_bound() -> None:
    merge = ShardMerge([0, 1], silence_ns=BOUND)
    merge.put(said(1, 10, 9))
    merge.put(said(0, 10 + BOUND, 100))
    assert [brief(entry)[0] for entry in merge.ready()] == [1]
    merge.put(said(0, 11 + BOUND, 111))
    assert [entry.batch.watermark_ns for entry in merge.ready()] == [100, 111]
    assert merge.left_out() == (1,)


def test_what_a_shard_says_that_comes_back_is_passed_on_at_once_and_then_in_its_place() -> None:
    merge = ShardMerge([0, 1], silence_ns=BOUND)
    for entry in (said(1, 10, 9, 1), said(0, 500, 490, 2)):
        merge.put(entry)
    assert [brief(entry)[1] for entry in merge.ready()] == [1, 2]
    merge.put(said(1, 20, 19, 3))  # long past
    assert [brief(entry) for entry in merge.ready()] == [(1, 3, 490)]
    merge.put(said(1, 510, 505, 4))
    assert not merge.left_out()
    assert [brief(entry) for entry in merge.ready()] == []  # the other one may still say something earlier
    merge.put(said(0, 511, 509, 5))
    assert [brief(entry) for entry in merge.ready()] == [(1, 4, 490)]


def test_a_shard_never_heard_of_holds_the_others_up_for_the_bound_only() -> None:
    merge = ShardMerge([0, 1], silence_ns=BOUND)
    merge.put(said(0, 1_000, 1_000, 1))
    assert list(merge.ready()) == []
    merge.put(said(0, 1_001 + BOUND, 1_100, 2))
    assert [brief(entry)[1] for entry in merge.ready()] == [1, 2]


def test_no_more_than_the_stated_number_of_entries_waits() -> None:
    merge = ShardMerge([0, 1], most_held=3)
    for number in range(4):
        merge.put(said(0, number, number, number))
    assert [brief(entry)[1] for entry in merge.ready()] == [0, 1, 2, 3]
    assert merge.counters()["left_out_total"] == 1
