"""The supervisor: ports, children that end with it, restarts, exit codes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pairscope.errors import ConfigError
from pairscope.supervisor import Child, Supervisor, backoff_s, free_port, http_json, is_free, take_port


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, and before it is read
        return False


@pytest.fixture
def taken():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


@pytest.fixture
def quiet():
    """A port that is ours, so that nobody else takes it meanwhile, and that nobody listens on."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_taken_port_is_named_with_the_flag_that_chooses_another(taken):
    with pytest.raises(ConfigError, match=f"port {taken} on 127.0.0.1 is taken") as told:
        take_port("127.0.0.1", taken, 8000, "--port")
    assert "--port auto" in told.value.line()


def test_auto_takes_the_next_free_port(taken):
    assert take_port("127.0.0.1", "auto", taken, "--port") > taken


def test_a_free_port_is_taken_as_asked(quiet):
    assert is_free("127.0.0.1", quiet)
    assert take_port("127.0.0.1", quiet, 1, "--port") == quiet


def test_a_port_that_nobody_listens_on_can_be_had(taken):
    assert free_port() != taken


def test_delays_between_restarts_double_up_to_a_cap():
    delays = [backoff_s(n) for n in range(12)]
    assert delays == sorted(delays)
    assert delays[0] < 1 and delays[-1] == 30


def test_nobody_answering_is_none_and_not_an_error(quiet):
    assert http_json(f"http://127.0.0.1:{quiet}/", 0.5) is None


SLEEPER = "import sys, time; print('up', flush=True); time.sleep(600)"


def module(tmp_path, name: str, source: str) -> dict[str, str]:
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    return {"PYTHONPATH": str(tmp_path)}


def test_an_essential_child_that_ends_ends_the_run_with_its_reason(tmp_path):
    said: list[str] = []
    run = Supervisor(said.append)
    run.start(Child("backend", "ends", [], module(tmp_path, "ends", "raise SystemExit(3)"), essential=True))
    assert run.watch() == 1
    assert any("backend ended with code 3" in line for line in said)
    run.stop()


def test_a_misuse_that_a_child_reported_keeps_its_exit_code(tmp_path):
    said: list[str] = []
    run = Supervisor(said.append)
    run.start(Child("backend", "ends", [], module(tmp_path, "ends", "raise SystemExit(2)"), essential=True))
    assert run.watch() == 2
    assert said == []
    run.stop()


def test_a_stop_that_reaches_a_child_of_a_start_too_is_no_failure(tmp_path):
    said: list[str] = []
    run = Supervisor(said.append)
    source = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    child = Child("backend", "ends", [], module(tmp_path, "ends", source), essential=True)
    run.start(child)
    assert until(lambda: child.exit_code is not None)
    run._on_signal(signal.SIGTERM, None)
    assert not run.wait_until(lambda: True, "the backend")
    assert (run.verdict(), said) == (0, [])
    run.stop()


def test_a_child_that_may_end_is_started_again(tmp_path):
    mark = tmp_path / "starts"
    source = f"""
        import time
        with open({str(mark)!r}, "a") as f: f.write("x")
        if open({str(mark)!r}).read() == "x": raise SystemExit(9)
        time.sleep(600)
    """
    run = Supervisor(lambda _line: None)
    run.start(Child("dashboard", "weak", [], module(tmp_path, "weak", source), essential=False))
    began = time.monotonic()

    def look() -> None:
        if (mark.exists() and mark.read_text() == "xx") or time.monotonic() - began > 60:
            run._on_signal(signal.SIGTERM, None)

    assert run.watch(look) == 0
    assert mark.read_text() == "xx"
    run.stop()


def test_a_start_that_takes_minutes_is_waited_for_and_says_so(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, _seconds: float) -> None:
            self.now += 5.0

    clock = Clock()
    monkeypatch.setattr("pairscope.supervisor.time", clock)
    said: list[str] = []
    run = Supervisor(said.append)
    assert run.wait_until(lambda: clock.now > 300, "the backend")  # it takes in what the spool holds
    assert len(said) == 10 and said[1] == "the backend is still starting, since 60 s"
    assert not run.wait_until(lambda: False, "the backend")
    assert said[-1] == "the backend did not get ready within 600 s"


def test_stop_ends_every_child(tmp_path):
    run = Supervisor(lambda _line: None)
    child = Child("sleeper", "sleeps", [], module(tmp_path, "sleeps", SLEEPER), essential=True)
    run.start(child)
    process = child.process
    assert process is not None
    run.stop()
    assert process.poll() is not None


def test_children_end_when_the_supervisor_is_killed(tmp_path):
    environment = module(tmp_path, "sleeps", SLEEPER)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from pairscope.supervisor import Child, Supervisor\n"
            "import sys\n"
            "c = Child('sleeper', 'sleeps', [], {}, True); s = Supervisor(print); s.start(c)\n"
            "print(c.process.pid, flush=True); s.watch()",
        ],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    assert until(lambda: not alive(pid))
    parent.stdout.close()
