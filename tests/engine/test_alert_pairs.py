"""Gauges of pairs: the live pair's own numbers, at exactly the ticks and closes at which they come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.engine.alert_machine import UNSEEN, sides_of, step_of
from pairscope.engine.pairs import PairBook
from pairscope.market.alert_rules import RECENT, AlertFiring
from pairscope.market.pairs import PairSettings
from pairscope.market.ticks import TickBatch

from .alert_paths import Legs, X, Y, merged, second_of
from .walking import NOON_NS, SECOND, batch_of

LOOKBACK, WINDOW = 40, 10
SETTINGS = {"y": Y, "x": X, "timeframe": "1s", "window": WINDOW, "lookback": LOOKBACK}


def prices(n: int, seed: int = 5) -> tuple[list[float], list[float]]:
    """Two legs that go together."""
    rng = np.random.default_rng(seed)
    x = 60_000 + np.cumsum(rng.standard_normal(n) * 10)
    y = 3_000 * (x / 60_000) ** 1.2 + rng.standard_normal(n)
    return y.round(2).tolist(), x.round(1).tolist()


def legs_with_past(seed: int = 5) -> tuple[Legs, list[float], list[float]]:
    """Legs with 200 bars before noon, and what comes after it."""
    y, x = prices(320, seed)
    return Legs(before={Y: y[:200], X: x[:200]}), y[200:], x[200:]


def market(seed: int, seconds: int = 60) -> list[TickBatch]:
    """Single ticks of both legs, some in one order and some in the other, some seconds without one; then the time."""
    walk, ys, xs = legs_with_past(seed)
    rng = np.random.default_rng(seed)
    found: list[TickBatch] = []
    for i in range(seconds):
        trades = []
        for name, price in ((Y, ys[i]), (X, xs[i])):
            times = np.sort(rng.uniform(0.0, 0.9, rng.integers(0, 4))).tolist()
            trades += [(name, i + at_s, round(price * (1.0 + 2e-4 * rng.standard_normal()), 2)) for at_s in times]
        table = walk.engine.symbols_table
        numbered = walk.numbered(sorted(trades, key=lambda trade: trade[1]))
        found += [batch_of(table, [trade], NOON_NS + i * SECOND) for trade in numbered]
        found.append(TickBatch.empty(table, NOON_NS + (i + 1) * SECOND))
    return found


def run(batches: Sequence[TickBatch], seed: int, fields: Sequence[Mapping[str, Any]], restart_at: int = -1) -> Legs:
    """Take rules along batches."""
    walk, _, _ = legs_with_past(seed)
    for i, one in enumerate(fields):
        walk.rule(f"r{i}", **{**SETTINGS, **one})
    walk.read()
    walk.trades([], until_s=0.0)
    for i, batch in enumerate(batches):
        if i == restart_at:
            walk.restart()
        walk.take(_under(walk, batch))
    return walk


def _under(walk: Legs, batch: TickBatch) -> TickBatch:
    from dataclasses import replace

    return replace(batch, symbols=walk.engine.symbols_table)


def said(fired: Sequence[AlertFiring]) -> list[tuple[str, int, int, float, int]]:
    return [(one.rule_id, one.number, one.time_ns, one.value, one.trade_id) for one in fired]


RULES: list[dict[str, Any]] = [
    {"type": "zscore", "condition": "above", "threshold": 1.0},
    {"type": "zscore", "condition": "crosses_below", "threshold": -0.5, "hysteresis": 0.2},
    {"type": "zscore", "condition": "leaves", "lower": -1.5, "upper": 1.5},
    {"type": "spread", "condition": "crosses_above", "threshold": 0.0},
    {"type": "zscore", "condition": "above", "threshold": 0.5, "method": "kalman"},
    {"type": "spread", "condition": "below", "threshold": 0.0, "price_space": "linear"},
    {"type": "correlation", "condition": "crosses_above", "threshold": 0.5},
    {"type": "half_life", "condition": "below", "threshold": 0.4},
    {"type": "hedge_drift", "condition": "above", "threshold": 0.02},
    {"type": "zscore", "condition": "above", "threshold": 1.0, "frequency": "once_per_bar_close"},
]


@pytest.mark.parametrize("space", ["log", "linear"])
@pytest.mark.parametrize("method", ["ols", "huber", "kalman"])
def test_what_a_rule_sees_is_what_the_live_pair_says_between_closes_and_at_them(method: Any, space: Any) -> None:
    walk, ys, xs = legs_with_past()
    types = ("zscore", "spread", "correlation")
    for type_ in types:
        walk.rule(type_, **SETTINGS, type=type_, method=method, price_space=space, condition="above", threshold=1e9)
    walk.read()
    live = walk.follow(PairSettings(Y, X, "1s", LOOKBACK, WINDOW, method, space))
    for i in range(12):
        walk.trades(walk.numbered([(Y, i + 0.2, ys[i]), (X, i + 0.3, xs[i])]), until_s=i + 0.4)
        assert seen(walk, types[:2]) == shown(live)[:2]
        walk.trades([], until_s=i + 1)
        assert seen(walk, types) == shown(live)


def seen(walk: Legs, rules: Sequence[str]) -> list[float | None]:
    views = [walk.book.view(rule_id) for rule_id in rules]
    return [view["values"][0] for view in views if view is not None]


def shown(live: PairBook) -> list[float | None]:
    view = live.view(Y, X)
    assert view is not None
    return [view["spread"]["zscore"], view["spread"]["last"], view["correlation"]["rolling"]]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_each_tick_fires_what_a_look_at_the_live_pair_after_that_tick_would(seed: int, method: str) -> None:
    """A plain loop: after every single tick the live pair is asked, and the rule's machine stepped, until it storms."""
    rules = [{**one, "method": method} for one in RULES[:4]]
    batches = market(seed)
    walk = run(merged(batches, set()), seed, rules)
    plain, _, _ = legs_with_past(seed)
    live = plain.follow(PairSettings(Y, X, "1s", LOOKBACK, WINDOW, method))  # type: ignore[arg-type]
    conditions = [plain.rule(f"r{i}", **{**SETTINGS, **one}).conditions[0] for i, one in enumerate(rules)]
    for i in range(len(rules)):
        plain.book.remove(f"r{i}")
    phases = [UNSEEN] * len(rules)
    expected: list[tuple[str, int, str, int]] = []
    last = dict.fromkeys((Y, X), 0.0)

    def look(at_ns: int, name: str, trade_id: int, *, closed: bool) -> None:
        view = live.view(Y, X, closed=closed)
        assert view is not None
        for i, condition in enumerate(conditions):
            value = view["spread"]["zscore" if condition.type == "zscore" else "last"]
            if value is not None:
                phases[i], edge = step_of(sides_of(condition), phases[i], value)
                if edge and sum(one[0] == f"r{i}" for one in expected) < RECENT:
                    expected.append((f"r{i}", at_ns, name, trade_id))

    plain.take(_under(plain, batches[0].take(slice(0))))
    look(NOON_NS, "", -1, closed=True)
    for batch in batches:
        plain.take(_under(plain, batch))
        if len(batch):
            name, price = batch.symbols[int(batch.symbol_id[0])], float(batch.price[0])
            if price != last[name]:
                look(int(batch.ts_event_ns[0]), name, int(batch.trade_id[0]), closed=False)
            last[name] = price
        elif any(live.moved()):
            look(batch.watermark_ns, "", -1, closed=True)
    fired = [(one.rule_id, one.time_ns, one.symbol, one.trade_id) for one in walk.fired]
    assert sorted(fired) == sorted(expected)
    assert len({one[0] for one in fired}) == len(rules)


