"""What a shard said as the merge takes it: in its place by its first tick, and known to be all up to its moment."""

from __future__ import annotations

import numpy as np

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.shard_merge import ShardMerge
from pairscope.storage.market_stream import StreamEntry
from pairscope.storage.parcel import Parcel
from pairscope.storage.spool import encode_parcel
from pairscope.wiring.shard_source import shard_entry

MS = 1_000_000
NOW_NS = 1_760_000_000_000 * MS


def said(shard: int, at_ms: float, *received_ms: float) -> StreamEntry:
    """What a shard says at a moment: ticks that it received at others."""
    received = np.array([NOW_NS + int(ms * MS) for ms in received_ms], np.int64)
    ids, n = np.arange(received.size, dtype=np.int64), received.size
    batch = TickBatch(
        Symbols(["BTCUSDT"]), np.zeros(n, np.int32), received, received, ids, np.ones(n), np.ones(n),
        np.zeros(n, np.bool_), NOW_NS,
    )  # fmt: skip
    return StreamEntry(shard, "writer", 1, "batch", "", NOW_NS + int(at_ms * MS), encode_parcel(Parcel(batch)))


def test_shards_that_flush_within_a_moment_do_not_wait_for_each_others_next_flush() -> None:
    merge = ShardMerge([0, 1])
    for each in (said(0, 25.3, 1, 25.2), said(1, 24.8, 2, 24.7)):
        merge.put(shard_entry(each))
    assert [entry.shard for entry in merge.ready()] == [0, 1]


def test_a_shard_without_a_trade_says_up_to_when_it_had_none() -> None:
    merge = ShardMerge([0, 1])
    for each in (said(0, 25, 1, 24), said(1, 25)):
        merge.put(shard_entry(each))
    assert [entry.shard for entry in merge.ready()] == [0]


def test_what_was_remembered_does_not_say_that_nothing_else_was_received_since() -> None:
    merge = ShardMerge([0, 1])
    for each in (said(1, 5_000, 10), said(0, 5_000, 4_000)):
        merge.put(shard_entry(each))
    assert [entry.shard for entry in merge.ready()] == [1], "the other may go on with what it remembers"
