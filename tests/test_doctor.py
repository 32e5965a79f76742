"""The doctor: every look says what it saw and what to do."""

from __future__ import annotations

import asyncio
import json
import socket

import duckdb
import pytest
import redis
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


def test_the_servers_of_server_mode_are_looked_at(looked, postgres_url, redis_server):
    found = looked(database_url=postgres_url, redis_url=redis_server.url)
    assert list(found) == ["settings", "port", "dashboard", "disk", "store", "cache", "exchange", "clock"]
    assert "database pairscope: 0 ticks" in found["store"].said
    assert found["store"].level == "warning" and "fsync" in found["store"].advice, "as it is in tests"
    assert found["cache"].level == "ok" and "MB" in found["cache"].said


def test_a_database_is_looked_at_without_being_changed_and_says_which_migrations_are_to_come(looked, postgres_server):
    url = postgres_server.url("looked")
    postgres_server.sql("DROP DATABASE IF EXISTS looked")
    postgres_server.sql("CREATE DATABASE looked")

    def sql(statement: str) -> str:
        return postgres_server.sql(statement, database="looked")

    assert looked(database_url=url)["store"].said.endswith("the first start makes the tables")
    assert sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
    sql("CREATE TABLE migration (number integer, name text, checksum text)")
    found = looked(database_url=url)["store"]
    assert found.level == "warning" and "1 (" in found.said and "back up first" in found.advice
    assert sql("SELECT count(*) FROM migration") == "0"
    sql("INSERT INTO migration VALUES (9000, 'of the future', '')")
    found = looked(database_url=url)["store"]
    assert found.failed and "migration 9000" in found.said and "newer Pairscope" in found.advice


def test_servers_that_are_away_fail_and_say_which_setting_names_them(looked):
    nobody = free_port()
    found = looked(database_url=f"postgresql://me:secret@127.0.0.1:{nobody}/x", redis_url=f"redis://127.0.0.1:{nobody}")
    assert found["store"].failed and "PAIRSCOPE_DATABASE_URL" in found["store"].advice
    assert found["cache"].failed and "PAIRSCOPE_REDIS_URL" in found["cache"].advice
    assert "secret" not in str(found)


def test_a_replica_that_follows_nobody_is_warned_of(looked, postgres_url, redis_server):
    found = looked(database_url=postgres_url, redis_url=redis_server.url, database_replica_url=postgres_url)
    assert found["replica"].level == "warning" and "no standby" in found["replica"].said


def test_a_redis_that_drops_locks_when_it_is_full_is_warned_of(looked, postgres_url, redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = looked(database_url=postgres_url, redis_url=redis_server.url)["cache"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert found.level == "warning" and "noeviction" in found.advice


def test_server_mode_without_redis_is_warned_of(looked, postgres_url):
    assert looked(database_url=postgres_url)["cache"].level == "warning"


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
