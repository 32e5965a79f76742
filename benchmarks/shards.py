"""Ingest processes of a benchmark: shards with a standby each, who of them is active, and what they stored."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Child, Children, free_port, until
from benchmarks.servers import Postgres, Redis

__all__ = ["Alerts", "Ingest", "Judgement", "Shards", "judge", "judge_alerts"]


@dataclass
class Ingest:
    """One ingest process and its probe."""

    shard: int
    place: int
    words: tuple[str, ...]
    environment: dict[str, str]
    child: Child
    port: int

    def health(self) -> dict[str, Any]:
        """What its probe says of it; nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/health", timeout=2) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except (OSError, ValueError):
            return {}

    def stats(self) -> dict[str, Any]:
        """Its counters; nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/stats", timeout=2) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError):
            return {}

    @property
    def role(self) -> str:
        """``active``, ``standby``, or empty where it does not say."""
        checks = self.health().get("checks", {})
        followed = checks.get("feed", {}).get("last_frame_age_ms") is not None
        return str(checks.get("shard", {}).get("role", "")) if followed else ""


@dataclass
class Shards:
    """``count`` shards with ``places`` processes each."""

    children: Children
    postgres: Postgres
    redis: Redis
    at: dict[str, str]
    count: int = 2
    places: int = 2
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[Ingest] = field(default_factory=list)

    def start(self) -> None:
        """Start all of them and wait until each shard has an active one and the others stand by."""
        for shard in range(self.count):
            for place in range(self.places):
                self.processes.append(self._process(shard, place))
        self.settle()

    def settle(self, *, seconds: float = 120.0) -> None:
        """Wait until each shard has one active process and everybody else stands by."""
        wanted = sorted(["active", *["standby"] * (self.places - 1)] * self.count)

        def settled() -> bool:
            for ended in (p for p in self.processes if p.child.process.poll() is not None):
                raise RuntimeError(f"{ended.child.name} ended with {ended.child.process.poll()}:\n{ended.child.log()}")
            return sorted(p.role for p in self.processes) == wanted

        try:
            until(settled, seconds=seconds)
        except TimeoutError:
            said = "\n".join(f"{p.health()}\n{p.child.log()[-2000:]}" for p in self.processes)
            raise TimeoutError(f"roles {[p.role for p in self.processes]} in place of {wanted}:\n{said}") from None

    def active(self, shard: int) -> Ingest | None:
        """Who writes for a shard now."""
        return next((p for p in self.processes if p.shard == shard and p.role == "active"), None)

    def standby(self, shard: int) -> Ingest | None:
        """Who waits for a shard now."""
        return next((p for p in self.processes if p.shard == shard and p.role == "standby"), None)

    def again(self, process: Ingest) -> None:
        """Start a process that has ended again, in its place and with its folder."""
        self.processes[self.processes.index(process)] = self._process(process.shard, process.place)

    def actives(self) -> list[int]:
        """How many processes of each shard say that they are active."""
        return [sum(p.shard == shard and p.role == "active" for p in self.processes) for shard in range(self.count)]

    def spool_bytes(self) -> int:
        """What lies in the spools of all processes."""
        return sum(int(p.stats().get("writer", {}).get("spool_bytes", 0)) for p in self.processes)

    def _process(self, shard: int, place: int) -> Ingest:
        port = free_port()
        words = ("ingest", "--shard", f"{shard}/{self.count}", "--port", str(port), "--all")
        environment = {
            "PAIRSCOPE_DATABASE_URL": self.postgres.url,
            "PAIRSCOPE_REDIS_URL": self.redis.url,
            "PAIRSCOPE_DATA_DIR": str(self.children.folder / f"ingest-{shard}-{place}"),
            "PAIRSCOPE_SOURCE": "live",
            "PAIRSCOPE_HISTORY_MINUTES": "0",
            **self.at,
            **self.settings,
        }
        child = self.children.start("pairscope", *words, **environment)
        return Ingest(shard, place, words, environment, child, port)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is stored: rows, ids that lack between a symbol's first and last, rows of an id that is there already.

    ``first_last`` and ``last`` are the newest ids of the symbol that has come least far, and of all together.
    """

    symbols: int
    rows: int
    missing: int
    twice: int
    wrong: int
    first_last: int
    last: int


def judge(postgres: Postgres, *, since_ms: int = 0) -> Judgement:
    """Count it by SQL, of trades since a time; ``wrong`` are rows whose size is not the one of their id."""
    [row] = postgres.rows(
        "SELECT count(*), sum(n), sum(last - first + 1 - different), sum(n - different), sum(wrong), min(last), "
        "sum(last) FROM ("
        "SELECT symbol, count(*) AS n, count(DISTINCT id) AS different, min(id) AS first, max(id) AS last, "
        "count(*) FILTER (WHERE abs(size * 1000 - id) > 0.5) AS wrong FROM tick_data "
        f'WHERE "timestamp" >= to_timestamp({since_ms / 1000}) GROUP BY symbol) AS each'
    )
    return Judgement(*(int(value or 0) for value in row))


@dataclass(frozen=True, slots=True)
class Alerts:
    """Firings in PostgreSQL: how many, told again for the same tick, sooner than their rule may, and ones that lack."""

    firings: int
    twice: int
    early: int
    lacking: int
    holes: int


def judge_alerts(postgres: Postgres, *, wave_s: float, cooldown_s: float) -> Alerts:
    """Count the firings of rules that come true once in every wave of a price.

    ``twice`` are those of the same rule, symbol and tick (its time, its price) and those without a claim of their own,
    ``early`` those within the cooldown behind another, ``lacking`` the waves between two firings of a rule that made
    none, and ``holes`` numbers that no firing has.
    """
    [row] = postgres.rows(
        "WITH told AS (SELECT d->>'alert_id' AS rule, d->>'symbol' AS symbol, (d->>'timestamp')::bigint AS at, "
        "d->>'value' AS value, (d->>'seq')::bigint AS seq "
        "FROM (SELECT convert_from(body, 'UTF8')::json AS d FROM document WHERE collection = 'alert_firings') AS one), "
        "steps AS (SELECT at - lag(at) OVER (PARTITION BY rule ORDER BY at) AS ms FROM told) "
        "SELECT (SELECT count(*) FROM told), "
        "(SELECT count(*) FROM told) - (SELECT count(*) FROM (SELECT DISTINCT rule, symbol, at, value FROM told) AS o) "
        "+ abs((SELECT count(*) FROM told) - (SELECT count(*) FROM document WHERE collection = 'alert_claims')), "
        f"(SELECT count(*) FROM steps WHERE ms < {cooldown_s * 1000:.0f}), "
        f"(SELECT coalesce(sum(greatest(round(ms / {wave_s * 1000:.1f}) - 1, 0)), 0) FROM steps), "
        "(SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM told)"
    )
    return Alerts(*(int(float(value or 0)) for value in row))


def seconds_until(condition: Any, *, seconds: float) -> float:
    """How long it takes until something comes true."""
    began = time.monotonic()
    until(condition, seconds=seconds, every_s=0.02, what="a take-over")
    return time.monotonic() - began


def turns(seconds: float, *, every_s: float = 0.5) -> Iterator[float]:
    """Yield every so often for some seconds."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        yield now
        time.sleep(every_s)
