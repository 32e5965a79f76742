"""``python -m benchmarks``: every benchmark, or those that are named; prints tables and rewrites their results.

Each checks first that what is compared is the same, then times. Results go to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import (
    alerts,
    exports,
    ingest,
    lag,
    market,
    pairs,
    rest,
    screen,
    screen_live,
    server_clients,
    startup,
    storage,
    sweep,
    ws,
)
from benchmarks.report import Report, write

__all__ = ["main"]

NAMES = (
    "startup", "rest", "ingest", "lag", "ws", "pairs", "screen", "screen_live", "sweep", "alerts", "exports", "storage",
    "market", "server_clients",
)  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Run what was asked for; 1 where a goal was missed and ``--strict`` is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in turns where there is a peer")
    parser.add_argument("--ticks", type=int, default=1_600_000, help="trades of the ingest benchmark")
    parser.add_argument(
        "--seconds",
        type=int,
        default=20,
        help="how long lag, ws, pairs, alerts, market and server_clients are watched",
    )
    parser.add_argument("--millions", type=float, default=5.0, help="million ticks in the store that rest reads from")
    parser.add_argument("--export-millions", type=float, default=10.0, help="million trades that leave in exports")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results as it is")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is missed")
    told = parser.parse_args(words)
    unknown = set(told.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    missed = 0
    for name in told.names or NAMES:
        began = time.monotonic()
        report = measure(name, told)
        print(report.text(), flush=True)
        print(f"({time.monotonic() - began:.0f} s)\n", flush=True)
        missed += sum(figure.reached is False for figure in report.figures)
        if not told.no_write:
            write([report])
    return 1 if missed and told.strict else 0


def measure(name: str, told: argparse.Namespace) -> Report:
    """Run one benchmark."""
    match name:
        case "startup":
            return startup.measure(rounds=told.rounds)
        case "rest":
            return rest.measure(rounds=told.rounds, millions=told.millions)
        case "ingest":
            return ingest.measure(ticks=told.ticks, rounds=told.rounds)
        case "lag":
            return lag.measure(seconds=told.seconds)
        case "ws":
            return ws.measure(seconds=told.seconds)
        case "screen":
            return screen.measure(rounds=told.rounds)
        case "screen_live":
            return screen_live.measure(seconds=max(65, told.seconds), rounds=min(2, told.rounds))
        case "storage":
            return storage.measure(millions=told.millions)
        case "sweep":
            return sweep.measure(rounds=told.rounds)
        case "exports":
            return exports.measure(millions=told.export_millions)
        case "alerts":
            return alerts.measure(seconds=told.seconds)
        case "server_clients":
            return server_clients.measure(seconds=told.seconds)
        case "pairs":
            return pairs.measure(seconds=told.seconds)
        case _:
            return market.measure(seconds=told.seconds)


if __name__ == "__main__":
    sys.exit(main())
