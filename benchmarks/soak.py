"""``python -m benchmarks.soak``: minutes of load: the market, thirty kills, two hours told again, fifty million ticks.

Writes ``benchmarks/results/soak.md``. Ends with 1 where a goal was missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from benchmarks import market, rest
from benchmarks.processes import ROOT
from benchmarks.report import Report, write

__all__ = ["main"]


def main(words: list[str] | None = None) -> int:
    """Run every part; 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="how long the market is followed")
    parser.add_argument("--kills", type=int, default=10, help="how often the backend is killed under load")
    parser.add_argument("--alert-kills", type=int, default=20, help="how often it is killed around firing alerts")
    parser.add_argument(
        "--hours", type=float, default=2.0, help="of a market told live, verified and backtested; 0: none"
    )
    parser.add_argument("--millions", type=float, default=50.0, help="million ticks in the store that is read; 0: none")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results as it is")
    told = parser.parse_args(words)
    report = market.measure(seconds=told.seconds, settle=30)
    report.name = "soak"
    kills(report, told.kills)
    alert_kills(report, told.alert_kills)
    told_again(report, told.hours)
    if told.millions:
        rest.ohlc(report, millions=told.millions)
    print(report.text(), flush=True)
    if not told.no_write:
        write([report])
    return int(any(figure.reached is False for figure in report.figures))


def told_again(report: Report, hours: float) -> None:
    """Run the test that live, paper, backtest and the replay of what is stored agree, over so long a stretch."""
    if hours == 0:
        return
    began = time.monotonic()
    tests = [f"tests/invariants/test_{name}_as_recorded.py" for name in ("live_is", "alerts_are")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", "-k", "told_again", *tests],
        cwd=ROOT,
        env={**os.environ, "RECORDED_SECONDS": str(int(hours * 3600))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    took = f"0 differences ({time.monotonic() - began:.0f} s)"
    report.add(
        f"{hours:g} h of a market, live = paper = backtest = replay, alerts too, with late ticks and a crash",
        took if done.returncode == 0 else "FAILED",
        "",
        done.returncode == 0,
    )


def kills(report: Report, count: int) -> None:
    """Run the test of killed backends with so many kills."""
    if count == 0:
        return
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/adversity/test_kill.py"],
        cwd=ROOT,
        env={**os.environ, "KILLS": str(count)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    took = f"nothing missing, nothing twice ({time.monotonic() - began:.0f} s)"
    report.add(
        f"{count} times kill -9 under load", took if done.returncode == 0 else "FAILED", "", done.returncode == 0
    )


def alert_kills(report: Report, count: int) -> None:
    """Run the test of backends that are killed around firings; what it counted is its last words."""
    if count == 0:
        return
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "tests/adversity/test_alert_kill.py"],
        cwd=ROOT,
        env={**os.environ, "ALERT_KILLS": str(count)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    counted = next((line for line in done.stdout.splitlines() if line.startswith(f"{count} kills: ")), "FAILED")
    report.add(
        f"{count} times kill -9 around firings",
        f"{counted.removeprefix(f'{count} kills: ')} ({time.monotonic() - began:.0f} s)",
        "",
        done.returncode == 0,
    )


if __name__ == "__main__":
    sys.exit(main())
