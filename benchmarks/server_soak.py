"""``python -m benchmarks.server_soak``: server mode under load while processes, PostgreSQL and Redis go away.

Writes ``benchmarks/results/server_soak.md``. Ends with 1 where an id is missing, stored twice, an alert told twice, or
a goal was missed. A market of trades whose ids, sizes and prices are known in advance plays throughout.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.front_load import CHANGE_S, EVERY_S
from benchmarks.processes import Child, Children, children, get_json, until
from benchmarks.replicas import KEY, Replica, Replicas
from benchmarks.report import Report, median, write
from benchmarks.servers import Postgres, Redis
from benchmarks.shards import Shards, judge, judge_alerts, seconds_until, turns
from benchmarks.shares import Shares

__all__ = ["main"]

TAKE_OVER_S = 5.0
STOP_S = 5.0
WAVE_S, COOLDOWN_S, LEVEL = 15.0, 5.0, 60_000.0
"""Each price crosses the level upwards once a wave: a rule may fire 14 times in three minutes before it is paused."""
LAG_MS = 2_000
PARTS = ("kills", "replicas", "postgres", "redis", "both", "rolling")


def main(words: list[str] | None = None) -> int:
    """Run every part; 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="how long the market is followed undisturbed")
    parser.add_argument("--rate", type=int, default=20_000, help="ticks a second")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rules", type=int, default=100, help="price rules, each of which fires every 15 s")
    parser.add_argument("--callers", type=int, default=4, help="HTTP clients, each of which asks 20 times a second")
    parser.add_argument("--listeners", type=int, default=6, help="WebSocket clients")
    parser.add_argument("--kills", type=int, default=3, help="how often an active process is killed")
    parser.add_argument("--postgres", type=int, default=60, help="seconds that PostgreSQL is away")
    parser.add_argument("--redis", type=int, default=30, help="seconds that Redis is away")
    parser.add_argument("--both", type=int, default=30, help="seconds that both are away")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to run")
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
        f"Two ingest shards with a standby each and two API replicas behind nginx, {told.symbols} symbols at "
        f"{told.rate:,} ticks a second, PostgreSQL 18, Redis, the exchange and the clients beside them on the same "
        f"machine. {told.callers} callers ask ten routes in turn, each {1 / EVERY_S:.0f} times a second, one more "
        f"changes a rule {1 / CHANGE_S:.0f} times a second, {told.listeners} clients of the stream follow five prices "
        f"and the alerts each and come back when they are hung up on; {told.rules} price rules fire every "
        f"{WAVE_S:.0f} s each.",
        "each symbol's ids are consecutive up to what the exchange had printed, none is there twice, each row's size "
        "is the one that the exchange gave to its id, the market went on at its rate from part to part, and each rule "
        "fired once in every wave of its price",
    )
    report.notes += [
        "A request has failed where its status is not 200. While PostgreSQL is away what reads stored values answers "
        "503, as the contract has it; prices, symbols, rules and the stream go on. With Redis away too, nothing goes "
        "from ingest to replicas. A part's requests include those of the wait until all of it was stored.",
    ]
    length = 8 * told.seconds + 40 * told.kills + 3 * (told.postgres + told.redis + told.both) + 480
    with children() as started:
        postgres, redis = Postgres(started.folder), Redis(started.folder)
        postgres.start()
        redis.start()
        soak = None
        try:
            exchange, at = started.exchange(
                even=True, symbols=told.symbols, rate=told.rate, seconds=length, speed=1.0, wave_s=WAVE_S
            )
            soak = Soak(
                told, report, started, exchange, Shards(started, postgres, redis, at),
                Replicas(started, postgres, redis, at),
            )  # fmt: skip
            soak.run()
        finally:
            if soak is not None:
                soak.replicas.close()
            for child in reversed(started.started):
                child.stop()
            redis.stop()
            postgres.stop(signal.SIGINT)
    return report


