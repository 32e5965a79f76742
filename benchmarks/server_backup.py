"""Backups of server mode: how long and how big; everything destroyed and restored; the same under a running ingest.

``python -m benchmarks.server_backup`` starts a PostgreSQL and a Redis of its own and works with
``deploy/backup/backup.sh``. Ends with 1 where a row differs or an id is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis as RedisClient

from benchmarks.processes import ROOT, Child, Children, children, free_port, get_json, until
from benchmarks.report import Report, write
from benchmarks.server_store import DAY, DAY_NS, FLUSH, MARKET, PUT, SETTINGS
from benchmarks.servers import Postgres, Redis
from benchmarks.shares import Shares
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

__all__ = ["main"]

RATE = 6000
"""Trades a second of the market that is stored."""
DOCUMENTS = 2000


class Kept(Postgres):
    """A server, its backups, and its end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=SETTINGS)
        self.folder = folder
        self.kept = folder / "kept"
        self.kept.mkdir()
        self._own(self.kept)
        shutil.copy(ROOT / "deploy" / "backup" / "backup.sh", folder)
        (folder / "backup.sh").chmod(0o755)

    def _own(self, place: Path) -> None:
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(place, owner.pw_uid, owner.pw_gid)

    def command(self, *words: str, database: str = "postgres") -> dict[str, Any]:
        """What starts the script, as who runs the server."""
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGDATABASE": database}
        place = {"PATH": f"{self._bin}:{os.environ['PATH']}", "BACKUP_DIR": str(self.kept)}
        user: dict[str, Any] = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        return {"args": ["sh", self.folder / "backup.sh", *words], "env": address | place, "cwd": self.folder, **user}

    def do(self, *words: str, database: str = "postgres") -> float:
        """Run the script to its end; return how long it took."""
        began = time.monotonic()
        done = subprocess.run(**self.command(*words, database=database), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"backup.sh {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return time.monotonic() - began

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow the log meanwhile."""
        with (self.folder / "follow.log").open("ab") as log:
            following = subprocess.Popen(**self.command("follow"), stdout=log, stderr=log)
        try:
            until(lambda: self.rows("SELECT active FROM pg_replication_slots WHERE active"), what="a follower")
            yield
        finally:
            following.terminate()
            following.wait(60)

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process is not None
        return self._process.pid

    def kept_up(self) -> None:
        """Wait until what was written up to now is kept."""
        [(at,)] = self.rows("SELECT pg_current_wal_flush_lsn()")
        until(lambda: self.rows(f"SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= '{at}'"), what="the log")

    def written(self) -> int:
        """How many bytes of log the server has written."""
        return int(self.rows("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")[0][0])

    def bytes(self) -> int:
        return int(self.rows("SELECT pg_database_size(current_database())")[0][0])

    def destroy(self) -> None:
        """Have it fall and remove every file of it."""
        self.stop()
        shutil.rmtree(self._data)
        self._data.mkdir(0o700)
        self._own(self._data)

    def restore(self) -> float:
        """Make its files again and start it; return how long that took until it answers."""
        began = time.monotonic()
        self.do("restore", str(self._data))
        self.start()
        assert self.rows("SELECT pg_is_in_recovery()") == [("f",)]
        return time.monotonic() - began

    def sums(self, database: str = "postgres") -> dict[str, tuple[str, ...]]:
        """Rows of every table, each day by itself, and the sum of their digests, which knows no order."""
        kinds = (
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        each = "SELECT '{0}', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {0} AS t"
        names = [name for (name,) in self.rows(kinds)]
        url, self.asked = self.url, database
        assert url
        rows = self.rows(" UNION ALL ".join(each.format(name) for name in sorted(names)))
        self.asked = "postgres"
        return {row[0]: row[1:] for row in rows}

    asked = "postgres"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self.asked}"


def main(words: list[str] | None = None) -> int:
    """Measure and keep the results; 1 where something differs or is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_backup", description=__doc__)
    parser.add_argument("--millions", type=float, default=10.0, help="million trades in the store")
    parser.add_argument("--rate", type=int, default=6000, help="trades a second of the ingest that runs meanwhile")
    parser.add_argument("--seconds", type=int, default=20, help="how long it runs before and behind each backup")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results as it is")
    told = parser.parse_args(words)
    report = Report(
        "server_backup",
        f"{told.millions:g} million trades of {MARKET} symbols, {RATE:,} a second on both sides of a midnight, their "
        f"bars of seconds and minutes, and {DOCUMENTS:,} documents; then an ingest of {told.rate:,} trades a second of "
        "100 symbols beside it. PostgreSQL 18, deploy/backup/backup.sh, gzip -1, store and backup on one disk.",
        "after each restore every table, each day by itself, has as many rows as before and the same sum of their "
        "digests (hashtextextended)",
    )
    with children() as started:
        started.folder.chmod(0o755)
        server, redis = Kept(started.folder), Redis(started.folder)
        server.start()
        redis.start()
        try:
            at_rest(report, server, told.millions)
            in_use(report, started, server, redis)
            beside_an_ingest(report, started, server, redis, told)
        finally:
            for child in reversed(started.started):
                child.stop()
            redis.stop()
            server.stop(signal.SIGINT)
    print(report.text(), flush=True)
    if not told.no_write:
        write([report])
    return int(any(figure.reached is False for figure in report.figures))


def note(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def add(report: Report, what: str, value: str, goal: str = "", reached: bool | None = None) -> None:
    """Tell a figure, now and in the report."""
    note(f"{what}: {value}")
    report.add(what, value, goal, reached)


def megabytes(*places: Path) -> float:
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6


# -- at rest -----------------------------------------------------------------------------------------------------------


def at_rest(report: Report, server: Kept, millions: float) -> None:
    """A base at half of it, the rest in the log alone; both ways there and back."""
    total = int(millions * 1e6) // 2 * 2
    half = total // 2
    note("filling")
    asyncio.run(fill(server.url, 0, half, total, server.folder))
    with server.followed():
        took = server.do("base")
        base = next((server.kept / "base").iterdir())
        add(
            report,
            f"a base of {half / 1e6:g} million trades ({server.bytes() / 1e6:,.0f} MB)",
            f"{took:.1f} s, {megabytes(base):,.0f} MB",
        )
        began = server.written()
        speed = asyncio.run(fill(server.url, half, total, total, server.folder))
        add(report, "trades a second through the writer while the log is followed", f"{speed:,.0f}")
        server.kept_up()
        written, kept = server.written() - began, megabytes(server.kept / "wal")
        add(
            report,
            f"log of {half / 1e6:g} million trades more",
            f"{written / half:.0f} bytes a trade, {kept * 1e6 / half:.0f} as it is kept",
        )
        asyncio.run(rest(server.url, total))
        server.kept_up()
    size = server.bytes()
    before = server.sums()
    dumped = server.do("dump")
    dump = next((server.kept / "dump").iterdir())
    add(
        report,
        f"a dump of all of it ({size / 1e6:,.0f} MB, {size / total:.0f} bytes a trade)",
        f"{dumped:.1f} s, {megabytes(dump):,.0f} MB",
    )
    note("destroying")
    server.destroy()
    took = server.restore()
    after = server.sums()
    add(
        report,
        "destroyed and restored from base and log: tables that differ",
        f"{different(before, after)} of {len(before)}, {rows_of(after):,} rows; {took:.1f} s until it answers",
        "0",
        different(before, after) == 0,
    )
    server.rows("CREATE DATABASE again")
    took = server.do("load", str(dump), database="again")
    after = server.sums("again")
    add(
        report,
        "destroyed and restored from the dump: tables that differ",
        f"{different(before, after)} of {len(before)}, {rows_of(after):,} rows; {took:.1f} s",
        "0",
        different(before, after) == 0,
    )
    server.rows("DROP DATABASE again")


def different(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> int:
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())


def rows_of(sums: dict[str, tuple[str, ...]]) -> int:
    return sum(int(count) for count, *_ in sums.values())


async def fill(url: str, low: int, high: int, total: int, folder: Path) -> float:
    """Put trades of two days through the writer; return how many a second."""
    symbols = Symbols(f"B{k:03d}USDT" for k in range(MARKET))
    store = await PostgresStore.open(url)
    writer = StoreWriter(store, spool=Spool(folder / f"spool-{low}", max_bytes=1 << 30), flush_rows=FLUSH)
    await writer.start()
    began = time.monotonic()
    for start in range(low, high, PUT):
        await writer.put(trades(symbols, start, min(start + PUT, high), total))
    await writer.drain()
    took = time.monotonic() - began
    assert writer.counters()["store_errors"] == 0, writer.counters()
    await writer.close()
    await store.close()
    return (high - low) / took


def trades(symbols: Symbols, low: int, high: int, total: int) -> TickBatch:
    """Trades ``low`` to ``high`` of ``total``, each symbol in turn."""
    i = np.arange(low, high, dtype=np.int64)
    at = (DAY + 1) * DAY_NS + (i - total // 2) * 1000 // RATE * 1_000_000
    price, size = 100 + i * 7919 % 1000 / 100, (i * 104_729 % 1000 + 1) / 1000
    which = (i % len(symbols)).astype(np.int32)
    return TickBatch(symbols, which, at, at + 20_000_000, i // len(symbols), price, size, i % 3 == 0, int(at[-1]))


async def rest(url: str, total: int) -> None:
    """Bars, and documents."""
    store = await PostgresStore.open(url)
    for k in range(MARKET):
        await store.rebuild_bars(f"B{k:03d}USDT", DAY * DAY_NS, (DAY + 2) * DAY_NS)
    for k in range(DOCUMENTS):
        await store.put("backed-up", f"{k:06d}", json.dumps({"number": k, "of": total}).encode())
    await store.close()


# -- the product on what was restored ----------------------------------------------------------------------------------


def in_use(report: Report, started: Children, server: Kept, redis: Redis) -> None:
    """Look through the store, and have a replica answer from it."""
    environment = settings(server, redis, started.folder / "looked")
    note("doctor")
    began = time.monotonic()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PAIRSCOPE_")}
    command = [sys.executable, "-m", "pairscope", "doctor", "--store"]
    done = subprocess.run(command, env=clean | environment, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    add(report,
        "`pairscope doctor --store` on what was restored", f"{said}, {time.monotonic() - began:.0f} s", "whole",
        done.returncode == 0,
    )  # fmt: skip
    child, url = replica(started, environment)
    bars = get_json(f"{url}/api/ohlc/B007USDT?timeframe=1m&limit=1000")["bars"]
    symbols = get_json(f"{url}/api/symbols")
    [(stored,)] = server.rows("SELECT count(*) FROM tick_data WHERE symbol = 'B007USDT'")
    told = sum(bar["trades"] for bar in bars)
    add(
        report,
        "`pairscope api` on it",
        f"{len(symbols)} symbols, {told:,} trades in {len(bars)} minutes of one of them",
        f"{MARKET}, {int(stored):,}",
        len(symbols) == MARKET and told == int(stored),
    )
    child.stop()


def settings(server: Kept, redis: Redis, data_dir: Path) -> dict[str, str]:
    return {
        "PAIRSCOPE_DATABASE_URL": server.url,
        "PAIRSCOPE_REDIS_URL": redis.url,
        "PAIRSCOPE_DATA_DIR": str(data_dir),
        "PAIRSCOPE_SOURCE": "live",
        "PAIRSCOPE_HISTORY_MINUTES": "0",
    }


def replica(started: Children, environment: dict[str, str]) -> tuple[Child, str]:
    """Start a replica; return it and its address once it is ready."""
    port = free_port()
    child = started.start("pairscope", "api", "--port", str(port), **environment)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        if child.process.poll() is not None:
            raise RuntimeError(f"the replica ended:\n{child.log()[-4000:]}")
        try:
            return bool(get_json(f"{url}/api/health/ready", timeout_s=5))
        except OSError:
            return False

    until(ready, what="the replica")
    return child, url


# -- beside an ingest --------------------------------------------------------------------------------------------------


class Ingest:
    """One shard of the whole market, followed by one process."""

    def __init__(self, started: Children, server: Kept, redis: Redis, at: dict[str, str]) -> None:
        self._started, self._environment = started, {**settings(server, redis, started.folder / "ingest"), **at}
        self.port = free_port()
        self.child = self._start()

    def _start(self) -> Child:
        words = ("ingest", "--shard", "0/1", "--port", str(self.port), "--all")
        child = self._started.start("pairscope", *words, **self._environment)
        until(lambda: self.stats().get("shard", {}).get("active"), what="an active shard")
        return child

    def again(self) -> None:
        """Start it behind its end."""
        self.child = self._start()

    def stats(self) -> dict[str, Any]:
        """Its counters; nothing where it does not answer."""
        try:
            return dict(get_json(f"http://127.0.0.1:{self.port}/api/stats", timeout_s=5))
        except (OSError, ValueError):
            return {}

    def settled(self) -> bool:
        """Whether nothing waits: neither in the spool, nor in the queue, nor a hole to be filled."""
        told = self.stats()
        return bool(
            told
            and told["writer"]["spool_bytes"] == 0
            and told["writer"]["lag_ms"] < 2_000
            and told["feed"].get("gaps_pending", 0) == 0
        )


def beside_an_ingest(report: Report, started: Children, server: Kept, redis: Redis, told: argparse.Namespace) -> None:
    """Back up while trades come, lose the server, restore it with the ingest still running, and once more by a dump."""
    shutil.rmtree(server.kept / "base")
    shutil.rmtree(server.kept / "wal")
    _, at = started.exchange(even=True, symbols=100, rate=told.rate, seconds=12 * told.seconds + 900, speed=1.0)
    ingest = Ingest(started, server, redis, at)
    answering, _ = replica(started, settings(server, redis, started.folder / "api"))
    note("an ingest and a replica run")
    with server.followed():
        used(report, server, redis, {"ingest": ingest.child, "replica": answering}, told)
        answering.stop()
        worst: list[float] = []
        took = watched(lambda: server.do("base"), ingest, worst)
        base = next((server.kept / "base").iterdir())
        add(
            report,
            f"a base beside an ingest of {told.rate:,} trades a second",
            f"{took:.1f} s, {megabytes(base):,.0f} MB; trades waited {max(worst) / 1e3:.1f} s at most to be stored",
        )
        time.sleep(told.seconds)
        [(seen,)] = server.rows(f"SELECT count(*) FROM tick_data WHERE {LIVE}")
        server.destroy()
    note("destroyed under an ingest")
    took = server.restore()
    [(back,)] = server.rows(f"SELECT count(*) FROM tick_data WHERE {LIVE}")
    finished(ingest)
    rows, missing, twice = judged(server)
    add(
        report,
        "the server destroyed under the ingest, restored from base and log: trades missing, twice",
        f"{missing}, {twice} of {rows:,}; {took:.1f} s until it answers; {int(seen):,} were stored just before, "
        f"{int(back):,} when it answered again; the rest came from the spool and the exchange",
        "0, 0",
        missing == twice == 0 and rows > int(seen),
    )
    note("the same by a dump")
    worst = []
    took = watched(lambda: server.do("dump"), ingest, worst)
    dump = max((server.kept / "dump").iterdir())
    add(
        report,
        "a dump beside the ingest",
        f"{took:.1f} s, {megabytes(dump):,.0f} MB; trades waited {max(worst) / 1e3:.1f} s at most to be stored",
    )
    time.sleep(told.seconds)
    ingest.child.stop()
    rows, *_ = judged(server)
    server.rows("CREATE DATABASE again")
    took = server.do("load", str(dump), database="again")
    server.asked = "again"
    loaded, *_ = judged(server)
    server.asked = "template1"
    server.rows("DROP DATABASE postgres WITH (FORCE)")
    server.rows("ALTER DATABASE again RENAME TO postgres")
    server.asked = "postgres"
    began = time.monotonic()
    ingest.again()
    finished(ingest)
    filled = time.monotonic() - began
    ingest.child.stop()
    now, missing, twice = judged(server)
    add(
        report,
        "the ingest stopped, the dump loaded, the ingest started: trades missing, twice",
        f"{missing}, {twice} of {now:,}; {took:.1f} s to load, {rows - loaded:,} trades behind the dump came "
        f"again from the exchange, {filled:.0f} s after the start nothing was open",
        "0, 0",
        missing == twice == 0 and now > rows,
    )


def used(report: Report, server: Kept, redis: Redis, ours: dict[str, Child], told: argparse.Namespace) -> None:
    """Tell what each part takes for a while."""
    with RedisClient.from_url(redis.url) as client:
        servers = {"PostgreSQL": [server.pid], "Redis": [int(client.info("server")["process_id"])]}
        shares = Shares({**{name: [child.process.pid] for name, child in ours.items()}, **servers})
        time.sleep(told.seconds)
        add(report, f"cores that {told.rate:,} trades a second take, nobody asking", shares.used())
        memory = {name: child.usage.memory_info().rss / 1e6 for name, child in ours.items()}
        memory["Redis"] = float(client.info("memory")["used_memory"]) / 1e6
    add(report, "memory", ", ".join(f"{name} {size:,.0f} MB" for name, size in memory.items()))


LIVE = "symbol LIKE 'S%'"


def watched(work: Callable[[], float], ingest: Ingest, worst: list[float]) -> float:
    """Do work in a thread and note meanwhile how long trades wait for the store."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(work)
        while not doing.done():
            worst.append(float(ingest.stats().get("writer", {}).get("lag_ms", 0.0)))
            time.sleep(0.2)
        return doing.result()


def finished(ingest: Ingest) -> None:
    """Wait until nothing is open, and once more behind two looks for what the store alone lacks."""
    until(ingest.settled, seconds=900, what="the end of spool and holes")
    time.sleep(12.0)
    until(ingest.settled, seconds=900, what="the end of spool and holes")


def judged(server: Kept) -> tuple[int, int, int]:
    """Rows of the market that is followed, ids that lack between a symbol's first and last, rows of an id again."""
    [row] = server.rows(
        "SELECT sum(n), sum(last - first + 1 - different), sum(n - different) FROM (SELECT symbol, count(*) AS n, "
        "count(DISTINCT id) AS different, min(id) AS first, max(id) AS last FROM tick_data "
        f"WHERE {LIVE} GROUP BY symbol) AS each"
    )
    rows, missing, twice = (int(value or 0) for value in row)
    return rows, missing, twice


if __name__ == "__main__":
    sys.exit(main())
