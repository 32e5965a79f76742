"""The doctor: every look says what it saw and what to do."""

from __future__ import annotations

import asyncio
import json
import socket

import duckdb
import pytest
from typer.testing import CliRunner

from pairscope.cli import app
from pairscope.doctor import Finding, examine, examine_store
from pairscope.process import load_settings
from pairscope.storage.tick_storage import open_store
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


@pytest.fixture
def damaged_store(tmp_path, ticks_of, noon_ns):
    """A data directory whose store has lost a trade, and its settings."""
    settings = load_settings(data_dir=tmp_path / "data")

    async def fill() -> None:
        store = await open_store(settings.store_url)
        rows = [("BTCUSDT", k, noon_ns + k * 10**9, "10.5", "1", True) for k in range(100)]
        await store.append(ticks_of(rows, watermark_ns=noon_ns + 100 * 10**9))
        await store.rebuild_bars("BTCUSDT", 0, 2**62)
        await store.close()

    asyncio.run(fill())
    with duckdb.connect(settings.store_url.removeprefix("duckdb:///")) as connection:
        connection.execute("DELETE FROM tick WHERE id = 70")
    return settings


def test_a_damaged_store_is_named_mended_and_then_whole(damaged_store):
    said, shown = [], []

    def look(**flags):
        shown.clear()
        return examine_store(
            damaged_store, **{"repair": False, "as_json": False, **flags}, say=said.append, show=shown.append
        )

    assert look() == 1
    assert any("hole" in line and "BTCUSDT" in line and "70 to 70" in line for line in shown)
    assert "--repair" in shown[-1]
    assert look(repair=True) == 0
    assert any("after" in line and ", 0 after" in line for line in shown)
    assert look() == 0
    assert shown[-1] == "the store is whole"
    assert look(as_json=True) == 0
    assert json.loads(shown[0])["checked"]["ticks"] == 99


def test_the_command_looks_through_the_store_and_says_by_its_code_what_is_left(damaged_store):
    where = ["--data-dir", str(damaged_store.data_dir)]
    assert CliRunner().invoke(app, ["doctor", "--store", *where]).exit_code == 1
    assert CliRunner().invoke(app, ["doctor", "--store", "--repair", *where]).exit_code == 0
    assert CliRunner().invoke(app, ["doctor", "--repair", *where]).exit_code == 2