@dataclass
class Soak:
    """One run: its parts, what each is told as, and what was counted before it."""

    told: argparse.Namespace
    report: Report
    started: Children
    exchange: Child
    shards: Shards
    replicas: Replicas
    printed: int = 0
    judged_s: float = 0.0
    heard_twice: int = 0
    load: Child = field(init=False)

    def run(self) -> None:
        """Every part in turn."""
        told, shards, replicas = self.told, self.shards, self.replicas
        shards.start()
        replicas.start()
        self.load = self._people()
        self.printed, self.judged_s = self._printed(), time.monotonic()
        note("every shard has its active process, and the replicas answer")
        self._undisturbed()
        if "kills" in told.only:
            took = [self._kill_active(k % shards.count) for k in range(told.kills)]
            self._judge(f"active ingest killed -9, {told.kills} times")
            value = f"{median(took):.2f} s / {max(took):.2f} s"
            self.report.add(
                "kill to take-over, median / longest", value, f"< {TAKE_OVER_S:g} s", max(took) < TAKE_OVER_S
            )
        if "replicas" in told.only:
            self._kill_replica("a replica that is not the desk killed -9", self._not_desk)
            self._kill_replica("the desk's replica killed -9", self.replicas.desk)
        parts_of = {"postgres": ("PostgreSQL",), "redis": ("Redis",), "both": ("PostgreSQL", "Redis")}
        for part, parts in parts_of.items():
            seconds = getattr(told, part)
            if part in told.only and seconds:
                self._away(seconds, parts)
        if "rolling" in told.only:
            self._rolling()
        self._end()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _undisturbed(self) -> None:
        """Follow the market and look who uses the processors, and whether anybody falls behind."""
        self._people_say()
        shares = Shares(self._kinds())
        lags = [self._lag_ms() for _ in turns(self.told.seconds, every_s=1.0)]
        used = shares.used()
        self.report.add("undisturbed: cores used, by process", used)
        self.report.add(
            "undisturbed: lag of the writers, median / longest",
            f"{median(lags):.0f} ms / {max(lags):.0f} ms", f"< {LAG_MS} ms", max(lags) < LAG_MS,
        )  # fmt: skip
        note(f"cores: {used}; lags {lags}")
        self._judge("undisturbed")

    def _kill_active(self, shard: int) -> float:
        """Kill who writes for a shard; return how long it takes until another does. Starts the dead one again."""
        shards = self.shards
        active, standby = shards.active(shard), shards.standby(shard)
        assert active is not None and standby is not None
        active.child.process.kill()
        took = seconds_until(lambda: standby.role == "active", seconds=60)
        note(f"shard {shard} taken over after {took:.2f} s")
        shards.again(active)
        shards.settle()
        return took

    def _kill_replica(self, what: str, choose: Callable[[], Replica | None]) -> None:
        chosen = until(choose, what=what)
        chosen.child.process.kill()
        chosen.child.process.wait(30)
        time.sleep(6.0)
        self.replicas.again(chosen)
        time.sleep(6.0)
        until(self.replicas.desk, what="a desk")
        self._judge(what)

    def _not_desk(self) -> Replica | None:
        desk = self.replicas.desk()
        return next((each for each in self.replicas.replicas if each is not desk), None) if desk else None

    def _away(self, seconds: int, parts: tuple[str, ...]) -> None:
        """Take servers away for a while and bring them back; count what was missing in the end."""
        shards = self.shards
        servers = {"PostgreSQL": shards.postgres, "Redis": shards.redis}
        what = f"{' and '.join(parts)} away {seconds} s"
        for name in parts:
            servers[name].stop()
        most_spooled, most_active = 0, 0
        for _ in turns(seconds):
            most_spooled = max(most_spooled, shards.spool_bytes())
            most_active = max(most_active, *shards.actives())
        for name in parts:
            servers[name].start()
        note(f"{' and '.join(parts)} back")
        began = time.monotonic()
        drained_s = None
        while drained_s is None or time.monotonic() - began < 10.0:
            most_active = max(most_active, *shards.actives())
            if drained_s is None and self._empty():
                drained_s = time.monotonic() - began
            if time.monotonic() - began > 300:
                raise TimeoutError(f"not drained: {[p.stats().get('writer') for p in shards.processes]}")
            time.sleep(0.2)
        shards.settle()
        until(self.replicas.desk, what="a desk")
        self._judge(what)
        self.report.add(
            f"{what}: spool", f"up to {most_spooled / 1e6:.0f} MB, drained {drained_s:.0f} s after the return"
        )
        self.report.add(f"{what}: active processes of one shard at most", str(most_active), "1", most_active <= 1)

    def _rolling(self) -> None:
        """Stop and start every process, one after the other, and have nginx begin anew."""
        stops = []
        for process in list(self.shards.processes):
            stops.append(stopped(process.child))
            self.shards.again(process)
            self.shards.settle()
        for replica in self.replicas.replicas:
            stops.append(stopped(replica.child))
            self.replicas.again(replica)
            time.sleep(3.0)
        if self.replicas.reload_nginx():
            time.sleep(3.0)
        until(self.replicas.desk, what="a desk")
        self._judge("everything restarted, one after the other")
        value = f"{max(s for _, s in stops):.2f} s, exit codes {sorted({code for code, _ in stops})}"
        self.report.add(
            "SIGTERM to the end of a process, longest", value, f"< {STOP_S:g} s, 0",
            all(code == 0 and s < STOP_S for code, s in stops),
        )  # fmt: skip

    def _end(self) -> None:
        """Stop everything and count the whole store."""
        printed = self._printed()
        self._drained()
        self._people_end()
        codes = [stopped(each.child)[0] for each in [*self.replicas.replicas, *self.shards.processes]]
        judged = judge(self.shards.postgres)
        behind = max(0, printed - judged.first_last)
        good = judged.missing == judged.twice == judged.wrong == behind == 0 and judged.symbols == self.told.symbols
        value = f"{judged.missing} missing, {judged.twice} twice, {judged.wrong} wrong, {behind} behind the exchange"
        self._add("everything stopped: trades", f"{value}, of {judged.rows:,}", "0, 0, 0, 0", good)
        told = judge_alerts(self.shards.postgres, wave_s=WAVE_S, cooldown_s=COOLDOWN_S)
        value = f"{told.twice + told.early} twice, {told.lacking} missing, {told.holes} numbers without one"
        good = told.twice == told.early == told.lacking == told.holes == 0 and (told.firings > 0 or not self.told.rules)
        self._add("everything stopped: alerts", f"{value}, of {told.firings:,}", "0, 0, 0", good)
        self._add("exit codes of the last stop", str(sorted(set(codes))), "[0]", set(codes) == {0})

    # -- what is counted -------------------------------------------------------------------------------------------

    def _judge(self, what: str) -> None:
        """Wait until what the exchange has printed is stored, and count what came since the last time."""
        printed, now_s = self._printed(), time.monotonic()
        self._drained()
        elapsed_s = now_s - self.judged_s
        judged = judge(
            self.shards.postgres, since_ms=int((time.time() - (time.monotonic() - self.judged_s) - 10) * 1e3)
        )
        grown = (printed - self.printed) * self.told.symbols
        share = grown / (elapsed_s * self.told.rate)
        behind = max(0, printed - judged.first_last)
        value = (
            f"{judged.missing} missing, {judged.twice} twice, {judged.wrong} wrong, {behind} behind the exchange, "
            f"of {grown:,} in {elapsed_s:.0f} s"
        )
        good = judged.missing == judged.twice == judged.wrong == behind == 0 and judged.symbols == self.told.symbols
        self._add(f"{what}: trades", value, "0, 0, 0, 0", good)
        if not 0.95 < share < 1.05:
            self._add(f"{what}: the market went on at", f"{share:.0%} of its rate", "95 % to 105 %", False)
        if self.told.rules:
            told = judge_alerts(self.shards.postgres, wave_s=WAVE_S, cooldown_s=COOLDOWN_S)
            value = f"{told.twice + told.early} twice, {told.lacking} missing, of {told.firings:,} so far"
            self._add(f"{what}: alerts", value, "0, 0", told.twice == told.early == told.lacking == 0 < told.firings)
        for replica in self.replicas.replicas:
            if (code := replica.child.process.poll()) is not None:
                self._add(f"{what}: a replica ended by itself", f"with {code}", "none", False)
                note(replica.child.log()[-3000:])
                self.replicas.again(replica)
        self._add_people(what)
        self.printed, self.judged_s = printed, now_s

    def _printed(self) -> int:
        """The newest id that the exchange has given to every symbol: they trade in turn."""
        rest, symbol = self.shards.at["PAIRSCOPE_EXCHANGE_REST_URL"], f"S{self.told.symbols - 1:03d}USDT"
        trades = get_json(f"{rest}/fapi/v1/aggTrades?symbol={symbol}&limit=1")
        return int(trades[-1]["a"])

    def _lag_ms(self) -> float:
        """How long the oldest tick has waited that some process still has to write."""
        return max(float(p.stats().get("writer", {}).get("lag_ms", 0)) for p in self.shards.processes)

    def _empty(self) -> bool:
        """Whether no process holds anything back: spool and queue empty, holes filled."""
        told = [p.stats() for p in self.shards.processes]
        return all(
            t
            and t["writer"]["spool_bytes"] == 0
            and t["writer"]["lag_ms"] < LAG_MS
            and (not t["shard"]["active"] or t["feed"].get("gaps_pending", 0) == 0)
            for t in told
        )

    def _drained(self) -> None:
        until(self._empty, seconds=300, every_s=0.5, what="the end of spools and holes")
        time.sleep(12.0)  # two looks for what the store alone lacks
        until(self._empty, seconds=300, every_s=0.5, what="the end of spools and holes")

    def _kinds(self) -> dict[str, list[int]]:
        shards, replicas = self.shards, self.replicas
        roles = [(p.role or "ingest", p.child.process.pid) for p in shards.processes]
        kinds: dict[str, list[int]] = {"exchange": [self.exchange.process.pid], "clients": [self.load.process.pid]}
        for role, pid in roles:
            kinds.setdefault(f"ingest ({role})", []).append(pid)
        kinds["replicas"] = [each.child.process.pid for each in replicas.replicas]
        kinds["PostgreSQL"] = [shards.postgres.pid]
        kinds["Redis"] = [shards.redis.pid]
        if replicas.nginx_pid:
            kinds["nginx"] = [replicas.nginx_pid]
        return kinds

    # -- the people in front ---------------------------------------------------------------------------------------

    def _people(self) -> Child:
        """Make the rules, and start whoever asks and listens."""
        told, replicas = self.told, self.replicas
        names = [f"S{i:03d}USDT" for i in range(told.symbols)]
        until(lambda: len(replicas.ask("/api/symbols")) == told.symbols, what="all symbols at a replica")
        rules = [
            replicas.ask(
                "/api/alerts",
                {
                    "type": "price", "symbol": names[i * 2 % told.symbols], "condition": "crosses_above",
                    "threshold": LEVEL, "cooldown_s": COOLDOWN_S,
                },
            )["id"]
            for i in range(told.rules)
        ]  # fmt: skip
        words = {
            "addresses": replicas.addresses, "key": KEY, "callers": told.callers, "listeners": told.listeners,
            "symbols": names, "rules": rules,
        }  # fmt: skip
        return self.started.start("benchmarks.front_load", json.dumps(words))

    def _people_say(self) -> dict[str, Any]:
        assert self.load.process.stdin is not None
        self.load.process.stdin.write(b"now\n")
        self.load.process.stdin.flush()
        return dict(self.load.line())

    def _add_people(self, what: str) -> None:
        """Tell what those in front have seen of a part; the wait for its end, in which nothing is away, is among it."""
        said = self._people_say()
        bad = said["bad"]
        which = f" ({', '.join(f'{name} {n}' for name, n in sorted(bad.items()))})" if bad else ""
        door = "nginx" if self.replicas.nginx_pid else "the replicas"
        value = f"{sum(bad.values()):,} failed of {said['asked']:,}{which}"
        self._add(f"{what}: requests at {door}", f"{value}; p50 {said['p50_ms']:.0f} ms, p99 {said['p99_ms']:.0f} ms")
        closes = said["closes"]
        value = (
            f"longest silence {said['silence_s']:.2f} s, away {said['away_s']:.2f} s at most; closed {closes or 'none'}"
        )
        self._add(f"{what}: clients of the stream", value + (f", refused {said['refused']}" if said["refused"] else ""))
        twice, unheard = said["twice"], said["unheard"]
        self._add(
            f"{what}: alerts to clients", f"{twice} twice, {unheard} unheard, of {said['alerts']:,}", "0, 0",
            twice == unheard == 0,
        )  # fmt: skip
        note(f"failed: {said['failed']}; median and longest ms by route: {said['routes']}")

    def _people_end(self) -> None:
        assert self.load.process.stdin is not None
        self.load.process.stdin.close()
        self.load.process.wait(30)

    def _add(self, what: str, value: str, goal: str = "", reached: bool | None = None) -> None:
        note(f"{what}: {value}{'' if reached is not False else '  MISSED'}")
        self.report.add(what, value, goal, reached)


def stopped(child: Child) -> tuple[int, float]:
    """Ask a process to end; return its exit code and how long that took."""
    began = time.monotonic()
    child.process.terminate()
    return child.process.wait(60), time.monotonic() - began


def note(said: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
