"""A longer bar is told once it is over: by the watermark where a stream tells, else by the clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pairscope.market.bars import Origin, bars_of
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE = 60_000_000_000


async def test_a_quarter_hour_with_two_uploaded_minutes_is_over_at_its_end_and_not_before(tmp_path, ticks_of, noon_ns):
    rows = [("ACMEUSDT", k, noon_ns + k * MINUTE, "10.5", "1", True) for k in range(17)]
    minutes = bars_of(ticks_of(rows), "1m")
    uploaded = replace(minutes, origin=np.full(17, Origin.UPLOAD, np.int8))
    for seen_ns, bars in ((noon_ns + 29 * MINUTE, 1), (noon_ns + 30 * MINUTE, 2)):
        store = await DuckDBStore.open(tmp_path / "pairscope.duckdb", clock=lambda seen_ns=seen_ns: seen_ns)
        await store.put_bars(uploaded)
        found = await store.bars("ACMEUSDT", "15m", 0, 1 << 62, limit=10)
        assert found.volume.tolist() == [15.0, 2.0][:bars]
        await store.close()


async def test_a_symbol_with_a_stream_waits_for_its_watermark(tmp_path, ticks_of, noon_ns):
    rows = [("BTCUSDT", k, noon_ns + k * MINUTE, "10.5", "1", True) for k in range(17)]
    batch = ticks_of(rows, watermark_ns=noon_ns + 17 * MINUTE)
    store = await DuckDBStore.open(tmp_path / "pairscope.duckdb", clock=lambda: noon_ns + 86_400 * MINUTE)
    await store.append(batch, [bars_of(batch, "1m")])
    assert (await store.bars("BTCUSDT", "15m", 0, 1 << 62, limit=10)).volume.tolist() == [15.0]
    await store.close()
