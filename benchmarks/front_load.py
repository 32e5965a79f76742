"""People in front of server mode, in a process of their own: callers that ask all day, and clients of the stream.

``python -m benchmarks.front_load '{"addresses": […], "key": …, "callers": 4, "listeners": 6, "symbols": […],
"rules": […]}'`` answers each line on its standard input with one of JSON: what came since the line before.
Every caller and client has an address of its own on loopback, as people have.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import picows

from benchmarks.replicas import UNCHECKED
from pairscope.process import loop_factory

EVERY_S = 0.05
CHANGE_S = 0.5
PATIENCE_S = 30.0
BACK_S = 0.1
"""A client of the stream that is refused comes back so soon."""


@dataclass
class Seen:
    """What came since it was last asked."""

    asked: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    by_route: dict[str, list[float]] = field(default_factory=dict)
    closes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    alerts: int = 0
    silence_s: float = 0.0
    away_s: float = 0.0


class Caller:
    """Asks for one thing after the other over a connection that is kept."""

    def __init__(self, told: dict[str, Any], number: int, seen: list[Seen]) -> None:
        self._parts = urlsplit(told["addresses"][number % len(told["addresses"])])
        self._key = told["key"]
        self._seen = seen
        self._from = f"127.0.1.{number + 1}"
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, asks: list[tuple[str, str, bytes]], *, every_s: float) -> None:
        """Ask in turn, at even distances as far as the answers allow."""
        loop = asyncio.get_running_loop()
        turn, due = 0, loop.time()
        while True:
            method, path, body = asks[turn % len(asks)]
            turn, began = turn + 1, loop.time()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    said = str(await self._ask(method, path, body))
            except (OSError, TimeoutError, EOFError, ValueError) as error:
                said = type(error).__name__
                self._hang_up()
            seen = self._seen[0]
            seen.took.append(loop.time() - began)
            route = f"{method} {path.split('/')[2].split('?')[0]}"
            seen.by_route.setdefault(route, []).append(seen.took[-1])
            seen.asked += 1
            if said != "200":
                seen.bad[f"{said} {route}"] += 1
                if len(seen.failed) < 20:
                    seen.failed.append(f"{time.strftime('%H:%M:%S')} {method} {path} {said}")
            due = max(due + every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _ask(self, method: str, path: str, body: bytes) -> int:
        if self._line is None:
            parts = self._parts
            secure = UNCHECKED if parts.scheme == "https" else None
            assert parts.hostname is not None
            self._line = await asyncio.open_connection(
                parts.hostname, parts.port, ssl=secure, local_addr=(self._from, 0), limit=1 << 22
            )
        reader, writer = self._line
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nX-API-Key: {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        elif b"content-length:" in head:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0]))
        if b"connection: close" in head:
            self._hang_up()
        return int(head.split(b" ", 2)[1])

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line[1].close()
            self._line = None


class Socket(picows.WSListener):  # type: ignore[misc]  # the base has no types
    """One connection of a client of the stream."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener
        self.code = "cut"
        self.ids: set[str] = set()

    def on_ws_connected(self, transport: Any) -> None:
        listener = self._listener
        wishes: list[dict[str, Any]] = [{"op": "subscribe", "topics": listener.topics}]
        wishes.append({"op": "subscribe", "topics": ["alerts"]})
        if listener.seqs:
            wishes[-1]["since"] = max(listener.seqs)
        for wish in wishes:
            transport.send(picows.WSMsgType.TEXT, orjson.dumps(wish))

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            self.code = str(int(frame.get_close_code()))
            transport.disconnect()
            return
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        said = orjson.loads(frame.get_payload_as_bytes())
        topic = said.get("topic", "")
        if topic.startswith("price:"):
            self._listener.heard()
        elif topic == "alerts":
            self._listener.alert(self, said["seq"], said["data"]["id"])
        else:
            self._listener.seen[0].refused[str(said)[:80]] += 1


