"""An exchange that prints what a test tells it to, over real WebSockets and an in-process REST."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from pairscope.feed.rest import ExchangeRest
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

DEADLINE_S = 10.0


class ScriptedExchange:
    """Prints trades, remembers them for REST, and misbehaves on request."""

    def __init__(self) -> None:
        self.trades: dict[str, list[dict[str, Any]]] = {}
        self.klines: dict[str, list[list[Any]]] = {}
        self.instruments: list[dict[str, Any]] = []
        self.tickers: list[dict[str, Any]] | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: deque[httpx2.Response | Exception] = deque()
        self.hidden: set[tuple[str, int]] = set()
        self.paths: list[str] = []
        self.controls: list[tuple[float, dict[str, Any]]] = []
        self.stalled = False
        self.refuse: HTTPStatus | None = None
        self.now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
        self._streams: dict[ServerConnection, set[str]] = {}
        self._server: Server | None = None
        self._raw = 1000

    async def start(self) -> str:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._admit, compression=None)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    # -- what the market does

    def record(self, symbol: str, price: str = "100.5", size: str = "2", **other: Any) -> dict[str, Any]:
        """Let a trade happen that no socket hears of."""
        rows = self.trades.setdefault(symbol, [])
        self._raw += 3
        row = {
            "a": rows[-1]["a"] + 1 if rows else 1,
            "p": price,
            "q": size,
            "f": self._raw,
            "l": self._raw + 2,
            "T": self.now_ms(),
            "m": False,
        } | other
        rows.append(row)
        return row

    def frame(self, symbol: str, row: dict[str, Any]) -> str:
        data = {"e": "aggTrade", "E": row["T"] + 5, "s": symbol, **row}
        return json.dumps({"stream": f"{symbol.lower()}@aggTrade", "data": data}, ensure_ascii=False)

    async def trade(self, symbol: str, price: str = "100.5", size: str = "2", **other: Any) -> dict[str, Any]:
        """Let a trade happen and tell whoever follows it."""
        row = self.record(symbol, price, size, **other)
        await self.say(self.frame(symbol, row), stream=f"{symbol.lower()}@aggTrade")
        return row

    async def say(self, text: str, *, stream: str | None = None) -> None:
        if self.stalled:
            return
        for socket, streams in list(self._streams.items()):
            if stream is None or stream in streams:
                await socket.send(text)

    async def cut(self, code: int = 1001) -> None:
        for socket in list(self._streams):
            if code == 1006:
                socket.transport.abort()
            else:
                await socket.close(code, "bye")

    @property
    def listeners(self) -> int:
        return len(self._streams)

    def streams(self) -> set[str]:
        return set().union(*self._streams.values()) if self._streams else set()

    # -- WebSocket

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        self.paths.append(request.path)
        return connection.respond(self.refuse, "no\n") if self.refuse is not None else None

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        parts = urlsplit(socket.request.path)
        wanted = parse_qs(parts.query).get("streams", [""])[0]
        routed = parts.path.startswith("/market/")
        streams = {unquote(name) for name in wanted.split("/") if name} if routed else set()
        self._streams[socket] = streams
        try:
            async for message in socket:
                control = json.loads(message)
                self.controls.append((asyncio.get_running_loop().time(), control))
                if routed:
                    streams.update(control.get("params", []))
                await socket.send(json.dumps({"result": None, "id": control["id"]}))
        finally:
            del self._streams[socket]

    # -- REST

    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self._answer)

    def asked(self, path: str) -> list[dict[str, str]]:
        return [params for name, params in self.requests if name.endswith(path)]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path, params = request.url.path, dict(request.url.params)
        self.requests.append((path, params))
        if self.answers:
            answer = self.answers.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer
        return httpx2.Response(200, json=self._body(path.removeprefix("/fapi/v1/"), params))

    def _body(self, name: str, params: dict[str, str]) -> Any:
        symbol = params.get("symbol", "")
        if name == "ping":
            return {}
        if name == "time":
            return {"serverTime": self.now_ms()}
        if name == "exchangeInfo":
            return {"symbols": self.instruments}
        if name == "ticker/24hr":
            if self.tickers is not None:
                return self.tickers
            return [{"symbol": s, "quoteVolume": "1.0", "lastId": rows[-1]["l"]} for s, rows in self.trades.items()]
        if name == "aggTrades":
            rows = [row for row in self.trades.get(symbol, []) if (symbol, row["a"]) not in self.hidden]
            limit = int(params.get("limit", 500))
            if "fromId" in params:
                return [row for row in rows if row["a"] >= int(params["fromId"])][:limit]
            if "startTime" in params:
                return [row for row in rows if row["T"] >= int(params["startTime"])][:limit]
            return rows[-limit:]
        if name == "klines":
            low, high = int(params["startTime"]), int(params["endTime"])
            return [row for row in self.klines.get(symbol, []) if low <= row[0] <= high][: int(params["limit"])]
        raise AssertionError(name)


class Follower:
    """Takes a feed's batches in the background and lets a test wait for what it expects."""

    def __init__(self, feed: WebSocketFeed) -> None:
        self.feed = feed
        self.batches: list[TickBatch] = []
        self.error: BaseException | None = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for batch in self.feed.batches():
                self.batches.append(batch)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    async def until(self, true: Callable[[], Any], what: str = "") -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                if self._task.done():
                    raise AssertionError(f"feed ended while waiting for {what}: {self.error!r}")
                await asyncio.sleep(0.005)

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self._task

    def ids(self, symbol: str) -> list[int]:
        return [int(i) for batch in self.batches for i in batch.of_symbol(symbol).trade_id]

    def ticks(self) -> TickBatch:
        return concat_ticks(self.batches)

    def marks(self) -> list[int]:
        return [batch.watermark_ns for batch in self.batches]

    async def stop(self) -> None:
        await self.feed.close()
        await self.ended()


Follow = Callable[..., Awaitable[Follower]]


@pytest.fixture
async def exchange() -> AsyncIterator[ScriptedExchange]:
    scripted = ScriptedExchange()
    yield scripted


@pytest.fixture
async def follow(exchange: ScriptedExchange) -> AsyncIterator[Follow]:
    """Start a feed on the scripted exchange: ``await follow(["BTCUSDT"], stall_seconds=0.3)``."""
    url = await exchange.start()
    started: list[Follower] = []
    rests: list[ExchangeRest] = []

    async def start(names: Iterable[str], *, continuity: Continuity | None = None, **options: Any) -> Follower:
        rest = ExchangeRest("http://exchange", clock=time.time_ns, transport=exchange.transport())
        rests.append(rest)
        defaults: dict[str, Any] = {
            "flush_ms": 5,
            "lateness_ms": 50,
            "stall_seconds": 5.0,
            "settle_seconds": 0.05,
            "grace_seconds": 0.05,
        }
        feed = WebSocketFeed(
            Symbols(),
            list(names),
            ws_url=url,
            rest=rest,
            continuity=continuity or Continuity(),
            **(defaults | options),
        )
        follower = Follower(feed)
        started.append(follower)
        wanted = exchange.listeners + 1
        if options.get("wait", True) and exchange.refuse is None:
            await follower.until(lambda: exchange.listeners >= wanted, "a connection")
        return follower

    yield start
    for follower in started:
        await follower.stop()
    for rest in rests:
        await rest.close()
    await exchange.stop()
