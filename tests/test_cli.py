"""The command line: help on each command, one line for each mistake, the right exit code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.ready_command import ReadyCommand, ready_command

COMMANDS = [
    "run", "ingest", "api", "dashboard", "replay serve", "record", "screen", "backtest", "verify", "export", "import",
    "archive", "backfill", "doctor", "bench", "version",
]  # fmt: skip


@pytest.fixture(scope="module")
def call() -> Iterator[ReadyCommand]:
    with ready_command() as command:
        yield command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(call, command):
    answer = call(*command.split(), "--help")
    assert answer.returncode == 0
    assert "Usage: pairscope" in answer.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--source", "moon"], "SOURCE"),
        (["run", "--source", "replay"], "give one: --replay PATH"),
        (["run", "--replay", "gone.gz"], "no recording at gone.gz"),
        (["replay", "serve", "gone.gz"], "gone.gz"),
        (["replay", "serve", "synthetic:colour=blue"], "colour=blue"),
        (["replay", "serve", "synthetic", "--speed", "fast"], "speed"),
        (["replay", "serve", "synthetic", "--fault", "gremlins"], "gremlins"),
        (["replay", "serve", "synthetic", "--start", "tomorrow"], "tomorrow"),
        (["screen", "--nope"], "`pairscope screen --help`"),
        (["screen", "--fdr", "abc"], "--fdr"),
        (["moon"], "No such command 'moon'"),
        (["record"], "'path'"),
        (["screen"], "--bars FILE"),
        (["screen", "--bars", "gone.csv"], "--bars"),
        (["screen", "--fdr", "2"], "--fdr"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_two(call, words, told, tmp_path):
    answer = call(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["replay"]])
def test_without_a_command_there_is_help(call, words):
    answer = call(*words)
    assert answer.returncode == 2
    assert "Usage: pairscope" in answer.stdout + answer.stderr


def test_a_traceback_is_shown_when_asked_for(call, tmp_path):
    answer = call("run", "--source", "replay", "--debug", cwd=tmp_path)
    assert answer.returncode == 2
    assert "Traceback" in answer.stderr


def test_a_recording_is_never_overwritten(call, tmp_path):
    path = tmp_path / "market.gz"
    path.write_bytes(b"something")
    answer = call("record", str(path), "--symbols", "BTCUSDT", cwd=tmp_path)
    assert answer.returncode == 2
    assert "not overwritten" in answer.stderr
    assert path.read_bytes() == b"something"
