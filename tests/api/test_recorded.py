"""What is stored crosses to a verifying process bit for bit, in any pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from pairscope.errors import ApiRefused, ConfigError
from pairscope.market.bars import BarBatch
from pairscope.market.ticks import TickBatch
from pairscope.research.recorded import ended
from pairscope.research.recorded_api import RecordedApi
from pairscope.schemas.recorded import framed, unframed

from .conftest import client_of
from .market import START_MS, Market

FOREVER = 1 << 62
HOUR_NS = 3_600_000_000_000
COLUMNS = ("ts_event_ns", "ts_recv_ns", "trade_id", "price", "size", "buyer_is_maker")


@pytest.fixture
async def source(market: Market) -> AsyncIterator[RecordedApi]:
    async with client_of(market) as client:
        yield RecordedApi("", client=client)


def named(batch: TickBatch | BarBatch) -> list[str]:
    return [batch.symbols[i] for i in batch.symbol_id.tolist()]


async def test_ticks_come_as_they_are_stored_by_event_and_by_receive_time(source: RecordedApi, market: Market) -> None:
    start_ns = START_MS * 1_000_000 + HOUR_NS
    for ours, theirs in (
        (source.ticks_since(start_ns), market.store.ticks_since(start_ns)),
        (
            source.ticks_received(start_ns, start_ns + HOUR_NS),
            market.store.ticks_received(start_ns, start_ns + HOUR_NS),
        ),
    ):
        got, kept = [part async for part in ours], [part async for part in theirs]
        assert sum(map(len, got)) == sum(map(len, kept)) > 100
        for column in COLUMNS:
            left, right = (np.concatenate([getattr(part, column) for part in parts]) for parts in (got, kept))
            np.testing.assert_array_equal(left, right)
        assert [name for part in got for name in named(part)] == [name for part in kept for name in named(part)]
    one = await source.ticks("BTCUSDT", 0, FOREVER, limit=10)
    assert (len(one), set(named(one))) == (10, {"BTCUSDT"})


async def test_bars_records_and_the_summary_come_as_they_are_stored(source: RecordedApi, market: Market) -> None:
    for timeframe in ("1s", "1m"):
        ours, theirs = (
            await source.base_bars(timeframe, 0, FOREVER),
            await market.store.base_bars(timeframe, 0, FOREVER),
        )
        assert named(ours) == named(theirs)
        for column in ("ts_open_ns", "open", "close", "volume", "first_id", "revision", "origin"):
            np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column))
    longer = await source.bars("BTCUSDT", "5m", 0, FOREVER, limit=3, newest=True)
    kept = await market.store.bars("BTCUSDT", "5m", 0, FOREVER, limit=3, newest=True)
    np.testing.assert_array_equal(longer.close, kept.close)
    assert await source.symbols() == await market.store.symbols()
    assert await source.watermark_ns() == market.engine.watermark_ns() - 60_000_000_000
    await market.records.put("journal", "1", b"\x00one")
    await market.records.put("journal", "2", b"two")
    assert [found async for found in source.scan("journal")] == [("1", b"\x00one"), ("2", b"two")]
    assert [found async for found in source.scan("journal", "1")] == [("2", b"two")]


async def test_a_reader_that_stops_early_leaves_nothing_open(source: RecordedApi) -> None:
    async with ended(source.ticks_since(0)) as parts:
        async for _ in parts:
            break
    assert await source.symbols()


async def test_frames_are_read_however_they_are_cut_and_an_early_end_is_told() -> None:
    whole = framed(b"first") + framed(b"") + framed(bytes(1000))

    async def pieces(size: int, end: int | None = None) -> AsyncIterator[bytes]:
        for start in range(0, len(whole[:end]), size):
            yield whole[start:end][:size]

    for size in (1, 7, 5000):
        assert [document async for document in unframed(pieces(size))] == [b"first", b"", bytes(1000)]
    with pytest.raises(ApiRefused, match="early"):
        assert [document async for document in unframed(pieces(100, -1))]


async def test_what_is_refused_says_why(source: RecordedApi, market: Market) -> None:
    with pytest.raises(ApiRefused):
        await source.base_bars("5m", 0, FOREVER)
    from pairscope.api.options import ApiOptions

    async with client_of(market, ApiOptions(api_keys=(f"sha256:{'0' * 64}",))) as client:
        with pytest.raises(ConfigError, match="key"):
            await RecordedApi("", client=client).symbols()
