"""HEAD gets the headers that GET would get, and costs no body: not even one that is written piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from pairscope.api.head import Heads

from .market import START_MS, Market
from .test_forwarding import two

PAST = f"start={START_MS}&end={START_MS + 3_600_000}"


async def test_head_has_the_status_and_the_headers_of_get_and_no_body(api: httpx2.AsyncClient) -> None:
    for path in (
        f"/api/ohlc/BTCUSDT?{PAST}",
        f"/api/ticks/btcusdt?{PAST}&limit=2",
        f"/api/export/BTCUSDT?timeframe=tick&{PAST}",
        "/api/alerts",
        "/docs",
        "/api/price/NOPEUSD",
        "/api/ohlc/BTCUSDT?limit=0",
        "/nothing/here",
    ):
        got, told = await api.get(path), await api.head(path)
        assert (told.status_code, told.content) == (got.status_code, b""), path
        for answer in (got, told):
            del answer.headers["x-request-id"]
        assert told.headers == got.headers, path


async def test_a_path_that_answers_no_get_answers_no_head_and_one_that_does_names_both(api: httpx2.AsyncClient) -> None:
    refused = await api.head("/api/backtest")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await api.put("/api/alerts")).headers["allow"] == "GET, HEAD, POST"


async def test_of_a_file_that_would_be_streamed_the_first_piece_alone_is_written() -> None:
    written = 0

    async def file(_: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal written
            for _ in range(1000):
                written += 1
                yield b"x" * 1000

        return StreamingResponse(pieces(), headers={"ETag": '"1"'})

    app = Heads(Starlette(routes=[Route("/file", file)]))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
        told = await client.head("/file")
    assert (told.status_code, told.headers["etag"], told.content) == (200, '"1"', b"")
    assert written == 1


async def test_a_replica_asks_the_desk_for_what_is_the_desks(market: Market) -> None:
    async with two(market) as (_, other), other.asks() as there:
        told = await there.head("/api/alerts")
        assert (told.status_code, told.content) == (200, b"")
        assert told.headers["content-type"] == "application/json"
        assert (await there.get("/api/alerts")).json() == {"alerts": []}
