"""A process of a shard dies, its servers go away: another one takes over, and no trade is missing or there twice."""

from __future__ import annotations

import json
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from benchmarks.servers import Postgres, Redis

from pairscope.supervisor import free_port

from .running import DEADLINE_S, Program, Programs, until

SYMBOLS, RATE = 12, 1500
QUICK = ("fsync=off", "synchronous_commit=off", "shared_buffers=64MB", "max_connections=60")


@pytest.fixture
def servers() -> Iterator[tuple[Postgres, Redis]]:
    """A PostgreSQL and a Redis that can be stopped and started again where they are.

    In a folder that other users may enter, which those of pytest are not: PostgreSQL does not run as root.
    """
    with tempfile.TemporaryDirectory(prefix="pairscope-shards-") as folder:
        postgres, redis = Postgres(Path(folder), settings=QUICK), Redis(Path(folder))
        postgres.start()
        redis.start()
        yield postgres, redis
        redis.stop()
        postgres.stop()


class Ingest:
    """An ingest process, seen through its probe."""

    def __init__(self, programs: Programs, name: str, at: dict[str, str]) -> None:
        self.port = free_port()
        words = ("ingest", "--shard", "0/1", "--all", "--port", str(self.port))
        self.program: Program = programs.start(*words, **at, data_dir=str(programs.folder / name))

    def ask(self, path: str) -> dict[str, Any]:
        """What it answers; nothing while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except (OSError, ValueError):
            return {}

    @property
    def role(self) -> str:
        """``active`` or ``standby``, once it receives trades."""
        if self.program.process.poll() is not None:
            raise AssertionError(f"ended with {self.program.process.returncode}:\n{self.program.said()}")
        told = self.ask("/api/stats")
        if not told.get("feed", {}).get("ticks"):
            return ""
        return "active" if told["shard"]["active"] else "standby"

    def holds_back(self) -> bool:
        """Whether anything waits here that is to be stored."""
        told = self.ask("/api/stats")
        return not told or told["writer"]["spool_bytes"] > 0 or told["feed"]["gaps_pending"] > 0


def active_and_standby(both: list[Ingest]) -> list[Ingest]:
    """The two in this order, each asked once; nobody while they are not these."""
    roles = {each.role: each for each in both}
    return [roles["active"], roles["standby"]] if set(roles) == {"active", "standby"} else []


def stored(postgres: Postgres) -> dict[str, list[int]]:
    """The ids of each symbol as they are stored, each as often as it is there."""
    found: dict[str, list[int]] = {}
    for symbol, number in postgres.rows("SELECT symbol, id FROM tick_data ORDER BY symbol, id"):
        found.setdefault(symbol, []).append(int(number))
    return found


def holes(postgres: Postgres) -> int:
    """How many ids lack between the first and the last of their symbol."""
    spans = "SELECT max(id) - min(id) + 1 - count(DISTINCT id) AS lacking FROM tick_data GROUP BY symbol"
    [[lacking]] = postgres.rows(f"SELECT sum(lacking) FROM ({spans}) AS each")
    return int(lacking)


def sent(url: str, symbol: str, first: int, last: int) -> list[int]:
    """The ids that the exchange has printed, by its REST."""
    ids: list[int] = []
    while not ids or ids[-1] < last:
        query = f"symbol={symbol}&fromId={ids[-1] + 1 if ids else first}&limit=1000"
        with urllib.request.urlopen(f"{url}/fapi/v1/aggTrades?{query}", timeout=DEADLINE_S) as answer:
            page = [row["a"] for row in json.load(answer)]
        if not page:
            break
        ids += page
    return [number for number in ids if number <= last]


@pytest.mark.timeout(500)  # 20 s where nothing else runs
def test_nothing_is_missing_or_twice_whoever_dies_and_whichever_server_goes_away(
    programs: Programs, servers: tuple[Postgres, Redis]
) -> None:
    postgres, redis = servers
    exchange = programs.serve(f"synthetic:seed=3,symbols={SYMBOLS},rate={RATE}")
    at = {
        **exchange,
        "database_url": postgres.url,
        "redis_url": redis.url,
        "source": "live",
        "history_minutes": "0",
    }
    both = [Ingest(programs, name, at) for name in ("one", "other")]
    first, second = until(partial(active_and_standby, both), what="one active, the other one not")
    until(lambda: len(stored(postgres)) == SYMBOLS, what="trades of every symbol")

    first.program.process.kill()
    until(lambda: second.role == "active", what="the second process active")

    postgres.stop()
    until(lambda: second.ask("/api/stats").get("writer", {}).get("spool_bytes", 0) > 0, what="a spool")
    redis.stop()
    assert second.ask("/api/health")["checks"]["store"]["status"] == "degraded"
    postgres.start()
    until(lambda: not second.holds_back(), what="the end of the spool")
    assert second.role == "active"
    redis.start()

    before = sum(map(len, stored(postgres).values()))
    until(lambda: sum(map(len, stored(postgres).values())) > before, what="trades stored after all of it")
    until(lambda: not second.holds_back() and holes(postgres) == 0, what="the end of all repairs")
    code, _ = second.program.stop(signal.SIGTERM)
    assert code == 0, second.program.said()

    held = stored(postgres)
    assert len(held) == SYMBOLS
    for symbol, ids in held.items():
        assert ids == sent(exchange["exchange_rest_url"], symbol, ids[0], ids[-1]), symbol
