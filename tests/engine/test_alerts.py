"""The book of alerts: joins, storms, ticks that come late, expiry, restarts, and what can be asked of it."""

from __future__ import annotations

import json
from math import nan
from typing import Any

import numpy as np
import pytest

from pairscope.engine.alert_gauges import Gauge, GaugeKey, GaugeSource, TickRows
from pairscope.engine.alerts import AlertBook
from pairscope.market.alert_rules import AlertRule, AlertState
from pairscope.market.bars import BarBatch

from .walking import NOON_NS, SECOND, Trade, Walk, batch_of, walk_path

ABOVE = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 100}
CROSSES = {**ABOVE, "condition": "crosses_above"}


def trades(prices: list[float], *, name: str = "BTCUSDT", first_id: int = 1, first_s: float = 0) -> list[Trade]:
    return [(name, first_id + i, first_s + i / 10, price) for i, price in enumerate(prices)]


def ids(walk: Walk) -> list[tuple[str, int]]:
    return [(firing.rule_id, firing.trade_id) for firing in walk.fired]


# -- several conditions ------------------------------------------------------------------------------------------------


def test_and_of_levels_fires_when_the_last_of_them_becomes_true() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    other = {"type": "price", "symbol": "ETHUSDT", "condition": "below", "threshold": 50}
    walk.rule(join="and", conditions=[ABOVE, other])
    walk.trades(trades([101, 102]))
    walk.trades([("ETHUSDT", 7, 1, 49.0), ("ETHUSDT", 8, 1.1, 51.0), ("BTCUSDT", 3, 1.2, 99.0)])
    walk.trades([("ETHUSDT", 9, 2, 49.0), ("BTCUSDT", 4, 2.1, 103.0)])
    assert [(f.symbol, f.trade_id, f.values) for f in walk.fired] == [
        ("ETHUSDT", 7, (102.0, 49.0)),
        ("BTCUSDT", 4, (103.0, 49.0)),
    ]


def test_and_of_levels_that_hold_already_fires_at_once() -> None:
    walk = Walk()
    walk.rule(join="and", conditions=[ABOVE, {**ABOVE, "condition": "below", "threshold": 110}])
    walk.trades(trades([105, 106, 111, 109, 99, 105]))
    assert [trade_id for _, trade_id in ids(walk)] == [1, 4, 6]


def test_and_of_levels_of_two_symbols_that_hold_already_fires_once() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.trades([("BTCUSDT", 1, 0, 105.0), ("ETHUSDT", 1, 0.1, 51.0)])
    walk.rule(join="and", conditions=[ABOVE, {**ABOVE, "symbol": "ETHUSDT", "threshold": 50}])
    walk.trades([("ETHUSDT", 2, 1, 52.0), ("BTCUSDT", 2, 1.1, 106.0)])
    assert len(walk.fired) == 1
    assert walk.book.counters()["suppressed"] == 0
    assert walk.fired[0].values == (105.0, 51.0)


def test_or_of_levels_that_hold_already_fires_for_each_of_them() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.trades([("BTCUSDT", 1, 0, 105.0), ("ETHUSDT", 1, 0.1, 51.0)])
    walk.rule(join="or", conditions=[ABOVE, {**ABOVE, "symbol": "ETHUSDT", "threshold": 50}])
    walk.trades([("ETHUSDT", 2, 1, 52.0)])
    assert sorted(firing.condition for firing in walk.fired) == [0, 1]


def test_a_crossing_joined_with_a_level_fires_at_the_crossing_while_the_level_holds() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    level = {"type": "price", "symbol": "ETHUSDT", "condition": "above", "threshold": 50}
    walk.rule(join="and", conditions=[CROSSES, level])
    walk.trades([("BTCUSDT", 1, 0, 99.0), ("BTCUSDT", 2, 0.1, 101.0), ("ETHUSDT", 1, 0.2, 51.0)])
    assert ids(walk) == []
    walk.trades([("BTCUSDT", 3, 1, 99.0), ("BTCUSDT", 4, 1.1, 101.0)])
    assert ids(walk) == [("rule", 4)]