@settings(max_examples=12)
@given(seed=st.integers(0, 3), cuts=st.sets(st.integers(0, 200), max_size=40))
def test_the_same_ticks_cut_anywhere_fire_at_the_same_ticks(seed: int, cuts: set[int]) -> None:
    batches = market(seed, seconds=25)
    whole = run(merged(batches, set()), seed, RULES)
    cut = run(merged(batches, cuts), seed, RULES)
    assert said(whole.fired) == said(cut.fired)
    assert len({one.rule_id for one in whole.fired}) > 5


@pytest.mark.parametrize("at", [1, 60, 111])
def test_a_restart_in_the_middle_fires_the_same(at: int) -> None:
    batches = market(1)
    whole, again = run(batches, 1, RULES), run(batches, 1, RULES, restart_at=at)
    assert said(whole.fired) == said(again.fired)
    assert len({one.rule_id for one in whole.fired}) >= len(RULES) - 1


def test_before_its_history_is_there_a_rule_has_no_value_says_why_and_does_not_fire() -> None:
    walk, ys, xs = legs_with_past()
    walk.rule("a", **SETTINGS, type="zscore", condition="above", threshold=-100)
    walk.trades(walk.numbered([(Y, 0.2, ys[0]), (X, 0.3, xs[0])]), until_s=1.0)
    assert walk.book.view("a") == {
        "values": [None],
        "distance": [None],
        "holds": [False],
        "reason": "history is being read",
    }
    assert walk.fired == []
    walk.read()
    (fired,) = walk.trades([], until_s=1.1)
    assert (second_of(fired.time_ns), fired.trade_id) == (1.1, -1)


