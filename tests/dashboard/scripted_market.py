"""A market that follows a script: the API's contract over a seeded random walk, with a switch for every trouble."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from .scripted_alerts import ScriptedAlerts
from .scripted_backtests import ScriptedBacktests
from .scripted_data import ScriptedData
from .scripted_monitoring import ScriptedMonitoring
from .scripted_pairs import ScriptedPairs
from .scripted_screen import ScriptedScreen

SECONDS = {
    "1s": 1,
    "5s": 5,
    "15s": 15,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "4h": 14400,
    "1d": 86400,
}
PRICES = {
    "BTCUSDT": (67000.0, 1),
    "ETHUSDT": (3460.0, 2),
    "SOLUSDT": (183.5, 3),
    "BNBUSDT": (603.9, 2),
    "XRPUSDT": (0.5312, 4),
    "1000SHIBUSDT": (0.00001234, 8),
}
FINE_S = 3600
COARSE_S = 2 * 86400


@dataclass
class Symbol:
    """One symbol's bars: minutes for two days, seconds for the last hour, both growing."""

    name: str
    price: float
    decimals: int
    dice: random.Random
    seconds: dict[int, dict[str, Any]] = field(default_factory=dict)
    minutes: dict[int, dict[str, Any]] = field(default_factory=dict)
    ticks: int = 0
    last_s: float = 0.0

    def trade(self, at_s: float, *, size: float | None = None) -> None:
        step = self.price * 0.0002 * self.dice.gauss(0, 1)
        self.price = round(max(self.price + step, 10**-self.decimals), self.decimals)
        size = round(self.dice.expovariate(1.0) + 0.001, 3) if size is None else size
        bought = size if self.dice.random() < 0.53 else 0.0
        self.ticks += 1
        self.last_s = at_s
        for held, length in ((self.seconds, 1), (self.minutes, 60)):
            opened = int(at_s // length) * length
            bar = held.get(opened)
            if bar is None:
                bar = held[opened] = {
                    "timestamp": opened * 1000,
                    "open": self.price,
                    "high": self.price,
                    "low": self.price,
                    "close": self.price,
                    "volume": 0.0,
                    "quote": 0.0,
                    "buy_volume": 0.0,
                    "trades": 0,
                }
            bar["high"] = max(bar["high"], self.price)
            bar["low"] = min(bar["low"], self.price)
            bar["close"] = self.price
            bar["volume"] = round(bar["volume"] + size, 3)
            bar["buy_volume"] = round(bar["buy_volume"] + bought, 3)
            bar["quote"] += size * self.price
            bar["trades"] += 1

    def bars(self, timeframe: str, now_s: float, since_s: float = 0) -> list[dict[str, Any]]:
        """Bars of a timeframe that open at ``since_s`` or later, oldest first."""
        length = SECONDS[timeframe]
        held = self.seconds if length < 60 else self.minutes
        held_now = list(held.items())  # in one step: another thread goes on adding to it
        recent = itertools.takewhile(lambda item: item[0] >= since_s, reversed(held_now))  # they came in order
        longer: dict[int, dict[str, Any]] = {}
        for opened, bar in reversed(list(recent)):
            start = opened // length * length
            into = longer.get(start)
            if into is None:
                longer[start] = {**bar, "timestamp": start * 1000}
                continue
            into["high"] = max(into["high"], bar["high"])
            into["low"] = min(into["low"], bar["low"])
            into["close"] = bar["close"]
            for name in ("volume", "buy_volume"):
                into[name] = round(into[name] + bar[name], 3)
            into["quote"] += bar["quote"]
            into["trades"] += bar["trades"]
        return [_finished(bar, length, now_s) for bar in longer.values()]


def _finished(bar: dict[str, Any], length: int, now_s: float) -> dict[str, Any]:
    shown = {name: value for name, value in bar.items() if name != "quote"}
    shown["vwap"] = bar["quote"] / bar["volume"] if bar["volume"] else None
    shown["closed"] = bar["timestamp"] / 1000 + length <= now_s
    return shown


class ScriptedMarket:
    """The whole API; set ``stalled``, ``down`` or ``source`` while it runs."""

    def __init__(self, *, seed: int = 7, trades_per_second: float = 8.0) -> None:
        self.stalled = False
        self.down = False
        self.source = "synthetic"
        self.rate = trades_per_second
        self.started = time.time()
        self.requests: list[str] = []
        self.symbols = {
            name: Symbol(name, price, decimals, random.Random(f"{seed}{name}"))
            for name, (price, decimals) in PRICES.items()
        }
        self.sequence: dict[str, int] = {}
        self.cuts = 0
        self.revised: list[dict[str, Any]] = []
        self.pairs = ScriptedPairs(self)
        self.screen = ScriptedScreen(self)
        self.backtests = ScriptedBacktests(self)
        self.alerts = ScriptedAlerts(self)
        self.monitoring = ScriptedMonitoring()
        self.data = ScriptedData(self)
        self._write_history()
        self.app = self._app()

    def _write_history(self) -> None:
        now = time.time()
        for symbol in self.symbols.values():
            for at in range(int(now - COARSE_S), int(now - FINE_S), 15):
                daily = 1.0 + 0.6 * math.sin(at / 86400 * 2 * math.pi)
                symbol.trade(at, size=round(daily * symbol.dice.expovariate(1.0), 3))
            for at in range(int(now - FINE_S), int(now)):
                for _ in range(symbol.dice.randint(0, 3)):
                    symbol.trade(at + symbol.dice.random())

    def step(self, elapsed_s: float) -> None:
        now = time.time()
        for symbol in self.symbols.values():
            expected = self.rate * elapsed_s
            count = int(expected) + (symbol.dice.random() < expected % 1)
            for _ in range(count):
                symbol.trade(now)

    def stats(self) -> dict[str, Any]:
        now = time.time()
        last = max(symbol.last_s for symbol in self.symbols.values())
        return {
            "ticks": sum(symbol.ticks for symbol in self.symbols.values()),
            "symbols": len(self.symbols),
            "uptime_s": now - self.started,
            "source": self.source,
            "timestamp": int(now * 1000),
            "last_tick_age_ms": int((now - last) * 1000),
            "rates": {"ticks_per_second": 0.0 if self.stalled else self.rate * len(self.symbols)},
            "store": {},
            "queues": {},
            "reconnects": 0,
            "gaps": [],
        }

    def cut(self) -> None:
        """Close every WebSocket; clients may come back at once."""
        self.cuts += 1

    def revise(self, name: str, timestamp: int, **changed: Any) -> None:
        """Correct a closed one-second bar, as a late trade does, and tell who listens."""
        symbol = self.symbols[name]
        symbol.seconds[timestamp // 1000].update(changed)
        bar = next(bar for bar in symbol.bars("1s", time.time()) if bar["timestamp"] == timestamp)
        self.revised.append({**bar, "symbol": name, "timeframe": "1s", "revised": True, "closed": True})

    def value_of(self, topic: str) -> Any:
        kind, *rest = topic.split(":", 2)
        now = time.time()
        if kind == "stats":
            return self.stats()
        if kind == "pair":
            return self.pairs.live(*rest)
        symbol = self.symbols[rest[0]]
        if kind == "price":
            return {"symbol": symbol.name, "price": symbol.price, "size": 1.0, "timestamp": int(symbol.last_s * 1000)}
        if kind == "bar":
            recent = self.bars_of(topic, now - 2 * SECONDS[rest[1]])
            return (recent or self.bars_of(topic, 0))[-1]
        timeframe, names = rest[1].split(":", 1)
        return self._indicators_now(symbol, timeframe, names.split(","), now)

    def bars_of(self, topic: str, since_s: float) -> list[dict[str, Any]]:
        """Return the values of a bar topic from a time on: what was closed since, and the newest."""
        _, name, timeframe = topic.split(":")
        told = {"symbol": name, "timeframe": timeframe, "revised": False}
        return [{**told, **bar} for bar in self.symbols[name].bars(timeframe, time.time(), since_s)]

    def _indicators_now(self, symbol: Symbol, timeframe: str, names: list[str], now: float) -> dict[str, Any]:
        bars = symbol.bars(timeframe, now, (int(now) // SECONDS[timeframe] - 200) * SECONDS[timeframe])
        return {
            "symbol": symbol.name,
            "timeframe": timeframe,
            "timestamp": bars[-1]["timestamp"],
            "values": {key: series[-1] for key, series in indicator_columns(bars, names).items()},
        }

    def _app(self) -> FastAPI:
        app = FastAPI(lifespan=self._lifespan)

        @app.middleware("http")
        async def note(request: Request, call_next: Any) -> Any:
            self.requests.append(str(request.url.path))
            if self.down:
                problem = {"title": "Store unavailable", "status": 503, "detail": "the store does not answer"}
                return JSONResponse(problem, 503, media_type="application/problem+json", headers={"Retry-After": "1"})
            return await call_next(request)

        # Added last, so that it is outermost: a refusal must be readable from the page as well.
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
        self._routes(app)
        self.data.install(app)
        self.pairs.install(app)
        self.screen.install(app)
        self.backtests.install(app)
        self.monitoring.install(app)
        self.alerts.install(app)
        app.add_api_websocket_route("/ws/updates", self._updates)
        return app

    def _known(self, name: str) -> Symbol | JSONResponse:
        symbol = self.symbols.get(name.upper())
        if symbol is not None:
            return symbol
        detail = f"unknown symbol {name!r}; did you mean BTCUSDT?"
        problem = {
            "title": "Not Found",
            "status": 404,
            "detail": detail,
            "errors": [{"loc": ["symbol"], "msg": detail}],
        }
        return JSONResponse(problem, 404, media_type="application/problem+json")

    def _routes(self, app: FastAPI) -> None:
        @app.get("/api/health")
        async def health() -> Any:
            feed = "degraded" if self.stalled else "ok"
            return {
                "status": feed,
                "source": self.source,
                "checks": {"feed": {"status": feed}, "store": {"status": "ok"}},
            }

        @app.get("/api/stats")
        async def stats() -> Any:
            return self.stats()

        @app.post("/api/ws-ticket", status_code=201)
        async def ticket(request: Request) -> Any:
            return {"ticket": f"ticket-for-{request.headers.get('X-API-Key')}", "expires_in_s": 30}

        @app.get("/api/symbols")
        async def symbols() -> Any:
            return [
                {"symbol": s.name, "status": "live", "last_timestamp": int(s.last_s * 1000), "tick_count": s.ticks}
                for s in self.symbols.values()
            ]

        @app.get("/api/price/{name}")
        async def price(name: str) -> Any:
            symbol = self._known(name)
            if isinstance(symbol, JSONResponse):
                return symbol
            now = time.time()
            day = [bar for bar in symbol.bars("1m", now) if bar["timestamp"] >= (now - 86400) * 1000]
            return {
                "symbol": symbol.name,
                "price": symbol.price,
                "size": 1.0,
                "timestamp": int(symbol.last_s * 1000),
                "age_ms": int((now - symbol.last_s) * 1000),
                "change_24h": symbol.price / day[0]["open"] - 1,
                "volume_24h": sum(bar["volume"] for bar in day),
                "source": self.source,
            }

        @app.get("/api/ohlc/{name}")
        async def ohlc(
            name: str, timeframe: str = "1m", limit: int = 500, start: int | None = None, end: int | None = None
        ) -> Any:
            symbol = self._known(name)
            if isinstance(symbol, JSONResponse):
                return symbol
            bars = [
                bar
                for bar in symbol.bars(timeframe, time.time())
                if (start is None or bar["timestamp"] >= start) and (end is None or bar["timestamp"] < end)
            ]
            bars = bars[:limit] if start is not None else bars[-limit:]
            return {"symbol": symbol.name, "timeframe": timeframe, "bars": bars, "next": None}

        @app.get("/api/ticks/{name}")
        async def ticks(name: str, limit: int = 500) -> Any:
            symbol = self._known(name)
            if isinstance(symbol, JSONResponse):
                return symbol
            rows = [
                {
                    "id": n,
                    "timestamp": int(symbol.last_s * 1000),
                    "price": symbol.price,
                    "size": 1.0,
                    "buyer_is_maker": True,
                }
                for n in range(limit)
            ]
            return {"symbol": symbol.name, "ticks": rows, "next": None}

        @app.get("/api/indicators/{name}")
        async def indicators(
            name: str,
            names: str,
            timeframe: str = "1m",
            limit: int = 500,
            start: int | None = None,
            end: int | None = None,
        ) -> Any:
            symbol = self._known(name)
            if isinstance(symbol, JSONResponse):
                return symbol
            bars = [bar for bar in symbol.bars(timeframe, time.time()) if end is None or bar["timestamp"] < end]
            columns = indicator_columns(bars, names.split(","))
            keep = slice(-limit, None)
            return {
                "symbol": symbol.name,
                "timeframe": timeframe,
                "timestamp": [bar["timestamp"] for bar in bars][keep],
                "values": {key: series[keep] for key, series in columns.items()},
            }

        @app.get("/api/volume/{name}")
        async def volume(name: str, bins: int = 24) -> Any:
            symbol = self._known(name)
            return symbol if isinstance(symbol, JSONResponse) else volume_of(symbol, bins)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> Any:
        task = asyncio.create_task(self._run())
        yield
        task.cancel()

    async def _run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if not self.stalled and not self.down:
                self.step(now - last)
            last = now

    async def _updates(self, socket: WebSocket) -> None:
        if self.down:
            await socket.close(1013)
            return
        await socket.accept()
        topics: set[str] = set()
        alerts_from = [self.alerts.seq]
        sender = asyncio.create_task(self._send(socket, topics, alerts_from))
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                message = await socket.receive_json()
                chosen = message.get("topics", [])
                if message.get("op") == "subscribe":
                    if "alerts" in chosen:
                        alerts_from[0] = message.get("since", self.alerts.seq)
                    topics.update(chosen)
                else:
                    topics.difference_update(chosen)
        sender.cancel()

    async def _send(self, socket: WebSocket, topics: set[str], alerts_from: list[int]) -> None:
        sent: dict[str, Any] = {}
        rounds, cuts, told = 0, self.cuts, len(self.revised)
        while True:
            if self.down or self.cuts > cuts:
                await socket.close(1012)
                return
            for bar in self.revised[told:]:
                await self._tell(socket, f"bar:{bar['symbol']}:1s", bar)
            told = len(self.revised)
            for topic in list(topics):
                if topic == "alerts":
                    for firing in [one for one in self.alerts.firings if one["seq"] > alerts_from[0]]:
                        alerts_from[0] = firing["seq"]
                        await socket.send_json({"topic": topic, "seq": firing["seq"], "data": firing})
                    continue
                if topic.startswith("bar:") and topic in sent:
                    for value in self.bars_of(topic, sent[topic]["timestamp"] / 1000):
                        if value["timestamp"] > sent[topic]["timestamp"] or value != sent[topic]:
                            sent[topic] = value
                            await self._tell(socket, topic, value)
                    continue
                value = self.value_of(topic)
                if sent.get(topic) == value or (topic == "stats" and topic in sent and rounds % 10):
                    continue
                if (
                    topic.startswith("pair:")
                    and topic in sent
                    and (value["timestamp"] or 0) > (sent[topic]["timestamp"] or math.inf)
                ):
                    _, y, x = topic.split(":")
                    await self._tell(socket, topic, self.pairs.live(y, x, closed=True))
                sent[topic] = value
                await self._tell(socket, topic, value)
            rounds += 1
            await asyncio.sleep(0.1)

    async def _tell(self, socket: WebSocket, topic: str, value: Any) -> None:
        self.sequence[topic] = self.sequence.get(topic, 0) + 1
        await socket.send_json({"topic": topic, "seq": self.sequence[topic], "data": value})


def indicator_columns(bars: list[dict[str, Any]], names: list[str]) -> dict[str, list[float | None]]:
    """Stand-ins that lie near the price (overlays) or swing about a middle (panes); the screen cannot tell."""
    closes = [bar["close"] for bar in bars]
    columns: dict[str, list[float | None]] = {}
    for name in names:
        kind, _, rest = name.partition(":")
        period = int(rest.split(":")[0]) if rest else 20
        mean = [None if i + 1 < period else sum(closes[i + 1 - period : i + 1]) / period for i in range(len(closes))]
        if kind == "bollinger":
            width = [None if m is None else m * 0.001 for m in mean]
            columns[f"{name}.middle"] = mean
            columns[f"{name}.upper"] = [None if m is None else m + (w or 0) for m, w in zip(mean, width, strict=True)]
            columns[f"{name}.lower"] = [None if m is None else m - (w or 0) for m, w in zip(mean, width, strict=True)]
        elif kind == "macd":
            wave = [math.sin(i / 9) for i in range(len(closes))]
            columns[f"{name}.macd"] = list(wave)
            columns[f"{name}.signal"] = [math.sin((i - 3) / 9) for i in range(len(closes))]
            columns[f"{name}.histogram"] = [math.sin(i / 9) - math.sin((i - 3) / 9) for i in range(len(closes))]
        elif kind == "rsi":
            columns[name] = [50 + 25 * math.sin(i / 7) for i in range(len(closes))]
        elif kind in {"atr", "volatility"}:
            columns[name] = [closes[i] * 0.001 * (1.5 + math.sin(i / 11)) for i in range(len(closes))]
        else:
            columns[name] = mean
    return columns


def volume_of(symbol: Symbol, bins: int) -> dict[str, Any]:
    """The volume document; the days before are made up, the profile and the split are the bars'."""
    now = time.time()
    day = [bar for bar in symbol.bars("1m", now) if bar["timestamp"] >= (now - 86400) * 1000]
    low, high = min(bar["low"] for bar in day), max(bar["high"] for bar in day)
    step = (high - low) / bins
    profile = [
        {"low": low + i * step, "high": low + (i + 1) * step, "volume": 0.0, "buy_volume": 0.0} for i in range(bins)
    ]
    for bar in day:
        place = profile[min(bins - 1, int((bar["close"] - low) / step))]
        place["volume"] += bar["volume"]
        place["buy_volume"] += bar["buy_volume"]
    today = [bar for bar in day if bar["timestamp"] // 86_400_000 == int(now // 86400)]
    hours: list[dict[str, Any]] = []
    for hour in range(24):
        known = [bar["volume"] for bar in today if bar["timestamp"] // 3_600_000 % 24 == hour]
        usual = 400 + 250 * math.sin(hour / 24 * 2 * math.pi)
        hours.append({"hour": hour, "today": sum(known) if known else None, "mean": usual})
    total, bought = sum(bar["volume"] for bar in day), sum(bar["buy_volume"] for bar in day)
    so_far = sum(bar["volume"] for bar in today)
    return {
        "symbol": symbol.name,
        "start": int((now - 86400) * 1000),
        "end": int(now * 1000),
        "resolution": "1m",
        "volume": total,
        "quote_volume": total * symbol.price,
        "buy_volume": bought,
        "sell_volume": total - bought,
        "trades": sum(bar["trades"] for bar in day),
        "profile": profile,
        "time_of_day": {"today": so_far, "mean": so_far / 1.4, "ratio": 1.4, "days": 7, "hours": hours},
    }


@contextlib.contextmanager
def serving(market: ScriptedMarket, port: int = 0) -> Iterator[str]:
    """Serve the market on a port of loopback (a free one by default) from a thread; yields its address."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(market.app, log_level="error", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()