def test_two_crossings_joined_fire_at_the_second_while_the_first_is_on_its_far_side() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.rule(join="and", conditions=[CROSSES, {**CROSSES, "symbol": "ETHUSDT", "threshold": 50}])
    walk.trades(
        [("BTCUSDT", 1, 0, 99.0), ("ETHUSDT", 1, 0.1, 49.0), ("BTCUSDT", 2, 0.2, 101.0), ("ETHUSDT", 2, 0.3, 51.0)]
    )
    assert [(f.symbol, f.trade_id, f.condition) for f in walk.fired] == [("ETHUSDT", 2, 1)]


def test_or_fires_for_each_condition_by_itself() -> None:
    walk = Walk()
    walk.rule(join="or", conditions=[ABOVE, {**ABOVE, "condition": "below", "threshold": 90}])
    walk.trades(trades([95, 101, 95, 89, 95, 102]))
    assert [(f.trade_id, f.condition) for f in walk.fired] == [(2, 0), (4, 1), (6, 0)]


def test_a_conjunction_across_sources_is_judged_tick_by_tick_within_a_batch() -> None:
    """The price holds from the second trade on; the change held only at the first: nothing was true at one time."""
    walk = Walk()
    change = {**ABOVE, "type": "price_change", "threshold": 0.05, "timeframe": "1s", "window": 1}
    walk_path(walk, [99.0, 90.0])
    walk.rule(join="and", conditions=[ABOVE, change])
    walk.trades([("BTCUSDT", 3, 2.0, 99.0), ("BTCUSDT", 4, 2.1, 91.0), ("BTCUSDT", 5, 2.2, 101.0)])
    assert [(f.trade_id, f.condition) for f in walk.fired] == [(5, 1)]


# -- how often ---------------------------------------------------------------------------------------------------------


