"""The server store: rows a second through the real writer beside COPY's limit, and a day's minutes out of many ticks.

It starts a PostgreSQL of its own, with the settings that ``deploy/docker-compose.yml`` gives the server.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import numpy as np

from benchmarks.report import Report, median, write
from benchmarks.servers import Postgres
from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.postgres_store import PostgresStore
from pairscope.storage.postgres_ticks import TickTables
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter

__all__ = ["SETTINGS", "measure"]

SETTINGS = (
    "shared_buffers=1GB",
    "effective_cache_size=3GB",
    "work_mem=32MB",
    "maintenance_work_mem=256MB",
    "max_connections=100",
    "max_wal_size=4GB",
    "min_wal_size=1GB",
    "checkpoint_timeout=15min",
    "checkpoint_completion_target=0.9",
    "wal_compression=on",
    "synchronous_commit=on",
    "random_page_cost=1.1",
    "effective_io_concurrency=200",
    "jit=off",
)
"""What was measured with: a server of 4 GB; ``shared_buffers`` is a quarter of its memory."""
DAY_NS = 86_400_000_000_000
DAY = 20_000  # 2024-10-04
MARKET = 600
FLUSH = 20_000
PUT = 500
_LOOSE = (
    'CREATE TABLE loose (symbol text COLLATE "C", timestamp timestamptz, id bigint, price float8, size float8, '
    "buyer_is_maker boolean, received_ns bigint, rest_ns smallint);"
)
_KEYED = (
    "CREATE TABLE keyed (LIKE loose, PRIMARY KEY (symbol, timestamp, id));"
    "CREATE INDEX ON keyed USING brin (timestamp, received_ns) WITH (pages_per_range = 32, autosummarize = on);"
)
_OHLC = (
    "SELECT {minute} AS minute, {first} AS open, max(price) AS high, min(price) AS low, {last} AS close, "
    "sum(size) AS volume FROM {ticks} {where} GROUP BY {by} ORDER BY {by}"
)


def measure(*, rows: int = 2_000_000, millions: float = 50.0, settings: tuple[str, ...] = SETTINGS) -> Report:
    """Write a market into both stores, then ask both for a day's minutes."""
    report = Report(
        "server_store",
        f"{rows:,} trades of {MARKET} symbols, mixed, through StoreWriter in flushes of {FLUSH:,} rows, and "
        f"{millions:g} million ticks of one day for its minutes. PostgreSQL with {', '.join(settings)}.",
        "",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Postgres(folder, settings=settings)
        server.start()
        try:
            asyncio.run(_writing(folder, server.url, rows, report))
            if millions:
                asyncio.run(_reading(folder, server.url, int(millions * 1e6), report))
        finally:
            server.stop()
    return report


def market(symbols: Symbols, low: int, high: int, total: int) -> TickBatch:
    """Trades ``low`` to ``high`` of ``total`` that are spread over the day, each symbol in turn; no id is missing."""
    i = np.arange(low, high, dtype=np.int64)
    at = DAY * DAY_NS + i * (DAY_NS // total) // 1_000_000 * 1_000_000
    price, size = 100 + i * 7919 % 1000 / 100, (i * 104_729 % 1000 + 1) / 1000
    which = (i % len(symbols)).astype(np.int32)
    return TickBatch(symbols, which, at, at + 20_000_000, i // len(symbols), price, size, i % 3 == 0, int(at[-1]))


def batches(symbols: Symbols, rows: int, size: int) -> Iterator[TickBatch]:
    """The trades in batches."""
    for low in range(0, rows, size):
        yield market(symbols, low, min(low + size, rows), rows)


# -- rows in -----------------------------------------------------------------------------------------------------------


async def _writing(folder: Path, url: str, rows: int, report: Report) -> None:
    """Parity first; then the writer into both stores, and COPY into a table without a key."""
    symbols = Symbols(f"S{k:03d}USDT" for k in range(MARKET))
    found = {}
    for name in ("server", "embedded"):
        store = await _opened(name, folder / "parity", url, rows=0)
        await _written(store, folder / f"spool-{name}", list(batches(symbols, 200_000, PUT)))
        await _written(store, folder / f"again-{name}", list(batches(symbols, 200_000, PUT)))
        found[name] = await _digest(store)
        await store.close()
    assert found["server"] == found["embedded"], found
    report.checked = (
        f"200,000 trades, put twice, answered alike by both stores (SHA-256 {found['server'][:12]}…), and the minutes "
        "of both equal in times, prices, volumes and counts."
    )
    await _run(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    whole = list(batches(symbols, rows, PUT))
    speed = {}
    for name in ("server", "embedded"):
        store = await _opened(name, folder / "speed", url, rows=rows)
        speed[name], counted = await _written(store, folder / f"fast-{name}", whole)
        assert (await store.stats()).ticks == rows, await store.stats()
        who = "PostgreSQL, its keys and day partitions" if name == "server" else "DuckDB"
        goal, reached = ("100,000 rows/s", speed[name] >= 100_000) if name == "server" else ("", None)
        said = f"{speed[name]:,.0f} rows/s, longest flush {counted['max_flush_ms']:.0f} ms"
        report.add(f"through the writer into {who}", said, goal, reached)
        await store.close()
    await _run(url, _LOOSE + _KEYED)
    for kind, table in (("with the same key and indexes", "keyed"), ("without a key", "loose")):
        limit = await _copied(url, table, list(batches(symbols, rows, FLUSH)))
        report.add(f"COPY of the same rows {kind}, {FLUSH:,} a transaction", f"{limit:,.0f} rows/s")
        report.add("the writer's share of that", f"{speed['server'] / limit:.0%}")
    await _run(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")


async def _written(store: Any, spool: Path, whole: list[TickBatch]) -> tuple[float, Any]:
    """Put batches through a writer as fast as it takes them; return rows a second and its counters."""
    writer = StoreWriter(store, spool=Spool(spool, max_bytes=1 << 30), flush_rows=FLUSH)
    await writer.start()
    began = time.monotonic()
    for batch in whole:
        await writer.put(batch)
    await writer.drain()
    took = time.monotonic() - began
    counted = writer.counters()
    assert counted["store_errors"] == counted["spooled_rows"] == 0, counted
    await writer.close()
    return sum(map(len, whole)) / took, counted


async def _copied(url: str, table: str, whole: list[TickBatch]) -> float:
    """COPY rows into a table, encoded beforehand, as the driver does it; return rows a second."""
    encoded = [_rows_of(batch) for batch in whole]
    parts = [(b"PGCOPY\n\xff\r\n\0" + b"\0" * 8 + each.rows + b"\xff\xff", each.columns) for each in encoded]
    connection = await asyncpg.connect(url)
    began = time.monotonic()
    for part, columns in parts:
        await connection.copy_to_table(table, source=io.BytesIO(part), columns=columns, format="binary")
    took = time.monotonic() - began
    await connection.close()
    return sum(map(len, whole)) / took


class _Caught:
    """Stands for a session: keeps what would be copied."""

    def __init__(self) -> None:
        self.rows = b""
        self.columns: Sequence[str] = ()

    def copy_in(self, _: str, columns: Sequence[str], rows: bytes) -> None:
        self.rows, self.columns = rows, columns


def _rows_of(batch: TickBatch) -> _Caught:
    """A batch in the binary form of COPY, as the store writes it."""
    caught = _Caught()
    ids = np.arange(len(batch.symbols), dtype=np.int32)
    TickTables(batch.symbols).add_ticks(caught, batch, ids, flush=0, watermark_ns=0)  # type: ignore[arg-type]  # as far as asked
    return caught


# -- a day's minutes ---------------------------------------------------------------------------------------------------


async def _reading(folder: Path, url: str, rows: int, report: Report) -> None:
    """Fill a day in both, then have each make its minutes."""
    symbols, name = Symbols(f"S{k:03d}USDT" for k in range(MARKET)), "S007USDT"
    start, end = DAY * DAY_NS, (DAY + 1) * DAY_NS
    server = await PostgresStore.open(url)
    await _run(
        url,
        "SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; "
        "CREATE TABLE tick_data_20241004 (LIKE tick_data INCLUDING DEFAULTS); INSERT INTO tick_data_20241004 "
        "(symbol, timestamp, id, price, size, buyer_is_maker, received_ns, rest_ns) "
        f"SELECT 'S' || lpad((i % {MARKET})::text, 3, '0') || 'USDT', timestamptz 'epoch' + "
        f"({start // 1000} + i * {DAY_NS // rows} / 1000000 * 1000) * interval '1 microsecond', i / {MARKET}, "
        "100 + (i * 7919 % 1000)::float8 / 100, (i * 104729 % 1000 + 1)::float8 / 1000, i % 3 = 0, "
        f"{start} + i * {DAY_NS // rows} / 1000000 * 1000000 + 20000000, 0 FROM generate_series(0::bigint, {rows - 1}) "
        "AS i; ALTER TABLE tick_data_20241004 ADD PRIMARY KEY (symbol, timestamp, id); "
        "ALTER TABLE tick_data ATTACH PARTITION tick_data_20241004 "
        "FOR VALUES FROM ('2024-10-04T00:00:00Z') TO ('2024-10-05T00:00:00Z'); "
        "ANALYZE tick_data; INSERT INTO symbol (name) SELECT DISTINCT symbol FROM tick_data; "
        "INSERT INTO continuity (symbol, next_id, first_id, first_ns, last_ns, tick_count) SELECT symbol, max(id) + 1, "
        "min(id), (extract(epoch FROM min(timestamp)) * 1000000)::bigint * 1000, "
        "(extract(epoch FROM max(timestamp)) * 1000000)::bigint * 1000, count(*) FROM tick_data GROUP BY symbol",
    )
    path = folder / "day.duckdb"
    embedded = await DuckDBStore.open(path, memory_limit_mb=2048)
    for batch in batches(symbols, rows, 500_000):
        await embedded.append(batch)
    both: dict[str, Any] = {"PostgreSQL": server, "DuckDB": embedded}
    kept, ticks_took = {}, {}
    for who, store in both.items():
        began = time.monotonic()
        ticks = await store.ticks(name, start, end, limit=10**7)
        ticks_took[who] = time.monotonic() - began
        assert len(ticks) == -(-(rows - 7) // MARKET), len(ticks)
        made = bars_of(ticks, "1m")
        await store.append(TickBatch.empty(ticks.symbols, end), [made])
        took = await _often(lambda store=store: store.bars(name, "1m", start, end, limit=2000))  # type: ignore[misc]
        kept[who] = await store.bars(name, "1m", start, end, limit=2000)
        report.add(f"{who}: the minutes of a symbol's day, as the API asks for them", f"{took * 1e3:.1f} ms")
        report.add(f"{who}: all {len(ticks):,} ticks of that day", f"{ticks_took[who] * 1e3:.0f} ms, the first time")
    for field in ("ts_open_ns", "open", "high", "low", "close", "volume", "trades"):
        assert (getattr(kept["PostgreSQL"], field) == getattr(kept["DuckDB"], field)).all(), field
    await embedded.close()
    await _from_ticks(url, path, name, rows, report)
    await server.close()


async def _from_ticks(url: str, path: Path, name: str, rows: int, report: Report) -> None:
    """The same minutes made by SQL out of the ticks: a symbol's, and the whole market's."""
    server = await asyncpg.connect(url)
    embedded = duckdb.connect(str(path), read_only=True)
    [(symbol_id,)] = embedded.execute("SELECT symbol_id FROM symbol WHERE name = ?", [name]).fetchall()
    asked = {
        "PostgreSQL": lambda where, by: server.fetch(
            _OHLC.format(
                minute="date_trunc('minute', timestamp)", ticks="tick_data", where=where, by=by,
                first="(array_agg(price ORDER BY timestamp, id))[1]",
                last="(array_agg(price ORDER BY timestamp DESC, id DESC))[1]",
            ),
            timeout=3600,
        ),
        "DuckDB": lambda where, by: asyncio.to_thread(
            lambda: embedded.execute(
                _OHLC.format(
                    minute="ts_event_ns // 60000000000", ticks="tick", where=where, by=by, first="arg_min(price, id)",
                    last="arg_max(price, id)",
                )
            ).fetchall()
        ),
    }  # fmt: skip
    of_one = {"PostgreSQL": f"WHERE symbol = '{name}'", "DuckDB": f"WHERE symbol_id = {symbol_id}"}
    of_all = {"PostgreSQL": "symbol, 1", "DuckDB": "symbol_id, 1"}
    answers = {}
    for who, ask in asked.items():
        took = await _often(lambda ask=ask, who=who: ask(of_one[who], "1"))  # type: ignore[misc]
        answers[who] = [tuple(row)[1:5] for row in await ask(of_one[who], "1")]
        report.add(f"{who}: a symbol's day of minutes out of its ticks by SQL", f"{took * 1e3:.0f} ms")
        began = time.monotonic()
        found = await ask("", of_all[who])
        report.add(
            f"{who}: all {MARKET} symbols' minutes out of {rows / 1e6:g} million ticks",
            f"{time.monotonic() - began:.1f} s, {len(found):,} bars",
        )
    assert answers["PostgreSQL"] == answers["DuckDB"]
    size = await server.fetchval("SELECT pg_total_relation_size('tick_data_20241004')")
    report.add(
        "bytes a tick", f"PostgreSQL {size / rows:.0f}, DuckDB {path.stat().st_size / rows:.0f}"
    )  # fmt: skip
    await server.close()
    embedded.close()


async def _often(ask: Callable[[], Awaitable[Any]]) -> float:
    """Seconds that an answer takes, the median of five."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        await ask()
        times.append(time.monotonic() - began)
    return median(times)


# -- both --------------------------------------------------------------------------------------------------------------


async def _opened(name: str, folder: Path, url: str, *, rows: int) -> Any:
    if name == "server":
        return await PostgresStore.open(url)
    return await DuckDBStore.open(folder / f"{rows}.duckdb")


async def _digest(store: Any) -> str:
    """SHA-256 of every tick that a store answers, by symbol, id and time."""
    found = hashlib.sha256()
    for summary in await store.symbols():
        ticks = await store.ticks(summary.symbol, 0, 2**62, limit=10**7)
        for field in ("trade_id", "ts_event_ns", "ts_recv_ns", "price", "size", "buyer_is_maker"):
            found.update(np.ascontiguousarray(getattr(ticks, field)).tobytes())
    return found.hexdigest()


async def _run(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statements, timeout=None)
    await connection.close()


def main() -> None:
    """Measure and keep the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_store", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="trades through the writer")
    parser.add_argument("--millions", type=float, default=50.0, help="million ticks of the day; 0: no day")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server's")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results as it is")
    told = parser.parse_args()
    report = measure(rows=told.rows, millions=told.millions, settings=(*SETTINGS, *told.set))
    print(report.text(), flush=True)
    if not told.no_write:
        write([report])


if __name__ == "__main__":
    main()
