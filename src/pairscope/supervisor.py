"""One supervisor for ``pairscope run``: starts the parts as child processes, waits for health, ends them in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pairscope.errors import ConfigError

__all__ = ["Child", "Supervisor", "already_running", "backoff_s", "free_port", "http_json", "is_free", "take_port"]

STOP_S: Final = 8.0
HEALTHY_S: Final = 600.0
"""A start takes seconds; with a full spool, a store of another version or kernels to compile it takes minutes."""
TOLD_S: Final = 30.0
"""How often a long start says that it is still waited for."""
_MISUSED: Final = 2
"""The exit code of a command that was called wrongly."""


def http_json(url: str, timeout_s: float) -> Any | None:
    """Fetch a JSON document; None where nobody answers with one. An error status with JSON counts too."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the scheme is ours
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            return json.load(error)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None


def is_free(host: str, port: int) -> bool:
    """Tell whether a port can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def take_port(host: str, port: int | str, first: int, flag: str) -> int:
    """Return the port to use; ``auto`` takes the next free one from ``first`` on.

    Raises ``ConfigError`` that names the port and the flag where it is taken.
    """
    if port == "auto":
        for candidate in range(first, first + 200):
            if is_free(host, candidate):
                return candidate
        raise ConfigError(f"no free port between {first} and {first + 199} on {host}", loc=flag)
    if port == 0:
        return free_port(host)
    if not is_free(host, int(port)):
        raise ConfigError(
            f"port {port} on {host} is taken", loc=flag, hint=f"choose another with {flag} N, or {flag} auto"
        )
    return int(port)


def backoff_s(attempt: int, *, first: float = 0.5, cap: float = 30.0) -> float:
    """Return the delay before the ``attempt``-th restart (0, 1, …): doubling, capped.

    >>> [backoff_s(n) for n in (0, 1, 2, 9)]
    [0.5, 1.0, 2.0, 30.0]
    """
    return float(min(cap, first * 2.0 ** min(attempt, 20)))


def already_running(data_dir: Path) -> Mapping[str, Any] | None:
    """Return what a healthy instance on this data directory wrote of itself, or None."""
    try:
        note: Mapping[str, Any] = json.loads((data_dir / "instance.json").read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    answer = http_json(f"{note['api']}/api/health", 2.0)
    return note if isinstance(answer, dict) and "status" in answer else None


@dataclass
class Child:
    """A part that runs as a process of its own, ends with us, and can be started again."""

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    essential: bool
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    due: float = 0.0
    started: float = field(default=0.0)

    def start(self) -> None:
        """Start it under a lifeline."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "pairscope.lifeline", self.module, *self.arguments],
            # Threads of a matrix library wait for each other; on cores that are busy with ticks that takes seconds.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ, **self.environment},
            stdin=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor; it stops the parts in order
        )

    @property
    def exit_code(self) -> int | None:
        """The code that it ended with; None while it runs."""
        return None if self.process is None else self.process.poll()

    def stop(self, patience_s: float = STOP_S) -> None:
        """Ask it to end, wait, insist."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()


class Supervisor:
    """Children in the order of their start; ``watch`` until one that matters ends or somebody asks to stop."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._children: list[Child] = []
        self._stop = False

    def install_signals(self) -> None:
        """Let SIGINT and SIGTERM end ``watch``."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop

    def start(self, child: Child) -> None:
        """Start a child and keep it."""
        child.start()
        self._children.append(child)

    def replace(self, child: Child) -> None:
        """Stop the child of this name and start the given one in its place."""
        for i, old in enumerate(self._children):
            if old.name == child.name:
                old.stop()
                child.start()
                self._children[i] = child
                return
        self.start(child)

    def drop(self, name: str) -> None:
        """Stop a child for good."""
        for child in [c for c in self._children if c.name == name]:
            child.stop()
            self._children.remove(child)

    def wait_until(self, ready: Callable[[], bool], what: str, *, patience_s: float = HEALTHY_S) -> bool:
        """Wait until something is ready; False where a child that ends the run ended or we were asked to stop."""
        began = told = time.monotonic()
        while not self._stop and (now := time.monotonic()) < began + patience_s:
            if self._dead() is not None:
                return False
            if ready():
                return True
            if now >= told + TOLD_S:
                told = now
                self._say(f"{what} is still starting, since {now - began:.0f} s")
            time.sleep(0.05)
        if not self._stop:
            self._say(f"{what} did not get ready within {patience_s:.0f} s")
        return False

    def watch(self, on_tick: Callable[[], None] | None = None) -> int:
        """Hold everything up; return the exit code once something essential ended or we were asked to stop."""
        while not self._stop:
            dead = self._dead()
            if dead is not None:
                return self._report(dead)
            self._restart_others()
            if on_tick is not None:
                on_tick()
            time.sleep(0.2)
        return 0

    def verdict(self) -> int:
        """The exit code after ``wait_until`` said no; who asks for a stop may have asked the children too."""
        dead = None if self._stop else self._dead()
        return self._report(dead) if dead is not None else 0 if self._stop else 1

    def stop(self) -> None:
        """End all children, the last one started first."""
        for child in reversed(self._children):
            child.stop()
        self._children.clear()

    def _dead(self) -> Child | None:
        """The child whose end ends the run: one that matters, or one that was misused and would be again."""
        ended = (c for c in self._children if c.exit_code is not None)
        return next((c for c in ended if c.essential or c.exit_code == _MISUSED), None)

    def _report(self, child: Child) -> int:
        code = child.exit_code or 0
        if code != _MISUSED:  # a misuse was told by the child in one line
            self._say(f"the {child.name} ended with code {code}; its last lines above say why")
        return _MISUSED if code == _MISUSED else 1

    def _restart_others(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.essential or child.exit_code is None:
                continue
            if child.due == 0.0:
                if now - child.started > 60:
                    child.restarts = 0
                child.due = now + backoff_s(child.restarts)
                self._say(f"the {child.name} ended with code {child.exit_code}; starting it again")
            elif now >= child.due:
                child.due, child.restarts = 0.0, child.restarts + 1
                child.stop()
                child.start()
