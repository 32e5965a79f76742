"""The market's time, told from ticks: it runs, stands, never goes back, and is not carried off by one wild frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pairscope.feed.watermark import BELIEVED_AFTER, LeapGuard, Watermark
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

S = 1_000_000_000
HOUR = 3600 * S
NOW = 1_700_000_000 * S
SYMBOLS = Symbols(["BTCUSDT", "ETHUSDT"])


def ticks(
    *rows: tuple[int, int], symbol_id: int = 0, recv_ns: int = NOW, void: tuple[tuple[int, int], ...] = ()
) -> TickBatch:
    """Make ticks from (trade id, event time)."""
    n = len(rows)
    return TickBatch(
        SYMBOLS,
        np.full(n, symbol_id, np.int32),
        np.array([t for _, t in rows], np.int64),
        np.full(n, recv_ns, np.int64),
        np.array([i for i, _ in rows], np.int64),
        np.ones(n),
        np.ones(n),
        np.zeros(n, np.bool_),
        0,
        void,
    )


class Sieve:
    """A guard with the ledger that it is used with."""

    def __init__(self, time_ns: int = NOW) -> None:
        self.guard = LeapGuard()
        self.ledger = Continuity()
        self.time_ns = time_ns

    def pass_on(self, batch: TickBatch, *, now_ns: int = NOW) -> list[int]:
        whole = self.guard.joined(batch)
        out = self.guard.sift(whole, self.ledger.ahead(whole), time_ns=self.time_ns, now_ns=now_ns)
        self.ledger.admit(out)
        if len(out):
            self.time_ns = max(self.time_ns, int(out.ts_event_ns.max()))
        return out.trade_id.tolist()


def test_before_any_tick_there_is_no_time() -> None:
    watermark = Watermark(lateness_ns=300)
    assert (watermark.at(10**9), watermark.time_at(10**9)) == (0, 0)


def test_it_follows_the_newest_event_less_the_lateness() -> None:
    watermark = Watermark(lateness_ns=S)
    watermark.see(NOW, now_ns=0)
    watermark.see(NOW - 5 * S, now_ns=0)
    assert watermark.at(0) == NOW - S


def test_time_goes_on_while_nobody_trades() -> None:
    watermark = Watermark(lateness_ns=S)
    watermark.see(NOW, now_ns=7)
    assert watermark.at(7 + 90 * S) == NOW + 89 * S


def test_a_replay_slower_than_time_does_not_run_away() -> None:
    watermark = Watermark(lateness_ns=0)
    for k in range(100):
        watermark.see(NOW + k * S, now_ns=2 * k * S)
    assert watermark.at(198 * S) <= NOW + 101 * S


@given(st.lists(st.tuples(st.integers(-3, 8), st.integers(0, 5), st.sampled_from(["see", "hold", "release", "none"]))))
def test_it_never_goes_back(steps: list[tuple[int, int, str]]) -> None:
    watermark, now, marks = Watermark(lateness_ns=3, hold_ns=20), 0, [0]
    for event, elapsed, what in steps:
        now += elapsed
        if what == "see":
            watermark.see(NOW + event, now_ns=now)
        elif what == "hold":
            watermark.hold(now)
        elif what == "release":
            watermark.release()
        marks.append(watermark.at(now))
    assert marks == sorted(marks)


def test_a_held_watermark_stands_even_when_other_ticks_come_and_runs_on_when_released() -> None:
    watermark = Watermark(lateness_ns=0)
    watermark.see(NOW, now_ns=0)
    watermark.hold(S)
    watermark.see(NOW + 30 * S, now_ns=30 * S)
    assert watermark.at(30 * S) == NOW + S
    assert watermark.held(30 * S)
    watermark.release()
    assert watermark.at(30 * S) == NOW + 30 * S


def test_a_hold_ends_by_itself_so_that_bars_close_in_the_end() -> None:
    watermark = Watermark(lateness_ns=0, hold_ns=60 * S)
    watermark.see(NOW, now_ns=0)
    watermark.hold(0)
    watermark.hold(50 * S)
    assert watermark.at(60 * S - 1) == NOW
    assert watermark.at(60 * S) == NOW + 60 * S


def test_ordinary_ticks_pass_untouched() -> None:
    sieve = Sieve()
    batch = ticks((1, NOW), (2, NOW + 59 * S))
    assert sieve.guard.sift(batch, sieve.ledger.ahead(batch), time_ns=NOW, now_ns=NOW) is batch


def test_one_frame_an_hour_ahead_is_dropped_when_the_others_are_not() -> None:
    sieve = Sieve()
    assert sieve.pass_on(ticks((1, NOW))) == [1]
    assert sieve.pass_on(ticks((2, NOW + HOUR))) == []
    assert len(sieve.guard) == 1
    assert sieve.pass_on(ticks((3, NOW + S))) == [3]
    assert (sieve.guard.dropped, len(sieve.guard)) == (1, 0)
    assert sieve.time_ns == NOW + S
    assert [ranges for _, ranges in sieve.ledger.open_gaps()] == [[(2, 2)]]


def test_the_same_within_one_batch() -> None:
    sieve = Sieve()
    assert sieve.pass_on(ticks((1, NOW), (2, NOW + HOUR), (3, NOW + 1))) == [1, 3]


def test_a_leap_that_every_tick_makes_is_true() -> None:
    sieve = Sieve()
    sieve.pass_on(ticks((0, NOW)))
    rows = [(k, NOW + HOUR + k) for k in range(1, BELIEVED_AFTER + 1)]
    for row in rows[:-1]:
        assert sieve.pass_on(ticks(row)) == []
    assert sieve.pass_on(ticks(rows[-1])) == [k for k, _ in rows]
    assert sieve.guard.dropped == 0


def test_a_leap_that_nothing_contradicts_is_true_in_the_end() -> None:
    sieve = Sieve()
    assert sieve.pass_on(ticks((1, NOW + HOUR))) == []
    assert sieve.pass_on(ticks(), now_ns=NOW + 4 * S) == []
    assert sieve.pass_on(ticks(), now_ns=NOW + 5 * S) == [1]


def test_a_tape_with_quiet_hours_played_at_full_speed_loses_nothing() -> None:
    sieve = Sieve()
    rows = [(k, NOW + k * HOUR) for k in range(100)]
    out = sieve.pass_on(ticks(*rows[:50])) + sieve.pass_on(ticks(*rows[50:]))
    while len(sieve.guard):
        out += sieve.pass_on(ticks(), now_ns=NOW + 10 * S)
    assert out == list(range(100))


def test_the_very_first_frame_may_be_the_wild_one() -> None:
    sieve = Sieve(time_ns=0)
    wild = [(1, NOW + HOUR)]
    assert sieve.pass_on(ticks(*wild)) == []
    sound = [(k, NOW + k) for k in range(2, 2 + BELIEVED_AFTER)]
    assert sieve.pass_on(ticks(*sound)) == [k for k, _ in sound]
    assert sieve.time_ns < NOW + S


def test_the_first_frame_of_a_thin_market_is_believed_after_a_second() -> None:
    sieve = Sieve(time_ns=0)
    assert sieve.pass_on(ticks((1, NOW))) == []
    assert sieve.pass_on(ticks(), now_ns=NOW + S) == [1]


def test_a_wild_id_opens_no_hole_of_millions() -> None:
    sieve = Sieve()
    assert sieve.pass_on(ticks((10, NOW))) == [10]
    assert sieve.pass_on(ticks((1 << 60, NOW))) == []
    assert sieve.pass_on(ticks((11, NOW), (12, NOW))) == [11, 12]
    assert sieve.guard.dropped == 1
    assert sieve.ledger.open_gaps() == []


def test_ids_far_on_after_days_away_are_believed_at_the_second_one() -> None:
    sieve = Sieve()
    sieve.ledger.resume("BTCUSDT", next_id=100)
    assert sieve.pass_on(ticks((50_000_000, NOW))) == []
    assert sieve.pass_on(ticks((50_000_001, NOW))) == [50_000_000, 50_000_001]
    assert [gap.missing for gap, _ in sieve.ledger.open_gaps()] == [50_000_000 - 100]


def test_or_when_nothing_contradicts_them() -> None:
    sieve = Sieve()
    sieve.ledger.resume("BTCUSDT", next_id=100)
    assert sieve.pass_on(ticks((50_000_000, NOW))) == []
    assert sieve.pass_on(ticks((7, NOW), symbol_id=1), now_ns=NOW + 5 * S) == [50_000_000, 7]


def test_void_ids_pass_while_their_neighbours_wait_and_only_once() -> None:
    sieve = Sieve()
    batch = ticks((1, NOW + HOUR), void=((0, 2),))
    out = sieve.guard.sift(batch, sieve.ledger.ahead(batch), time_ns=NOW, now_ns=NOW)
    assert (len(out), out.void) == (0, ((0, 2),))
    assert sieve.guard.joined(ticks()).void == ()


@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 3600]), st.integers(0, 1)), max_size=60), st.integers(1, 7))
def test_every_tick_is_passed_kept_back_or_counted_as_dropped(steps: list[tuple[int, int]], size: int) -> None:
    sieve = Sieve()
    rows = [ticks((k, NOW + at * S), symbol_id=symbol) for k, (at, symbol) in enumerate(steps)]
    passed = 0
    for k in range(0, len(rows), size):
        passed += len(sieve.pass_on(concat_ticks(rows[k : k + size])))
    assert passed + len(sieve.guard) + sieve.guard.dropped == len(rows)
