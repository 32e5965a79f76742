"""Clients of the stream in a process of their own: each message with the moment at which it was read.

``python -m benchmarks.listener '{"url": …, "topics": [[…], …], "seconds": 10, "out": …}'`` opens one connection a list
of topics, says ``{"open": n}``, listens for so long, and writes the messages' moments, sizes and prices to a file.
``"stuck"`` names topics of one more connection that subscribes and never reads, ``"key"`` is the API key of all.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import picows

from pairscope.process import loop_factory

__all__ = ["arrivals", "heard_alerts"]


class Client(picows.WSListener):  # type: ignore[misc]
    """Keeps what comes, unread."""

    def __init__(self, topics: list[str]) -> None:
        super().__init__()
        self.topics = topics
        self.kept: list[tuple[int, bytes]] = []
        self.transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport

    def ask(self) -> None:
        for at in range(0, len(self.topics), 50):
            self.transport.send(
                picows.WSMsgType.TEXT, json.dumps({"op": "subscribe", "topics": self.topics[at : at + 50]}).encode()
            )

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.kept.append((time.time_ns(), frame.get_payload_as_bytes()))


def stuck(url: str, topics: list[str], api_key: str = "") -> socket.socket:
    """Open a connection that asks for topics and never reads an answer."""
    parts = urlsplit(url)
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    held.connect((parts.hostname, parts.port))
    key = base64.b64encode(os.urandom(16)).decode()
    known = f"X-API-Key: {api_key}\r\n" if api_key else ""
    held.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{known}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    if not (answer := held.recv(1024)).startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"the stream refuses: {answer!r}")
    for at in range(0, len(topics), 20):
        body = json.dumps({"op": "subscribe", "topics": topics[at : at + 20]}).encode()
        size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
        held.sendall(b"\x81" + size + bytes(4) + body)
    return held


async def listen(told: dict[str, Any]) -> None:
    clients = []
    headers = {"X-API-Key": told["key"]} if told.get("key") else None
    for topics in told["topics"]:
        _, client = await picows.ws_connect(lambda topics=topics: Client(topics), told["url"], extra_headers=headers)
        client.ask()
        clients.append(client)
    held = stuck(told["url"], told["stuck"], told.get("key", "")) if told.get("stuck") else None
    await asyncio.sleep(1.0)
    for client in clients:
        client.kept.clear()
    say({"open": len(clients)})
    await asyncio.sleep(told["seconds"])
    until_ns = time.time_ns()
    closed = sum(client.transport.is_disconnected for client in clients)
    if held is not None:
        held.close()
    names: dict[str, int] = {}
    rows = []
    alerts = []
    for number, client in enumerate(clients):
        for at_ns, message in client.kept:
            said = json.loads(message)
            if said.get("topic", "").startswith("price:"):
                size, price = said["data"]["size"], round(said["data"]["price"] * 100)
                name = names.setdefault(said["data"]["symbol"], len(names))
                rows.append((number, name, at_ns, -1 if size is None else round(size * 1000), price))
            elif said.get("topic") == "alerts" and at_ns <= until_ns:
                alerts.append({**said["data"], "at_ns": at_ns})
    shown = np.array(rows, np.int64).reshape(-1, 5)
    np.savez(told["out"], rows=shown, names=np.array(list(names)), alerts=np.array(json.dumps(alerts)))
    fewest = min(sum(at_ns <= until_ns for at_ns, _ in client.kept) for client in clients)
    messages = sum(at_ns <= until_ns for client in clients for at_ns, _ in client.kept)
    say({"messages": messages, "fewest": fewest, "closed": closed})


def say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def arrivals(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """By symbol: rows (client, moment in ns, number of the trade shown, price in cents) of a listener's file."""
    with np.load(path) as held:
        rows, names = held["rows"], held["names"]
    return {str(name): rows[rows[:, 1] == i][:, [0, 2, 3, 4]] for i, name in enumerate(names)}


def heard_alerts(path: str) -> list[dict[str, Any]]:
    """The alerts of a file that a listener wrote, each with the moment at which it was read as ``at_ns``."""
    with np.load(path) as held:
        found: list[dict[str, Any]] = json.loads(str(held["alerts"]))
    return found


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(listen(json.loads(sys.argv[1])))
