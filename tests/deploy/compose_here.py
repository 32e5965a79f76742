"""The compose file's services as processes of this machine: the same commands, variables and ports, on loopback."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.deploy.nginx_here import Front, free_ports, running, written

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
IMAGE = dict(re.findall(r"(PAIRSCOPE_\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))
PORTS = {"ingest": "PAIRSCOPE_INGEST_PORT", "api": "PAIRSCOPE_PORT", "dashboard": "PAIRSCOPE_DASHBOARD_PORT"}
DEADLINE_S = 120.0


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.05)


def fit(port: int, path: str) -> bool:
    """Whether somebody answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def interpolated(text: str, given: Mapping[str, str]) -> str:
    """Fill in ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}`` as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, kind, word = found[1], found[2] or "", found[3] or ""
        if given.get(name):
            return given[name]
        assert kind == ":-" or (kind == "" and name in given), f"{name}: {word}"
        return word

    return re.sub(r"\$\{(\w+)(:-|:\?)?([^}]*)\}", value, text)


@dataclass
class ComposeHere:
    """Starts services by name. ``given`` is what stands in ``deploy/.env``; ``servers`` maps ``postgres:5432``, …"""

    folder: Path
    given: Mapping[str, str]
    servers: Mapping[str, str]
    names: tuple[str, ...]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    held: ExitStack = field(default_factory=ExitStack)
    front: Front = field(init=False)

    def __post_init__(self) -> None:
        ours = [name for name, service in SERVICES.items() if "build" in service]
        self.ports = dict(zip(ours, free_ports(len(ours)), strict=True))

    def open_door(self) -> None:
        """Start nginx in front of the replicas that are started."""
        nowhere = free_ports(1)
        hosts = {f"{name}:8000": [self.ports[name]] for name in self.ports if name.startswith("api")}
        hosts |= {"dashboard:8501": [self.ports["dashboard"]], "grafana:3000": nowhere}
        place, front = written(self.folder, hosts)
        self.front = self.held.enter_context(running(place, front))

    def environment(self, name: str) -> dict[str, str]:
        """What the compose file gives to a service, with hosts on loopback."""
        said = {key: interpolated(value, self.given) for key, value in SERVICES[name]["environment"].items()}
        said = IMAGE | said
        places = {**self.servers, **{f"{each}:8000": f"127.0.0.1:{self.ports[each]}" for each in self.ports}}
        if hasattr(self, "front"):
            places["nginx:8081"] = f"127.0.0.1:{self.front.inner}"
        for host, here in {**places, "0.0.0.0": "127.0.0.1"}.items():
            said = {key: value.replace(host, here) for key, value in said.items()}
        role = SERVICES[name]["command"][0]
        said[PORTS[role]] = str(self.ports[name])
        said["PAIRSCOPE_DATA_DIR"] = str(self.folder / f"data-{name}")
        return said

    def start(self, *names: str, wait: bool = True) -> None:
        """Start services, and wait until each says that it is ready."""
        for name in names or self.names:
            own = {key: value for key, value in os.environ.items() if not key.startswith("PAIRSCOPE_")}
            words = [sys.executable, "-m", "pairscope", *SERVICES[name]["command"]]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    words, env=own | self.environment(name), stdout=log, stderr=log, cwd=self.folder
                )
        for name in (names or self.names) if wait else ():
            until(lambda name=name: self.fit(name), f"{name}\n{self.said(name)}")

    def fit(self, name: str) -> bool:
        """Whether a service's own health check is content."""
        assert self.processes[name].poll() is None, f"{name} ended\n{self.said(name)}"
        dashboard = SERVICES[name]["command"][0] == "dashboard"
        return fit(self.ports[name], "/_stcore/health" if dashboard else "/api/health/ready")

    def said(self, name: str) -> str:
        """The end of what a service logged."""
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def stop(self, name: str, *, kill: bool = False) -> int:
        """Stop a service as its container is stopped, or kill it; return its exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        return process.wait(30)

    def close(self) -> dict[str, int]:
        """Stop everything; return the exit codes."""
        self.held.close()
        for process in self.processes.values():
            process.terminate()
        codes = {}
        for name, process in self.processes.items():
            try:
                codes[name] = process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait(20)
        return codes


def market(folder: Path, words: str, *, speed: str = "1") -> tuple[subprocess.Popen[bytes], int]:
    """An exchange of our own: its process and its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "pairscope", "replay", "serve", words, "--port", str(port), "--speed", speed]
    with (folder / "exchange.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    until(lambda: fit(port, "/fapi/v1/ping"), "exchange\n" + (folder / "exchange.log").read_text())
    return process, port


def asked(front: Front, path: str, key: str) -> tuple[int, Any]:
    """Ask for something through nginx."""
    from tests.deploy.nginx_here import UNCHECKED

    connection = http.client.HTTPSConnection("127.0.0.1", front.tls, context=UNCHECKED, timeout=30)
    try:
        connection.request("GET", path, headers={"X-API-Key": key} if key else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()
