"""The stream to loop over: connects again by itself, loses no alert, and says why it is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from http import HTTPStatus
from itertools import islice
from typing import Any

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from pairscope.client import AsyncClient, Client, Update
from pairscope.errors import ApiRefused, ApiUnreachable, InputError

Script = Callable[[ServerConnection, dict[str, Any]], None]


@contextmanager
def scripted(*scripts: Script, **options: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve one script a connection, and keep what each connection wished."""
    wishes: list[dict[str, Any]] = []
    left = list(scripts)

    def talk(socket: ServerConnection) -> None:
        wishes.append(json.loads(socket.recv()))
        left.pop(0)(socket, wishes[-1])

    with serve(talk, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port_of(server)}", wishes
        finally:
            server.shutdown()
            thread.join(60)


def port_of(server: Server) -> int:
    return int(server.socket.getsockname()[1])


def say(*messages: tuple[str, int]) -> Script:
    def script(socket: ServerConnection, _: dict[str, Any]) -> None:
        for topic, seq in messages:
            socket.send(json.dumps({"topic": topic, "seq": seq, "data": {"n": seq}}))

    return script


def test_it_connects_again_and_asks_for_the_alerts_behind_the_last_one() -> None:
    first = say(("price:BTCUSDT", 7), ("alerts", 41))
    second = say(("alerts", 41), ("alerts", 42), ("price:BTCUSDT", 9))
    with scripted(first, second) as (url, wishes), closing(Client(url).stream("price:BTCUSDT,alerts")) as heard:
        got = list(islice(heard, 4))
    assert [(one.topic, one.seq) for one in got] == [
        ("price:BTCUSDT", 7),
        ("alerts", 41),
        ("alerts", 42),
        ("price:BTCUSDT", 9),
    ]
    assert got[0] == Update("price:BTCUSDT", 7, {"n": 7})
    assert wishes[0] == {"op": "subscribe", "topics": ["price:BTCUSDT", "alerts"]}
    assert wishes[1] == {**wishes[0], "since": 41}


async def test_the_awaited_one_does_the_same() -> None:
    with scripted(say(("alerts", 5)), say(("alerts", 6))) as (url, wishes):
        async with AsyncClient(url) as api, aclosing(api.stream(["alerts"], since=4)) as heard:
            got = [(await anext(heard)).seq, (await anext(heard)).seq]
    assert got == [5, 6]
    assert [wish["since"] for wish in wishes] == [4, 5]


def test_a_topic_that_is_not_there_is_an_error_in_the_servers_words() -> None:
    def refuse(socket: ServerConnection, _: dict[str, Any]) -> None:
        socket.send(json.dumps({"error": "no such topic", "topic": "weather"}))

    with scripted(refuse) as (url, _), Client(url) as api, pytest.raises(InputError, match="weather: no such topic"):
        next(api.stream("weather"))


def away(socket: ServerConnection, _: dict[str, Any]) -> None:
    socket.send(json.dumps({"topic": "stats", "seq": 9, "data": {}}))
    socket.send(json.dumps({"error": "the store is away", "topic": "alerts", "retry": True}))


def test_a_topic_that_is_refused_for_now_is_asked_for_again_and_no_alert_is_lost() -> None:
    scripts = (say(("alerts", 41)), away, say(("alerts", 42)))
    with scripted(*scripts) as (url, wishes), closing(Client(url).stream("stats,alerts")) as heard:
        got = [(one.topic, one.seq) for one in islice(heard, 3)]
    assert got == [("alerts", 41), ("stats", 9), ("alerts", 42)]
    assert [wish.get("since") for wish in wishes] == [None, 41, 41]


async def test_the_awaited_one_asks_again_as_well() -> None:
    with scripted(say(("alerts", 41)), away, say(("alerts", 42))) as (url, _):
        async with AsyncClient(url) as api, aclosing(api.stream("stats,alerts")) as heard:
            assert [(await anext(heard)).seq for _ in range(3)] == [41, 9, 42]


def test_a_topic_that_stays_refused_is_an_error_in_the_servers_words_at_once_or_when_patience_ends() -> None:
    with scripted(away) as (url, wishes), pytest.raises(ApiRefused, match="alerts: the store is away"):
        list(Client(url).stream("stats,alerts", patience_s=3600.0))
    assert len(wishes) == 1
    with scripted(say(("stats", 1)), away) as (url, wishes), pytest.raises(ApiRefused, match="the store is away"):
        list(Client(url).stream("stats,alerts", patience_s=0.0))
    assert len(wishes) == 2


def test_who_is_refused_hears_why_and_is_not_tried_again() -> None:
    asked: list[str | None] = []

    def guard(socket: ServerConnection, request: Any) -> Any:
        asked.append(request.headers.get("X-API-Key"))
        answer = socket.respond(HTTPStatus.UNAUTHORIZED, json.dumps({"detail": "no such key"}))
        answer.headers["Content-Type"] = "application/problem+json"
        return answer

    with scripted(process_request=guard) as (url, _), pytest.raises(ApiRefused, match="no such key") as error:
        next(Client(url, api_key="wrong").stream("stats"))
    assert error.value.http_status == 401
    assert asked == ["wrong"]


def test_where_nobody_is_there_it_says_so_at_once_and_after_a_while_where_somebody_was() -> None:
    with scripted(say(("stats", 1))) as (url, _):
        heard = Client(url).stream("stats", patience_s=0.0)
        assert next(heard).seq == 1
    with pytest.raises(ApiUnreachable, match="no stream at"):
        next(heard)
    with pytest.raises(ApiUnreachable):
        next(Client(url).stream("stats", patience_s=3600.0))
