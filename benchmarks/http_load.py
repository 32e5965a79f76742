"""Requests over kept-alive connections, from a process of its own.

``python -m benchmarks.http_load '{"url": …, "connections": 32, "seconds": 3, "rate": null}'`` says how many were
answered and how long each took; with a rate they leave at even distances, else as soon as a connection is free.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pairscope.process import loop_factory


class Line(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, notes the time."""

    def __init__(self, request: bytes, took: list[float]) -> None:
        self._request = request
        self._took = took
        self._buffer = b""
        self._began = 0.0
        self.transport: Any = None
        self.again = True
        self.idle: asyncio.Event = asyncio.Event()
        self.bad = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self) -> None:
        self.idle.clear()
        self._began = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, received: bytes) -> None:
        self._buffer += received
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        if len(body) < int(lower[at:].split(b"\r\n", 1)[0]):
            return
        self._took.append(time.perf_counter() - self._began)
        self.bad += not head.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        if self.again:
            self.send()
        else:
            self.idle.set()


async def load(told: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(told["url"])
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode()
    took: list[float] = []
    loop = asyncio.get_running_loop()
    lines = [
        (await loop.create_connection(lambda: Line(request, took), parts.hostname, parts.port))[1]
        for _ in range(told["connections"])
    ]
    began = time.perf_counter()
    if told.get("rate"):
        await paced(lines, told["rate"], told["seconds"])
    else:
        for line in lines:
            line.send()
        await asyncio.sleep(told["seconds"])
    elapsed, answered = time.perf_counter() - began, len(took)
    for line in lines:
        line.again = False
        line.transport.close()
    p50, p99 = np.percentile(took, [50, 99])
    return {
        "rate": answered / elapsed, "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "bad": sum(line.bad for line in lines)
    }  # fmt: skip


async def paced(lines: list[Line], rate: float, seconds: float) -> None:
    """Send at even distances on whichever connection is free."""
    for line in lines:
        line.again = False
        line.idle.set()
    free = asyncio.Queue[Line]()
    for line in lines:
        free.put_nowait(line)
    began = time.perf_counter()
    waiting: set[asyncio.Task[None]] = set()

    async def one(line: Line) -> None:
        line.send()
        await line.idle.wait()
        free.put_nowait(line)

    for k in range(int(rate * seconds)):
        due = began + k / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(await free.get()))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.stdout.write(json.dumps(runner.run(load(json.loads(sys.argv[1])))) + "\n")
