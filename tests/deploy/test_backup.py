"""What ``deploy/backup/backup.sh`` keeps comes back as it was, on a real PostgreSQL whose files are gone."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
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
        time.sleep(0.1)


@dataclass
class Backups:
    """The script, run as who runs the server, with a folder for backups."""

    server: PostgresServer
    folder: Path

    def command(self, *words: str) -> dict[str, Any]:
        """What starts it."""
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGUSER": "postgres"}
        place = {"PATH": f"{binaries_of_the_wheel()}:{os.environ['PATH']}", "BACKUP_DIR": str(self.folder / "kept")}
        more = {"PGDATABASE": "pairscope", "BACKUP_LOOK": "1", "BACKUP_KEEP": "1"}
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
            until(lambda: self.sql("SELECT active FROM pg_replication_slots") != "t", "end of the following")

    def sql(self, statement: str) -> str:
        return self.server.sql(statement, database="pairscope")

    def kept_up(self) -> None:
        """Wait until everything that was written is in the folder, on disk.

        Who follows the log tells of that as it writes, else every ten seconds: so there is something to write.
        """
        behind = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_flush_lsn()"
        prod = "SELECT pg_logical_emit_message(true, 'kept', '')"
        until(lambda: self.sql(behind) == "1" or not self.sql(prod), "log that is kept")

    def complete(self) -> float:
        """When the newest base was complete, in whole seconds since 1970."""
        newest = max(path.name for path in (self.folder / "kept" / "base").iterdir())
        return datetime.strptime(newest[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()

    def lines(self) -> int:
        """How many unbroken lines of the log are kept."""
        return len(list((self.folder / "kept" / "wal").iterdir()))

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

    def empty(self, folder: Path) -> None:
        """Make a folder that belongs to who runs the server."""
        owner = self.folder.stat()
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)

    def destroyed(self, folder: Path, *words: str) -> None:
        """Have the server fall, remove every file of it, restore it and start it again."""
        self.server.stop(kill=True)
        shutil.rmtree(folder)
        self.empty(folder)
        self.do("restore", str(folder), *words)
        self.server.start()


@pytest.fixture(scope="module")
def backups() -> Iterator[Backups]:
    """A server of its own, which is going to be destroyed, and its backups."""
    with running(binaries_of_the_wheel()) as server:
        server.sql("CREATE DATABASE pairscope")
        folder = server.data.parent
        shutil.copy(SCRIPT, folder)
        (folder / "backup.sh").chmod(0o755)
        backups = Backups(server, folder)
        backups.empty(folder / "kept")
        yield backups


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
        backups.sql("CREATE TABLE more (); DROP TABLE more; SELECT pg_switch_wal()")
        backups.do("base")
        backups.kept_up()
    before = backups.segments()
    backups.do("prune")
    after = backups.segments()
    assert len(list((backups.folder / "kept" / "base").iterdir())) == 1
    assert after and len(after) < len(before) and after == before[-len(after) :]
    # What the server did not keep for its follower is a hole, behind which a base begins anew.
    backups.sql("SELECT pg_drop_replication_slot('pairscope_backup')")
    backups.sql("CREATE TABLE unfollowed AS SELECT 1 AS one; SELECT pg_switch_wal(); CHECKPOINT")
    known, lines = backups.complete(), backups.lines()
    with backups.followed("run"):
        until(lambda: backups.complete() > known, "base behind the hole")
        backups.sql("CREATE TABLE followed AS SELECT 2 AS two")
        backups.kept_up()
    assert backups.lines() == lines + 1
    sums = backups.sums()
    backups.destroyed(backups.server.data)
    assert backups.sums() == sums and "followed" in sums and "unfollowed" in sums


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


def test_what_cannot_be_restored_says_why(backups: Backups) -> None:
    assert "not empty" in backups.run("restore", str(backups.server.data)).stderr
    backups.empty(backups.folder / "empty")
    assert "old enough" in backups.run("restore", "empty", "2020-01-01").stderr
    assert "backup.sh restore DIR" in backups.run("mend").stderr


def test_pages_containers_and_pods_use_words_that_the_script_knows() -> None:
    known = set(re.findall(r"^ {4}([a-z |]+)\) \"\$@\"", SCRIPT.read_text(), re.MULTILINE)[0].split(" | "))
    assert {"run", "base", "restore", "dump", "load", "check"} <= known
    service = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())["services"]["backup"]
    assert set(service["command"]) <= known and service["healthcheck"]["test"][-1] in known
    for page in ("docs/operations.md", "deploy/README.md", "deploy/backup/keeper.yaml"):
        words = re.findall(r"backup\.sh,? ([a-z]+)", (ROOT / page).read_text())
        assert words and set(words) <= known, page


def test_the_component_for_a_cluster_is_restricted_and_fits_the_server_that_it_changes() -> None:
    place = ROOT / "deploy" / "backup"
    listed = yaml.safe_load((place / "kustomization.yaml").read_text())
    made = listed["resources"] + [each["path"] for each in listed["patches"]]
    made += [file for each in listed["configMapGenerator"] for file in each["files"]]
    assert sorted(made) == sorted(path.name for path in place.iterdir() if path.name != "kustomization.yaml")
    documents = [each for name in listed["resources"] for each in yaml.safe_load_all((place / name).read_text())]
    for document in documents:
        kubernetes_validate.validate(document, "1.33", strict=True)
    pod = next(each for each in documents if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    [server, _] = yaml.safe_load_all((ROOT / "deploy/k8s/components/servers/postgres.yaml").read_text())
    for change in yaml.safe_load((place / "server.yaml").read_text()):
        found = server
        for step in change["path"].strip("/").split("/")[:-1]:
            found = found[int(step)] if isinstance(found, list) else found[step]
        found.append(change["value"])
    kubernetes_validate.validate(server, "1.33", strict=True)
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())["services"]["postgres"]["command"]
    assert set(compose[1:]) == set(server["spec"]["template"]["spec"]["containers"][0]["args"])
