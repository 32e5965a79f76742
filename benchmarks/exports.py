"""How fast ten million stored trades leave as a file of each format, and how much memory that takes.

Each export runs in a process of its own, from the store to a file that is thrown away; the peers write the same rows of
the same store: DuckDB's own COPY, and pandas, which has to hold them all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report

MILLIONS = 10.0
FORMATS = (
    ("csv", "none"), ("csv", "gzip"), ("csv", "zstd"), ("jsonl", "none"), ("parquet", "none"), ("parquet", "zstd"),
    ("arrow", "none"), ("arrow", "zstd"),
)  # fmt: skip
ORDERED = (
    "SELECT id, make_timestamp(ts_event_ns // 1000) AS timestamp, price, size, buyer_is_maker FROM tick "
    "ORDER BY ts_event_ns, id"
)
PEERS = {
    "DuckDB COPY, csv": f"COPY ({ORDERED}) TO '{{out}}' (FORMAT csv)",
    "DuckDB COPY, parquet zstd": f"COPY ({ORDERED}) TO '{{out}}' (FORMAT parquet, COMPRESSION zstd)",
}
_PIECE = 200_000


def measure(*, millions: float = MILLIONS) -> Report:
    """Fill a store, hold a file of it against the trades, then time each format and the peers."""
    rows = int(millions * 1e6)
    report = Report(
        "exports",
        f"{rows:,} trades of one symbol, from a DuckDB store into a file; each row a process of its own, the peak of "
        "its resident memory as the system counted it, which holds the store's 512 MB of buffers and the interpreter.",
        "",
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "ticks.duckdb"
        asyncio.run(fill(store, rows))
        report.checked = check(store, folder)
        for form, compression in FORMATS:
            told = child("ours", str(store), form, compression)
            speed = rows / told["seconds"]
            goal = form == "csv" and compression == "none" and millions >= 1
            report.add(
                f"{form} {compression if compression != 'none' else ''}".strip(),
                f"{speed / 1e6:.2f} M rows/s, {told['bytes'] / rows:.1f} bytes a row, peak {told['peak_mb']:.0f} MB, "
                f"processor {told['cpu']:.1f} s",
                ">= 1 M rows/s" if goal else "", speed >= 1e6 if goal else None,
            )  # fmt: skip
        for name in PEERS:
            told = child("duckdb", str(store), name)
            report.add(name, f"{rows / told['seconds'] / 1e6:.2f} M rows/s, peak {told['peak_mb']:.0f} MB")
        few = min(rows, 1_000_000)
        told = child("pandas", str(store), str(few))
        report.add(
            f"pandas to_csv of {few:,} rows",
            f"{few / told['seconds'] / 1e6:.2f} M rows/s, peak {told['peak_mb']:.0f} MB",
        )
        small, large = (child("ours", str(store), "csv", "none", str(share)) for share in (rows // 4, rows))
        grown = large["peak_mb"] - small["peak_mb"]
        report.add("csv: peak of all rows above that of a quarter of them", f"{grown:.0f} MB")
        told = child("resume", str(store))
        report.add("csv taken up at nine tenths, what was learnt of it forgotten", f"{told['seconds']:.1f} s")
        report.add("the same, while it is remembered", f"{told['known']:.2f} s")
        report.add("given up after a tenth of it", f"nothing open after {told['left_ms']:.0f} ms")
    return report


async def fill(file: Path, rows: int) -> None:
    """Store trades of a walk on the price grid, three a second."""
    from pairscope.market.symbols import Symbols
    from pairscope.market.ticks import TickBatch
    from pairscope.storage.duckdb_store import DuckDBStore

    rng = np.random.default_rng(1)
    store, symbols = await DuckDBStore.open(file), Symbols(["BTCUSDT"])
    at, level = 1_723_075_200_000, 650_000
    for first in range(0, rows, _PIECE):
        count = min(_PIECE, rows - first)
        times = at + np.cumsum(rng.integers(0, 666, count))
        levels = level + np.cumsum(rng.integers(-1, 2, count))
        at, level = int(times[-1]), int(levels[-1])
        await store.append(
            TickBatch(
                symbols, np.zeros(count, np.int32), times * 1_000_000, times * 1_000_000 + 5_000_000,
                np.arange(first, first + count) + 4_000_000_000, levels / 10, rng.integers(1, 20_000, count) / 1000,
                rng.random(count) < 0.5, at * 1_000_000,
            )
        )  # fmt: skip
    await store.close()


def check(store: Path, folder: str) -> str:
    """Return what was compared: every format, read by DuckDB, has the store's own rows."""
    import duckdb

    rows, few = 0, "SELECT * FROM rows"
    with duckdb.connect(str(store), read_only=True) as connection:
        truth = connection.execute(f"SELECT count(*), {_digest()} FROM ({ORDERED})").fetchone()
    for form, compression in (("csv", "none"), ("csv", "gzip"), ("jsonl", "none"), ("parquet", "zstd")):
        out = Path(folder) / f"rows.{form}{'.gz' if compression == 'gzip' else ''}"
        child("ours", str(store), form, compression, "0", str(out))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            times = "epoch_ms(timestamp)" if form == "jsonl" else "timestamp::TIMESTAMP"
            source = few.replace("rows", f"'{out}'").replace("*", f"* REPLACE ({times} AS timestamp)")
            told = connection.execute(f"SELECT count(*), {_digest()} FROM ({source})").fetchone()
        out.unlink()
        if told != truth:
            raise AssertionError(f"{form} {compression}: {told}, the store has {truth}")
        rows = told[0]
    return f"the {rows:,} rows of CSV (plain and gzip), JSON lines and Parquet, read by DuckDB, are those of the store."


