"""The doctor: every look says what it saw and what to do."""

from __future__ import annotations

import socket

import pytest

from pairscope.doctor import Finding, examine
from pairscope.process import load_settings
from pairscope.supervisor import free_port


@pytest.fixture
def looked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def look(**given) -> dict[str, Finding]:
        closed = f"http://127.0.0.1:{free_port()}"
        ports = {"port": free_port(), "dashboard_port": free_port()}
        found = examine(load_settings(**{"data_dir": tmp_path / "data", "exchange_rest_url": closed, **ports, **given}))
        return {one.name: one for one in found}

    return look


def test_a_fresh_machine_without_an_exchange_can_start(looked):
    found = looked()
    assert list(found) == ["settings", "port", "dashboard", "disk", "store", "cache", "exchange", "clock"]
    assert not any(one.failed for one in found.values())
    assert "synthetic" in found["exchange"].advice


def test_a_taken_port_fails_and_names_the_flag(looked):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        found = looked(port=held.getsockname()[1])
    assert found["port"].failed
    assert "--port auto" in found["port"].advice


def test_a_directory_that_cannot_be_written_fails(looked, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = looked(data_dir=tmp_path / "file" / "data")
    assert found["disk"].failed
    assert "--data-dir" in found["disk"].advice


def test_a_store_that_is_no_store_fails(looked, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairscope.duckdb").write_bytes(b"not a database, " * 4096)
    assert looked()["store"].failed


def test_listening_to_the_world_without_a_key_fails(looked):
    found = looked(host="0.0.0.0")
    assert found["settings"].failed
    assert "PAIRSCOPE_API_KEYS" in found["settings"].advice
