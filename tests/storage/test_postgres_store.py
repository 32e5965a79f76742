"""Two processes on one database, a server that falls in the middle, and what is said where it is away."""

from __future__ import annotations

import asyncio
import re
import socket

import numpy as np
import pytest

from pairscope.errors import ConfigError, SchemaMismatch, StoreUnavailable, Superseded
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.postgres_ledger import SharedLedger
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.postgres_time import at

S = 1_000_000_000


@pytest.fixture
async def opened(postgres_url):
    made = []

    async def begin(**keywords):
        made.append(await PostgresStore.open(postgres_url, pool=4, **keywords))
        return made[-1]

    yield begin
    for store in made:
        await store.close()


def rows_of(symbol, ids, noon_ns):
    return [(symbol, i, noon_ns + i * S // 4, "10.5", "0.25", i % 2 == 0) for i in ids]


async def stored_ids(store, symbol):
    ticks = await store.ticks(symbol, 0, 1 << 62, limit=1_000_000)
    return ticks.trade_id.tolist()


async def test_two_writers_of_the_same_symbols_store_each_trade_once(opened, ticks_of, noon_ns):
    """As an active process and one that takes over do: the same trades, cut another way, at the same time."""
    active, standby = await opened(), await opened()
    both = rows_of("AAA", range(600), noon_ns), rows_of("BBB", range(600), noon_ns)
    rows = [row for pair in zip(*both, strict=True) for row in pair]

    async def write(store, size):
        for k in range(0, len(rows), size):
            batch = ticks_of(rows[k : k + size], watermark_ns=rows[k][2])
            await store.append(batch, [bars_of(batch, "1s")])

    await asyncio.gather(write(active, 130), write(standby, 90))
    for store in (active, standby):
        assert await stored_ids(store, "AAA") == list(range(600))
        assert {s.symbol: s.tick_count for s in await store.symbols()} == {"AAA": 600, "BBB": 600}
        assert await store.gaps() == []
        assert (await store.held("AAA"))[0].to_id == 599
    assert await active.watermark_ns() == await standby.watermark_ns() == max(row[2] for row in rows[::90])


async def test_writers_of_different_symbols_go_on_side_by_side_and_see_each_other(opened, ticks_of, noon_ns):
    one, other = await opened(), await opened()
    await one.append(ticks_of(rows_of("AAA", [0], noon_ns)))  # a symbol begins with its first trade
    await other.append(ticks_of(rows_of("BBB", [0, 100], noon_ns)))
    await asyncio.gather(
        *(one.append(ticks_of(rows_of("AAA", [n], noon_ns))) for n in range(1, 20)),
        *(other.append(ticks_of(rows_of("BBB", [n, n + 100], noon_ns))) for n in range(1, 20)),
    )
    assert await stored_ids(other, "AAA") == list(range(20))
    assert len(await stored_ids(one, "BBB")) == 40
    ledger = await one.continuity()
    assert (ledger.next_id("AAA"), ledger.next_id("BBB")) == (20, 120)


async def test_trades_of_any_day_find_their_partition(opened, postgres_server, ticks_of, noon_ns):
    store = await opened()
    day = 86_400 * S
    old = noon_ns - 900 * day
    await store.append(ticks_of([("AAA", 1, old, "1", "1", True), ("AAA", 2, noon_ns, "1", "1", True)]))
    assert await stored_ids(store, "AAA") == [1, 2]
    parts = postgres_server.sql(
        "SELECT tableoid::regclass::text, count(*) FROM tick_data GROUP BY 1 ORDER BY 1", database="pairscope"
    )
    assert parts.splitlines() == ["tick_data_20220213|1", "tick_data_20240801|1"]


async def test_a_partition_that_another_process_dropped_is_made_again(opened, postgres_server, ticks_of, noon_ns):
    store = await opened()
    await store.append(ticks_of(rows_of("AAA", [1], noon_ns)))
    postgres_server.sql("DROP TABLE tick_data_20240801", database="pairscope")
    await store.append(ticks_of(rows_of("AAA", [2], noon_ns)))
    assert await stored_ids(store, "AAA") == [2]


async def test_a_server_that_falls_and_comes_back_has_what_was_acknowledged_and_nothing_twice(
    opened, postgres_server, ticks_of, noon_ns
):
    store = await opened()
    for n in range(5):
        await store.append(ticks_of(rows_of("AAA", range(10 * n, 10 * n + 10), noon_ns)))
    postgres_server.stop(kill=True)
    with pytest.raises(StoreUnavailable) as away:
        await store.append(ticks_of(rows_of("AAA", range(50, 60), noon_ns)))
    assert away.value.retry
    with pytest.raises(StoreUnavailable):
        await store.ticks("AAA", 0, 1 << 62, limit=1)
    postgres_server.start()
    await store.append(ticks_of(rows_of("AAA", range(45, 65), noon_ns)))
    assert await stored_ids(store, "AAA") == list(range(65))


async def test_a_server_that_falls_between_the_rows_and_their_commit_has_none_of_them_and_takes_them_again(
    opened, postgres_server, ticks_of, noon_ns, monkeypatch
):
    store = await opened()
    await store.append(ticks_of(rows_of("AAA", range(10), noon_ns)))
    batch = ticks_of(rows_of("AAA", range(10, 20), noon_ns), watermark_ns=noon_ns)

    def fall(*_, **__):
        monkeypatch.undo()
        postgres_server.stop(kill=True)

    monkeypatch.setattr(SharedLedger, "save", fall)
    with pytest.raises(StoreUnavailable):
        await store.append(batch, [bars_of(batch, "1s")], [Document("firings", "1", b"x")])
    postgres_server.start()
    assert await stored_ids(store, "AAA") == list(range(10))
    assert await store.get("firings", "1") is None
    assert (await store.append(batch, [bars_of(batch, "1s")], [Document("firings", "1", b"x")])).new.all()
    assert not (await store.append(batch)).new.any()
    assert await stored_ids(store, "AAA") == list(range(20))


async def test_connections_that_were_cut_while_they_lay_idle_are_made_anew_and_nobody_hears_of_it(
    opened, postgres_server, ticks_of, noon_ns
):
    store = await opened()
    await store.append(ticks_of(rows_of("AAA", range(4), noon_ns)))
    await asyncio.gather(*(store.ticks("AAA", 0, 1 << 62, limit=1) for _ in range(4)))
    postgres_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'pairscope'")
    assert await stored_ids(store, "AAA") == list(range(4))
    assert (await store.append(ticks_of(rows_of("AAA", range(4, 8), noon_ns)))).new.all()


async def test_of_documents_that_must_be_new_one_process_of_two_stores_them(opened):
    one, other = await opened(), await opened()
    firsts = [Document("firings", "a-1", b"1"), Document("firings", "a-2", b"2")]
    told = await asyncio.gather(
        one.put_firsts(firsts, [Document("outbox", "x", b"one")]),
        other.put_firsts(firsts[::-1], [Document("outbox", "x", b"other")]),
        return_exceptions=True,
    )
    won = [each for each in told if each == []]
    assert len(won) == 1
    assert all(isinstance(each, Superseded) or {d.key for d in each} == {"a-1", "a-2"} for each in told if each != [])
    assert (await one.get("outbox", "x")) in {b"one", b"other"}
    await one.put("desk", "seat", b"me")
    with pytest.raises(Superseded):
        await other.put_firsts([Document("firings", "b-1", b"1")], guard=Document("desk", "seat", b"you"))
    assert await one.get("firings", "b-1") is None


async def test_a_newer_version_s_database_is_left_alone(opened, postgres_server, postgres_url):
    await opened()
    postgres_server.sql("INSERT INTO migration VALUES (999, 'later', 'x')", database="pairscope")
    try:
        with pytest.raises(SchemaMismatch, match="999"):
            await PostgresStore.open(postgres_url)
    finally:
        postgres_server.sql("DELETE FROM migration WHERE number = 999", database="pairscope")


async def test_a_server_that_is_not_there_is_said_to_be_away_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(StoreUnavailable) as away:
        await PostgresStore.open(f"postgresql://u:hunter2@127.0.0.1:{port}/x")
    assert away.value.retry
    assert "hunter2" not in away.value.line()


async def test_a_database_that_is_not_there_is_a_matter_of_settings_and_not_of_waiting(postgres_server):
    with pytest.raises(ConfigError, match=r"no such database.*nowhere") as wrong:
        await PostgresStore.open(postgres_server.url("nowhere"))
    assert not wrong.value.retry
    assert "DATABASE_URL" in wrong.value.loc


async def test_a_store_that_is_open_waits_for_a_database_that_takes_no_writes(
    opened, postgres_server, ticks_of, noon_ns
):
    store = await opened()
    await store.append(ticks_of(rows_of("AAA", range(3), noon_ns)))
    shut = "ALTER DATABASE pairscope SET default_transaction_read_only = on; "
    leave = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'pairscope'"
    postgres_server.sql(shut + leave)
    try:
        with pytest.raises(StoreUnavailable, match="no writes") as refused:
            await until_it_differs(store, ticks_of(rows_of("AAA", range(3, 6), noon_ns)))
        assert refused.value.retry
    finally:
        postgres_server.sql("ALTER DATABASE pairscope RESET default_transaction_read_only; " + leave)
    await until_stored(store, ticks_of(rows_of("AAA", range(3, 6), noon_ns)))
    assert await stored_ids(store, "AAA") == list(range(6))


async def until_it_differs(store, batch):
    """Append until the store answers again and says something else than that the connection was lost."""
    while True:
        try:
            await store.append(batch)
        except StoreUnavailable as error:
            if "no writes" in str(error):
                raise
            await asyncio.sleep(0.02)


async def until_stored(store, batch):
    while True:
        try:
            return await store.append(batch)
        except StoreUnavailable:
            await asyncio.sleep(0.02)


async def test_what_is_no_address_is_said_to_be_none():
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        await PostgresStore.open("postgresql://host:port/x")


async def test_numbers_come_back_to_the_last_bit(opened, noon_ns):
    store = await opened()
    table = Symbols(["币安人生USDT"])
    prices = np.array([1e-8, 0.1 + 0.2, 1e15, 5e-324, 123456.789])
    n = prices.size
    times = noon_ns + np.arange(n) * 1_001_001_001
    batch = TickBatch(
        table, np.zeros(n, np.int32), times, times + 7, np.arange(n), prices, prices[::-1].copy(), prices > 1, 0
    )
    await store.append(batch)
    found = await store.ticks("币安人生usdt", 0, 1 << 62, limit=10)
    for field in ("ts_event_ns", "ts_recv_ns", "trade_id", "price", "size", "buyer_is_maker"):
        assert getattr(found, field).tolist() == getattr(batch, field).tolist(), field


async def test_a_read_of_a_range_plans_for_the_days_of_that_range_alone(opened, ticks_of, noon_ns):
    store = await opened()
    day = 86_400 * S
    for k in range(4):
        await store.append(ticks_of([("AAA", k, noon_ns + k * day, "10.5", "0.25", True)]))

    def plan(session):
        found = session.rows(
            f'EXPLAIN SELECT 1 FROM tick_data WHERE "timestamp" >= {at("$1")} AND "timestamp" < {at("$2")}',
            (noon_ns + day) // 1000,
            (noon_ns + day + S) // 1000,
        )
        return {name for row in found for name in re.findall(r"tick_data_\d{8}", row[0])}

    assert await store._pool.read(plan) == {"tick_data_20240802"}
    for newest in (False, True):
        found = await store.ticks("AAA", 0, 1 << 62, limit=3, newest=newest)
        assert found.trade_id.tolist() == ([1, 2, 3] if newest else [0, 1, 2])
