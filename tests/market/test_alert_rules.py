"""What a rule may say, field by field, and that it comes back as it went."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pairscope.errors import InputError
from pairscope.market.alert_rules import AlertRule

PRICE = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 100}
PAIR = {"type": "zscore", "y": "ETHUSDT", "x": "BTCUSDT", "condition": "above", "threshold": 2}
NAN, INF = float("nan"), float("inf")

BAD: list[tuple[str, dict[str, Any]]] = [
    ("type", {"type": "moon"}),
    ("type", {"type": None}),
    ("type", {"type": ["price"]}),
    ("condition", {"condition": "sideways"}),
    ("condition", {"condition": None}),
    ("condition", {"condition": "found"}),
    ("condition", {"type": "volume", "condition": "moves"}),
    ("threshold", {"threshold": None}),
    ("threshold", {"threshold": "100"}),
    ("threshold", {"threshold": NAN}),
    ("threshold", {"threshold": INF}),
    ("threshold", {"threshold": True}),
    ("threshold", {"threshold": -1}),
    ("threshold", {"threshold": 10**400}),
    ("threshold", {"condition": "moves", "threshold": 0}),
    ("threshold", {"condition": "enters", "lower": 1, "upper": 2}),
    ("lower", {"condition": "enters", "threshold": None, "upper": 2}),
    ("upper", {"condition": "enters", "threshold": None, "lower": 2}),
    ("upper", {"condition": "leaves", "threshold": None, "lower": 2, "upper": 2}),
    ("lower", {"lower": 2}),
    ("hysteresis", {"hysteresis": -1}),
    ("hysteresis", {"hysteresis": "1"}),
    ("hysteresis", {"condition": "moves", "threshold": 0.01, "hysteresis": 0.01}),
    ("hysteresis", {"condition": "leaves", "threshold": None, "lower": 1, "upper": 3, "hysteresis": 1}),
    ("timeframe", {"timeframe": "7m"}),
    ("timeframe", {"timeframe": 60}),
    ("window", {"window": 0}),
    ("window", {"window": 1.5}),
    ("window", {"window": 10_001}),
    ("window", {"type": "volatility", "window": 1}),
    ("baseline", {"baseline": 5}),
    ("symbol", {"symbol": None}),
    ("symbol", {"symbol": 7}),
    ("y", {"y": "ETHUSDT"}),
    ("x", {"x": "ETHUSDT"}),
    ("frequency", {"frequency": "hourly"}),
    ("frequency", {"frequency": "once_per_bar", "once": True}),
    ("frequency", {"frequency": "once", "once": False}),
    ("frequency", {"type": "staleness", "frequency": "once_per_bar_close"}),
    ("once", {"once": "yes"}),
    ("cooldown_s", {"cooldown_s": -1}),
    ("cooldown_s", {"cooldown_s": NAN}),
    ("cooldown_s", {"cooldown_s": 10**9}),
    ("expires", {"expires": "tomorrow"}),
    ("expires", {"expires": "2026-02-30"}),
    ("expires", {"expires": -5}),
    ("expires", {"expires": True}),
    ("join", {"join": "and"}),
    ("surprise", {"surprise": 1}),
]
BAD_PAIR: list[tuple[str, dict[str, Any]]] = [
    ("x", {"x": "ethusdt"}),
    ("y", {"y": None}),
    ("x", {"x": ""}),
    ("symbol", {"symbol": "BTCUSDT"}),
    ("method", {"method": "magic"}),
    ("price_space", {"price_space": "cubic"}),
    ("lookback", {"lookback": 2}),
    ("window", {"window": 2000}),
    ("threshold", {"type": "cointegration", "condition": "found"}),
    ("condition", {"type": "cointegration", "threshold": None}),
    ("hysteresis", {"type": "cointegration", "condition": "lost", "threshold": None, "hysteresis": 1}),
    ("y", {"type": "cointegration", "condition": "lost", "threshold": None, "y": None}),
]


@pytest.mark.parametrize(
    ("loc", "fields"), [(loc, {**PRICE, **f}) for loc, f in BAD] + [(loc, {**PAIR, **f}) for loc, f in BAD_PAIR]
)
def test_a_field_that_cannot_be_is_named(loc: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        AlertRule.from_document("a", fields)
    assert caught.value.loc == loc
    assert str(caught.value).startswith(f"{loc}: ")


@pytest.mark.parametrize(
    ("loc", "fields"),
    [
        ("conditions", {"conditions": [PRICE]}),
        ("conditions", {"conditions": [PRICE] * 9}),
        ("conditions", {"conditions": "both"}),
        ("conditions[1]", {"conditions": [PRICE, 5]}),
        ("conditions[1].threshold", {"conditions": [PRICE, {**PRICE, "threshold": "x"}]}),
        ("conditions[0].condition", {"conditions": [{**PRICE, "condition": "found"}, PRICE]}),
        ("conditions[1].join", {"conditions": [PRICE, {**PRICE, "join": "or"}]}),
        ("join", {"conditions": [PRICE, PAIR], "join": "xor"}),
        ("type", {"conditions": [PRICE, PAIR], "type": "price"}),
    ],
)
def test_a_field_of_one_of_several_conditions_is_named_with_its_place(loc: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        AlertRule.from_document("a", fields)
    assert caught.value.loc == loc


@pytest.mark.parametrize(
    "fields",
    [
        PRICE,
        PAIR,
        {**PRICE, "once": True, "cooldown_s": 0.5, "expires": "2026-08-01T12:00:00Z"},
        {**PRICE, "condition": "leaves", "threshold": None, "lower": 0.1, "upper": 0.3, "hysteresis": 0.05},
        {**PRICE, "type": "volume", "baseline": 20},
        {"type": "cointegration", "condition": "found"},
        {"conditions": [PRICE, PAIR], "join": "or", "frequency": "once_per_bar"},
    ],
)
def test_a_rule_comes_back_from_json_as_it_went(fields: dict[str, Any]) -> None:
    rule = AlertRule.from_document("a", fields)
    assert AlertRule.from_document("a", json.loads(json.dumps(rule.document()))) == rule


def test_what_is_left_out_is_as_the_contract_says() -> None:
    rule = AlertRule.from_document("a", {**PRICE, "symbol": " btcusdt "})
    assert rule.document() == {
        "type": "price",
        "symbol": "BTCUSDT",
        "condition": "above",
        "threshold": 100.0,
        "timeframe": "1m",
        "window": 60,
        "hysteresis": 0.0,
        "frequency": "every",
        "once": False,
        "cooldown_s": 60,
        "expires": None,
    }
    assert AlertRule.from_document("a", {**PRICE, "type": "volume"}).conditions[0].window == 1
    sentinel = {**PAIR, "type": "sentinel", "threshold": None}
    assert AlertRule.from_document("a", sentinel).conditions[0].threshold == 1.5


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"threshold": 5}, {"threshold": 5.0}),
        ({"once": True}, {"frequency": "once", "once": True}),
        ({"frequency": "once_per_bar"}, {"frequency": "once_per_bar", "once": False}),
        ({"expires": 1}, {"expires": 1}),
        ({"condition": "enters", "threshold": None, "lower": 1, "upper": 2}, {"lower": 1.0, "condition": "enters"}),
        ({"conditions": [PRICE, PAIR]}, {"join": "and"}),
    ],
)
def test_some_fields_can_be_changed_and_the_others_stay(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    document = AlertRule.from_document("a", {**PRICE, "cooldown_s": 7}).changed(changes).document()
    assert document["cooldown_s"] == 7
    assert {name: document[name] for name in wanted} == wanted


def test_a_rule_that_was_to_be_told_once_can_be_made_to_tell_every_time() -> None:
    rule = AlertRule.from_document("a", {**PRICE, "once": True})
    assert rule.changed({"once": False}).frequency == "every"
    assert rule.changed({"frequency": "every"}).frequency == "every"
    assert rule.changed({"cooldown_s": 3}).frequency == "once"


def test_several_conditions_can_be_changed_into_one() -> None:
    rule = AlertRule.from_document("a", {"conditions": [PRICE, PAIR], "join": "or", "cooldown_s": 7})
    changed = rule.changed(PRICE)
    assert (len(changed.conditions), changed.cooldown_ns) == (1, 7 * 10**9)
