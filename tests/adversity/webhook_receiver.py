"""A webhook's receiver as somebody would run one: it answers after a moment, and keeps what it was told."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """Everything that came, by firing: under which webhook-ids, and with which bodies."""

    ids: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bodies: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, webhook_id: str, body: dict[str, Any]) -> None:
        if not body.get("test"):
            self.ids[body["id"]].append(webhook_id)
            self.bodies[body["id"]].append(body)

    @property
    def repeated(self) -> list[str]:
        """Firings that came more than once."""
        return [firing for firing, ids in self.ids.items() if len(ids) > 1]


class Receiver:
    """An HTTP server on a free port of this machine, in threads."""

    def __init__(self, *, seed: int, most_s: float = 0.1) -> None:
        self.received = Received()
        chance, lock, received = random.Random(seed), threading.Lock(), self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    received.add(self.headers["webhook-id"], json.loads(text))
                    wait_s = chance.uniform(0.0, most_s)
                time.sleep(wait_s)
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    return  # who asked is gone

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
