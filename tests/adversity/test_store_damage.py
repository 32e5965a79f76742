"""A store whose file or log was cut or garbled: refused or told, never quietly less."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest
import structlog

from pairscope.errors import SchemaMismatch, StoreDamaged, StoreLocked, StoreUnavailable
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore

FOREVER = 2**62


@pytest.fixture
async def image(tmp_path, ticks_of, market_rows):
    """Copies of a store's files, taken while it runs: what a crash leaves behind."""
    store = await DuckDBStore.open(tmp_path / "live" / "store.duckdb")
    rows = market_rows(trades=20_000, names=("BTCUSDT",), span_s=90_000)
    symbols = Symbols()
    for k in range(0, 10_000, 1000):
        await store.append(ticks_of(rows[k : k + 1000], symbols=symbols))
    await store.checkpoint()
    for k in range(10_000, 20_000, 1000):
        await store.append(ticks_of(rows[k : k + 1000], symbols=symbols))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "live", copy)
    await store.close()
    return copy / "store.duckdb"


def log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


async def count(path):
    store = await DuckDBStore.open(path)
    try:
        ticks = await store.ticks("BTCUSDT", 0, FOREVER, limit=10**6)
        assert (await store.stats()).ticks == len(ticks)
        assert ticks.trade_id.tolist() == list(range(1000, 1000 + len(ticks)))
        return len(ticks)
    finally:
        await store.close()


async def test_what_a_crash_leaves_behind_opens_with_everything(image):
    assert log_of(image).stat().st_size > 0
    with structlog.testing.capture_logs() as said:
        assert await count(image) == 20_000
    assert not [entry for entry in said if entry["log_level"] == "error"]


async def test_commits_without_ticks_are_not_missed_after_a_crash(tmp_path):
    store = await DuckDBStore.open(tmp_path / "live" / "store.duckdb")
    await store.put("alerts", "a", b"x")
    await store.append(TickBatch.empty(Symbols(), 5))
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    await store.close()
    with structlog.testing.capture_logs() as said:
        await (await DuckDBStore.open(tmp_path / "copy" / "store.duckdb")).close()
    assert not [entry for entry in said if entry["log_level"] == "error"]


async def test_a_half_written_last_entry_of_the_log_was_never_acknowledged_and_is_left_out(image):
    with log_of(image).open("ab") as log:
        log.write(b"\x40\x03\x00\x00\x00\x00\x00\x00half an entry")
    with structlog.testing.capture_logs() as said:
        assert await count(image) == 20_000
    assert not [entry for entry in said if entry["log_level"] == "error"]


@pytest.mark.parametrize("left", [0.0, 0.3, 0.99])
async def test_a_log_that_was_cut_is_told_with_the_number_of_ticks(image, left):
    os.truncate(log_of(image), int(log_of(image).stat().st_size * left))
    with structlog.testing.capture_logs() as said:
        stored = await count(image)
    assert 10_000 <= stored < 20_000
    [told] = [entry for entry in said if entry["log_level"] == "error"]
    assert told["lost_ticks"] == 20_000 - stored
    with structlog.testing.capture_logs() as said:
        assert await count(image) == stored
    assert not [entry for entry in said if entry["log_level"] == "error"], "told once"


async def test_a_lost_tail_is_asked_for_again_by_its_ids(image, ticks_of, market_rows):
    log_of(image).unlink()
    store = await DuckDBStore.open(image)
    assert (await store.continuity()).next_id("BTCUSDT") == 11_000
    rows = market_rows(trades=20_000, names=("BTCUSDT",), span_s=90_000)
    assert (await store.append(ticks_of(rows))).repeats == 10_000
    await store.close()
    assert await count(image) == 20_000


async def test_a_garbled_log_is_refused_and_left_as_it_is(image):
    size = log_of(image).stat().st_size
    with log_of(image).open("r+b") as log:
        log.seek(size - 5000)
        log.write(os.urandom(64))
    before = log_of(image).read_bytes()
    with pytest.raises(StoreDamaged) as refused:
        await DuckDBStore.open(image)
    assert "mv" in refused.value.hint
    assert log_of(image).read_bytes() == before


@pytest.mark.parametrize("left", [0, 100, 5000, 20_000, -1, -300_000])
async def test_a_file_that_was_cut_is_refused(image, left):
    log_of(image).unlink()
    os.truncate(image, left if left >= 0 else image.stat().st_size + left)
    before = image.read_bytes()
    with pytest.raises(StoreDamaged) as refused:
        await DuckDBStore.open(image)
    assert str(image) in refused.value.line()
    assert "\n" not in refused.value.line()
    assert image.read_bytes() == before


@pytest.mark.parametrize("at", [10, 4096 + 16, 12_288 + 40])
async def test_a_file_whose_headers_or_catalogue_are_garbled_is_refused(image, at):
    log_of(image).unlink()
    with image.open("r+b") as file:
        for offset in {at, at + 4096} if at == 4096 + 16 else {at}:
            file.seek(offset)
            file.write(os.urandom(32))
    with pytest.raises(StoreDamaged):
        await count(image)


async def test_garbled_rows_are_reported_when_they_are_read(image):
    log_of(image).unlink()
    size = image.stat().st_size
    with image.open("r+b") as file:
        for at in range(100_000, size, 100_000):
            file.seek(at)
            file.write(os.urandom(512))
    with pytest.raises(StoreDamaged, match="checksum"):
        await count(image)


@pytest.mark.parametrize("name", ["store.duckdb", "notes.csv"])
@pytest.mark.parametrize("text", [b"", b"timestamp,open,high\n" * 1000])
async def test_a_file_of_another_kind_is_refused(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(StoreDamaged):
        await DuckDBStore.open(path)
    assert path.read_bytes() == text


async def test_a_duckdb_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS x")
    with pytest.raises(SchemaMismatch, match="something else"):
        await DuckDBStore.open(path)


async def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "store.duckdb"
    await (await DuckDBStore.open(path)).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO migration VALUES (99, 'from_the_future', 'x')")
    with pytest.raises(SchemaMismatch, match="99"):
        await DuckDBStore.open(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT max(number) FROM migration").fetchone() == (99,)


async def test_a_migration_that_is_not_the_one_applied_is_refused(tmp_path):
    path = tmp_path / "store.duckdb"
    await (await DuckDBStore.open(path)).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE migration SET checksum = 'other'")
    with pytest.raises(SchemaMismatch, match="ticks_and_bars"):
        await DuckDBStore.open(path)


@pytest.mark.parametrize("place", ["/proc/pairscope/store.duckdb", "{file}/store.duckdb", "{folder}"])
async def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "a_file").write_text("x")
    path = Path(place.format(file=tmp_path / "a_file", folder=tmp_path))
    with pytest.raises(StoreUnavailable) as refused:
        await DuckDBStore.open(path)
    assert "--data-dir" in refused.value.hint
    assert "\n" not in refused.value.line()


async def test_a_second_store_on_the_same_file_is_refused(tmp_path):
    path = tmp_path / "store.duckdb"
    store = await DuckDBStore.open(path)
    with pytest.raises(StoreLocked, match="this same process"):
        await DuckDBStore.open(path)
    assert (await store.stats()).ticks == 0
    await store.close()
    await (await DuckDBStore.open(path)).close()
