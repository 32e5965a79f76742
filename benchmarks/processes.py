"""Children of a benchmark: each in a process of its own, told what to do as JSON, ended with the benchmark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Child", "Usage", "Watch", "children", "get_json", "until"]

ROOT = Path(__file__).parents[1]


def until(condition: Callable[[], Any], *, seconds: float = 120.0, every_s: float = 0.05, what: str = "") -> Any:
    """Wait until a condition gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every_s)
    raise TimeoutError(f"{what or condition} took more than {seconds:.0f} s")


def get_json(url: str, *, timeout_s: float = 30.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return json.load(answer)


class Child:
    """A Python module as a process; what it prints on standard output are lines of JSON."""

    def __init__(self, module: str, *words: str, folder: Path, environment: dict[str, str] | None = None) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PAIRSCOPE_")}
        self.name = " ".join((module, *words[:2]))[:60]
        self._log = (folder / f"{module}-{time.monotonic_ns()}.log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env={**clean, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self.usage = psutil.Process(self.process.pid)

    def line(self) -> Any:
        """The next line of JSON that it says."""
        assert self.process.stdout is not None
        raw = self.process.stdout.readline()
        if not raw:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}:\n{self.log()[-4000:]}")
        return json.loads(raw)

    def find(self, pattern: str, *, seconds: float = 120.0) -> str:
        """Wait for something on standard error."""

        def look() -> str | None:
            found = re.search(pattern, self.log())
            if found is None and self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            return found[1] if found else None

        return str(until(look, seconds=seconds, what=f"{pattern} of {self.name}"))

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def stop(self, *, patience_s: float = 30.0) -> int:
        """Ask it to end, then insist."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._log):
            if pipe is not None:
                pipe.close()
        return code


@dataclass
class Children:
    """Starts children in a scratch folder."""

    folder: Path
    started: list[Child] = field(default_factory=list)

    def start(self, module: str, *words: str, **environment: str) -> Child:
        child = Child(module, *words, folder=self.folder, environment=environment)
        self.started.append(child)
        return child

    def exchange(self, **told: Any) -> tuple[Child, dict[str, str]]:
        """Start a replay server; return it and the variables that point at it."""
        child = self.start("benchmarks.exchange", json.dumps(told))
        port = child.line()["port"]
        return child, {
            "PAIRSCOPE_EXCHANGE_WS_URL": f"ws://127.0.0.1:{port}",
            "PAIRSCOPE_EXCHANGE_REST_URL": f"http://127.0.0.1:{port}",
        }

    def backend(self, at: dict[str, str], **settings: Any) -> tuple[Child, str]:
        """Start the product's backend; return it and the address of its API once that answers."""
        port = free_port()
        told = {f"PAIRSCOPE_{name.upper()}": str(value) for name, value in settings.items()}
        told |= {"PAIRSCOPE_PORT": str(port), "PAIRSCOPE_DATA_DIR": str(self.folder / "data"), **at}
        child = self.start("pairscope", "backend", **told)
        url = f"http://127.0.0.1:{port}"

        def healthy() -> bool:
            if child.process.poll() is not None:
                raise RuntimeError(f"the backend ended:\n{child.log()[-4000:]}")
            try:
                get_json(f"{url}/api/stats", timeout_s=5)
            except OSError:
                return False
            return True

        until(healthy, what="the backend")
        return child, url


@contextmanager
def children() -> Iterator[Children]:
    """A scratch folder and whatever is started in it; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pairscope-bench-") as folder:
        all_of_them = Children(Path(folder))
        try:
            yield all_of_them
        finally:
            for child in reversed(all_of_them.started):
                child.stop()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used over a while: its share of one core, its largest resident memory, open handles at the end."""

    cpu_share: float
    rss_mb: float
    handles: int


class Watch:
    """Follows a process: call :meth:`look` now and then."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._began = time.monotonic()
        self._cpu = self._cpu_s()
        self._rss = process.memory_info().rss

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def look(self) -> float:
        """Return the resident memory in MB."""
        rss = self._process.memory_info().rss
        self._rss = max(self._rss, rss)
        return float(rss / 1e6)

    def usage(self) -> Usage:
        self.look()
        share = (self._cpu_s() - self._cpu) / (time.monotonic() - self._began)
        return Usage(share, self._rss / 1e6, self._process.num_fds())


def free_port() -> int:
    from pairscope.supervisor import free_port as port

    return port()
