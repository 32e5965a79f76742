"""How long it takes until there is something to see: imports, a healthy API, an answering dashboard."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.processes import Children, children, until
from benchmarks.report import Report, median


def measure(*, rounds: int = 3) -> Report:
    """Start everything as a person would; cold means without the machine code of an earlier start."""
    report = Report(
        "startup",
        f"`pairscope run --source synthetic` with its dashboard, {rounds} rounds warm, one with an empty cache of "
        "machine code (every kernel is compiled); bytecode is there, as `make setup` leaves it.",
        "nothing to compare; health is asked over HTTP.",
    )
    for what, goal in (("pairscope", 0.2), ("pairscope.wiring.embedded", 0.0), ("pairscope.api.app", 0.0)):
        took = median(imported(what) for _ in range(rounds))
        if goal:
            report.add(f"import {what}", f"{took:.3f} s", f"<= {goal} s", took <= goal)
        else:
            report.add(f"import {what}", f"{took:.2f} s")
    with children() as started:
        warm = [run(started, started.folder / f"warm-{i}", {}) for i in range(rounds)]
        again = run(started, started.folder / "warm-0", {})
        cold = run(started, started.folder / "cold", {"NUMBA_CACHE_DIR": str(started.folder / "machine-code")})
    api, dashboard, bars = (median(times[i] for times in warm) for i in range(3))
    report.add("first start, API healthy", f"{api:.1f} s", "<= 5 s", api <= 5)
    report.add("first start, dashboard answers", f"{dashboard:.1f} s", "<= 5 s", dashboard <= 5)
    report.add("first start, 1,440 bars of a symbol", f"{bars:.1f} s", "<= 20 s", bars <= 20)
    report.add("second start on the same data, API healthy", f"{again[0]:.1f} s")
    report.add("no machine code cached, API healthy", f"{cold[0]:.1f} s")
    report.add("no machine code cached, 1,440 bars of a symbol", f"{cold[2]:.1f} s", "<= 20 s", cold[2] <= 20)
    return report


def imported(module: str) -> float:
    """Seconds that an import adds to starting Python."""
    empty, full = (timed(f"import {name}") for name in ("sys", module))
    return max(full - empty, 0.0)


def timed(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def run(started: Children, data: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds from the command to a healthy API, an answering dashboard, and history for a chart."""
    began = time.monotonic()
    child = started.start(
        "pairscope", "run", "--source", "synthetic", "--port", "0", "--dashboard-port", "0", "--data-dir", str(data),
        **environment,
    )  # fmt: skip
    dashboard = child.find(r"dashboard +(http://\S+)")
    healthy = time.monotonic() - began
    api = child.find(r"API +(http://[\d.:]+)/docs")
    until(lambda: responds(f"{dashboard}/_stcore/health"), what="the dashboard")
    answering = time.monotonic() - began
    url = f"{api}/api/ohlc/BTCUSDT?timeframe=1m&limit=1440"
    until(lambda: responds(url) and body(url).count(b'"timestamp"') >= 1440, what="history")
    charted = time.monotonic() - began
    child.stop()
    return healthy, answering, charted


def responds(url: str) -> bool:
    try:
        body(url)
    except OSError:
        return False
    return True


def body(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())
