"""``python -m benchmarks.server_soak``: shards with a standby under load while processes, PostgreSQL and Redis go away.

Writes ``benchmarks/results/server_soak.md``. Ends with 1 where an id is missing, stored twice, or a goal was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from benchmarks.processes import children, until
from benchmarks.report import Report, median, write
from benchmarks.servers import Postgres, Redis
from benchmarks.shards import Judgement, Shards, judge, seconds_until, turns

__all__ = ["main"]

TAKE_OVER_S = 5.0
STOP_S = 5.0


def main(words: list[str] | None = None) -> int:
    """Run every part; 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="how long each part follows the market undisturbed")
    parser.add_argument("--rate", type=int, default=20_000, help="ticks a second")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3, help="how often an active process is killed")
    parser.add_argument("--postgres", type=int, default=60, help="seconds that PostgreSQL is away")
    parser.add_argument("--redis", type=int, default=30, help="seconds that Redis is away")
    parser.add_argument("--both", type=int, default=30, help="seconds that both are away")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results as it is")
    told = parser.parse_args(words)
    report = measure(told)
    print(report.text(), flush=True)
    if not told.no_write:
        write([report])
    return int(any(figure.reached is False for figure in report.figures))


def measure(told: argparse.Namespace) -> Report:
    """Play the market, take away one part after the other, and count what is stored after each."""
    report = Report(
        "server_soak",
        f"Two ingest shards with a standby each, {told.symbols} symbols at {told.rate:,} ticks a second, PostgreSQL 18 "
        "and Redis beside them on the same machine.",
        "each symbol's ids are consecutive from the first to the last stored, none is there twice, and each row's size "
        "is the one that the exchange gave to its id",
    )
    length = 4 * told.seconds + 40 * told.kills + 3 * (told.postgres + told.redis + told.both) + 360
    with children() as started:
        postgres, redis = Postgres(started.folder), Redis(started.folder)
        postgres.start()
        redis.start()
        try:
            _, at = started.exchange(even=True, symbols=told.symbols, rate=told.rate, seconds=length, speed=1.0)
            shards = Shards(started, postgres, redis, at)
            shards.start()
            print(f"{time.strftime('%H:%M:%S')} every shard has its active process", file=sys.stderr, flush=True)
            time.sleep(told.seconds)
            took = [killed(shards, k % shards.count) for k in range(told.kills)]
            drained(shards)
            add(report, f"active killed -9, {told.kills} times", judge(postgres))
            report.add(
                "kill to take-over, median / longest",
                f"{median(took):.2f} s / {max(took):.2f} s",
                f"< {TAKE_OVER_S:g} s",
                max(took) < TAKE_OVER_S,
            )
            away(report, shards, told.postgres, ("PostgreSQL",))
            away(report, shards, told.redis, ("Redis",))
            away(report, shards, told.both, ("PostgreSQL", "Redis"))
            stops = rolling(shards)
            time.sleep(told.seconds)
            drained(shards)
            add(report, "every process restarted, one after the other", judge(postgres))
            report.add(
                "SIGTERM to exit 0, longest", f"{max(s for _, s in stops):.2f} s", f"< {STOP_S:g} s",
                all(code == 0 and s < STOP_S for code, s in stops),
            )  # fmt: skip
            for process in shards.processes:
                process.child.stop()
            add(report, "at the end, everything stopped", judge(postgres))
        finally:
            for child in reversed(started.started):
                child.stop()
            redis.stop()
            postgres.stop(signal.SIGINT)
    return report


def killed(shards: Shards, shard: int) -> float:
    """Kill who writes for a shard; return how long it takes until another one does. Starts the dead one again."""
    active, standby = shards.active(shard), shards.standby(shard)
    assert active is not None and standby is not None
    active.child.process.kill()
    took = seconds_until(lambda: standby.role == "active", seconds=60)
    shards.again(active)
    shards.settle()
    return took


def away(report: Report, shards: Shards, seconds: int, parts: tuple[str, ...]) -> None:
    """Take servers away for a while and bring them back; count what was missing in the end."""
    if seconds == 0:
        return
    servers = {"PostgreSQL": shards.postgres, "Redis": shards.redis}
    for name in parts:
        servers[name].stop()
    most_spooled, most_active = 0, 0
    for _ in turns(seconds):
        most_spooled = max(most_spooled, shards.spool_bytes())
        most_active = max(most_active, *shards.actives())
    for name in parts:
        servers[name].start()
    began = time.monotonic()
    for _ in turns(10.0):
        most_active = max(most_active, *shards.actives())
    drained(shards)
    shards.settle()
    what = f"{' and '.join(parts)} away {seconds} s"
    add(report, what, judge(shards.postgres))
    took = f"spool up to {most_spooled / 1e6:.0f} MB, drained {time.monotonic() - began:.0f} s after the return"
    report.add(f"{what}: spool", took)
    report.add(f"{what}: active processes of one shard at most", str(most_active), "1", most_active <= 1)


def rolling(shards: Shards) -> list[tuple[int, float]]:
    """Stop and start every process, one after the other; return exit codes and how long each stop took."""
    stops = []
    for process in list(shards.processes):
        began = time.monotonic()
        process.child.process.terminate()
        code = process.child.process.wait(60)
        stops.append((code, time.monotonic() - began))
        shards.again(process)
        shards.settle()
    return stops


def drained(shards: Shards) -> None:
    """Wait until no process holds anything back: spool and queue empty, holes filled."""

    def empty() -> bool:
        told = [p.stats() for p in shards.processes]
        return all(
            t
            and t["writer"]["spool_bytes"] == 0
            and t["writer"]["lag_ms"] < 2_000
            and (not t["shard"]["active"] or t["feed"].get("gaps_pending", 0) == 0)
            for t in told
        )

    until(empty, seconds=300, what="the end of spools and holes")
    time.sleep(12.0)  # two looks for what the store alone lacks
    until(empty, seconds=300, what="the end of spools and holes")


def add(report: Report, what: str, judged: Judgement) -> None:
    """Tell what is stored."""
    value = f"{judged.missing} missing, {judged.twice} twice, {judged.wrong} wrong of {judged.rows:,} rows"
    print(f"{time.strftime('%H:%M:%S')} {what}: {value}", file=sys.stderr, flush=True)
    report.add(what, value, "0, 0, 0", judged.missing == judged.twice == judged.wrong == 0 and judged.rows > 0)


if __name__ == "__main__":
    sys.exit(main())