class Listener:
    """A client of the stream that comes back whenever it is hung up on, and asks for the alerts that it missed."""

    def __init__(self, told: dict[str, Any], number: int, seen: list[Seen]) -> None:
        self._url = "ws" + told["addresses"][number % len(told["addresses"])].removeprefix("http") + "/ws/updates"
        self._headers = {"X-API-Key": told["key"]}
        self._from = f"127.0.2.{number + 1}"
        symbols = told["symbols"]
        self.topics = [f"price:{symbols[(number * 7 + k) % len(symbols)]}" for k in range(5)]
        self.seen = seen
        self.seqs: Counter[int] = Counter()
        self.twice = 0
        self._last = time.monotonic()

    async def run(self) -> None:
        """Listen for ever."""
        secure = {"ssl_context": UNCHECKED} if self._url.startswith("wss") else {}
        while True:
            began = time.monotonic()
            while True:
                try:
                    transport, socket = await picows.ws_connect(
                        lambda: Socket(self),
                        self._url,
                        extra_headers=self._headers,
                        local_addr=(self._from, 0),
                        **secure,
                    )
                    break
                except (OSError, TimeoutError, picows.WSError) as error:
                    self.seen[0].refused[f"{type(error).__name__} {error}"[:120]] += 1
                    await asyncio.sleep(BACK_S)
            self.seen[0].away_s = max(self.seen[0].away_s, time.monotonic() - began)
            with suppress(OSError, picows.WSError):
                await transport.wait_disconnected()
            self.seen[0].closes[socket.code] += 1

    def heard(self) -> None:
        """A price came."""
        seen, now = self.seen[0], time.monotonic()
        seen.messages += 1
        seen.silence_s = max(seen.silence_s, now - self._last)
        self._last = now

    def alert(self, socket: Socket, seq: int, alert: str) -> None:
        """An alert came: never twice over one connection, and never twice at all for who asks from where it was."""
        self.seen[0].alerts += 1
        self.twice += alert in socket.ids or self.seqs[seq] > 0
        socket.ids.add(alert)
        self.seqs[seq] += 1

    def quiet_s(self) -> float:
        """How long nothing has come by now."""
        return time.monotonic() - self._last


async def load(told: dict[str, Any]) -> None:
    """Ask and listen until the last line; then say which alerts each client heard."""
    seen = [Seen()]
    symbols, rules = told["symbols"], told["rules"]
    paths = [
        "/api/health",
        "/api/symbols",
        f"/api/price/{symbols[0]}",
        f"/api/ohlc/{symbols[1]}?timeframe=1m&limit=50",
        f"/api/ticks/{symbols[2]}?limit=50",
        f"/api/analytics/symbol?symbol={symbols[3]}&timeframe=1s&window=5",
        f"/api/analytics/pair?y={symbols[4]}&x={symbols[5]}&timeframe=1s&lookback=60&window=20",
        "/api/alerts?status=active",
        "/api/alerts/triggered?limit=20",
        f"/api/price/{symbols[6]}",
    ]
    asks = [("GET", path, b"") for path in paths]
    changes = [("PATCH", f"/api/alerts/{rule}", b'{"note":"seen"}') for rule in rules]
    callers = [Caller(told, k, seen) for k in range(told["callers"])]
    listeners = [Listener(told, k, seen) for k in range(told["listeners"])]
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(c.run(asks[k:] + asks[:k], every_s=EVERY_S)) for k, c in enumerate(callers) if asks
        ]
        if changes:
            running.append(group.create_task(Caller(told, 99, seen).run(changes, every_s=CHANGE_S)))
        running += [group.create_task(each.run()) for each in listeners]
        while await asyncio.to_thread(sys.stdin.readline):
            since, seen[0] = seen[0], Seen()
            since.silence_s = max([since.silence_s, *(each.quiet_s() for each in listeners)])
            say(summary(since, listeners))
        for task in running:
            task.cancel()


def summary(seen: Seen, listeners: list[Listener]) -> dict[str, Any]:
    """What came, as a document."""
    took = sorted(seen.took) or [0.0]
    heard = [sorted(each.seqs) for each in listeners]
    return {
        "asked": seen.asked,
        "bad": dict(seen.bad),
        "failed": seen.failed,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
        "max_ms": took[-1] * 1e3,
        "routes": {
            name: f"{sorted(each)[len(each) // 2] * 1e3:.0f}/{max(each) * 1e3:.0f}"
            for name, each in seen.by_route.items()
        },
        "closes": dict(seen.closes),
        "refused": dict(seen.refused),
        "messages": seen.messages,
        "alerts": seen.alerts,
        "silence_s": seen.silence_s,
        "away_s": seen.away_s,
        "twice": sum(each.twice for each in listeners),
        "unheard": sum(each[-1] - each[0] + 1 - len(each) for each in heard if each),
    }


def say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(load(json.loads(sys.argv[1])))
