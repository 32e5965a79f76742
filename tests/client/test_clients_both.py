"""One text, two clients: the same names and answers, returned by the one and awaited from the other."""

from __future__ import annotations

import inspect
from typing import Any

import httpx2
import pandas as pd
import pytest

import pairscope
from pairscope.client import AsyncClient, Client
from pairscope.errors import ApiUnreachable, UnknownSymbol

from .test_clients import Answer, bar, client_of, problem

NOT_CALLS = {"close", "run", "stream", "kind"}


def awaited_client_of(answer: Answer, **options: Any) -> AsyncClient:
    client = AsyncClient("http://api.test", **options)
    client._http = httpx2.AsyncClient(base_url=client.base_url, transport=httpx2.MockTransport(answer))
    return client


def calls_of(kind: type) -> dict[str, Any]:
    found = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: made for name, made in found.items() if callable(made) and name not in NOT_CALLS}


def test_every_call_is_there_twice_with_the_same_parameters() -> None:
    blocking, awaited = calls_of(Client), calls_of(AsyncClient)
    assert set(blocking) == set(awaited)
    assert {"ohlc", "ticks", "pair", "screen", "backtest", "export", "upload", "gaps", "archive", "wait"} <= set(
        blocking
    )
    for name, made in blocking.items():
        assert not inspect.iscoroutinefunction(made), name
        assert inspect.iscoroutinefunction(awaited[name]), name
        assert inspect.signature(made) == inspect.signature(awaited[name]), name
        assert made.__doc__, name
    assert {"close", "stream", "run"} <= set(dir(AsyncClient))


def test_help_shows_what_a_call_returns_and_not_how_it_is_written() -> None:
    shown = str(inspect.signature(pairscope.Client.ohlc))
    assert shown.endswith("-> 'pd.DataFrame'"), shown
    assert pairscope.AsyncClient is AsyncClient


async def test_pages_are_joined_and_tables_made_alike() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        at = int(request.url.params.get("cursor") or 0)
        return httpx2.Response(200, json={"bars": [bar(at), bar(at + 1)], "next": str(at + 2) if at < 4 else None})

    async with awaited_client_of(answer) as api:
        table = await api.ohlc("BTCUSDT", "1s", start=0, end=6)
    pd.testing.assert_frame_equal(table, client_of(answer).ohlc("BTCUSDT", "1s", start=0, end=6))
    assert len(table) == 6


async def test_a_broken_connection_is_tried_again_and_an_error_keeps_its_words() -> None:
    tries: list[str] = []

    def broken(request: httpx2.Request) -> httpx2.Response:
        tries.append(request.method)
        if len(tries) < 3:
            raise httpx2.ReadError("gone")
        return httpx2.Response(200, json={"ticks": 1})

    async with awaited_client_of(broken) as api:
        assert await api.stats() == {"ticks": 1}
        assert tries == ["GET"] * 3
        tries.clear()
        with pytest.raises(ApiUnreachable):
            await api.watch("A", "B")
        assert tries == ["POST"]
    unknown = problem(404, "unknown symbol 'BTCUSD'", kind="unknown-symbol", loc=["path", "symbol"])
    async with awaited_client_of(lambda _: unknown) as api:
        with pytest.raises(UnknownSymbol, match="BTCUSD"):
            await api.price("BTCUSD")
