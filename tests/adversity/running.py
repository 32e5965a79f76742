"""Pairscope's own commands as processes, and what a person would see of them from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

FOREVER_MS = 4_102_444_800_000
DEADLINE_S = 180.0
"""A start takes seconds, and a minute where other tests have the cores."""


def until(condition: Callable[[], Any], *, seconds: float = DEADLINE_S, what: str = "", every_s: float = 0.05) -> Any:
    """Wait until a condition gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"{what or condition} did not come true within {seconds} s")


def command_line(process: psutil.Process) -> list[str]:
    """The words that a process was started with; none of one that has ended since it was found."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


class Program:
    """One command of Pairscope in a process of its own, its standard error in a file."""

    def __init__(self, folder: Path, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self.words = words
        self.log = folder / f"{'-'.join(words[:2]).replace('/', '_')[:40]}-{time.monotonic_ns()}.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PAIRSCOPE_", "COV_"))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pairscope", *words],
                cwd=folder,
                env={**inherited, **environment},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, *, seconds: float = DEADLINE_S) -> re.Match[str]:
        """Wait until the program says something."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.said())
            if found is None and self.process.poll() is not None:
                raise AssertionError(f"{self.words} ended with {self.process.returncode}:\n{self.said()}")
            return found

        return until(look, seconds=seconds, what=f"{pattern!r} of {self.words}")

    def wait(self, seconds: float = DEADLINE_S) -> int:
        return self.process.wait(seconds)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end; return its exit code and how long that took."""
        began = time.monotonic()
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S), time.monotonic() - began

    def family(self) -> list[psutil.Process]:
        """The process and all that descend from it."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def child(self, *words: str) -> psutil.Process:
        """The descendant in whose command line these words are."""
        [found] = [p for p in self.family()[1:] if set(words) <= set(command_line(p))]
        return found


class Programs:
    """Starts commands in a folder, and leaves nothing of them behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Program] = []

    def start(self, *words: str, **environment: str) -> Program:
        program = Program(self.folder, words, {f"PAIRSCOPE_{k.upper()}": v for k, v in environment.items()})
        self._started.append(program)
        return program

    def serve(self, *words: str) -> dict[str, str]:
        """Start a replay server on a free port; return the settings that point at it."""
        server = self.start("replay", "serve", *words, "--port", "0")
        at = server.wait_for(r"EXCHANGE_REST_URL=http://([\d.:]+)\n")[1]
        return {"exchange_ws_url": f"ws://{at}", "exchange_rest_url": f"http://{at}"}

    def run(self, *words: str, **environment: str) -> tuple[Program, Api]:
        """Start ``pairscope run`` without a dashboard on a free port and wait until it is up."""
        program = self.start("run", "--no-dashboard", "--port", "0", *words, **environment)
        return program, Api(program.wait_for(r"API +(http://[\d.:]+)/docs")[1])

    def end(self) -> None:
        left = []
        for program in self._started:
            if program.process.poll() is None:
                left += program.family()
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for program in self._started:
            program.process.wait(DEADLINE_S)


class Api:
    """A running instance's REST, numbers as the decimals that were sent."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            return json.loads(answer.read(), parse_float=Decimal)

    def stats(self) -> Any:
        return self.get("/api/stats")

    def open_gaps(self) -> list[Any]:
        return [gap for gap in self.stats()["gaps"] if gap["status"] == "open"]

    def ticks(self, symbol: str) -> list[Any]:
        return list(self._pages(f"/api/ticks/{symbol}?", "ticks"))

    def bars(self, symbol: str, timeframe: str) -> list[Any]:
        return list(self._pages(f"/api/ohlc/{symbol}?timeframe={timeframe}&", "bars"))

    def first_id(self, symbol: str) -> int:
        """The oldest trade that is held."""
        return int(self.get(f"/api/ticks/{symbol}?start=0&end={FOREVER_MS}&limit=1")["ticks"][0]["id"])

    def newest_id(self, symbol: str) -> int:
        """The newest trade that somebody who asks is shown; -1 where there is none."""
        try:
            return int(self.get(f"/api/ticks/{symbol}?limit=1")["ticks"][-1]["id"])
        except (urllib.error.HTTPError, IndexError):
            return -1

    def _pages(self, path: str, key: str) -> Iterator[Any]:
        cursor = ""
        while True:
            page = self.get(f"{path}start=0&end={FOREVER_MS}&limit=10000{cursor}")
            yield from page[key]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"
