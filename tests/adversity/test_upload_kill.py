"""A process that is killed while it stores an upload leaves all of it or nothing, and the same upload completes it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.transfer.upload_reading import UploadAsked, read_upload
from pairscope.transfer.upload_storing import UPLOADS, store_upload
from pairscope.transfer.upload_unpacking import UploadLimits

ROOT = Path(__file__).resolve().parents[2]
ROWS = 60_000
NOW_NS = 1_790_000_000 * 10**9
PATIENCE_S = 60.0

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.adversity.test_upload_kill import upload
asyncio.run(upload(Path(sys.argv[1]), print_go=True))
"""


def table() -> bytes:
    head = "symbol,timestamp,open,high,low,close,volume\n"
    times = (1_700_000_040_000 + 60_000 * i for i in range(ROWS // 2))
    return (head + "".join(f"{name},{t},1.5,2.25,0.5,1.75,10.125\n" for t in times for name in ("AAA", "BBB"))).encode()


async def upload(path: Path, *, print_go: bool = False) -> tuple[int, int]:
    """Store the table; return how many bars were new, and how many were there."""
    store = await DuckDBStore.open(path, threads=1)
    reading = read_upload(table(), UploadAsked(), now_ns=NOW_NS, limits=UploadLimits())
    if print_go:
        sys.stdout.write("go\n")
        sys.stdout.flush()
    done = await store_upload(store, reading, partial=False, filename="killed.csv", now_ns=NOW_NS)
    await store.close()
    return done.inserted, done.unchanged


async def held(path: Path) -> tuple[int, int]:
    store = await DuckDBStore.open(path, threads=1)
    rows = sum(span.rows for span in await store.uploaded())
    notes = len([key async for key, _ in store.scan(UPLOADS)])
    await store.close()
    return rows, notes


def test_an_upload_that_is_killed_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path, log = tmp_path / "killed.duckdb", tmp_path / "killed.duckdb.wal"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "go\n"
        at_go = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + PATIENCE_S
        # As soon as anything of it is on its way to the disk, or it is over.
        while child.poll() is None and time.monotonic() < deadline:
            if log.exists() and log.stat().st_size > at_go:
                break
            time.sleep(0.001)
        child.kill()
    rows, notes = asyncio.run(held(path))
    assert (rows, notes) in {(0, 0), (ROWS, 2)}
    new, there = asyncio.run(upload(path))
    assert (new, there) == (ROWS - rows, rows)
    assert asyncio.run(held(path)) == (ROWS, 2)
