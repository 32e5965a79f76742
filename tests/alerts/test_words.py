"""Firings in words: values as a trader reads them, sentences, and templates of people's own."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.alerts.words import (
    check_template,
    decimals_of,
    fields_of,
    filled_in,
    in_words,
    sentence_of,
    value_in_words,
)
from pairscope.errors import InputError
from pairscope.market.alert_rules import AlertCondition

PAIR = {"y": "ETHUSDT", "x": "BTCUSDT"}


def condition(**fields: Any) -> AlertCondition:
    return AlertCondition.from_document(fields)


def price(**fields: Any) -> AlertCondition:
    return condition(**{"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 65000, **fields})


@pytest.mark.parametrize(
    ("asked", "value", "said"),
    [
        (price(), 65000.1, "65000.1"),
        (price(), 65001.0, "65001.0"),
        (price(condition="moves", threshold=0.01), 0.01234, "+1.23 %"),
        (price(condition="moves", threshold=0.01), 0.0000123, "+0.0012 %"),
        (price(condition="moves", threshold=0.01), 0.0, "+0.00 %"),
        (condition(type="price_change", symbol="B", condition="below", threshold=-0.02), -0.0211, "-2.11 %"),
        (condition(type="volatility", symbol="B", condition="above", threshold=0.6), 0.6123, "61.2 %"),
        (condition(type="funding", symbol="B", condition="above", threshold=0.0001), 0.000123, "+0.0123 %"),
        (condition(type="zscore", condition="above", threshold=2, **PAIR), 2.1349, "2.13"),
        (condition(type="correlation", condition="below", threshold=0.5, **PAIR), -0.401, "-0.40"),
        (condition(type="spread", condition="above", threshold=0, **PAIR), 0.000012345678, "0.0000123457"),
        (condition(type="half_life", condition="above", threshold=30, **PAIR), 31.26, "31.3 bars"),
        (condition(type="sentinel", condition="above", **PAIR), 2.0, "broken"),
        (condition(type="staleness", symbol="B", condition="above", threshold=60), 61.0, "61 s"),
        (condition(type="volume", symbol="B", condition="above", threshold=3, baseline=60), 3.456,
         "3.46 times the usual"),
        (condition(type="volume", symbol="B", condition="above", threshold=3), 1234.5, "1234.5"),
        (price(), float("nan"), "–"),
        (price(), None, "–"),
    ],
)  # fmt: skip
def test_a_value_is_written_in_its_own_unit(asked: AlertCondition, value: float | None, said: str) -> None:
    assert value_in_words(asked, value, decimals=1) == said


def test_a_price_has_the_decimals_of_its_symbol_and_never_an_exponent() -> None:
    small = price(symbol="PEPEUSDT", threshold=0.0000125)
    assert in_words(small, 0.00001251, decimals=8) == "PEPEUSDT: price 0.00001251 is above 0.00001250"
    assert decimals_of(1e-8) == 8


@pytest.mark.parametrize(
    ("asked", "value", "said"),
    [
        (price(condition="crosses_below"), 64999.9, "BTCUSDT: price 64999.9 crossed below 65000.0"),
        (
            price(condition="enters", threshold=None, lower=64000, upper=65000),
            64500.5,
            "BTCUSDT: price 64500.5 came into 64000.0 to 65000.0",
        ),
        (
            price(condition="moves", threshold=0.01, window=30, timeframe="1m"),
            -0.0151,
            "BTCUSDT: price moved by -1.51 % within 30 × 1m (alert at +1.00 %)",
        ),
        (
            condition(type="zscore", condition="below", threshold=-2, **PAIR),
            -2.5,
            "ETHUSDT/BTCUSDT: z-score -2.50 is below -2.00",
        ),
        (
            condition(type="cointegration", condition="found", **PAIR),
            0.01,
            "ETHUSDT/BTCUSDT is cointegrated now, says the screen",
        ),
        (condition(type="sentinel", condition="above", **PAIR), 2.0, "ETHUSDT/BTCUSDT: sentinel broken is above 1.5"),
    ],
)
def test_a_condition_that_came_true_is_a_sentence(asked: AlertCondition, value: float, said: str) -> None:
    assert in_words(asked, value, decimals=1) == said


def test_where_all_must_hold_all_are_said_the_one_that_fired_first() -> None:
    both = [price(), condition(type="zscore", condition="above", threshold=2, **PAIR)]
    values = [65000.1, 2.5]
    assert sentence_of(both, values, "and", 1, decimals=(1, 0)) == (
        "ETHUSDT/BTCUSDT: z-score 2.50 is above 2.00 and BTCUSDT: price 65000.1 is above 65000.0"
    )
    assert sentence_of(both, values, "or", 0, decimals=(1, 0)) == "BTCUSDT: price 65000.1 is above 65000.0"


def test_a_template_is_filled_in_with_the_same_words() -> None:
    template = check_template("{{now}} {symbol} {y}|{x} {type} {condition} {value} > {threshold} at {time}: {note}")
    asked = condition(type="zscore", condition="crosses_above", threshold=2, **PAIR)
    fields = fields_of(asked, 2.345, time_ns=1_767_225_600_000_000_000, note="sell {y}")
    assert filled_in(template, fields) == (
        "{now} ETHUSDT/BTCUSDT ETHUSDT|BTCUSDT z-score crosses above 2.35 > 2.00 at 2026-01-01 00:00:00 UTC: sell {y}"
    )


@pytest.mark.parametrize(
    "template",
    ["{colour}", "{value.__class__}", "{value[0]}", "{}", "{0}", "{value!r}", "{value:>1000000000}", "{value", "}",
     "x" * 501, "{value:{symbol}}", "{symbol}" * 65],
)  # fmt: skip
def test_a_template_that_cannot_be_filled_in_is_refused_and_names_the_message(template: str) -> None:
    with pytest.raises(InputError) as refused:
        check_template(template)
    assert refused.value.loc == "message"
