"""Days of TimescaleDB, where a server that has it is named; plain partitions are with the tests of the store."""

from __future__ import annotations

import os

import pytest

from pairscope.errors import InputError
from pairscope.storage.postgres_schema import DAY_NS
from pairscope.storage.postgres_store import PostgresStore

URL = os.environ.get("PAIRSCOPE_TEST_TIMESCALE_URL", "")
"""A database that has the extension and nothing else; its tables stay behind."""


@pytest.fixture
async def store():
    if not URL:
        pytest.skip("PAIRSCOPE_TEST_TIMESCALE_URL names no database with TimescaleDB")
    opened = await PostgresStore.open(URL, pool=1)
    yield opened
    await opened.upkeep.forget([kept.day for kept in await opened.upkeep.days(None, None, 1 << 62, uploads=False)])
    await opened.close()


async def told(store, sql):
    return [tuple(row) for row in await store._pool.read(lambda session: session.rows(sql))]


def rows_of(days, ids, noon_ns):
    return [
        ("AAA", day * 1000 + k, noon_ns + day * DAY_NS + k * 1_000_000, "10", "1", False) for day in days for k in ids
    ]


async def test_it_has_the_days_with_our_two_indexes_and_compresses_what_is_a_week_old(store):
    assert await told(
        store, "SELECT hypertable_name, compression_enabled FROM timescaledb_information.hypertables"
    ) == [("tick_data", True)]
    assert await told(store, "SELECT indexname FROM pg_indexes WHERE tablename = 'tick_data' ORDER BY 1") == [
        ("tick_data_pkey",),
        ("tick_data_times",),
    ]
    [(after,)] = await told(
        store,
        "SELECT config ->> 'compress_after' FROM timescaledb_information.jobs WHERE hypertable_name = 'tick_data'",
    )
    assert after == "7 days"


async def test_a_compressed_day_takes_late_trades_once_and_is_deleted_as_a_whole(store, ticks_of, noon_ns):
    rows = rows_of(range(3), range(50), noon_ns)
    await store.append(ticks_of(rows))
    assert not (await store.append(ticks_of(rows))).new.any()
    await store._pool.write(lambda session: session.rows("SELECT compress_chunk(c) FROM show_chunks('tick_data') AS c"))
    late = [*rows[:3], *rows_of([0], range(50, 60), noon_ns)]
    assert (await store.add_older(ticks_of(late))).new.tolist() == [False] * 3 + [True] * 10
    found = await store.ticks("AAA", 0, 1 << 62, limit=1000)
    assert sorted(found.trade_id.tolist()) == sorted({row[1] for row in [*rows, *late]})
    assert (await store.upkeep.check(repair=False))["ok"]
    assert (await store.upkeep.forget([noon_ns // DAY_NS]))["ticks"] == 60
    assert [row[0] for row in await told(store, "SELECT count(*) FROM show_chunks('tick_data')")] == [2]
    assert (await store.ticks("AAA", 0, 1 << 62, limit=1000)).trade_id.tolist() == [row[1] for row in rows[50:]]
    assert (await store.upkeep.check(repair=False))["ok"]
    with pytest.raises(InputError, match="TimescaleDB"):
        await store.upkeep.archive(1 << 20, place="/nowhere")
