"""The commands of server mode say in one line what they lack, and listen beyond this machine only behind a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.ready_command import ReadyCommand, ready_command

SERVERS = {
    "PAIRSCOPE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "PAIRSCOPE_REDIS_URL": "redis://127.0.0.1:1/0",
}
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def call() -> Iterator[ReadyCommand]:
    with ready_command() as command:
        yield command


@pytest.mark.parametrize("command", ["ingest", "api", "dashboard"])
def test_each_explains_itself(call, command):
    answer = call(command, "--help")
    assert answer.returncode == 0
    assert f"Usage: pairscope {command}" in answer.stdout


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (["ingest"], {}, "PAIRSCOPE_REDIS_URL=redis://"),
        (["ingest"], {"PAIRSCOPE_REDIS_URL": SERVERS["PAIRSCOPE_REDIS_URL"]}, "PAIRSCOPE_DATABASE_URL=postgresql://"),
        (["ingest"], {**SERVERS, "PAIRSCOPE_DATABASE_URL": "duckdb:///here.duckdb"}, "PAIRSCOPE_DATABASE_URL"),
        (["ingest", "--shard", "3/2"], SERVERS, "'3/2' is no shard"),
        (["ingest", "--host", "0.0.0.0", "--port", "0"], SERVERS, "without an API key is refused"),
        (["ingest", "--port", "many"], SERVERS, "INGEST_PORT"),
        (["api"], {}, "PAIRSCOPE_REDIS_URL=redis://"),
        (["api", "--host", "0.0.0.0", "--port", "0"], SERVERS, "without an API key is refused"),
        (["dashboard", "--host", "0.0.0.0", "--port", "0"], {}, "without an API key is refused"),
        (["dashboard", "--port", "0"], {"PAIRSCOPE_API_KEYS": DIGEST}, "PAIRSCOPE_DASHBOARD_KEY"),
    ],
)
def test_what_is_lacking_is_one_line_on_stderr_and_exit_code_two(call, words, environment, told, tmp_path):
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    answer = call(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1