@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        ("zscore", "needs 30 bars in common, has 12"),
        ("spread", "needs 30 bars in common, has 12"),
        ("half_life", "needs 30 bars in common, has 12"),
        ("hedge_drift", "needs 30 bars in common, has 12"),
        ("sentinel", "the sentinel has no verdict: "),
    ],
)
def test_before_it_is_warm_a_rule_counts_what_is_missing(type_: str, reason: str) -> None:
    walk = Legs()
    walk.rule("a", **SETTINGS, type=type_, condition="above", threshold=-100)
    walk.read()
    ys, xs = prices(12)
    for i in range(12):
        walk.trades(walk.numbered([(Y, i + 0.2, ys[i]), (X, i + 0.3, xs[i])]), until_s=i + 1)
    view = walk.book.view("a")
    assert view is not None
    assert (view["values"], view["reason"].startswith(reason), walk.fired) == ([None], True, [])


def test_a_level_that_holds_already_fires_with_the_next_batch_though_no_bar_closes_for_long() -> None:
    ys, xs = prices(200)
    walk = Legs("1h", before={Y: ys, X: xs})
    fields = {**SETTINGS, "timeframe": "1h", "condition": "above"}
    walk.rule("corr", **fields, type="correlation", threshold=-0.9)
    walk.rule("half", **fields, type="half_life", threshold=0)
    walk.read()
    fired = walk.trades([], until_s=1.0)
    assert sorted(one.rule_id for one in fired) == ["corr", "half"]


def test_a_second_rule_on_the_same_pair_fires_at_once_where_it_holds() -> None:
    walk, ys, xs = legs_with_past()
    walk.rule("a", **SETTINGS, type="zscore", condition="above", threshold=1000)
    walk.read()
    walk.trades(walk.numbered([(Y, 0.2, ys[0]), (X, 0.3, xs[0])]), until_s=0.4)
    walk.rule("b", **SETTINGS, type="zscore", condition="above", threshold=-1000)
    assert [one.rule_id for one in walk.trades([], until_s=0.5)] == ["b"]


def test_the_half_life_is_that_of_a_regression_of_the_spread_on_itself_a_bar_ago() -> None:
    walk, ys, xs = legs_with_past()
    walk.rule("a", **SETTINGS, type="half_life", condition="above", threshold=1e9)
    walk.read()
    live = walk.follow(PairSettings(Y, X, "1s", LOOKBACK, WINDOW))
    y, x = list(walk.before[Y]), list(walk.before[X])
    compared = 0
    for i in range(10):
        walk.trades(walk.numbered([(Y, i + 0.2, ys[i]), (X, i + 0.3, xs[i])]), until_s=i + 1)
        y.append(ys[i])
        x.append(xs[i])
        view = live.view(Y, X, closed=True)
        assert view is not None
        ols = view["hedge_ratio"]["ols"]
        spread = np.log(y[-LOOKBACK:]) - ols["alpha"] - ols["beta"] * np.log(x[-LOOKBACK:])
        phi = np.polyfit(spread[:-1], spread[1:], 1)[0]
        (value,) = seen(walk, ["a"])
        if value is not None:
            assert value == pytest.approx(-math.log(2) / math.log(phi), rel=1e-6)
            compared += 1
        else:
            assert phi <= 0
    assert compared


def test_a_pair_that_breaks_is_told_at_the_bar_at_which_the_live_pair_says_broken() -> None:
    rng = np.random.default_rng(1)
    n, lookback = 500, 150
    x = np.cumsum(rng.standard_normal(n)) * 1e-3
    spread = rng.standard_normal(n) * 1e-3
    spread[320:] = np.cumsum(rng.standard_normal(n - 320)) * 1e-3
    xs, ys = (100 * np.exp(leg) for leg in (x, 0.5 * x + spread))
    walk = Legs(before={Y: ys[:300], X: xs[:300]})
    walk.rule("a", y=Y, x=X, timeframe="1s", window=20, lookback=lookback, type="sentinel", condition="above")
    walk.read()
    live = walk.follow(PairSettings(Y, X, "1s", lookback, 20))
    broken: list[float] = []
    before = "ok"
    for i in range(n - 300):
        trades = [(Y, i + 0.2, float(ys[300 + i])), (X, i + 0.3, float(xs[300 + i]))]
        walk.trades(walk.numbered(trades), until_s=i + 1)
        view = live.view(Y, X, closed=True)
        assert view is not None
        status = view["sentinel"]["status"]
        broken += [i + 1.0] if status == "broken" and before != "broken" else []
        before = status
    assert [second_of(one.time_ns) for one in walk.fired] == broken
    assert len(broken) >= 1
    assert {one.value for one in walk.fired} == {2.0}


