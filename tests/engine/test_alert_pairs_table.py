"""Rule type × condition of pairs against hand-written paths: a star marks each second in which the rule must fire.

The spread is made by hand: prices are taken as they are, x stands at 100 after noon, and y is 200 and so much more as a
path says. Before noon x has moved and y was twice x and one more or less by turns, so that the hedge ratio is 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pairscope.market.alert_rules import AlertFiring

from .alert_paths import Legs, X, Y, second_of
from .walking import path_of

LOOKBACK, WINDOW = 40, 10
BEFORE = {
    X: [100.0 + 2.0 * (i % 4 > 1) for i in range(LOOKBACK)],
    Y: [200.0 + 4.0 * (i % 4 > 1) + (-1.0) ** i for i in range(LOOKBACK)],
}

QUICK: list[tuple[str, dict[str, Any], str]] = [
    ("z above", {"type": "zscore", "condition": "above", "threshold": 2}, "1 -1 9* 1 -1 1 -1 1 -1 1 -1 1 9* 9"),
    ("z above holds already", {"type": "zscore", "condition": "above", "threshold": 2}, "9* 9 1"),
    ("z below", {"type": "zscore", "condition": "below", "threshold": -2}, "1 -1 -9* 1 -1"),
    ("z crosses above", {"type": "zscore", "condition": "crosses_above", "threshold": 2}, "1 -1 9* 1 -1"),
    ("z crosses above, never below it", {"type": "zscore", "condition": "crosses_above", "threshold": -9}, "1 9 -9 1"),
    ("z crosses below", {"type": "zscore", "condition": "crosses_below", "threshold": 0}, "1 -1* 1 -1* 2 1"),
    ("z enters", {"type": "zscore", "condition": "enters", "lower": -0.5, "upper": 0.5}, "1 -1 0.1* -1 -0.1* 0.1"),
    ("z leaves", {"type": "zscore", "condition": "leaves", "lower": -2, "upper": 2}, "1 -1 9* -1 -9*"),
    (
        "z above with hysteresis",
        {"type": "zscore", "condition": "above", "threshold": 0.5, "hysteresis": 0.9},
        "1* 0.1 1 0 1 -1 1*",
    ),
    ("spread above", {"type": "spread", "condition": "above", "threshold": 4}, "1 -1 9* 9 1 9*"),
    ("spread below", {"type": "spread", "condition": "below", "threshold": -4}, "1 -9* -9 1 -9*"),
    ("spread crosses above", {"type": "spread", "condition": "crosses_above", "threshold": 4}, "9 1 9* 9 -1"),
    ("spread crosses below", {"type": "spread", "condition": "crosses_below", "threshold": -4}, "-9 1 -9* -1"),
    ("spread enters", {"type": "spread", "condition": "enters", "lower": 4, "upper": 20}, "1 9* 1 -1 9*"),
    ("spread leaves", {"type": "spread", "condition": "leaves", "lower": -4, "upper": 4}, "9 1 9* 1 -9*"),
    ("spread once", {"type": "spread", "condition": "above", "threshold": 4, "once": True}, "1 9* 1 9"),
    ("spread, cooldown", {"type": "spread", "condition": "above", "threshold": 4, "cooldown_s": 3}, "9* 1 9 1 9* 1 9"),
]

CLOSES: list[tuple[str, dict[str, Any], str]] = [
    (
        "z at closes alone",
        {"type": "zscore", "condition": "above", "threshold": 2, "frequency": "once_per_bar_close"},
        "1 -1 9* 1 -1",
    ),
    (
        "spread at closes alone",
        {"type": "spread", "condition": "crosses_above", "threshold": 4, "frequency": "once_per_bar_close"},
        "1 -1 9* 9 1 9*",
    ),
]

CORRELATION: list[tuple[str, dict[str, Any], str]] = [
    # Of two returns: y's step is larger than the one before it and goes with x or against it, and that alone decides.
    ("correlation above", {"condition": "above", "threshold": 0.9}, "+ + +* + - - +* +"),
    ("correlation below", {"condition": "below", "threshold": -0.9}, "+ + + -* - + + -* -"),
    ("correlation crosses above", {"condition": "crosses_above", "threshold": 0}, "+ + + - - +* +"),
    ("correlation crosses below", {"condition": "crosses_below", "threshold": 0}, "+ + + -* - + + -* -"),
    ("correlation enters", {"condition": "enters", "lower": 0.5, "upper": 1}, "+ + + - - +* +"),
    ("correlation leaves", {"condition": "leaves", "lower": 0.5, "upper": 1}, "+ + + -* - + + -* -"),
]


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in QUICK], ids=[row[0] for row in QUICK])
def test_spread_and_zscore_fire_at_the_ticks_of_starred_seconds_alone(fields: dict[str, Any], path: str) -> None:
    walk, moves, starred = path_legs(fields, path)
    fired = take_moves(walk, moves)
    assert [second_of(one.time_ns) for one in fired] == [i + 0.5 for i in starred]
    assert all(one.symbol == Y and one.trade_id == int(second_of(one.time_ns)) + 1 for one in fired)


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in CLOSES], ids=[row[0] for row in CLOSES])
def test_what_is_asked_at_closes_fires_at_the_ends_of_starred_bars_alone(fields: dict[str, Any], path: str) -> None:
    walk, moves, starred = path_legs(fields, path)
    fired = take_moves(walk, moves)
    assert [second_of(one.time_ns) for one in fired] == [i + 1.0 for i in starred]
    assert {one.trade_id for one in fired} == {-1}


@pytest.mark.parametrize(("fields", "path"), [row[1:] for row in CORRELATION], ids=[row[0] for row in CORRELATION])
def test_a_correlation_fires_at_the_closes_of_starred_bars_alone(fields: dict[str, Any], path: str) -> None:
    walk = Legs()
    walk.rule("a", type="correlation", y=Y, x=X, timeframe="1s", window=2, lookback=40, **fields)
    walk.read()
    words, x, y = path.split(), 100.0, 500.0
    for i, word in enumerate(words):
        x, step = (102.0, 1.0) if x < 101 else (100.0, -1.0)
        y += step * (i + 1) if word[0] == "+" else -step * (i + 1)
        walk.trades(walk.numbered([(Y, i + 0.2, y), (X, i + 0.3, x)]), until_s=i + 0.4)
        walk.trades([], until_s=i + 1)
    starred = [i for i, word in enumerate(words) if word.endswith("*")]
    assert [second_of(one.time_ns) - 1 for one in walk.fired] == starred


@pytest.mark.parametrize(
    ("condition", "starred"),
    [
        # The hedge ratio of four bars goes 2, 2, 2, 2 | -48, 2.5, -47.5, 3, 3: against that of four bars before it.
        ({"condition": "above", "threshold": 0.2}, [9, 11]),
        ({"condition": "below", "threshold": -20}, [8, 10]),
        ({"condition": "crosses_above", "threshold": 0.4}, [11]),
        ({"condition": "crosses_below", "threshold": -1}, [8, 10]),
        ({"condition": "enters", "lower": 0.2, "upper": 0.3}, [9]),
        ({"condition": "leaves", "lower": -1, "upper": 0.3}, [8, 10]),
    ],
)
def test_a_hedge_ratio_that_drifts_fires_at_these_closes_alone(condition: dict[str, Any], starred: list[int]) -> None:
    walk = Legs()
    fields = {"type": "hedge_drift", "y": Y, "x": X, "timeframe": "1s", "window": 4, "lookback": 4}
    walk.rule("a", **fields, price_space="linear", **condition)
    walk.read()
    for i in range(12):
        x = 100.0 + i % 2
        walk.trades(walk.numbered([(Y, i + 0.2, x * (2.0 if i < 8 else 3.0)), (X, i + 0.3, x)]), until_s=i + 1)
    assert [second_of(one.time_ns) - 1 for one in walk.fired] == starred


def test_the_drift_of_a_hedge_ratio_is_told_with_the_number_that_two_fits_say() -> None:
    walk = Legs()
    fields = {"type": "hedge_drift", "y": Y, "x": X, "timeframe": "1s", "window": 4, "lookback": 4}
    walk.rule("a", **fields, price_space="linear", condition="above", threshold=0.4)
    walk.read()
    xs = [100.0 + i % 2 for i in range(12)]
    ys = [x * (2.0 if i < 8 else 3.0) for i, x in enumerate(xs)]
    for i, (y, x) in enumerate(zip(ys, xs, strict=True)):
        walk.trades(walk.numbered([(Y, i + 0.2, y), (X, i + 0.3, x)]), until_s=i + 1)
    now, then = (np.polyfit(xs[end - 4 : end], ys[end - 4 : end], 1)[0] for end in (12, 8))
    assert [one.value for one in walk.fired] == [pytest.approx(now / then - 1, rel=1e-9)]


def test_events_of_the_screen_fire_each_time_and_only_for_the_pair_asked() -> None:
    walk = Legs()
    walk.rule("found", type="cointegration", y=Y, x=X, condition="found")
    walk.rule("lost", type="cointegration", y=Y, x=X, condition="lost")
    walk.rule("any", type="cointegration", y="", condition="found")
    told = [("lost", f"{Y}:{X}"), ("found", f"{X}:{Y}"), ("found", "A:B"), ("lost", f"{Y}:{X}"), ("found", f"{Y}:{X}")]
    fired = []
    for i, (kind, name) in enumerate(told):
        walk.book.on_event(kind, name, 0.01, i * 10**9, "1m", 1440)
        fired.append(sorted(one.rule_id for one in walk.book.firings()))
    assert fired == [["lost"], ["any", "found"], ["any"], ["lost"], ["any", "found"]]


def test_a_discovery_of_another_screen_is_none_of_this_rule() -> None:
    walk = Legs()
    walk.rule("a", type="cointegration", y=Y, x=X, condition="found", timeframe="5m", lookback=500)
    for i, (timeframe, lookback) in enumerate([("1m", 1440), ("5m", 1440), ("5m", 500)]):
        walk.book.on_event("found", f"{Y}:{X}", 0.01, i * 10**9, timeframe, lookback)
    assert [one.time_ns for one in walk.book.firings()] == [2 * 10**9]


@pytest.mark.parametrize(
    ("fields", "starred"),
    [
        ({"condition": "above", "threshold": 0.0002}, [2, 5]),
        ({"condition": "below", "threshold": 0.0}, [3]),
        ({"condition": "crosses_above", "threshold": 0.0002}, [2, 5]),
        ({"condition": "crosses_below", "threshold": 0.0}, [3]),
        ({"condition": "enters", "lower": 0.00005, "upper": 0.0002}, [4]),
        ({"condition": "leaves", "lower": 0.0, "upper": 0.0002}, [2, 5]),
    ],
)
def test_a_funding_rate_fires_at_these_polls_alone(fields: dict[str, Any], starred: list[int]) -> None:
    walk = Legs()
    walk.rule("a", type="funding", symbol=Y, **fields)
    for i, rate in enumerate([0.0001, 0.0001, 0.0003, -0.0001, 0.0001, 0.0003]):
        walk.book.on_event("funding", X, 9.0, i * 10**9)
        walk.book.on_event("funding", Y, rate, i * 10**9)
    assert [one.time_ns // 10**9 for one in walk.book.firings()] == starred


def path_legs(fields: dict[str, Any], path: str) -> tuple[Legs, list[float], list[int]]:
    """The legs with a rule on them, how far y is off twice x in each second, and in which seconds it must fire."""
    walk = Legs(before=BEFORE)
    walk.rule("a", y=Y, x=X, timeframe="1s", window=WINDOW, lookback=LOOKBACK, price_space="linear", **fields)
    walk.read()
    moves, starred = path_of(path)
    return walk, moves, starred


def take_moves(walk: Legs, moves: list[float]) -> list[AlertFiring]:
    """Let x trade at 100 in each second, then y."""
    for i, move in enumerate(moves):
        walk.trades(walk.numbered([(X, i + 0.1, 100.0), (Y, i + 0.5, 200.0 + move)]), until_s=i + 0.6)
        walk.trades([], until_s=i + 1)
    return walk.fired
