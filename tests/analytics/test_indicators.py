"""Indicators by name: how names are read, sessions, warm-up, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairscope.analytics.indicators import INDICATORS, indicators, parse_indicators
from pairscope.errors import InputError
from pairscope.market.bars import BarBatch
from pairscope.market.symbols import Symbols

MINUTE, DAY = 60_000_000_000, 86_400_000_000_000
MIDNIGHT = 19_937 * DAY
USUAL = ["sma:20", "ema:20", "bb:20:2", "vwap", "rsi:14", "macd:12:26:9", "atr:14", "rv:60"]


def bars_of(close: np.ndarray, *, first_ns: int = MIDNIGHT, volume: np.ndarray | None = None) -> BarBatch:
    n = len(close)
    size = np.ones(n) if volume is None else volume
    return BarBatch(
        Symbols(["BTCUSDT"]),
        "1m",
        symbol_id=np.zeros(n, np.int32),
        ts_open_ns=first_ns + MINUTE * np.arange(n),
        open=close,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=size,
        quote_volume=size * close,
        buy_volume=size / 2,
        trades=np.ones(n, np.int64),
        first_id=np.arange(n),
        last_id=np.arange(n),
        revision=np.zeros(n, np.int32),
        origin=np.zeros(n, np.int8),
    )


def walk(n: int) -> np.ndarray:
    return 100 + np.cumsum(np.random.default_rng(3).standard_normal(n)) / 20


def test_every_kind_gives_one_column_a_bar_under_the_names_it_says() -> None:
    bars = bars_of(walk(200))
    for kind in INDICATORS:
        plan = parse_indicators([kind])
        found = indicators(bars, [kind])
        assert tuple(found) == plan.indicators[0].columns
        assert all(column.shape == (200,) and np.isfinite(column[-1]) for column in found.values())


def test_names_come_back_as_they_were_asked_for() -> None:
    found = indicators(bars_of(walk(50)), ["SMA:5", " bb:5:2.50", "sma:5", "bollinger:5:2.5", "volatility:5"])
    assert list(found) == [
        "SMA:5", "bb:5:2.50.upper", "bb:5:2.50.middle", "bb:5:2.50.lower", "sma:5", "bollinger:5:2.5.upper",
        "bollinger:5:2.5.middle", "bollinger:5:2.5.lower", "volatility:5",
    ]  # fmt: skip
    np.testing.assert_array_equal(found["bollinger:5:2.5.upper"], found["bb:5:2.50.upper"])


@pytest.mark.parametrize(
    "name",
    ["", "foo:3", "sma:0", "sma:x", "sma:1e9", "sma:2.5", "sma:20:3", "bb:1", "bb:20:-2", "bb:20:nan", "macd:26:12:9",
     "vwap:3", "rsi:-14", "rv:1", "sma:inf"],
)  # fmt: skip
def test_a_name_that_cannot_be_read_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError) as error:
        parse_indicators(["sma:20", name])
    assert repr(name) in str(error.value) and error.value.loc == "indicators"


def test_vwap_begins_anew_at_midnight_utc() -> None:
    close = np.array([10.0, 20.0, 40.0, 80.0, 50.0])
    bars = bars_of(close, first_ns=MIDNIGHT - 2 * MINUTE, volume=np.array([1.0, 1.0, 1.0, 3.0, 0.0]))
    line = indicators(bars, ["vwap"])["vwap"]
    np.testing.assert_array_equal(line, [np.nan, np.nan, 40.0, 70.0, 70.0])


def test_vwap_of_a_session_whose_beginning_is_not_there_is_not_made_up() -> None:
    assert np.isnan(indicators(bars_of(walk(100), first_ns=MIDNIGHT + MINUTE), ["vwap"])["vwap"]).all()
    assert np.isfinite(indicators(bars_of(walk(100)), ["vwap"])["vwap"]).all()


def test_vwap_of_bars_without_quote_volume_takes_the_typical_price() -> None:
    bars = replace(bars_of(np.array([10.0, 20.0])), quote_volume=np.zeros(2))
    np.testing.assert_allclose(indicators(bars, ["vwap"])["vwap"], [10.0, 15.0])


def test_too_few_bars_are_no_error_but_warm_up() -> None:
    for n in (0, 1, 2, 5):
        found = indicators(bars_of(walk(n)), USUAL)
        assert all(len(column) == n for column in found.values())
        assert all(np.isnan(column).all() for name, column in found.items() if name != "vwap")


def test_with_the_bars_that_a_plan_asks_for_the_last_value_is_that_of_the_whole_history() -> None:
    bars = bars_of(walk(4000), first_ns=MIDNIGHT - 3999 * MINUTE + DAY // 2)
    plan = parse_indicators(USUAL)
    whole, short = indicators(bars, USUAL), indicators(bars.take(slice(-plan.warmup - 1, None)), USUAL)
    for name, column in whole.items():
        assert short[name][-1] == pytest.approx(column[-1], rel=1e-7), name


def test_a_constant_price_is_no_error() -> None:
    found = indicators(bars_of(np.full(100, 61_800.1)), USUAL)
    assert found["bb:20:2.upper"][-1] == found["bb:20:2.lower"][-1] == 61_800.1
    assert found["rv:60"][-1] == 0.0
    assert np.isnan(found["rsi:14"]).all(), "without a move there is no strength"
    assert found["sma:20"][-1] == 61_800.1


def test_volatility_is_annual_in_the_bars_own_timeframe() -> None:
    close = 100 * np.exp(0.001 * (np.arange(80) % 2))
    minutes = bars_of(close)
    assert indicators(minutes, ["rv:60"])["rv:60"][-1] == pytest.approx(0.001 * 525_600**0.5, rel=1e-9)
    hours = replace(minutes, timeframe="1h", ts_open_ns=MIDNIGHT + 60 * MINUTE * np.arange(80))
    assert indicators(hours, ["rv:60"])["rv:60"][-1] == pytest.approx(0.001 * 8760**0.5, rel=1e-9)


def test_bars_that_are_not_one_symbol_s_in_order_are_refused() -> None:
    bars = bars_of(walk(10))
    with pytest.raises(InputError, match="order of time"):
        indicators(bars.take(slice(None, None, -1)), ["sma:2"])
    mixed = replace(bars, symbol_id=np.arange(10, dtype=np.int32) % 2)
    with pytest.raises(InputError, match="one symbol"):
        indicators(mixed, ["sma:2"])
    broken = replace(bars, close=np.where(np.arange(10) == 3, np.nan, bars.close))
    with pytest.raises(InputError, match="bars"):
        indicators(broken, ["sma:2"])


def test_every_kind_says_what_it_is() -> None:
    for name, kind in INDICATORS.items():
        assert kind.name == name and kind.title and len(kind.meaning.split()) >= 3
        assert parse_indicators([name]).warmup >= 1