@pytest.mark.parametrize("method", ["ols", "kalman", "huber"])
def test_the_drift_against_an_earlier_bar_is_that_of_the_hedge_ratios_that_were_told_then(method: Any) -> None:
    walk, ys, xs = legs_with_past()
    drift = {**SETTINGS, "window": 7, "type": "hedge_drift", "method": method}
    walk.rule("a", **drift, condition="above", threshold=1e9)
    walk.read()
    live = walk.follow(PairSettings(Y, X, "1s", LOOKBACK, 7, method))
    told: list[float] = []
    for i in range(100):
        trades = [(Y, i + 0.2, ys[i]), (X, i + 0.3, xs[i])]
        walk.trades(walk.numbered(trades if i % 5 else trades[:1]), until_s=i + 1)
        view = live.view(Y, X, closed=True)
        assert view is not None
        if i % 5:
            told.append(view["hedge_ratio"][method]["beta"])
        if len(told) > 7 and i % 5:
            assert seen(walk, ["a"]) == [told[-1] / told[-8] - 1.0]


def test_a_late_tick_that_corrects_a_close_is_in_the_next_value_and_fires_nothing_by_itself() -> None:
    walk, ys, xs = legs_with_past()
    walk.rule("a", **SETTINGS, type="zscore", condition="above", threshold=-100, frequency="once_per_bar_close")
    walk.read()
    live = walk.follow(PairSettings(Y, X, "1s", LOOKBACK, WINDOW))
    for i in range(5):
        walk.trades([(Y, 10 * i + 1, i + 0.2, ys[i]), (X, i + 1, i + 0.3, xs[i])], until_s=i + 1)
    before = seen(walk, ["a"])
    fired = len(walk.fired)
    walk.trades([(Y, 42, 4.5, ys[4] * 1.001)], until_s=5.2)
    assert len(walk.fired) == fired
    assert seen(walk, ["a"]) != before
    assert seen(walk, ["a"]) == shown(live)[:1]


def test_a_tick_that_comes_out_of_order_moves_no_value_between_closes() -> None:
    walk, ys, xs = legs_with_past()
    walk.rule("a", **SETTINGS, type="zscore", condition="above", threshold=20, cooldown_s=0)
    walk.read()
    walk.trades([(Y, 10, 0.2, ys[0]), (X, 10, 0.3, xs[0])], until_s=0.4)
    before = seen(walk, ["a"])
    assert walk.trades([(Y, 9, 0.1, ys[0] * 1.5)], until_s=0.5) == []
    assert seen(walk, ["a"]) == before


def test_by_huber_spread_and_zscore_move_as_bars_close_alone() -> None:
    walk, ys, xs = legs_with_past()
    for method in ("huber", "ols"):
        walk.rule(method, **SETTINGS, type="spread", method=method, condition="above", threshold=0.01)
    walk.read()
    walk.trades(walk.numbered([(X, 0.1, xs[0])]), until_s=0.2)
    fired = walk.trades(walk.numbered([(Y, 0.5, ys[0] * 1.1)]), until_s=0.6) + walk.trades([], until_s=1.0)
    assert [(one.rule_id, second_of(one.time_ns)) for one in fired] == [("ols", 0.5), ("huber", 1.0)]


def test_pairs_of_one_timeframe_and_of_several_are_fed_in_the_order_of_time() -> None:
    walk = Legs()
    order: list[tuple[str, float]] = []
    for timeframe in ("5s", "1s"):
        fields = {"condition": "above", "threshold": -2, "frequency": "once_per_bar_close", "type": "correlation"}
        walk.rule(timeframe, y=Y, x=X, timeframe=timeframe, window=2, lookback=10, **fields)
    walk.read()
    ys, xs = prices(40)
    trades = []
    for i in range(20):
        trades += [(Y, i + 0.2, ys[i]), (X, i + 0.3, xs[i])]
    walk.trades(walk.numbered(trades), until_s=20.0)
    order = [(one.rule_id, second_of(one.time_ns)) for one in walk.fired]
    assert order == [("1s", 3.0), ("5s", 15.0)]


def test_rules_that_go_take_their_pairs_with_them() -> None:
    walk, ys, xs = legs_with_past()
    for i, one in enumerate(RULES):
        walk.rule(f"r{i}", **{**SETTINGS, **one})
    walk.read()
    walk.trades(walk.numbered([(Y, 0.2, ys[0]), (X, 0.3, xs[0])]), until_s=1)
    for i in range(len(RULES)):
        walk.book.remove(f"r{i}")
    walk.trades(walk.numbered([(Y, 1.2, ys[1]), (X, 1.3, xs[1])]), until_s=2)
    assert walk.book.lacking() == []
    walk.rule("again", **SETTINGS, type="zscore", condition="above", threshold=-100)
    walk.read()
    assert [one.rule_id for one in walk.trades([], until_s=2.1)] == ["again"]