def test_flapping_around_a_level_is_told_once_with_hysteresis_and_once_a_minute_with_the_cooldown() -> None:
    walk = Walk()
    walk.rule("bare", **ABOVE, cooldown_s=0, expires=(NOON_NS + SECOND) // 10**6)
    walk.rule("wide", **ABOVE, hysteresis=2)
    walk.rule("calm", **ABOVE, cooldown_s=60)
    for second in range(120):
        walk.trades([("BTCUSDT", 2 * second + 1, second, 99.5), ("BTCUSDT", 2 * second + 2, second + 0.5, 100.5)])
    fired = [firing.rule_id for firing in walk.fired]
    assert (fired.count("bare"), fired.count("wide"), fired.count("calm")) == (1, 1, 2)
    assert [f.time_ns for f in walk.fired if f.rule_id == "calm"] == [
        NOON_NS + SECOND // 2,
        NOON_NS + 121 * SECOND // 2,
    ]
    assert walk.book.state("calm").suppressed == 118
    assert walk.book.state("wide").suppressed == 0


def test_the_fifteenth_firing_within_three_minutes_pauses_the_rule_and_says_so() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    assert walk_path(walk, [99.0, 101.0] * 20) == list(range(1, 30, 2))
    assert [firing.storm for firing in walk.fired] == [False] * 14 + [True]
    state = walk.book.state("rule")
    assert (state.status, state.reason) == ("paused", "fired 15 times within 3 minutes")
    assert walk.book.counters()["storms"] == 1


def test_fifteen_firings_in_more_than_three_minutes_are_no_storm() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    for i in range(20):
        walk.trades([("BTCUSDT", 2 * i + 1, 13 * i, 99.0), ("BTCUSDT", 2 * i + 2, 13 * i + 1, 101.0)])
    assert len(walk.fired) == 20
    assert walk.book.state("rule").status == "active"


def test_a_rule_that_goes_on_after_a_pause_begins_as_if_new_but_keeps_its_numbers() -> None:
    walk = Walk()
    level, crossing = walk.rule("level", **ABOVE), walk.rule("crossing", **CROSSES)
    walk.trades(trades([99, 101]))
    for rule in (level, crossing):
        walk.book.put(rule, walk.book.state(rule.id).paused())
    walk.trades(trades([99, 101], first_id=3, first_s=1))
    assert len(walk.fired) == 2
    assert walk.book.view("level") == {"values": [None], "distance": [None], "holds": [True], "reason": "paused"}
    for rule in (level, crossing):
        walk.book.put(rule, walk.book.state(rule.id).resumed())
    walk.trades(trades([102, 99, 101], first_id=5, first_s=2))
    assert [(f.id, f.trade_id) for f in walk.fired[2:]] == [("level-2", 4), ("crossing-2", 7), ("level-3", 7)]


def test_a_level_that_holds_already_fires_with_the_next_batch_of_anybody() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.trades(trades([101]))
    walk.rule(**ABOVE)
    walk.trades([("ETHUSDT", 1, 5, 50.0)])
    assert [(f.symbol, f.trade_id, f.time_ns, f.value) for f in walk.fired] == [("BTCUSDT", 1, NOON_NS, 101.0)]


def test_a_rule_is_over_when_the_time_has_come_though_nobody_trades() -> None:
    walk = Walk()
    walk.rule(**ABOVE, expires=(NOON_NS + 5 * SECOND) // 10**6)
    walk.trades([], until_s=4.9)
    assert (walk.book.state("rule").status, walk.book.changed()) == ("active", [])
    walk.trades([], until_s=5)
    assert (walk.book.state("rule").status, walk.book.state("rule").reason) == ("done", "expired")
    assert walk.book.changed() == ["rule"]
    assert walk.book.told().keys == ["rule"]


# -- ticks that come late ----------------------------------------------------------------------------------------------


def test_what_comes_true_in_a_hole_is_told_late_with_both_times() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.trades(trades([99]))
    walk.trades(trades([98], first_id=5, first_s=4))
    walk.trades(trades([99, 101, 99], first_id=2, first_s=1), until_s=20)
    (firing,) = walk.fired
    assert (firing.trade_id, firing.late, firing.value) == (3, True, 101.0)
    assert firing.time_ns == NOON_NS + 1_100_000_000
    assert firing.recv_ns > firing.time_ns
    walk.trades(trades([97, 101], first_id=6, first_s=21))
    assert [f.late for f in walk.fired] == [True, False]


def test_a_rule_that_fired_at_the_jump_over_a_hole_is_not_told_of_the_same_crossing_again() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.trades(trades([99]))
    walk.trades(trades([102], first_id=5, first_s=4))
    walk.trades(trades([100, 101, 101.5], first_id=2, first_s=1), until_s=20)
    assert ids(walk) == [("rule", 5)]


def test_a_second_crossing_within_a_hole_is_told_late_also_after_the_jump_was_told() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.trades(trades([99]))
    walk.trades(trades([102], first_id=6, first_s=4))
    walk.trades(trades([101, 99, 101, 101], first_id=2, first_s=1), until_s=20)
    assert [(f.trade_id, f.late) for f in walk.fired] == [(6, False), (4, True)]


def test_a_late_firing_within_the_cooldown_of_another_is_kept_back() -> None:
    walk = Walk()
    walk.rule(**CROSSES, cooldown_s=10)
    walk.trades(trades([99, 101, 99]))
    walk.trades(trades([99], first_id=6, first_s=4))
    walk.trades(trades([101, 99], first_id=4, first_s=1), until_s=20)
    assert ids(walk) == [("rule", 2)]
    assert walk.book.state("rule").suppressed == 1


def test_late_ticks_do_not_move_what_the_rule_waits_for() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.trades(trades([99, 101]))
    walk.trades(trades([102], first_id=5, first_s=4))
    walk.trades(trades([95, 96], first_id=3, first_s=1), until_s=20)
    walk.trades(trades([103], first_id=6, first_s=21))
    assert ids(walk) == [("rule", 2)]


def test_ticks_of_a_hole_from_before_a_rule_was_made_tell_it_nothing() -> None:
    walk = Walk()
    walk.rule("first", **CROSSES)
    walk.trades(trades([99]))
    walk.trades(trades([98], first_id=5, first_s=4))
    walk.rule("second", **ABOVE)
    walk.trades(trades([99, 101, 99], first_id=2, first_s=1), until_s=20)
    assert ids(walk) == [("first", 3)]


def test_a_hole_over_a_restart_tells_the_rules_that_were_kept() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.trades(trades([99]))
    walk.trades(trades([98], first_id=5, first_s=4))
    walk.restart()
    walk.rule("new", **ABOVE)
    walk.trades(trades([99, 101, 99], first_id=2, first_s=1), until_s=20)
    assert [(f.rule_id, f.trade_id, f.late) for f in walk.fired] == [("rule", 3, True)]


def test_trades_that_changed_places_on_their_way_fire_as_they_come() -> None:
    walk = Walk()
    walk.rule(**ABOVE)
    walk.trades(
        [("BTCUSDT", 1, 0, 99.0), ("BTCUSDT", 3, 0.2, 101.0), ("BTCUSDT", 2, 0.1, 99.0), ("BTCUSDT", 4, 0.3, 102.0)]
    )
    assert ids(walk) == [("rule", 3)]


def test_a_rule_made_after_a_while_without_any_knows_which_trades_are_late() -> None:
    walk = Walk()
    walk.rule("gone", **ABOVE)
    walk.trades(trades([99]))
    walk.book.remove("gone")
    walk.trades(trades([99, 98], first_id=2, first_s=1))
    walk.trades(trades([97], first_id=8, first_s=4))
    walk.rule("new", **ABOVE)
    walk.trades(trades([101], first_id=5, first_s=3), until_s=5)
    assert walk.fired == []
    walk.trades(trades([101], first_id=9, first_s=6))
    assert ids(walk) == [("new", 9)]


def test_a_rule_that_ends_within_a_batch_is_not_stepped_by_the_rest_of_it() -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.rule("one", **ABOVE, once=True)
    either = [{**ABOVE, "threshold": 102}, {**ABOVE, "symbol": "ETHUSDT"}]
    walk.rule("either", join="or", conditions=either, once=True)
    eth = [("ETHUSDT", 1 + i, 1 + i / 10, price) for i, price in enumerate([99.0, 101.0, 99.0])]
    walk.trades(
        [*trades([99, 101, 99, 101, 103, 99, 101]), *eth, ("BTCUSDT", 20, 2, 103.0), ("BTCUSDT", 9, 0.9, 103.0)]
    )
    walk.trades(trades([99, 103], first_id=21, first_s=3))
    assert ids(walk) == [("one", 2), ("either", 5)]
    assert [walk.book.state(name).reason for name in ("one", "either")] == ["fired once", "fired once"]


@pytest.mark.parametrize("kind", ["price", "staleness"])
def test_a_rule_on_two_symbols_that_ends_at_the_first_of_them_ends_for_both(kind: str) -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.trades([("BTCUSDT", 1, 0, 101.0), ("ETHUSDT", 1, 0.5, 101.0)])
    one = {"type": kind, "condition": "above", "threshold": 2}
    walk.rule(join="or", conditions=[{**one, "symbol": "BTCUSDT"}, {**one, "symbol": "ETHUSDT"}], once=True)
    walk.trades([], until_s=1)
    walk.trades([], until_s=30)
    assert [f.number for f in walk.fired] == [1]
    assert walk.book.counters()["gauges"] == 0
    walk.trades([("BTCUSDT", 2, 31, 1.0), ("ETHUSDT", 2, 31.5, 101.0)], until_s=60)
    assert len(walk.fired) == 1


# -- restarts and replays ----------------------------------------------------------------------------------------------


def test_a_state_survives_json_to_the_last_bit() -> None:
    state = AlertState("paused", "why", 3, 4, 1_722_513_600_123_456_789, (1, 2, 1_722_513_600_123_456_789), (2, 1))
    assert AlertState.from_document(json.loads(json.dumps(state.document()))) == state


def test_a_restart_neither_repeats_nor_forgets() -> None:
    walk = Walk()
    walk.rule("level", **ABOVE)
    walk.rule("crossing", **CROSSES)
    walk.rule("once", **ABOVE, once=True)
    walk.trades(trades([99, 101]))
    walk.restart()
    walk.trades(trades([102, 99.5], first_id=3, first_s=1))
    walk.restart()
    walk.trades(trades([101], first_id=5, first_s=2))
    assert sorted(ids(walk)) == [("crossing", 2), ("crossing", 5), ("level", 2), ("level", 5), ("once", 2)]


def test_the_book_tells_the_journal_each_firing_and_can_say_it_again() -> None:
    live, replay = Walk(remember=True), Walk(remember=True)
    told = []
    for walk in (live, replay):
        walk.rule("a", **ABOVE)
        walk.rule("b", **CROSSES)
        walk.trades(trades([99, 101, 99, 101]))
        told.append(walk.book.told())
    assert told[0].keys == ["a", "b", "a", "b"]
    assert told[0].numbers.tolist() == [101.0] * 4
    again = replay.book.again(told[0].keys)
    assert sorted(again.digests.tolist()) == sorted(told[0].digests.tolist())
    assert replay.book.told().keys == []
    assert live.book.knows("a")
    assert not live.book.knows("c")


def test_a_digest_differs_where_the_value_or_the_tick_does() -> None:
    digests = []
    for prices in ([99.0, 101.0], [99.0, 101.5], [99.0, 99.0, 101.0]):
        walk = Walk()
        walk.rule(**ABOVE)
        walk.trades(trades(prices))
        digests.append(walk.book.told().digests.tolist()[0])
    assert len(set(digests)) == 3


def test_ticks_of_one_moment_are_taken_by_symbol_and_id_whatever_their_order_in_the_batch() -> None:
    orders = []
    for shuffle in ([0, 1, 2, 3], [3, 1, 2, 0], [2, 3, 0, 1]):
        walk = Walk(["ETHUSDT", "BTCUSDT"])
        walk.rule(join="and", conditions=[ABOVE, {**ABOVE, "symbol": "ETHUSDT", "threshold": 50}])
        rows = [
            ("BTCUSDT", 1, 0.0, 99.0),
            ("BTCUSDT", 2, 0.0, 101.0),
            ("ETHUSDT", 1, 0.0, 51.0),
            ("ETHUSDT", 2, 0.0, 49.0),
        ]
        batch = batch_of(walk.engine.symbols_table, rows, NOON_NS)
        batch = batch.take(np.array(shuffle))
        batch.ts_recv_ns[:] = NOON_NS + 1
        walk.take(batch)
        orders.append([(f.symbol, f.trade_id, f.values) for f in walk.fired])
    assert orders == [[("ETHUSDT", 1, (101.0, 51.0))]] * 3


# -- what is asked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "price", "distance", "holds"),
    [
        (ABOVE, 97.0, 3.0, False),
        (ABOVE, 103.0, 0.0, True),
        ({**ABOVE, "condition": "below"}, 103.0, 3.0, False),
        (CROSSES, 97.0, 3.0, False),
        (CROSSES, 103.0, 3.0, True),
        ({**ABOVE, "condition": "enters", "threshold": None, "lower": 100, "upper": 110}, 98.0, 2.0, False),
        ({**ABOVE, "condition": "leaves", "threshold": None, "lower": 100, "upper": 110}, 108.0, 2.0, False),
    ],
)
def test_a_view_says_the_value_and_how_far_it_is_to_the_next_change(
    fields: dict[str, Any], price: float, distance: float, *, holds: bool
) -> None:
    walk = Walk()
    walk.rule(**fields)
    walk.trades(trades([price]))
    view = walk.book.view("rule")
    assert view is not None
    assert view["values"] == [price]
    assert view["distance"] == [pytest.approx(distance, abs=1e-9)]
    assert view["holds"] == [holds]


def test_a_value_between_two_looks_is_shown_too() -> None:
    walk = Walk()
    walk.rule(**ABOVE)
    walk.trades(trades([97, 98, 98.5]))
    view = walk.book.view("rule")
    assert view is not None
    assert (view["values"], view["distance"]) == ([98.5], [pytest.approx(1.5)])


def test_a_view_says_why_there_is_no_value() -> None:
    walk = Walk()
    walk.rule(type="price_change", condition="above", threshold=0.1, timeframe="1s", window=3)
    walk.trades(trades([97]))
    view = walk.book.view("rule")
    assert view is not None
    assert view["values"] == [None]
    assert view["reason"] == "needs a bar of 1s that is 3 old, has 0 bars"
    assert walk.book.view("nobody") is None


def test_a_gauge_is_shared_and_let_go_with_its_last_rule() -> None:
    walk = Walk()
    walk.rule("a", **ABOVE)
    walk.rule("b", **CROSSES)
    assert walk.book.counters()["gauges"] == 1
    assert walk.book.remove("a")
    assert not walk.book.remove("a")
    walk.trades(trades([99, 101]))
    assert ids(walk) == [("b", 2)]
    walk.book.remove("b")
    assert (walk.book.counters()["gauges"], walk.book.rules()) == (0, [])


def test_changed_rules_are_named_once_and_only_where_something_is_to_be_kept() -> None:
    walk = Walk()
    walk.rule("level", **ABOVE)
    walk.rule("crossing", **CROSSES)
    walk.trades(trades([99]))
    assert walk.book.changed() == ["crossing"]
    walk.trades(trades([98, 99.5], first_id=2))
    assert walk.book.changed() == []
    walk.trades(trades([101], first_id=4))
    assert walk.book.changed() == ["crossing", "level"]


def test_a_price_that_is_no_number_is_no_value() -> None:
    walk = Walk()
    walk.rule(**CROSSES)
    walk.book.on_ticks(batch_of(walk.engine.symbols_table, trades([99, nan, 101]), NOON_NS))
    assert [f.trade_id for f in walk.book.firings()] == [3]


def test_ten_thousand_rules_of_one_symbol_are_looked_at_only_where_a_price_passes_them() -> None:
    """Not a timing: the machine steps are counted."""
    walk = Walk()
    steps = 0
    note = AlertBook._note

    def counting(self: AlertBook, *said: Any) -> None:
        nonlocal steps
        steps += 1
        note(self, *said)

    walk.book._note = counting.__get__(walk.book)  # type: ignore[method-assign]
    for i in range(10_000):
        walk.rule(f"r{i:05d}", **{**ABOVE, "threshold": 100 + i / 100})
    walk.trades(trades([150.005]))
    assert steps == 10_000
    walk.trades(trades([150.002 + i % 7 / 1000 for i in range(1000)], first_id=2, first_s=1))
    assert steps == 10_000
    walk.trades(trades([150.1], first_id=1002, first_s=200))
    assert steps == 10_009


def test_rules_under_another_table_of_symbols_see_the_same_ticks() -> None:
    walk, other = Walk(["ETHUSDT"]), Walk(["BTCUSDT"])
    walk.rule(**ABOVE)
    walk.take(batch_of(other.engine.symbols_table, trades([99, 101]), NOON_NS))
    assert ids(walk) == [("rule", 2)]


def test_an_unknown_kind_of_rule_is_refused_before_it_comes_here() -> None:
    with pytest.raises(ValueError, match="type"):
        AlertRule.from_document("a", {"type": "moon", "symbol": "BTCUSDT", "condition": "above", "threshold": 1})


def test_a_window_longer_than_the_engine_keeps_is_read_from_the_store() -> None:
    walk = Walk()
    walk.rule(type="price_change", condition="above", threshold=0.1, timeframe="1h", window=48, frequency="every")
    walk.trades(trades([100]))
    (wanted,) = walk.book.lacking()
    asked = walk.book.begin(wanted)
    assert asked is not None
    hour = 3600 * SECOND
    assert (wanted.timeframe, asked) == ("1h", (NOON_NS - 50 * hour, 50))
    assert walk.book.lacking() == []
    stored = bars_of_hours(walk, [80.0 + i / 2 for i in range(50)] + [999.0])
    walk.book.fill(wanted, asked[1], stored)
    walk.trades([])
    (firing,) = walk.fired
    assert firing.value == (100 - 81) / 81
    assert (firing.trade_id, walk.book.lacking()) == (1, [])
    walk.book.reload(["BTCUSDT"])
    assert walk.book.lacking() == [wanted]


def bars_of_hours(walk: Walk, closes: list[float]) -> BarBatch:
    """Bars of one price each, the last of them the one that is open."""
    n, close, none = len(closes), np.array(closes), np.zeros(len(closes), np.int64)
    opens = NOON_NS + (np.arange(n) - n + 1) * 3600 * SECOND
    table, ones = walk.engine.symbols_table, np.ones(n)
    rows = np.zeros(n, np.int32)
    own = (ones, close, ones, none, none, none, rows, np.zeros(n, np.int8))
    return BarBatch(table, "1h", rows, opens, close, close, close, close, *own)


class EveryTick(GaugeSource):
    """A source that looks at each tick: of a symbol's trades, as if they were its funding rate."""

    def __init__(self) -> None:
        self.gauges: list[Gauge] = []

    def handles(self, key: GaugeKey) -> bool:
        return key.type == "funding"

    def add(self, gauge: Gauge) -> None:
        self.gauges.append(gauge)

    def begin(self, rows: TickRows) -> None:
        self.rows = rows

    def seek(self, start: int) -> int:
        return start

    def tick(self, row: int) -> None:
        moment = self.rows.moment(row)
        for gauge in self.gauges:
            if gauge.key.symbol == moment.symbol:
                gauge.feed(float(self.rows.batch.price[row]), moment)


@pytest.mark.parametrize("place", [0, 4])
@pytest.mark.parametrize("cut", range(6))
def test_sources_are_asked_in_the_order_of_the_ticks_wherever_a_batch_is_cut(place: int, cut: int) -> None:
    walk = Walk(["BTCUSDT", "ETHUSDT"])
    walk.book._sources.insert(place, EveryTick())
    level = {"type": "funding", "symbol": "ETHUSDT", "condition": "above", "threshold": 50}
    walk.rule("both", join="and", conditions=[CROSSES, level])
    walk.rule("wide", join="and", conditions=[{**ABOVE, "threshold": 1}, level])
    btc, eth = "BTCUSDT", "ETHUSDT"
    rows = [(eth, 51.0), (btc, 99.0), (eth, 49.0), (btc, 101.0), (btc, 99.5), (eth, 52.0), (btc, 98.0), (btc, 103.0)]
    made = [(name, i + 1, i / 10, price) for i, (name, price) in enumerate(rows)]
    for part in (made[: cut + 1], made[cut + 1 :]):
        walk.trades(part, until_s=0)
    assert [(f.rule_id, f.trade_id, f.values) for f in walk.fired] == [
        ("wide", 2, (99.0, 51.0)),
        ("wide", 6, (99.5, 52.0)),
        ("both", 8, (103.0, 52.0)),
    ]


@pytest.mark.parametrize("again", [1, 30])
def test_a_rule_that_fires_before_the_first_tick_of_a_batch_is_not_stepped_by_it(again: int) -> None:
    walk = Walk()
    walk.trades(trades([101]))
    walk.rule(**ABOVE, once=True)
    walk.trades(trades([101, 99, 103, 99] * again, first_id=2, first_s=1))
    walk.trades(trades([99, 101], first_id=200, first_s=20))
    assert ids(walk) == [("rule", 1)]
