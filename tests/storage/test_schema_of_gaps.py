"""A store of an earlier version, brought up to date: first ids, and what its given-up gaps lack."""

from __future__ import annotations

import duckdb

from pairscope.market.continuity import Gap
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.integrity import check_store
from pairscope.storage.schema import migrations_of

FOREVER = 2**62
S = 1_000_000_000


async def test_a_store_of_an_earlier_version_says_what_is_held_and_lets_a_file_fill_what_was_given_up(
    tmp_path, ticks_of, noon_ns
):
    def trades(ids):
        return ticks_of([("BTCUSDT", i, noon_ns + i * S, "10.5", "1", True) for i in ids], watermark_ns=noon_ns)

    made = await DuckDBStore.open(tmp_path / "new.duckdb", threads=1)
    await made.append(trades([5, 6, 7, 20, 21]))
    await made.append(trades([9, 10, 15]))
    await made.settle_gap(Gap("BTCUSDT", 8, 19, "unrepairable", 9, ended_ns=7))
    await made.close()
    old = tmp_path / "old.duckdb"
    with duckdb.connect(str(old)) as connection:
        connection.execute("CREATE TABLE migration (number INTEGER, name VARCHAR, checksum VARCHAR)")
        for migration in migrations_of("duckdb")[:2]:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?)", [migration.number, migration.name, migration.checksum]
            )
        connection.execute(f"ATTACH '{tmp_path / 'new.duckdb'}' AS new (READ_ONLY)")
        connection.execute("INSERT INTO symbol FROM new.symbol")
        connection.execute("INSERT INTO tick FROM new.tick")
        connection.execute("INSERT INTO continuity SELECT * EXCLUDE (first_id, live) FROM new.continuity")
        connection.execute("INSERT INTO gap SELECT * REPLACE ('' AS ranges) FROM new.gap")
        connection.execute("INSERT OR REPLACE INTO meta FROM new.meta")

    store = await DuckDBStore.open(old, threads=1)
    assert [(each.from_id, each.to_id) for each in await store.held()] == [(5, 7), (9, 10), (15, 15), (20, 21)]
    assert (await store.continuity()).next_id("BTCUSDT") == 22
    assert (await check_store(store))["findings"] == []
    await store.add_older(trades(range(3, 18)))
    assert [(each.from_id, each.to_id) for each in await store.held()] == [(3, 17), (20, 21)]
    assert [(gap.status, gap.missing) for gap in await store.gaps()] == [("unrepairable", 2)]
    await store.close()
