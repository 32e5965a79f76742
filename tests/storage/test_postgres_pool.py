"""Connections to PostgreSQL hold up however many ask at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pairscope.storage.postgres_pool import PostgresPool, Session


async def test_reads_and_writes_that_take_all_threads_come_to_an_end(postgres_url: str) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    pool = PostgresPool(postgres_url, size=8)

    def read(session: Session) -> dict[str, Any]:
        return session.columns("SELECT n::bigint FROM generate_series(1, 100000) AS n", [("n", "i8")])

    def write(session: Session) -> None:
        session.run("CREATE TEMPORARY TABLE taken (n bigint) ON COMMIT DROP")
        row = (1).to_bytes(2, "big") + (8).to_bytes(4, "big") + (7).to_bytes(8, "big")
        session.copy_in("taken", ["n"], row * 50_000)
        assert session.rows("SELECT count(*) FROM taken")[0][0] == 50_000

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(pool.read(read) for _ in range(8)))
        await asyncio.gather(*(pool.write(write) for _ in range(4)))
    assert all(np.array_equal(each["n"], np.arange(1, 100_001)) for each in found)
    await pool.close()
