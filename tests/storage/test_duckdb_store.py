"""What is DuckDB's own: the tables for people, errors, reads beside a slow writer, the cost of a start."""

from __future__ import annotations

import asyncio
import threading
import time

import duckdb
import pytest

from pairscope.errors import StorageError, StoreUnavailable
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.storage import writing
from pairscope.storage.duckdb_errors import translated
from pairscope.storage.duckdb_store import DuckDBStore

FOREVER = 2**62
S = 1_000_000_000


@pytest.fixture
async def store(tmp_path):
    opened = await DuckDBStore.open(tmp_path / "store.duckdb")
    yield opened
    await opened.close()


async def test_people_find_ticks_and_bars_by_name_and_time_in_sql(store, tmp_path, ticks_of, noon_ns):
    rows = [
        ("币安人生USDT", 7, noon_ns + 1_500_000, "0.00001234", "3", True),
        ("BTCUSDT", 1, noon_ns, "1.5", "2", False),
    ]
    batch = ticks_of(rows, watermark_ns=noon_ns + 90 * S)
    await store.append(batch, [bars_of(batch, "1m")])
    await store.close()
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "SELECT id, symbol, timestamp::VARCHAR, price, size, buyer_is_maker FROM tick_data ORDER BY symbol"
        ).fetchall()
        assert found == [
            (1, "BTCUSDT", "2024-08-01 12:00:00", 1.5, 2.0, False),
            (7, "币安人生USDT", "2024-08-01 12:00:00.0015", 0.00001234, 3.0, True),
        ]
        bars = connection.execute(
            "SELECT symbol, timeframe, timestamp::VARCHAR, open, volume FROM resampled_data WHERE symbol = 'BTCUSDT'"
        ).fetchall()
        assert bars == [("BTCUSDT", "1m", "2024-08-01 12:00:00", 1.5, 2.0)]


async def test_longer_bars_equal_those_that_sql_makes_with_exact_integers(store, tmp_path, ticks_of, market_rows):
    rows = market_rows(trades=3000, names=("BTCUSDT",), span_s=30_000)
    batch = ticks_of(rows, watermark_ns=rows[-1][2] + 86_400 * S)
    await store.append(batch, [bars_of(batch, t) for t in ("1s", "1m")])
    ours = await store.bars("BTCUSDT", "15m", 0, FOREVER, limit=1000)
    await store.close()
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as connection:
        theirs = connection.execute(
            """
            SELECT ts_event_ns // 900_000_000_000 * 900_000_000_000 AS bucket,
                arg_min(price, id), max(price), min(price),
                arg_max(price, id), sum(round(size * 1000)::HUGEINT) / 1000,
                sum(round(price * 100)::HUGEINT * round(size * 1000)::HUGEINT) / 100000, count(*)
            FROM tick GROUP BY bucket ORDER BY bucket
            """
        ).fetchall()
    assert theirs == list(
        zip(
            ours.ts_open_ns.tolist(),
            ours.open.tolist(),
            ours.high.tolist(),
            ours.low.tolist(),
            ours.close.tolist(),
            ours.volume.tolist(),
            ours.quote_volume.tolist(),
            ours.trades.tolist(),
            strict=True,
        )
    )


async def test_a_read_does_not_wait_for_the_writer_nor_the_writer_for_a_read(store, ticks_of, noon_ns):
    symbols = Symbols()
    await store.append(ticks_of([("BTCUSDT", 1, noon_ns, "1.5", "2", True)], symbols=symbols))
    gate = threading.Event()
    writer_is_stuck = asyncio.create_task(store._write(lambda: gate.wait(250)))
    try:
        ticks = await asyncio.wait_for(store.ticks("BTCUSDT", 0, FOREVER, limit=5), 60)
        assert ticks.trade_id.tolist() == [1]
        await asyncio.wait_for(store.symbols(), 60)
        await asyncio.wait_for(store.stats(), 60)
    finally:
        gate.set()
        await writer_is_stuck
    gate.clear()
    stuck = [asyncio.create_task(store._read(lambda *_: gate.wait(250))) for _ in range(4)]
    try:
        await asyncio.sleep(0.01)
        batch = ticks_of([("BTCUSDT", 2, noon_ns, "1.5", "2", True)], symbols=symbols)
        assert (await asyncio.wait_for(store.append(batch), 60)).new.all()
    finally:
        gate.set()
        await asyncio.gather(*stuck)


async def test_a_start_reads_only_what_came_since_the_ledger_was_saved(
    store, tmp_path, ticks_of, market_rows, monkeypatch
):
    monkeypatch.setattr(writing, "SAVE_EVERY_FLUSHES", 4)
    symbols = Symbols()
    rows = market_rows(trades=110)
    for k in range(11):
        await store.append(ticks_of(rows[10 * k : 10 * k + 10], symbols=symbols))
    ledger = await store._write(store._ledger.rows)

    def saved(what: str) -> int:
        return store._open().execute(what).fetchone()[0]

    def read_again():
        store._ledger = None
        return store._current().rows()

    assert await store._write(lambda: saved("SELECT sum(tick_count) FROM continuity")) == 80
    assert await store._write(lambda: saved("SELECT value FROM meta WHERE key = 'flush'")) == 8
    again = await store._write(read_again)
    for name, column in ledger.items():
        assert again[name].tolist() == column.tolist(), name


