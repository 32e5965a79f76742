"""An exchange that prints what a test tells it to, over real WebSockets and an in-process REST."""

from __future__ import annotations

import asyncio
import json
import random
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
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

DEADLINE_S = 60.0


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
    def sockets(self) -> list[ServerConnection]:
        return list(self._streams)

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
        self._go_on = asyncio.Event()
        self._go_on.set()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for batch in self.feed.batches():
                self.batches.append(batch)
                await self._go_on.wait()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    async def until(self, true: Callable[[], Any], what: str = "") -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                if self._task.done():
                    raise AssertionError(f"feed ended while waiting for {what}: {self.error!r}")
                await asyncio.sleep(0.005)

    def hold(self) -> asyncio.Event:
        """Take no more batches until the event is set."""
        self._go_on.clear()
        return self._go_on

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


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: hours pass in milliseconds, the same way every time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0
        select = self._selector.select

        def jump(timeout: float | None = None) -> Any:
            if timeout is None:
                raise AssertionError("everything waits for ever")
            self._now += timeout
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self._now


class FakeSocket:
    """One end of a simulated connection."""

    def __init__(self, url: str, receiver: Any, opened_s: float) -> None:
        self.url = url
        self.receiver = receiver
        self.opened_s = opened_s
        self.sent: list[tuple[float, bytes]] = []
        self.open = True
        self.delay_s = 0.0
        self.closed_s: float | None = None
        self._waiting: list[str] = []
        self._paused = False

    def hear(self, text: str) -> None:
        if self.open and self._paused:
            self._waiting.append(text)
        elif self.open:
            self.receiver.on_frames([text.encode()])

    def break_off(self, reason: str) -> None:
        if self.open:
            self._end()
            self.receiver.on_close(reason)

    def send(self, message: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message))

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            self.hear(text)

    def close(self) -> None:
        """Hang up; like a real socket it tells of that end, too."""
        if self.open:
            self._end()
            asyncio.get_running_loop().call_soon(self.receiver.on_close, "without a word")

    def _end(self) -> None:
        self.open, self.closed_s = False, asyncio.get_running_loop().time()


class FakeNetwork:
    """Opens simulated sockets; ``refusals`` are raised first, ``lose`` decides which frames are lost."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.refusals: deque[BaseException] = deque()
        self.always: BaseException | None = None
        self.attempts: list[float] = []
        self.mute = False
        self.on_open: Callable[[FakeSocket], None] = lambda _: None
        self.lose: Callable[[str], bool] = lambda _: False

    async def open(self, url: str, receiver: Any) -> FakeSocket:
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        if self.refusals:
            raise self.refusals.popleft()
        if self.always is not None:
            raise self.always
        socket = FakeSocket(url, receiver, asyncio.get_running_loop().time())
        self.sockets.append(socket)
        asyncio.get_running_loop().call_soon(self.on_open, socket)
        return socket

    @property
    def live(self) -> list[FakeSocket]:
        return [socket for socket in self.sockets if socket.open]

    def say(self, text: str) -> None:
        if not self.mute and not self.lose(text):
            for socket in self.live:
                if socket.delay_s:
                    asyncio.get_running_loop().call_later(socket.delay_s, socket.hear, text)
                else:
                    socket.hear(text)


def _run_simulated(main: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@pytest.fixture
def simulate() -> Callable[[Any], Any]:
    """Run a coroutine in virtual time."""
    return _run_simulated


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


class Simulation:
    """A feed, an exchange and a network in virtual time; ``now_ms`` of the exchange is the loop's."""

    def __init__(self, network: FakeNetwork, names: Iterable[str], **options: Any) -> None:
        self.network = network
        self.exchange = ScriptedExchange()
        self.exchange.now_ms = lambda: 1_700_000_000_000 + round(self.monotonic() / 1e6)
        self.continuity = options.pop("continuity", None) or Continuity()
        self.verdicts: list[Gap] = []
        rest = ExchangeRest("http://exchange", clock=self.clock, transport=self.exchange.transport())
        self.feed = WebSocketFeed(
            Symbols(),
            list(names),
            ws_url="ws://exchange",
            rest=rest,
            continuity=self.continuity,
            clock=self.clock,
            monotonic=self.monotonic,
            opener=network.open,
            on_verdict=self.verdicts.append,
            rng=random.Random(7),
            **({"flush_ms": 50} | options),
        )
        self.follower = Follower(self.feed)

    def monotonic(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    def clock(self) -> int:
        return self.exchange.now_ms() * 1_000_000 - 1_270_000_000

    def trade(self, symbol: str, **other: Any) -> None:
        self.network.say(self.exchange.frame(symbol, self.exchange.record(symbol, **other)))

    async def market(self, seconds: float, rates: dict[str, float]) -> None:
        """Let symbols trade so many times a second, and their last ticks arrive."""
        loop = asyncio.get_running_loop()
        end, due = loop.time() + seconds, {symbol: loop.time() + 1 / rate for symbol, rate in rates.items()}
        while due and min(due.values()) <= end:
            symbol = min(due, key=lambda name: due[name])
            await asyncio.sleep(due[symbol] - loop.time())
            self.trade(symbol)
            due[symbol] += 1 / rates[symbol]
        await asyncio.sleep(max(0.0, end - loop.time()) + 0.06)

    def event_ns(self) -> int:
        return self.exchange.now_ms() * 1_000_000

    def behind_s(self) -> float:
        """How far the watermark is behind the market's time."""
        return (self.event_ns() - self.follower.batches[-1].watermark_ns) / 1e9

    def complete(self) -> bool:
        """Whether every trade since a symbol's first tick came exactly once."""
        for symbol, rows in self.exchange.trades.items():
            ids = sorted(self.follower.ids(symbol))
            if not ids or ids != [row["a"] for row in rows if row["a"] >= ids[0]]:
                return False
        return True


@pytest.fixture
def simulation(network: FakeNetwork) -> Callable[..., Simulation]:
    """Make a simulation; must be called inside ``simulate``."""
    return lambda names, **options: Simulation(network, names, **options)


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

    async def start(
        names: Iterable[str], *, continuity: Continuity | None = None, wait: bool = True, **options: Any
    ) -> Follower:
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
        if wait:
            await follower.until(lambda: exchange.listeners >= wanted, "a connection")
        return follower

    yield start
    for follower in started:
        await follower.stop()
    for rest in rests:
        await rest.close()
    await exchange.stop()
