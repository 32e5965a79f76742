"""The ledger of trade ids against a set of numbers a symbol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

NAMES = ("BTCUSDT", "ETHUSDT")


def batch(rows: Iterable[tuple[int, int]], symbols: Symbols | None = None) -> TickBatch:
    """Ticks of (symbol id, trade id), in this order; event time 10 ns an id, received 7 ns later."""
    held = list(rows)
    numbers = np.array([number for _, number in held], np.int64)
    return TickBatch(
        Symbols(NAMES) if symbols is None else symbols,
        np.array([s for s, _ in held], np.int32),
        numbers * 10,
        numbers * 10 + 7,
        numbers,
        np.ones(len(held)),
        np.ones(len(held)),
        np.zeros(len(held), np.bool_),
        0,
    )


@dataclass
class Naive:
    """What a ledger must know of one symbol, as plain sets."""

    seen: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)

    def missing(self) -> set[int]:
        if not self.seen:
            return set()
        return set(range(self.first, max(self.seen))) - self.seen - self.given_up

    def admit(self, number: int) -> bool:
        if not self.seen:
            self.first = number
        new = not self.seen or number > max(self.seen) or number in self.missing()
        if new:
            self.seen.add(number)
        return new


batches = st.lists(st.lists(st.tuples(st.integers(0, 1), st.integers(100, 140)), max_size=12), min_size=1, max_size=12)


@given(batches)
def test_the_ledger_agrees_with_a_set_of_numbers(cuts: list[list[tuple[int, int]]]) -> None:
    ledger, naive, symbols = Continuity(), [Naive(), Naive()], Symbols(NAMES)
    for rows in cuts:
        truth = [naive[s].admit(number) for s, number in rows]
        admission = ledger.admit(batch(rows, symbols))
        assert admission.new.tolist() == truth
        assert admission.repeats == truth.count(False)
        missing: dict[str, set[int]] = {name: set() for name in NAMES}
        for gap, ranges in ledger.open_gaps():
            inside = {number for low, high in ranges for number in range(low, high + 1)}
            assert gap.status == "open" and gap.missing == len(inside) > 0
            assert inside <= set(range(gap.from_id, gap.to_id + 1))
            assert not missing[gap.symbol] & inside
            missing[gap.symbol] |= inside
        for name, one in zip(NAMES, naive, strict=True):
            assert missing[name] == one.missing()
            assert ledger.next_id(name) == (max(one.seen) + 1 if one.seen else None)


@given(batches, st.integers(0, 100))
def test_a_ledger_resumed_from_what_another_knows_goes_on_like_it(cuts: list[list[tuple[int, int]]], at: int) -> None:
    first, second, symbols = Continuity(), Continuity(), Symbols(NAMES)
    half = at % (len(cuts) + 1)
    for rows in cuts[:half]:
        first.admit(batch(rows, symbols))
    for name in NAMES:
        following = first.next_id(name)
        if following is not None:
            gaps = [(gap, ranges) for gap, ranges in first.open_gaps() if gap.symbol == name]
            second.resume(name, next_id=following, last_ns=first.last_ns(name), gaps=gaps)
    for rows in cuts[half:]:
        ours, theirs = first.admit(batch(rows, symbols)), second.admit(batch(rows, symbols))
        assert ours.new.tolist() == theirs.new.tolist()
        assert ours.changed == theirs.changed
    by_name = sorted(first.open_gaps(), key=lambda entry: (entry[0].symbol, entry[0].from_id))
    assert by_name == sorted(second.open_gaps(), key=lambda entry: (entry[0].symbol, entry[0].from_id))


def test_a_hole_is_opened_with_the_times_on_either_side_and_closed_by_its_last_id() -> None:
    ledger = Continuity()
    ledger.admit(batch([(0, 10)]))
    (opened,) = ledger.admit(batch([(0, 14)])).changed
    assert opened == Gap("BTCUSDT", 11, 13, "open", 3, after_ns=100, before_ns=140, seen_ns=147)
    (smaller,) = ledger.admit(batch([(0, 12)])).changed
    assert (smaller.status, smaller.missing) == ("open", 2)
    (closed,) = ledger.admit(batch([(0, 13), (0, 11)])).changed
    assert (closed.status, closed.missing, closed.ended_ns) == ("repaired", 0, 117)
    assert ledger.open_gaps() == []


def test_ticks_that_merely_swapped_places_leave_no_gap_behind() -> None:
    ledger = Continuity()
    admission = ledger.admit(batch([(0, 10), (0, 12), (0, 11), (0, 13)]))
    assert admission.new.all() and admission.repeats == 0
    assert [gap.status for gap in admission.changed] == ["repaired"]
    assert ledger.next_id("BTCUSDT") == 14


def test_a_repeat_is_dropped_also_within_a_batch_and_within_a_repair() -> None:
    ledger = Continuity()
    admission = ledger.admit(batch([(0, 10), (0, 10), (0, 13), (0, 11), (0, 11), (1, 10)]))
    assert admission.new.tolist() == [True, False, True, True, False, True]
    assert admission.repeats == 2


def test_an_id_below_the_first_one_is_a_repeat() -> None:
    ledger = Continuity()
    assert ledger.admit(batch([(0, 10), (0, 9)])).new.tolist() == [True, False]
    assert ledger.open_gaps() == []


def test_a_gap_that_was_given_up_lets_none_of_its_ids_in() -> None:
    ledger = Continuity()
    ledger.admit(batch([(0, 10), (0, 13)]))
    gap = ledger.give_up("BTCUSDT", 11, ended_ns=99)
    assert gap is not None and (gap.status, gap.missing, gap.ended_ns) == ("unrepairable", 2, 99)
    assert ledger.give_up("BTCUSDT", 11, ended_ns=99) is None
    assert not ledger.admit(batch([(0, 11)])).new.any()


def test_a_declared_tail_opens_a_gap_that_later_ticks_fill() -> None:
    ledger = Continuity()
    ledger.admit(batch([(0, 10)]))
    declared = ledger.declare(Gap("BTCUSDT", 9, 12, "open", 99, after_ns=100))
    assert declared is not None and (declared.from_id, declared.to_id, declared.missing) == (11, 12, 2)
    assert ledger.declare(Gap("BTCUSDT", 11, 12, "open", 2)) is None
    assert ledger.admit(batch([(0, 13)])).changed == ()
    assert ledger.admit(batch([(0, 11), (0, 12)])).changed[-1].status == "repaired"


def test_ids_beyond_the_next_are_told_before_they_are_admitted() -> None:
    ledger = Continuity()
    ledger.admit(batch([(0, 10)]))
    assert ledger.ahead(batch([(0, 11), (0, 15), (0, 3), (1, 500)])).tolist() == [0, 4, -8, 0]


def test_symbols_are_known_by_name_whatever_table_a_batch_uses() -> None:
    ledger = Continuity()
    ledger.admit(batch([(0, 10)], Symbols(["BTCUSDT"])))
    ledger.admit(batch([(1, 11)], Symbols(["ETHUSDT", "BTCUSDT"])))
    growing = Symbols(["ETHUSDT"])
    ledger.admit(batch([(0, 5)], growing))
    growing.id_of("BTCUSDT")
    ledger.admit(batch([(1, 12)], growing))
    assert (ledger.next_id("BTCUSDT"), ledger.next_id("ETHUSDT"), ledger.open_gaps()) == (13, 6, [])


def test_many_symbols_and_big_ids_are_kept_apart() -> None:
    symbols = Symbols(f"S{k}USDT" for k in range(700))
    ledger = Continuity()
    for step in range(3):
        rows = [(s, 5_266_583_935 + s * 10**9 + step) for s in range(700)]
        assert ledger.admit(batch(rows, symbols)).new.all()
    assert ledger.next_id("S699USDT") == 5_266_583_935 + 699 * 10**9 + 3
    assert ledger.open_gaps() == []


def test_an_empty_batch_changes_nothing() -> None:
    admission = Continuity().admit(batch([]))
    assert (len(admission.new), admission.repeats, admission.changed) == (0, 0, ())


@pytest.mark.parametrize("name", ["XRPUSDT", "btcusdt"])
def test_nothing_is_known_of_a_symbol_that_never_came(name: str) -> None:
    ledger = Continuity(["BTCUSDT"])
    assert (ledger.next_id(name), ledger.last_ns(name)) == (None, 0)
