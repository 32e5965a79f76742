"""The request of a backtest: the contract's body read and written, every wrong field named, nothing guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.errors import InputError
from pairscope.research.backtest_request import REQUEST_FIELDS, BacktestRequest

CONTRACT = {
    "y": "ethusdt",
    "x": " BTCUSDT",
    "timeframe": "5m",
    "start": 1_748_736_000_000,
    "end": "2025-06-03T12:00:00Z",
    "hedge": {"method": "huber", "lookback": 720},
    "window": 30,
    "entry": 2.5,
    "exit": 0,
    "stop": 4,
    "max_holding": 100,
    "notional": 5000,
    "fee_bps": 2,
    "slippage_bps": [1, 2.5],
    "funding": True,
}


def test_the_body_of_the_contract_is_read_field_by_field() -> None:
    made = BacktestRequest.from_document(CONTRACT)
    assert (made.y, made.x, made.timeframe, made.method, made.lookback) == ("ETHUSDT", "BTCUSDT", "5m", "huber", 720)
    assert (made.start_ns, made.end_ns) == (1_748_736_000_000_000_000, 1_748_952_000_000_000_000)
    assert (made.window, made.entry, made.exit, made.stop, made.max_holding) == (30, 2.5, 0.0, 4.0, 100)
    assert (made.notional, made.fee_bps, made.slippage_bps, made.funding) == (5000.0, (2.0, 2.0), (1.0, 2.5), True)


def test_a_body_of_the_pair_alone_asks_for_the_defaults() -> None:
    made = BacktestRequest.from_document({"y": "A", "x": "B", "stop": None, "start": None})
    assert made == BacktestRequest("A", "B")
    assert (made.timeframe, made.lookback, made.window, made.entry, made.exit) == ("1m", 1440, 60, 2.0, 0.5)


def test_a_request_written_and_read_again_is_the_same() -> None:
    for body in (
        CONTRACT,
        {"y": "A", "x": "B", "hedge": -0.75},
        {"y": "A", "x": "B", "gate": "sentinel", "rehedge": 1},
    ):
        made = BacktestRequest.from_document(body)
        assert BacktestRequest.from_document(made.document()) == made
        assert tuple(made.document()) == REQUEST_FIELDS


def test_a_hedge_is_an_object_a_method_or_a_number() -> None:
    def of(hedge: Any) -> Any:
        return BacktestRequest.from_document({"y": "A", "x": "B", "hedge": hedge})

    assert of("kalman").hedge == "kalman"
    assert of(1).hedge == 1.0
    assert of({"method": "fixed", "beta": 2}).hedge == 2.0
    assert of({"lookback": 90}).lookback == 90


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"y": None}, "y"),
        ({"y": ""}, "y"),
        ({"y": 7}, "y"),
        ({"x": "a "}, "x"),
        ({"timeframe": "2m"}, "timeframe"),
        ({"timeframe": ["1m"]}, "timeframe"),
        ({"start": "yesterday"}, "start"),
        ({"start": -1}, "start"),
        ({"start": 10**18}, "start"),
        ({"start": True}, "start"),
        ({"start": 5, "end": 5}, "end"),
        ({"end": "9999-01-01"}, "end"),
        ({"hedge": "tls"}, "method"),
        ({"hedge": {"method": ["ols"]}}, "method"),
        ({"hedge": {"lookback": 2}}, "lookback"),
        ({"hedge": {"lookback": 10**9}}, "lookback"),
        ({"hedge": {"bars": 2}}, "hedge.bars"),
        ({"hedge": {"method": "fixed"}}, "beta"),
        ({"hedge": {"beta": 1.0}}, "beta"),
        ({"hedge": float("nan")}, "beta"),
        ({"hedge": True}, "hedge"),
        ({"window": 1}, "window"),
        ({"window": 2.5}, "window"),
        ({"window": "60"}, "window"),
        ({"window": 61, "hedge": {"lookback": 60}}, "window"),
        ({"entry": float("inf")}, "entry"),
        ({"entry": 0.5, "exit": 0.5}, "entry"),
        ({"exit": -0.1}, "exit"),
        ({"stop": 2}, "stop"),
        ({"max_holding": 0}, "max_holding"),
        ({"cooldown": -1}, "cooldown"),
        ({"notional": 0}, "notional"),
        ({"notional": 10**400}, "notional"),
        ({"fee_bps": -1}, "fee_bps"),
        ({"fee_bps": [1, 2, 3]}, "fee_bps"),
        ({"slippage_bps": 10_001}, "slippage_bps"),
        ({"slippage_range": 2}, "slippage_range"),
        ({"funding": 1}, "funding"),
        ({"fill": "now"}, "fill"),
        ({"price_space": "sqrt"}, "price_space"),
        ({"sizing": "equal"}, "sizing"),
        ({"rehedge": 0}, "rehedge"),
        ({"rehedge": 0.2, "hedge": 1.0}, "rehedge"),
        ({"capital": -5}, "capital"),
        ({"gate": "moon"}, "gate"),
        ({"gate": "sentinel", "window": 10, "hedge": {"lookback": 49}}, "lookback"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"latency_ms": 10, "fill": "same"}, "latency_ms"),
        ({"round_steps": "no"}, "round_steps"),
        ({"leverage": 3}, "leverage"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as raised:
        BacktestRequest.from_document({"y": "A", "x": "B"} | body)
    assert raised.value.loc == field
    assert str(raised.value).startswith(f"{field}: ")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["ols", "1m", "A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["method", "lookback", "beta"]), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(REQUEST_FIELDS), ANYTHING, max_size=4))
def test_whatever_json_says_it_is_a_request_or_a_named_field(body: dict[str, Any]) -> None:
    try:
        made = BacktestRequest.from_document({"y": "A", "x": "B"} | body)
    except InputError as error:
        assert error.loc
    else:
        assert made == BacktestRequest.from_document(made.document())


def test_a_body_that_is_no_object_is_refused() -> None:
    for body in (None, [], "y", 7):
        with pytest.raises(InputError, match="body"):
            BacktestRequest.from_document(body)


def test_what_is_at_its_default_is_left_out_of_the_arguments() -> None:
    plain = BacktestRequest("A", "B").arguments()
    assert plain["fee_bps"] == 4.0
    assert set(plain) == {"hedge", "lookback", "window", "entry", "exit", "notional", "fee_bps", "slippage_bps"}
    chosen = BacktestRequest("A", "B", fee_bps=(2.0, 4.0), stop=4.0, sizing="dollar", capital=5.0).arguments()
    assert (chosen["fee_bps"], chosen["stop"], chosen["sizing"], chosen["capital"]) == ((2.0, 4.0), 4.0, "dollar", 5.0)


def test_warm_up_is_what_the_first_decision_takes() -> None:
    def bars(**fields: Any) -> int:
        return BacktestRequest("A", "B", **fields).warmup_bars()

    assert bars(lookback=100, window=20) == 99
    assert bars(method="fixed", beta=1.0, lookback=100, window=20) == 19
    assert bars(method="fixed", beta=1.0, lookback=100, window=20, gate="cointegration") == 99
