"""A process that is killed while it archives or deletes: every row is there once, and the next start goes on."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from tests.storage.days import FIRST_DAY, FOREVER, all_rows, day_start, fill, rows

from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.postgres_store import PostgresStore

STORE = "pairscope.duckdb"


@pytest.fixture(scope="module")
def processes():
    """Processes that start quickly, with this module loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pairscope.storage.duckdb_store", "pairscope.storage.postgres_store", "tests.storage.days"]
    )
    return context


def die_at(folder: str, step: str, forget: bool) -> None:
    """Archive two days, or delete the first of them, and be killed at a step."""

    def on_step(at: str) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        store = await DuckDBStore.open(Path(folder) / STORE)
        store.upkeep.on_step = on_step
        await (store.upkeep.forget([FIRST_DAY]) if forget else store.upkeep.archive(FIRST_DAY + 2))

    asyncio.run(work())


def killed(processes, folder: Path, step: str, *, forget: bool = False) -> None:
    child = processes.Process(target=die_at, args=(str(folder), step, forget))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, f"it was not killed when {step}"


async def state(folder: Path) -> tuple[str, list[str]]:
    """A digest of all that the store answers, and the files of its archive that are not catalogued."""
    store = await DuckDBStore.open(folder / STORE)
    digest = hashlib.sha256()
    async for batch in store.ticks_since(0):
        digest.update(repr(rows(batch)).encode())
    for timeframe in ("1s", "1m"):
        digest.update(repr(rows(await store.base_bars(timeframe, 0, FOREVER))).encode())
    digest.update(repr(await store.symbols()).encode())
    assert await store.upkeep.check_archive() == []
    await store.upkeep.sweep()
    catalogued = {file.path for file in store.view.archive}
    there = {str(path.relative_to(folder / "archive")) for path in (folder / "archive").rglob("*.parquet")}
    await store.close()
    return digest.hexdigest(), sorted(there ^ catalogued)


async def filled(folder: Path) -> DuckDBStore:
    store = await DuckDBStore.open(folder / STORE)
    await fill(store)
    return store


async def test_a_kill_in_the_middle_of_archiving_or_deleting_loses_no_row_and_doubles_none(processes, tmp_path):
    await (await filled(tmp_path)).close()
    whole = await state(tmp_path)
    killed(processes, tmp_path, "committing")
    assert await state(tmp_path) == whole
    store = await DuckDBStore.open(tmp_path / STORE)
    await store.upkeep.archive(FIRST_DAY + 1)
    await store.close()
    assert await state(tmp_path) == whole
    killed(processes, tmp_path, "forgotten", forget=True)
    assert (await state(tmp_path))[1] == []
    store = await DuckDBStore.open(tmp_path / STORE)
    assert not len(await store.ticks("BTCUSDT", 0, day_start(1), limit=1))
    assert len(await store.ticks("BTCUSDT", day_start(1), day_start(2), limit=1))
    await store.close()


def die_at_server(url: str, place: str, step: str, forget: bool) -> None:
    """Do as ``die_at`` on PostgreSQL."""

    def on_step(at: str) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        store = await PostgresStore.open(url, pool=2)
        store.upkeep.on_step = on_step
        await (store.upkeep.forget([FIRST_DAY]) if forget else store.upkeep.archive(FIRST_DAY + 2, place=place))

    asyncio.run(work())


STEPS = ("placed", "committing", "committed")


async def test_a_process_that_is_killed_while_it_archives_days_of_postgresql_loses_no_row_and_doubles_none(
    processes, postgres_url, tmp_path
):
    store = await PostgresStore.open(postgres_url, pool=4)
    store.upkeep.files.leftover_s = 0.0
    await fill(store)
    whole = await all_rows(store)
    for step in STEPS:
        child = processes.Process(target=die_at_server, args=(postgres_url, str(tmp_path), step, False))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL, f"it was not killed when {step}"
        assert await all_rows(store) == whole, step
        assert await store.upkeep.check_archive() == []
    await store.upkeep.archive(FIRST_DAY + 2, place=str(tmp_path))
    assert await all_rows(store) == whole
    await store.upkeep.sweep()
    assert len(list((tmp_path / "ticks").rglob("*.parquet"))) == 4
    child = processes.Process(target=die_at_server, args=(postgres_url, str(tmp_path), "forgotten", True))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    await store.upkeep.forget([FIRST_DAY])
    assert not len(await store.ticks("BTCUSDT", 0, day_start(1), limit=1))
    assert not await store.upkeep.days("BTCUSDT", 0, day_start(1))
    await store.upkeep.sweep()
    assert not list(tmp_path.rglob("date=2024-10-04"))
    assert await store.upkeep.check_archive() == []
    await store.close()