def _digest() -> str:
    return "bit_xor(hash(id, timestamp::TIMESTAMP, price::DOUBLE, size::DOUBLE, buyer_is_maker))"


def child(*words: str) -> dict[str, Any]:
    """Run one part in a process of its own; return what it says of itself."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.exports", *words], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def ours(store: str, form: str, compression: str, most: int, out: str) -> dict[str, Any]:
    """Export all rows, or the first so many, into a file."""
    from pairscope.storage.duckdb_store import DuckDBStore
    from pairscope.transfer.export import Export
    from pairscope.transfer.export_format import Format
    from pairscope.transfer.export_source import TickSource

    opened = await DuckDBStore.open(Path(store))
    try:
        end = 1 << 62
        if most:
            whole = await opened.ticks("BTCUSDT", 0, end, limit=1)
            end = int(whole.ts_event_ns[0]) + most * 332_500_000
        source: Any = TickSource(opened, ["BTCUSDT"], 0, end)
        export = Export(source, Format(form, compression))  # type: ignore[arg-type] - the words of FORMATS
        async with aclosing(Export(TickSource(opened, ["BTCUSDT"], 0, 1), export.format).pieces()) as warm:
            _ = [piece async for piece in warm]
        began, size = time.perf_counter(), 0
        with Path(out or os.devnull).open("wb") as file:
            async with aclosing(export.pieces()) as pieces:
                async for piece in pieces:
                    size += file.write(piece)
        return {"seconds": time.perf_counter() - began, "bytes": size}
    finally:
        await opened.close()


async def resumed(store: str) -> dict[str, Any]:
    """Take a file up near its end; and give one up near its beginning."""
    from pairscope.storage.duckdb_store import DuckDBStore
    from pairscope.transfer.export import Export, Layout
    from pairscope.transfer.export_format import Format
    from pairscope.transfer.export_source import TickSource

    opened = await DuckDBStore.open(Path(store))
    try:
        export, layout = Export(TickSource(opened, ["BTCUSDT"], 0, 1 << 62), Format()), Layout()
        size = await export.measure(layout)
        taken = []
        for known in (Layout(), layout):
            began = time.perf_counter()
            digest = hashlib.blake2b()
            async with aclosing(export.pieces(known, start=size * 9 // 10)) as pieces:
                async for piece in pieces:
                    digest.update(piece)
            taken.append((time.perf_counter() - began, digest.digest()))
        if taken[0][1] != taken[1][1]:
            raise AssertionError("a file taken up differs from the same one taken up anew")
        sent, tasks, threads = 0, len(asyncio.all_tasks()), threading.active_count()
        async with aclosing(export.pieces()) as pieces:
            async for piece in pieces:
                sent += len(piece)
                if sent > size // 10:
                    break
        began = time.perf_counter()
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0)
        if threading.active_count() > threads + 1:
            raise AssertionError("threads were left")
        left_ms = 1e3 * (time.perf_counter() - began)
        return {"seconds": taken[0][0], "known": taken[1][0], "left_ms": left_ms}
    finally:
        await opened.close()


def peer_duckdb(store: str, name: str) -> dict[str, Any]:
    """Have DuckDB write the rows."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect(store, read_only=True) as connection:
        began = time.perf_counter()
        connection.execute(PEERS[name].format(out=Path(folder) / "out"))
        return {"seconds": time.perf_counter() - began}


def peer_pandas(store: str, rows: int) -> dict[str, Any]:
    """Have pandas write the first rows, once they are a DataFrame."""
    import duckdb

    with duckdb.connect(store, read_only=True) as connection:
        table = connection.sql(f"{ORDERED} LIMIT {rows}").arrow().read_all().to_pandas()
    began = time.perf_counter()
    table.to_csv(os.devnull, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    return {"seconds": time.perf_counter() - began}


def main(words: list[str]) -> None:
    """Run one part, and say how long it took and how much memory."""
    match words:
        case ["ours", store, form, compression, *rest]:
            told = asyncio.run(ours(store, form, compression, int(rest[0]) if rest else 0, *rest[1:2] or [""]))
        case ["duckdb", store, name]:
            told = peer_duckdb(store, name)
        case ["pandas", store, rows]:
            told = peer_pandas(store, int(rows))
        case ["resume", store]:
            told = asyncio.run(resumed(store))
        case _:
            raise SystemExit(f"no part is called {words}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(told | {"peak_mb": peak_mb(), "cpu": used.ru_utime + used.ru_stime}))


def peak_mb() -> float:
    """Return the most that this process held; the system's own figure of a child begins with its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1:])
