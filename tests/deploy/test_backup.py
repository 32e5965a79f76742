"""What ``deploy/backup/backup.sh`` keeps comes back as it was, on a real PostgreSQL whose files are gone."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.postgres_server import PostgresServer, binaries_of_the_wheel, running

from pairscope.market.ticks import TickBatch
from pairscope.storage.postgres_store import PostgresStore

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "backup" / "backup.sh"
DEADLINE_S = 120.0
TicksOf = Callable[..., TickBatch]


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.02)


@dataclass
class Backups:
    """The script, run as who runs the server, with a folder for backups."""

    server: PostgresServer
    folder: Path

    def command(self, *words: str) -> dict[str, Any]:
        """What starts it."""
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGUSER": "postgres"}
        place = {"PATH": f"{binaries_of_the_wheel()}:{os.environ['PATH']}", "BACKUP_DIR": str(self.folder / "kept")}
        more = {"PGDATABASE": "pairscope", "BACKUP_LOOK": "1"}
        owner = pwd.getpwnam("nobody")
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        words = ("sh", str(self.folder / "backup.sh"), *words)
        return {"args": words, "env": address | place | more, "cwd": self.folder, **user}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(**self.command(*words), capture_output=True, text=True, timeout=120, check=False)

    def do(self, *words: str) -> str:
        """Run it, and demand that it does it."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def followed(self, verb: str) -> Iterator[None]:
        """Follow the log meanwhile."""
        with (self.folder / "follow.log").open("ab") as log:
            following = subprocess.Popen(**self.command(verb), stdout=log, stderr=log)
        try:
            until(lambda: self.sql("SELECT active FROM pg_replication_slots") == "t", "follower of the log")
            yield
        finally:
            following.terminate()
            following.wait(60)

    def sql(self, statement: str) -> str:
        return self.server.sql(statement, database="pairscope")

    def kept_up(self) -> None:
        """Wait until everything that was written is in the folder, on disk."""
        behind = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_flush_lsn()"
        until(lambda: self.sql(behind) == "1", "log that is kept")

    def complete(self) -> float:
        """When the newest base was complete, in whole seconds since 1970."""
        newest = max(path.name for path in (self.folder / "kept" / "base").iterdir())
        return datetime.strptime(newest[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()

    def segments(self) -> list[str]:
        """The parts of the log that are kept, in order."""
        found = (self.folder / "kept" / "wal").glob("*/*")
        return sorted(path.name[8:24] for path in found if "history" not in path.name)

    def sums(self) -> dict[str, str]:
        """Every table's rows, as a digest that knows no order."""
        names = self.sql(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        each = "SELECT '{0}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {0} AS t"
        rows = self.sql(" UNION ALL ".join(map(each.format, sorted(names.split()))))
        return dict(line.split("|", 1) for line in rows.splitlines())

    def destroyed(self, folder: Path, *words: str) -> None:
        """Have the server fall, remove every file of it, restore it and start it again."""
        self.server.stop(kill=True)
        mode, owner = folder.stat().st_mode, folder.stat()
        shutil.rmtree(folder)
        folder.mkdir(mode=mode)
        os.chown(folder, owner.st_uid, owner.st_gid)
        self.do("restore", str(folder), *words)
        self.server.start()
        until(lambda: self.sql("SELECT pg_is_in_recovery()") == "f", "end of the recovery")


@pytest.fixture(scope="module")
def backups() -> Iterator[Backups]:
    """A server of its own, which is going to be destroyed, and its backups."""
    with running(binaries_of_the_wheel()) as server:
        server.fresh()
        folder = server.data.parent
        shutil.copy(SCRIPT, folder)
        (folder / "kept").mkdir()
        (folder / "backup.sh").chmod(0o755)
        shutil.chown(folder / "kept", *([folder.owner()] if os.geteuid() == 0 else [folder.stat().st_uid]))
        yield Backups(server, folder)


def write(backups: Backups, ticks_of: TicksOf, noon_ns: int, ids: range) -> None:
    """Store trades as an ingest process does, on two days, with a document."""

    async def work() -> None:
        store = await PostgresStore.open(backups.server.url("pairscope"), pool=2)
        rows = [(s, k, noon_ns + k * 3600 * 10**9, "10.5", "1", True) for s in ("BTCUSDT", "ETHUSDT") for k in ids]
        await store.append(ticks_of(rows, watermark_ns=noon_ns + ids.stop * 3600 * 10**9))
        await store.put("rules", f"rule-{ids.start}", b"{}")
        await store.close()

    asyncio.run(work())


def test_a_server_whose_files_are_gone_is_again_what_it_was_at_its_end_and_at_any_time_before(
    backups: Backups, ticks_of: TicksOf, noon_ns: int
) -> None:
    write(backups, ticks_of, noon_ns, range(20))
    with backups.followed("run"):
        until(lambda: backups.run("check").returncode == 0, "first base")
        write(backups, ticks_of, noon_ns, range(20, 30))
        before = backups.sums()
        until(lambda: time.time() > backups.complete() + 1, "next second")
        moment = backups.sql("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US OF')")
        write(backups, ticks_of, noon_ns, range(30, 40))
        backups.kept_up()
        at_the_end = backups.sums()
    backups.destroyed(backups.server.data)
    assert backups.sums() == at_the_end
    assert at_the_end["tick_data"].startswith("80|")
    backups.destroyed(backups.server.data, moment)
    assert backups.sums() == before


def test_bases_and_log_that_nobody_needs_go_and_a_server_that_was_restored_is_kept_on(backups: Backups) -> None:
    with backups.followed("follow"):
        for _ in range(3):
            backups.do("base")
            backups.sql("CREATE TABLE more (); DROP TABLE more; SELECT pg_switch_wal()")
        backups.kept_up()
        sums = backups.sums()
    before = backups.segments()
    backups.do("prune")
    after = backups.segments()
    assert len(list((backups.folder / "kept" / "base").iterdir())) == 2
    assert after and len(after) < len(before) and after == before[-len(after) :]
    backups.destroyed(backups.server.data)
    assert backups.sums() == sums


def test_a_dump_makes_an_empty_database_the_same_and_spares_one_that_is_not(
    backups: Backups, ticks_of: TicksOf, noon_ns: int
) -> None:
    write(backups, ticks_of, noon_ns, range(60, 70))
    before = backups.sums()
    name = backups.do("dump").split()[1].rstrip(":")
    refused = backups.run("load", f"kept/dump/{name}")
    assert refused.returncode == 1 and "not empty" in refused.stderr
    backups.server.sql("DROP DATABASE pairscope")
    backups.server.sql("CREATE DATABASE pairscope")
    backups.do("load", f"kept/dump/{name}")
    assert backups.sums() == before
    write(backups, ticks_of, noon_ns, range(70, 71))


def test_what_cannot_be_restored_says_why(backups: Backups, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.parent.chmod(0o755)
    assert "not empty" in backups.run("restore", str(backups.server.data)).stderr
    (backups.folder / "empty").mkdir(exist_ok=True)
    assert "old enough" in backups.run("restore", "empty", "2020-01-01").stderr
    assert "backup.sh restore DIR" in backups.run("mend").stderr
