"""API replicas of a benchmark, with the nginx of ``deploy/`` in front of them where nginx is installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import ssl
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Child, Children, free_port, until
from benchmarks.servers import Postgres, Redis

__all__ = ["KEY", "Replica", "Replicas"]

KEY = "an-operators-key"
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE
"""The certificate is nginx's own."""


@dataclass
class Replica:
    """One replica and where it listens by itself."""

    child: Child
    port: int

    @property
    def ready(self) -> bool:
        """Whether it says that requests may come."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stats(self) -> dict[str, Any]:
        """Its counters; nothing where it does not answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/stats", headers={"X-API-Key": KEY})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError):
            return {}

    @property
    def is_desk(self) -> bool:
        """Whether it judges the rules."""
        return bool(self.stats().get("leadership", {}).get("desk", {}).get("leads"))


@dataclass
class Replicas:
    """Replicas that keep their ports when they are started again, since nginx knows them by those."""

    children: Children
    postgres: Postgres
    redis: Redis
    at: dict[str, str]
    count: int = 2
    settings: dict[str, str] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    nginx_pid: int = 0
    """0 where there is no nginx."""
    addresses: list[str] = field(default_factory=list)
    """Where clients ask: nginx, or each replica where there is no nginx."""
    held: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Start all of them, and nginx in front; wait until one is the desk and all have compiled what they compile."""
        ports = [free_port() for _ in range(self.count)]
        self.replicas = [Replica(self._process(port), port) for port in ports]
        for replica in self.replicas:
            self.wait(replica)
        self._open_door(ports)
        until(lambda: self.desk() is not None, what="a desk")
        until(lambda: not any(each.child.usage.children() for each in self.replicas), seconds=300, what="kernels")

    def wait(self, replica: Replica, *, seconds: float = 120.0) -> None:
        """Wait until a replica is ready."""

        def ready() -> bool:
            if (code := replica.child.process.poll()) is not None:
                raise RuntimeError(f"a replica ended with {code}:\n{replica.child.log()[-4000:]}")
            return replica.ready

        until(ready, seconds=seconds, what="a replica")

    def again(self, replica: Replica) -> None:
        """Start a replica that has ended again, at its port; wait until it is ready."""
        replica.child = self._process(replica.port)
        self.wait(replica)

    def desk(self) -> Replica | None:
        """Which of them judges the rules now."""
        return next((replica for replica in self.replicas if replica.is_desk), None)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask as a client does; with a body it is a POST."""
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.addresses[0]}{path}", data=data, headers=headers)
        context = UNCHECKED if request.type == "https" else None
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read()[:300]!r}") from error

    def reload_nginx(self) -> bool:
        """Have nginx read its files anew, which replaces all its workers; False where there is none."""
        if self.nginx_pid:
            os.kill(self.nginx_pid, signal.SIGHUP)
        return bool(self.nginx_pid)

    def close(self) -> None:
        """End nginx."""
        self.held.close()

    def _open_door(self, ports: list[int]) -> None:
        if shutil.which("nginx") is None and shutil.which("/usr/sbin/nginx") is None:
            self.addresses = [f"http://127.0.0.1:{port}" for port in ports]
            return
        from tests.deploy.nginx_here import running, written

        nowhere = [free_port()]
        hosts = {f"api-{i}:8000": [port] for i, port in enumerate(ports)}
        place, front = written(self.children.folder, {**hosts, "dashboard:8501": nowhere, "grafana:3000": nowhere})
        self.held.enter_context(running(place, front))
        self.nginx_pid = int((self.children.folder / "nginx.pid").read_text())
        self.addresses = [f"https://127.0.0.1:{front.tls}"]

    def _process(self, port: int) -> Child:
        return self.children.start(
            "pairscope",
            "api",
            PAIRSCOPE_PORT=str(port),
            PAIRSCOPE_DATABASE_URL=self.postgres.url,
            PAIRSCOPE_REDIS_URL=self.redis.url,
            PAIRSCOPE_DATA_DIR=str(self.children.folder / f"api-{port}"),
            PAIRSCOPE_SOURCE="live",
            PAIRSCOPE_API_KEYS="sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),
            PAIRSCOPE_JWT_SECRET="the-same-for-all",
            PAIRSCOPE_RATE_LIMIT="10000000/minute",
            **self.at,
            **self.settings,
        )
