"""How long a thousand and ten thousand rules on a week of one pair's minutes take, beside vectorbt in the same run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report
from pairscope.analytics.backtest import backtest_pair
from pairscope.research.sweep import sweep
from pairscope.research.sweep_table import SweepTable

BARS, COMBINATIONS = 10_080, 1000
PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = Path(__file__).parents[1] / ".venv-vectorbt"
LEG: dict[str, Any] = {
    "hedge": 0.0, "lookback": 60, "window": 60, "fill": "same", "fee_bps": 4.0, "notional": 1e4, "capital": 1e6,
}  # fmt: skip
PAIR: dict[str, Any] = {"hedge": "ols", "lookback": 1440, "fee_bps": 4.0, "slippage_bps": 1.0}


def market(bars: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two symbols that go together, with fat tails."""
    steps = np.random.default_rng(seed).standard_t(4, (2, bars)) * 5e-4
    steps[0] += 0.7 * steps[1]
    y, x = np.exp(np.cumsum(steps, axis=1)) * [[2500.0], [60_000.0]]
    return y, x


def thousand(combinations: int) -> dict[str, list[float]]:
    """Entries, exits and stops: a thousand of them, or fewer."""
    entries = max(1, combinations // 50)
    return {
        "entry": np.linspace(1.5, 3.0, entries).tolist(),
        "exit": np.linspace(0.0, 0.9, 10).tolist(),
        "stop": np.linspace(3.2, 4.4, 5).tolist(),
    }


def ten_thousand(combinations: int) -> dict[str, list[Any]]:
    """Ten times as many: windows, and the rule's other parameters."""
    return {**thousand(combinations), "window": [30, 60, 90, 120, 180], "max_holding": [None, 240]}


def measure(*, rounds: int = 3, bars: int = BARS, combinations: int = COMBINATIONS) -> Report:
    """Hold rows against backtests and every combination against vectorbt, then time."""
    y, x = market(bars)
    leg, pair = thousand(combinations), ten_thousand(combinations)
    gate = np.arange(bars) < bars - 1
    one_leg = best_of(1, lambda: sweep(y, x, grid=leg, gate=gate, **LEG))[1]
    whole = best_of(1, lambda: sweep(y, x, grid=pair, **PAIR))[1]
    report = Report(
        "sweep",
        f"{len(one_leg):,} and {len(whole):,} combinations on {bars:,} bars of one pair, a table of 21 metrics each. "
        "Beside vectorbt it is one leg, filled at the deciding close, its z-scores given to it; from thresholds to "
        f"total return, Sharpe, Sortino, drawdown, trades and share won. The least of {rounds} rounds in turns.",
        f"{backtests_agree(whole, y, x)} rows equal backtest_pair's to 1e-9 in every metric.",
    )
    goal = (bars, combinations) == (BARS, COMBINATIONS)
    ours, simulated, theirs, their_use, our_use = [], [], [], [], []
    zscore = backtest_pair(y, x, entry=9.0, exit=0.0, **LEG).series["zscore"]
    with vectorbt(y, zscore, one_leg) as peer:
        for turn in range(rounds if peer is not None else 0):
            told = peer.run()
            if turn == 0:
                report.checked += " " + peer.agrees(one_leg)
            simulated.append(told["simulated"])
            theirs.append(told["simulated"] + told["measured"])
            their_use.append(told["used"])
            took, _, used = best_of(5, lambda: sweep(y, x, grid=leg, gate=gate, **LEG))
            ours.append(took)
            our_use.append(used)
        if peer is None:
            report.notes.append("vectorbt could not be installed here: no peer was timed.")
            ours = [best_of(3, lambda: sweep(y, x, grid=leg, gate=gate, **LEG))[0] for _ in range(rounds)]
    report.add(f"{len(one_leg):,} combinations, one leg", f"{1e3 * min(ours):.0f} ms")
    if theirs:
        ratio = min(theirs) / min(ours)
        report.add("vectorbt, the same table", f"{min(theirs):.1f} s")
        report.add("vectorbt, its simulation alone", f"{min(simulated):.1f} s ({min(simulated) / min(ours):,.0f}x)")
        report.add("processor time, ours", f"{1e3 * min(our_use):.0f} ms")
        report.add("processor time, vectorbt", f"{min(their_use):.1f} s ({min(their_use) / min(our_use):,.0f}x)")
        report.add("ratio", f"{ratio:,.0f}", ">= 300" if goal else "", ratio >= 300 if goal else None)
    both = best_of(3 * rounds, lambda: sweep(y, x, grid=leg, window=60, **PAIR))[0]
    report.add(f"{len(one_leg):,} combinations, both legs, OLS of 1,440 bars", f"{1e3 * both:.0f} ms")
    took, used = best_of(3 * rounds, lambda: sweep(y, x, grid=pair, **PAIR))[::2]
    report.add(
        f"{len(whole):,} combinations", f"{took:.2f} s", "<= 0.4 s" if goal else "", took <= 0.4 if goal else None
    )
    report.add("processor time of it", f"{used:.2f} s")
    held = float(whole["exposure"].mean())
    report.add("of that, a bar of a combination", f"{1e9 * used / len(whole) / bars:.1f} ns ({held:.0%} are held)")
    report.add("its probability of overfitting, 12,870 splits", f"{overfitting_seconds(y, x, pair):.2f} s")
    report.add("a cancelled one ends after", f"{1e3 * max(cancelled_after(y, x, pair) for _ in range(rounds)):.0f} ms")
    report.add("memory that it adds", f"{memory(bars, combinations):.0f} MB")
    load = os.getloadavg()[0]
    report.notes.append(f"{os.cpu_count()} cores; load average at the end {load:.1f} (this run's own is up to 2).")
    return report


def backtests_agree(table: SweepTable, y: np.ndarray, x: np.ndarray) -> int:
    """Hold twenty rows against backtests; how many there were."""
    places = np.random.default_rng(0).choice(len(table), min(20, len(table)), replace=False)
    for row in (table[int(place)] for place in places):
        made = backtest_pair(y, x, **PAIR, **{name: row[name] for name in table.grid}).metrics
        for name, value in row.items():
            if name not in table.grid and abs((value or 0.0) - (made[name] or 0.0)) > 1e-9 * max(1.0, abs(value or 0)):
                raise AssertionError(f"{name} of {row} is {made[name]} by a backtest")
    return len(places)


class Peer:
    """vectorbt in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], told: Path, version: str) -> None:
        self.process, self.told, self.version = process, told, version

    def run(self) -> dict[str, float]:
        """Have it trade all combinations; seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return answer(self.process)

    def agrees(self, table: SweepTable) -> str:
        """Compare total return and trades of every combination."""
        with np.load(self.told) as told:
            apart = np.abs(told["total_return"] - table["total_return"]).max()
            trades = int((told["trades"] != table["trades"]).sum())
        if apart > 1e-9 or trades:
            raise AssertionError(f"vectorbt's total returns differ by {apart:g}, trades in {trades} combinations")
        return (
            f"In all {len(table):,} combinations vectorbt {self.version} has the same trades "
            f"({int(table['trades'].sum()):,} together), and a total return that differs by at most {apart:.0e}."
        )


@contextmanager
def vectorbt(price: np.ndarray, zscore: np.ndarray, table: SweepTable) -> Iterator[Peer | None]:
    """Start the peer; None where it cannot be installed."""
    python = environment()
    if python is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.npz"
        np.savez(path, price=price, zscore=zscore, **{name: table[name] for name in ("entry", "exit", "stop")})
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
        command = [str(python), str(PEERS / "sweep_vectorbt.py"), str(path)]
        with subprocess.Popen(
            command, env=quiet, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                peer = Peer(process, Path(folder) / "given.told.npz", str(answer(process)["version"]))
                peer.run()  # compiles
                yield peer
            finally:
                process.kill()


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError("vectorbt ended without an answer")
    return dict(json.loads(line))


def environment() -> Path | None:
    """Make the peer's environment of exactly what the lock says, the first time."""
    lock = PEERS / "vectorbt.lock"
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "made-from"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return python
    uv = Path(sys.executable).with_name("uv")
    for words in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        ["pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(lock)],
    ):
        if not uv.is_file() or subprocess.run([uv, *words], check=False).returncode:
            return None
    stamp.write_text(digest, encoding="ascii")
    return python


def best_of(rounds: int, work: Callable[[], SweepTable]) -> tuple[float, SweepTable, float]:
    """The least seconds on the clock, what was made, and the least of all processors."""
    took, used = [], []
    for _ in range(rounds):
        began, before = time.perf_counter(), time.process_time()
        made = work()
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - before)
    return min(took), made, min(used)


def overfitting_seconds(y: np.ndarray, x: np.ndarray, grid: dict[str, Any]) -> float:
    table = sweep(y, x, grid=grid, **PAIR)
    began = time.perf_counter()
    table.overfitting()
    return time.perf_counter() - began


def cancelled_after(y: np.ndarray, x: np.ndarray, grid: dict[str, Any]) -> float:
    """Seconds from a cancellation half-way until the sweep has ended."""
    when: list[float] = []

    def half_way(done: int, total: int) -> None:
        if not when and 2 * done > total:
            when.append(time.perf_counter())

    try:
        sweep(y, x, grid=grid, progress=half_way, cancelled=lambda: bool(when), **PAIR)
    except CancelledError:
        return time.perf_counter() - when[0]
    raise AssertionError("a sweep could not be cancelled")


def memory(bars: int, combinations: int) -> float:
    """Megabytes that the larger sweep adds to a process which holds the prices."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(added_memory, bars, combinations).result()


def added_memory(bars: int, combinations: int) -> float:
    y, x = market(bars)
    sweep(y, x, grid={"entry": [2.0]}, exit=0.5, window=60, **PAIR)
    # From here on the kernel counts the peak anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = kilobytes("VmRSS")
    sweep(y, x, grid=ten_thousand(combinations), **PAIR)
    return (kilobytes("VmHWM") - before) / 1024.0


def kilobytes(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return float(found[1]) if found else float("nan")