async def test_a_failed_append_leaves_neither_rows_nor_memory_of_them(store, ticks_of, noon_ns, monkeypatch):
    symbols = Symbols()
    rows = [("BTCUSDT", k, noon_ns + k * S, "1.5", "2", True) for k in range(9)]
    await store.append(ticks_of(rows[:2], symbols=symbols))
    whole = ticks_of([*rows[5:7], ("NEWUSDT", 1, noon_ns, "1", "1", True)], symbols=symbols, watermark_ns=noon_ns)
    real = writing.Tables.put_gaps

    def refuse(*_):
        raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr(writing.Tables, "put_gaps", refuse)
    with pytest.raises(StoreUnavailable, match="No space left"):
        await store.append(whole)
    assert (await store.stats()).ticks == 2
    assert await store.gaps() == []
    assert await store.watermark_ns() == 0
    assert [s.symbol for s in await store.symbols()] == ["BTCUSDT"]
    monkeypatch.setattr(writing.Tables, "put_gaps", real)
    assert (await store.append(whole)).new.all()
    assert [(g.from_id, g.to_id) for g in await store.gaps()] == [(2, 4)]
    assert (await store.ticks("NEWUSDT", 0, FOREVER, limit=3)).trade_id.tolist() == [1]


async def test_a_lost_connection_is_opened_again_by_the_next_call(store, ticks_of, noon_ns):
    symbols = Symbols()
    rows = [("BTCUSDT", k, noon_ns + k * S, "1.5", "2", True) for k in range(4)]
    await store.append(ticks_of(rows[:2], symbols=symbols))
    for call in (
        lambda: store.append(ticks_of(rows[2:], symbols=symbols)),
        lambda: store.ticks("BTCUSDT", 0, FOREVER, limit=9),
        lambda: store.get("c", "k"),
    ):
        connection = store._connection
        store._connection, store._ledger = None, None
        connection.close()
        await call()
    assert (await store.ticks("BTCUSDT", 0, FOREVER, limit=9)).trade_id.tolist() == [0, 1, 2, 3]


async def test_after_closing_every_call_says_so(tmp_path, ticks_of, noon_ns):
    store = await DuckDBStore.open(tmp_path / "s.duckdb")
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.ticks("BTCUSDT", 0, FOREVER, limit=5)
    with pytest.raises(StorageError, match="closed"):
        await store.append(ticks_of([("BTCUSDT", 1, noon_ns, "1", "1", True)]))


async def test_what_is_asked_while_it_closes_does_not_open_the_file_again(tmp_path):
    store = await DuckDBStore.open(tmp_path / "s.duckdb")
    gate = threading.Event()
    stuck = asyncio.create_task(store._write(lambda: gate.wait(250)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    late = asyncio.create_task(store.put("c", "k", b"x"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(stuck, closing)
    with pytest.raises(StoreUnavailable, match="closed"):
        await late
    assert not list(tmp_path.glob("*.wal"))


async def test_the_newest_bars_of_many_days_are_read_without_the_rest(store, ticks_of, noon_ns):
    rows = [("BTCUSDT", k, noon_ns + k * 60 * S, "1.5", "2", True) for k in range(40_000)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 40_001 * 60 * S)
    await store.append(batch, [bars_of(batch, "1m")])
    best = FOREVER
    for turn in range(100):
        if turn >= 5 and best < 50_000_000:
            break  # where the machine has other things to do a turn may take longer
        began = time.perf_counter_ns()
        got = await store.bars("BTCUSDT", "1m", 0, FOREVER, limit=500, newest=True)
        best = min(best, time.perf_counter_ns() - began)
    assert got.trades.size == 500
    assert best < 50_000_000


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("IO Error: Could not set lock ... held in /usr/bin/python3 (PID 12). See", "StoreLocked", "--data-dir"),
        ("Can't open a connection to same database file with a different configuration", "StoreLocked", "--data-dir"),
        ("Corrupt database file: computed checksum 1", "StoreDamaged", "mv"),
        ("Failed to commit: Could not write file: No space left on device", "StoreUnavailable", "free some space"),
        ('Cannot open file "/x": Permission denied', "StoreUnavailable", "--data-dir"),
        ("Trying to read version number 90, but we can only read version 68", "SchemaMismatch", "newer"),
        ("Out of Memory Error: could not allocate", "StoreUnavailable", "disk"),
        ("No space left on device: /d/s.duckdb.archiving/tick.parquet", "StoreUnavailable", "free some space"),
        (
            'No files found that match the pattern "/a/b.parquet" LINE 1: SELECT',
            "StoreUnavailable",
            "/a/b.parquet is not",
        ),
        ('Could not read enough bytes from file "/a/b.parquet"', "StoreUnavailable", "doctor --store"),
        ("TProtocolException: Invalid data", "StoreUnavailable", "doctor --store"),
    ],
)
def test_what_duckdb_says_becomes_an_error_with_a_next_step(tmp_path, said, kind, hint):
    error = translated(duckdb.IOException(said), tmp_path / "s.duckdb")
    assert type(error).__name__ == kind
    assert hint in error.line()
    assert "\n" not in error.line()


def test_a_mistake_in_our_own_sql_is_no_passing_trouble(tmp_path):
    error = translated(duckdb.BinderException("Binder Error: no such column"), tmp_path / "s.duckdb")
    assert type(error) is StorageError
