"""Streams over connections: every stream once, on its route, within the exchange's limits."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.errors import SubscriptionRefused
from pairscope.feed.subscription import plan_connections, stream_name, subscribe_frames

MARKET = [f"S{k}USDT" for k in range(2500)]


def asked_for(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query)["streams"][0].split("/")


def test_aggregate_trades_go_over_the_market_route_and_single_ones_over_the_public_one() -> None:
    assert plan_connections("ws://h:1/", ["BTCUSDT"])[0].url == "ws://h:1/market/stream?streams=btcusdt@aggTrade"
    assert plan_connections("ws://h:1", ["BTCUSDT"], stream="trade")[0].url.startswith("ws://h:1/public/stream?")


def test_every_stream_is_asked_for_once_over_as_many_connections_as_needed() -> None:
    plans = plan_connections("wss://h", MARKET)
    assert [len(plan.streams) for plan in plans] == [1024, 1024, 452]
    asked: list[str] = []
    for plan in plans:
        names = asked_for(plan.url)
        for message in plan.subscribe:
            names += json.loads(message)["params"]
        assert names == list(plan.streams)
        asked += names
    assert asked == [f"{name.lower()}@aggTrade" for name in MARKET]


def test_messages_and_addresses_stay_within_the_limits() -> None:
    for plan in plan_connections("wss://h", MARKET):
        assert len(plan.url) <= 4096
        for message in plan.subscribe:
            assert len(message) < 4096
            assert len(json.loads(message)["params"]) <= 200


def test_names_outside_ascii_are_quoted_in_an_address_and_written_out_in_a_message() -> None:
    plan = plan_connections("wss://h", ["币安人生USDT"])[0]
    assert plan.url.isascii()
    assert asked_for(plan.url) == ["币安人生usdt@aggTrade"]
    assert "币安人生usdt@aggTrade".encode() in subscribe_frames(["币安人生usdt@aggTrade"])[0]


def test_only_latin_letters_become_small() -> None:
    assert stream_name("İBTCUSDT") == "İbtcusdt@aggTrade"


def test_requests_are_numbered() -> None:
    frames = subscribe_frames([f"s{k}usdt@aggTrade" for k in range(450)])
    assert [json.loads(frame)["id"] for frame in frames] == [1, 2, 3]
    assert {json.loads(frame)["method"] for frame in frames} == {"SUBSCRIBE"}


@given(st.lists(st.text("ABC币我", min_size=1, max_size=300), max_size=60))
def test_whatever_the_names_no_frame_is_too_long_and_none_is_lost(names: list[str]) -> None:
    frames = subscribe_frames(names)
    assert [name for frame in frames for name in json.loads(frame)["params"]] == names
    assert all(len(frame) < 4096 for frame in frames)


def test_more_streams_than_the_exchange_takes_are_refused() -> None:
    with pytest.raises(SubscriptionRefused, match="1024"):
        plan_connections("wss://h", ["BTCUSDT"], streams_per_connection=1025)


def test_nobody_to_follow_needs_no_connection() -> None:
    assert plan_connections("wss://h", []) == []
