"""Control messages as documented, routes, and the limits of a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.feed.replay_streams import Close, Limits, Session, parse_target, route_of


@pytest.fixture
def session() -> Session:
    return Session("market", combined=True, streams=[], limits=Limits())


def ask(session: Session, body: Any) -> Any:
    replies = session.receive(json.dumps(body).encode())
    assert len(replies) == 1
    assert isinstance(replies[0], bytes)
    return json.loads(replies[0])


@pytest.mark.parametrize("number", [1, 312, "0bd4f9e8-1b1c-4b0e", 0])
def test_subscriptions_are_acknowledged_listed_and_ended_under_the_id_that_was_sent(session: Session, number: Any):
    names = ["btcusdt@aggTrade", "ethusdt@aggTrade"]
    assert ask(session, {"method": "SUBSCRIBE", "params": names, "id": number}) == {"result": None, "id": number}
    assert ask(session, {"method": "LIST_SUBSCRIPTIONS", "id": number}) == {"result": names, "id": number}
    assert ask(session, {"method": "UNSUBSCRIBE", "params": names[:1], "id": number}) == {"result": None, "id": number}
    assert session.wanted() == names[1:]


def test_a_stream_that_does_not_exist_is_acknowledged_too(session: Session):
    names = ["nopeusdt@aggTrade", "BTCUSDT@aggTrade", "btcusdt@nonsense"]
    assert ask(session, {"method": "SUBSCRIBE", "params": names, "id": 1})["result"] is None


def test_resubscribing_changes_nothing(session: Session):
    for number in (1, 2):
        ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": number})
    assert list(session.streams) == ["btcusdt@aggTrade"]


def test_framing_is_a_property_that_can_be_read_and_set(session: Session):
    assert ask(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == {"result": True, "id": 2}
    assert ask(session, {"method": "SET_PROPERTY", "params": ["combined", False], "id": 5}) == {"result": None, "id": 5}
    assert not session.combined


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}, 1),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1),
        ({"method": "GET_PROPERTY", "params": [5], "id": 1}, 2),
        ({"method": "GET_PROPERTY", "params": ["combined", "combined"], "id": 1}, 2),
        ({"method": "DANCE", "params": [], "id": 1}, 2),
        ({"params": ["btcusdt@aggTrade"], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": "btcusdt@aggTrade", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": -1}, 2),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1.5}, 2),
        ([], 2),
    ],
)
def test_wrong_requests_get_the_documented_codes(session: Session, body: Any, code: int):
    reply = ask(session, body)
    assert reply["code"] == code
    assert reply["msg"]
    assert "result" not in reply
    if isinstance(body, dict) and body["id"] == 1:
        assert reply["id"] == 1


def test_what_is_no_json_is_code_3(session: Session):
    assert json.loads(session.receive(b"{nope")[0])["code"] == 3  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_no_message_breaks_a_session(message: bytes):
    replies = Session("public", combined=False, streams=[], limits=Limits()).receive(message)
    assert replies


def test_one_stream_too_many_is_code_4_and_the_end():
    session = Session("market", combined=True, streams=[], limits=Limits(streams=3))
    body = {"method": "SUBSCRIBE", "params": [f"s{i}@aggTrade" for i in range(4)], "id": 19}
    reply, close = session.receive(json.dumps(body).encode())
    assert json.loads(reply) == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}  # type: ignore[arg-type]
    assert close == Close(1008, "Too many subscriptions")


def test_a_message_of_more_than_4096_bytes_is_an_illegal_request(session: Session):
    assert session.receive(b" " * 4097) == [Close(3001, "illegal request")]


def test_more_than_ten_messages_in_a_second_are_too_many(session: Session):
    assert [session.count_message(0.05 * i) for i in range(10)] == [None] * 10
    assert session.count_message(0.6) == Close(1008, "Too many requests")
    patient = Session("market", combined=True, streams=[], limits=Limits())
    assert all(patient.count_message(0.11 * i) is None for i in range(100))


def test_a_stream_is_delivered_on_its_own_route_only():
    names = [
        "btcusdt@aggTrade",
        "btcusdt@trade",
        "btcusdt@bookTicker",
        "btcusdt@kline_1m",
        "!ticker@arr",
        "btcusdt@depth@100ms",
    ]
    market = Session("market", combined=True, streams=names, limits=Limits())
    public = Session("public", combined=True, streams=names, limits=Limits())
    assert market.wanted() == ["btcusdt@aggTrade", "btcusdt@kline_1m", "!ticker@arr"]
    assert public.wanted() == ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]
    assert Session("private", combined=True, streams=names, limits=Limits()).wanted() == []
    assert route_of("btcusdt@markPrice@1s") == "market"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/market/ws/btcusdt@aggTrade/ethusdt@aggTrade", ("market", False, ["btcusdt@aggTrade", "ethusdt@aggTrade"])),
        (
            "/market/stream?streams=btcusdt@aggTrade/ethusdt@kline_1m",
            ("market", True, ["btcusdt@aggTrade", "ethusdt@kline_1m"]),
        ),
        ("/market/ws/0", ("market", False, [])),
        ("/public/ws", ("public", False, [])),
        ("/private/stream", ("private", True, [])),
        ("/ws", ("public", False, [])),
        ("/stream?streams=btcusdt@aggTrade", ("public", True, ["btcusdt@aggTrade"])),
        ("/market/stream?streams=%E5%B8%81usdt@aggTrade", ("market", True, ["币usdt@aggTrade"])),
        ("/market/ws/%E5%B8%81usdt%40aggTrade", ("market", False, ["币usdt@aggTrade"])),
        ("/", None),
        ("/market", None),
        ("/elsewhere/ws", None),
    ],
)
def test_an_address_names_route_framing_and_streams(target: str, expected: Any):
    assert parse_target(target) == expected
