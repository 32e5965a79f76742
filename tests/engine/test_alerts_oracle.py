"""Ten thousand random trades under many rules, against a plain loop that looks at every rule at every tick."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscope.market.alert_rules import AlertRule

from .walking import Trade, Walk, rule_of

NAMES = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
Fired = tuple[str, int, str, int, float]
"""Rule, its number, symbol, trade id, value."""


def market(seed: int, trades: int, *, a_second: int = 20) -> list[Trade]:
    """Trades of three symbols whose prices often lie exactly on a threshold."""
    rng = random.Random(seed)
    price = dict.fromkeys(NAMES, 100.0)
    ids = dict.fromkeys(NAMES, 0)
    rows = []
    for i in range(trades):
        name = rng.choice(NAMES)
        price[name] = min(110.0, max(90.0, price[name] + rng.choice((-1.0, -0.5, 0.0, 0.5, 1.0))))
        ids[name] += 1
        rows.append((name, ids[name], i / a_second + 0.001, price[name]))
    return rows


def some_rules(seed: int, count: int) -> list[AlertRule]:
    rng = random.Random(seed)
    return [rule_of(f"r{i:03d}", some_fields(rng)) for i in range(count)]


def some_fields(rng: random.Random) -> dict[str, Any]:
    rule = {
        "cooldown_s": rng.choice((0, 0.5, 7)),
        "frequency": rng.choice(("every", "every", "every", "once", "once_per_bar")),
    }
    if rng.random() < 0.3:
        conditions = [some_condition(rng, ("1s",)) for _ in range(rng.choice((2, 3)))]
        return rule | {"join": rng.choice(("and", "or")), "conditions": conditions}
    return rule | some_condition(rng, ("1s",))


def some_condition(rng: random.Random, timeframes: tuple[str, ...]) -> dict[str, Any]:
    kind = rng.choice(("above", "below", "crosses_above", "crosses_below", "enters", "leaves", "moves", "change"))
    made: dict[str, Any] = {"type": "price", "symbol": rng.choice(NAMES), "timeframe": rng.choice(timeframes)}
    made["window"] = rng.choice((1, 3, 10))
    if kind == "moves":
        return made | {"condition": kind, "threshold": rng.choice((0.02, 0.05)), "hysteresis": rng.choice((0, 0.01))}
    if kind == "change":
        condition = rng.choice(("above", "crosses_below"))
        return made | {"type": "price_change", "condition": condition, "threshold": rng.choice((0, 0.02, -0.02))}
    if kind in {"enters", "leaves"}:
        lower = rng.randrange(92, 104)
        return made | {"condition": kind, "lower": lower, "upper": lower + 4, "hysteresis": rng.choice((0, 1))}
    return made | {"condition": kind, "threshold": rng.randrange(92, 108), "hysteresis": rng.choice((0, 1, 2.5))}


class Plain:
    """The rules as their definition says, without any index: every rule looks at every tick of its symbols."""

    def __init__(self, rules: list[AlertRule]) -> None:
        self.rules = rules
        self.far: dict[tuple[str, int], bool | None] = {}
        self.fired_before: set[tuple[str, int]] = set()
        self.on: dict[tuple[str, int], bool] = {}
        self.last: dict[str, int] = {}
        self.times: dict[str, list[int]] = {}
        self.count: dict[str, int] = {}
        self.over: set[str] = set()
        self.closes: dict[str, dict[int, float]] = {name: {} for name in NAMES}
        self.fired: list[Fired] = []

    def tick(self, trade: Trade) -> None:
        name, trade_id, at_s, price = trade
        second = int(at_s)
        for rule in self.rules:
            if rule.id in self.over or all(one.symbol != name for one in rule.conditions):
                continue
            edges, holding = [], []
            for i, one in enumerate(rule.conditions):
                if one.symbol == name:
                    value = self.value(one, price, second)
                    if value is not None and self.step(rule.id, i, one, value):
                        edges.append((i, value))
                holding.append(self.on.get((rule.id, i), False))
            if len(rule.conditions) > 1 and rule.join == "and":
                momentary = [
                    one.condition in {"crosses_above", "crosses_below", "enters", "leaves"} for one in rule.conditions
                ]
                if any(momentary):
                    edges = [edge for edge in edges if momentary[edge[0]]]
                edges = edges[-1:] if all(holding) else []
            for _, value in edges:
                self.fire(rule, name, trade_id, round(at_s * 1e9), value)
        self.closes[name][second] = price

    def value(self, one: Any, price: float, second: int) -> float | None:
        known = sorted(at for at in self.closes[one.symbol] if at < second)
        closes = self.closes[one.symbol]
        if one.type == "price_change":
            old = [at for at in known if at <= second - one.window]
            return (price - closes[old[-1]]) / closes[old[-1]] if old else None
        if one.condition == "moves":
            mine = [closes[at] for at in known if at >= second - one.window] or [closes[at] for at in known[-1:]]
            moves = [(price - close) / close for close in mine]
            return max((min(moves), max(moves)), key=lambda move: (abs(move), move)) if moves else None
        return price

    def step(self, rule: str, i: int, one: Any, v: float) -> bool:
        """Whether a condition comes true by a value; ``on`` says afterwards whether it holds."""
        key = (rule, i)
        h = one.hysteresis if key in self.fired_before else 0.0
        t, lower, upper = one.threshold, one.lower, one.upper
        if one.condition in {"above", "below", "moves"}:
            true = {"above": lambda: v > t, "below": lambda: v < t, "moves": lambda: abs(v) >= t}[one.condition]()
            ended = {
                "above": lambda: v <= t - one.hysteresis,
                "below": lambda: v >= t + one.hysteresis,
                "moves": lambda: abs(v) < t - one.hysteresis,
            }[one.condition]()
            was = self.on.get(key, False)
            self.on[key] = (was and not ended) or (not was and true)
            return not was and true
        true, other = {
            "crosses_above": lambda: (v > t, v < t - h),
            "crosses_below": lambda: (v < t, v > t + h),
            "enters": lambda: (lower <= v <= upper, v < lower - h or v > upper + h),
            "leaves": lambda: (v < lower or v > upper, lower + h <= v <= upper - h),
        }[one.condition]()
        far = self.far.get(key)
        if far is False and true:
            self.far[key] = self.on[key] = True
            self.fired_before.add(key)
            return True
        if far is not False and other:
            self.far[key] = self.on[key] = False
            self.fired_before.discard(key)
        elif far is None and true:
            self.far[key] = self.on[key] = True
        return False

    def fire(self, rule: AlertRule, name: str, trade_id: int, time: int, value: float) -> None:
        last = self.last.get(rule.id)
        if rule.id in self.over:
            return
        if last is not None and time - last < rule.cooldown_ns:
            return
        if last is not None and rule.frequency == "once_per_bar" and last // 10**9 == time // 10**9:
            return
        self.last[rule.id] = time
        self.count[rule.id] = self.count.get(rule.id, 0) + 1
        self.times[rule.id] = [*self.times.get(rule.id, []), time][-15:]
        if rule.frequency == "once" or (
            len(self.times[rule.id]) == 15 and time - self.times[rule.id][0] <= 180 * 10**9
        ):
            self.over.add(rule.id)
        self.fired.append((rule.id, self.count[rule.id], name, trade_id, value))


def walked(walk: Walk, rows: list[Trade], cuts: set[int]) -> list[Fired]:
    """Walk along trades in batches that end at each full second, and at the cuts."""
    held: list[Trade] = []
    for i, row in enumerate(rows):
        second = int(row[2])
        if held and (i in cuts or second > int(held[-1][2])):
            walk.trades(held, until_s=int(held[0][2]))
            if second > int(held[-1][2]):
                walk.trades([], until_s=second)
            held = []
        held.append(row)
    walk.trades(held, until_s=int(held[0][2]))
    return [(f.rule_id, f.number, f.symbol, f.trade_id, f.value) for f in walk.fired]


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_ticks_fire_what_a_plain_loop_fires(seed: int) -> None:
    rows, rules = market(seed, 10_000), some_rules(seed, 60)
    plain, walk = Plain(rules), Walk(NAMES)
    for rule in rules:
        walk.book.put(rule)
    for row in rows:
        plain.tick(row)
    assert len(plain.fired) > 300
    assert walked(walk, rows, set()) == plain.fired


@settings(max_examples=40)
@given(seed=st.integers(0, 50), cuts=st.sets(st.integers(1, 399), max_size=40))
def test_the_same_ticks_cut_anywhere_fire_at_the_same_ticks(seed: int, cuts: set[int]) -> None:
    rows = with_holes(random.Random(seed), market(seed, 400))
    fired = []
    for cut in (set(), cuts):
        walk = Walk(NAMES)
        for rule in some_rules(seed, 20):
            walk.book.put(rule)
        fired.append(walked(walk, rows, cut))
    assert fired[0] == fired[1]


@settings(max_examples=40)
@given(seed=st.integers(0, 50), at=st.integers(1, 399))
def test_a_restart_in_the_middle_fires_the_same(seed: int, at: int) -> None:
    rows = market(seed, 400)
    whole, halves = Walk(NAMES), Walk(NAMES)
    for rule in some_rules(seed, 20):
        whole.book.put(rule)
        halves.book.put(rule)
    walked(whole, rows, {at})
    walked(halves, rows[:at], set())
    halves.restart()
    second = int(rows[at][2])
    if second > int(rows[at - 1][2]):
        halves.trades([], until_s=second)
    walked(halves, rows[at:], set())
    assert [f.id for f in halves.fired] == [f.id for f in whole.fired]
    assert [(f.trade_id, f.value, f.storm) for f in halves.fired] == [
        (f.trade_id, f.value, f.storm) for f in whole.fired
    ]
    ends = [{rule.id: w.book.state(rule.id) for rule in w.book.rules()} for w in (whole, halves)]
    assert json.dumps({k: v.document() for k, v in ends[0].items()}) == json.dumps(
        {k: v.document() for k, v in ends[1].items()}
    )


def with_holes(rng: random.Random, rows: list[Trade]) -> list[Trade]:
    """Let a tenth of the trades come some places later than they should: their symbol's newer ones come first."""
    keyed = [(i + (rng.randrange(1, 30) if rng.random() < 0.1 else 0), i) for i in range(len(rows))]
    moved = [rows[i] for _, i in sorted(keyed)]
    newest = 0.0
    return [(name, trade_id, newest := max(newest, at_s), price) for name, trade_id, at_s, price in moved]
