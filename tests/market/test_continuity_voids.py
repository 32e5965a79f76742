"""Ids that stand for no trade, and verdicts that no tick brings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

SYMBOLS = Symbols(["BTCUSDT", "ETHUSDT"])


def batch(*ids: int, void: tuple[int, ...] = (), symbol_id: int = 0) -> TickBatch:
    n = len(ids)
    times = np.array(ids, np.int64) * 1_000
    return TickBatch(
        SYMBOLS,
        np.full(n, symbol_id, np.int32),
        times,
        times + 7,
        np.array(ids, np.int64),
        np.ones(n),
        np.ones(n),
        np.zeros(n, np.bool_),
        0,
        tuple((symbol_id, number) for number in void),
    )


def begun_at(number: int) -> Continuity:
    ledger = Continuity()
    ledger.admit(batch(number))
    return ledger


def test_a_void_id_between_two_ticks_is_no_hole() -> None:
    ledger = begun_at(10)
    assert ledger.admit(batch(12, void=(11,))).changed == ()
    assert ledger.next_id("BTCUSDT") == 13


def test_a_void_id_in_a_batch_before_or_after_the_tick_is_no_hole_either() -> None:
    ledger = begun_at(10)
    assert ledger.admit(batch(void=(11, 13))).changed == ()
    assert ledger.next_id("BTCUSDT") == 12
    assert ledger.admit(batch(12)).changed == ()
    assert ledger.next_id("BTCUSDT") == 14


def test_a_void_id_repairs_the_hole_that_it_lies_in() -> None:
    ledger = begun_at(10)
    (opened,) = ledger.admit(batch(12)).changed
    assert (opened.from_id, opened.to_id, opened.status) == (11, 11, "open")
    (closed,) = ledger.admit(batch(void=(11,))).changed
    assert (closed.from_id, closed.status, closed.missing) == (11, "repaired", 0)
    assert ledger.open_gaps() == []


def test_a_hole_with_a_void_id_in_it_misses_only_the_others() -> None:
    ledger = begun_at(10)
    (gap,) = ledger.admit(batch(15, void=(11, 13))).changed
    assert (gap.from_id, gap.to_id, gap.missing) == (12, 14, 2)


def test_a_void_id_before_the_first_tick_begins_nothing() -> None:
    ledger = Continuity()
    ledger.admit(batch(void=(5,)))
    assert ledger.next_id("BTCUSDT") is None
    assert ledger.admit(batch(9)).changed == ()


def test_void_ids_survive_joining_and_taking() -> None:
    joined = concat_ticks([batch(1, void=(2,)), batch(3, void=(4,), symbol_id=1)])
    assert joined.void == ((0, 2), (1, 4))
    assert joined.take(slice(0, 0)).void == joined.void


@given(st.sets(st.integers(1, 30)), st.lists(st.integers(0, 40), max_size=4))
def test_however_a_stream_is_cut_void_ids_never_leave_a_hole(voids: set[int], cuts: list[int]) -> None:
    ledger = begun_at(0)
    edges = [1, *sorted(cut for cut in cuts if 1 <= cut <= 31), 32]
    for low, high in pairwise(edges):
        ids = range(low, high)
        ledger.admit(batch(*(i for i in ids if i not in voids), void=tuple(i for i in ids if i in voids)))
    assert ledger.open_gaps() == []
    assert ledger.next_id("BTCUSDT") == 32


def test_a_part_of_a_hole_given_up_leaves_the_rest_open() -> None:
    ledger = begun_at(10)
    ledger.admit(batch(31))
    changed = ledger.settle(Gap("BTCUSDT", 11, 20, "unrepairable", 10, ended_ns=99))
    assert [(g.from_id, g.to_id, g.status, g.missing) for g in changed] == [
        (11, 20, "unrepairable", 10),
        (21, 30, "open", 10),
    ]
    assert [ranges for _, ranges in ledger.open_gaps()] == [[(21, 30)]]
    (repaired,) = ledger.admit(batch(*range(21, 31))).changed
    assert (repaired.from_id, repaired.status) == (21, "repaired")


def test_a_middle_given_up_counts_only_what_was_missing() -> None:
    ledger = begun_at(10)
    ledger.admit(batch(21))
    ledger.admit(batch(11, 12, 15))
    changed = ledger.settle(Gap("BTCUSDT", 14, 17, "unrepairable", 4, ended_ns=99))
    assert [(g.from_id, g.to_id, g.status, g.missing) for g in changed] == [
        (11, 13, "open", 1),
        (14, 17, "unrepairable", 3),
        (18, 20, "open", 3),
    ]


def test_a_verdict_on_what_is_not_missing_changes_nothing() -> None:
    ledger = begun_at(10)
    assert ledger.settle(Gap("BTCUSDT", 3, 5, "unrepairable", 3)) == ()
    assert ledger.settle(Gap("BTCUSDT", 3, 9, "open", 7)) == ()
    ledger.admit(batch(21))
    ledger.admit(batch(13, 14))
    for low, high in ((3, 10), (13, 14), (22, 30)):
        assert ledger.settle(Gap("BTCUSDT", low, high, "unrepairable", 1)) == ()
    assert [ranges for _, ranges in ledger.open_gaps()] == [[(11, 12), (15, 20)]]


def test_a_declared_tail_is_an_open_hole_that_ticks_repair() -> None:
    ledger = begun_at(10)
    (opened,) = ledger.settle(Gap("BTCUSDT", 9, 12, "open", 0))
    assert (opened.from_id, opened.to_id, opened.missing) == (11, 12, 2)
    (closed,) = ledger.admit(batch(11, 12, 13)).changed
    assert closed.status == "repaired"


def test_the_distance_ahead_is_counted_from_the_next_id() -> None:
    ledger = begun_at(10)
    assert ledger.ahead(batch(11, 15, 3)).tolist() == [0, 4, -8]
    assert ledger.ahead(batch(77, symbol_id=1)).tolist() == [0]
