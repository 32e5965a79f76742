"""Live equals replay: what came through a real socket, the same frames fed straight in, and a restart between agree.

The socket's side is the whole feed against a replay server that doubles and swaps frames; what it received is then cut
into other batches, by other watermarks, decoded and stepped without any of it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pairscope.engine.data_processor import DataProcessor, Updates
from pairscope.feed.replay_faults import parse_fault
from pairscope.feed.replay_server import serve
from pairscope.feed.replay_source import TapeSource
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.synthetic import ORIGIN_S, SyntheticMarket
from pairscope.feed.tape import Tape
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.feed.wire import Decoder
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch
from pairscope.market.continuity import Continuity
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import warm_start
from pairscope.storage.duckdb_store import DuckDBStore

from .live_house import as_it_came, synthetic_ticks

START_NS = (ORIGIN_S + 90_000 * 60) * 1_000_000_000
SPAN_NS = 240 * 1_000_000_000
END_NS = START_NS + 86_400_000_000_000
WINDOWS = (2, 3, 20)

Said = dict[tuple[str, int, int], bytes]


@dataclass(frozen=True)
class Session:
    """What a feed received over its socket, and what the engine behind it said and knew."""

    names: tuple[str, ...]
    frames: list[tuple[int, bytes]]
    said: tuple[Said, Said]
    engine: DataProcessor
    ticks: int


class Frames:
    """Keeps raw frames in memory (the feed's ``Recorder``)."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, bytes]] = []

    def write(self, ts_recv_ns: int, frame: bytes) -> None:
        self.kept.append((ts_recv_ns, frame))


def market() -> Tape:
    """A few minutes of a market in which some symbols go a minute and more without a trade."""
    made = SyntheticMarket(seed=5, symbols=80, ticks_per_second=25.0)
    return Tape(made.listings, made.trades(START_NS, START_NS + SPAN_NS), (), stamped=True, truncated=False)


async def through_a_socket(flush_ms: int) -> Session:
    """Play the market to a feed as fast as it reads, its batches to an engine."""
    faults = [parse_fault("duplicate:0.05"), parse_fault("reorder:0.05")]
    server = await serve(TapeSource(market()), speed=None, faults=faults, seed=flush_ms, settle_s=0.05)
    names = tuple(listing.symbol for listing in server.source.listings)
    recorder, symbols = Frames(), Symbols(names)
    rest = ExchangeRest(f"http://127.0.0.1:{server.port}", clock=time.time_ns)
    feed = WebSocketFeed(
        symbols,
        names,
        ws_url=f"ws://127.0.0.1:{server.port}",
        rest=rest,
        continuity=Continuity(),
        flush_ms=flush_ms,
        recorder=recorder,
    )
    engine, updates = DataProcessor(symbols, windows=WINDOWS), []
    expected = sum(int((market().trades.symbol_id == row).sum()) for row in range(len(names)))
    async with asyncio.timeout(30):
        async for batch in feed.batches():
            updates.append(engine.on_batch(batch))
            if feed.counters()["ticks"] == expected:
                await feed.close()
    await rest.close()
    await server.close()
    updates.append(engine.on_batch(TickBatch.empty(symbols, END_NS)))
    return Session(names, recorder.kept, last_words(updates), engine, expected)


def compiled() -> None:
    """Have all that the engine does compiled: that may take longer than a session."""
    ticks = synthetic_ticks(seed=5, symbols=3, rate=25.0, seconds=130)
    engine = DataProcessor(ticks.symbols, windows=WINDOWS)
    for batch in as_it_came(ticks, seed=5, flush_ns=1_000_000_000, late=0.1, most_late_s=5.0):
        engine.on_batch(batch)
    engine.on_batch(TickBatch.empty(ticks.symbols, END_NS))


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    """The same market received by feeds that flush at different moments."""
    compiled()
    return [asyncio.run(through_a_socket(flush_ms)) for flush_ms in (5, 40)]


def last_words(updates: Iterable[Updates]) -> tuple[Said, Said]:
    """The bytes of every bar that closed and of every statistic, by their last version.

    How often a bar was revised on the way is not part of it: that depends on what came late, and so on the batches.
    """
    columns = [f.name for f in fields(BarBatch)[4:] if f.name != "revision"]
    bars: Said = {}
    statistics: Said = {}
    for update in updates:
        for batch in (*update.closed, *update.revised):
            for i in range(len(batch)):
                key = batch.timeframe, int(batch.symbol_id[i]), int(batch.ts_open_ns[i])
                bars[key] = b"".join(getattr(batch, name)[i].tobytes() for name in columns)
        stats = update.stats
        for i in range(len(stats)):
            key = "statistics", int(stats.symbol_id[i]), int(stats.ts_open_ns[i])
            statistics[key] = b"".join(getattr(stats, f.name)[i].tobytes() for f in fields(stats)[4:])
    return bars, statistics


def straight(session: Session, cuts: Iterable[int], lateness_ns: int) -> list[TickBatch]:
    """Decode the received frames without socket or clock, in batches cut after so many frames each."""
    symbols = Symbols(session.names)
    decoder, ledger, batches = Decoder(symbols), Continuity(), []
    newest, left = 0, iter(cuts)
    room = next(left)
    for at, (ts_recv_ns, frame) in enumerate(session.frames):
        decoder.feed(frame, ts_recv_ns)
        room -= 1
        if room > 0 and at + 1 < len(session.frames):
            continue
        room = next(left, 300)
        batch = decoder.take(0)
        batch = batch.take(ledger.admit(batch).new)
        newest = max(newest, int(batch.ts_event_ns.max(initial=0)))
        batches.append(batch.with_watermark(max(newest - lateness_ns, 0)))
    return [*batches, TickBatch.empty(symbols, END_NS)]


def test_the_recording_is_what_the_market_printed_doubled_and_swapped(sessions: list[Session]) -> None:
    for session in sessions:
        assert len(session.frames) > session.ticks * 1.03
        assert session.ticks == len(market().trades)
        ids = [frame[frame.index(b'"s"') : frame.index(b',"p"')] for _, frame in session.frames]
        assert len(set(ids)) == session.ticks
        printed: dict[bytes, list[int]] = {}
        for text in ids:
            printed.setdefault(text.split(b'"')[3], []).append(int(text.rsplit(b":", 1)[1]))
        assert any(numbers != sorted(numbers) for numbers in printed.values())


def test_two_feeds_that_flush_at_other_moments_say_the_same(
    sessions: list[Session], assert_same_state: Callable[[DataProcessor, DataProcessor], None]
) -> None:
    first, second = sessions
    assert len(first.said[0]) > 1000 and len(first.said[1]) >= 2 * len(first.names)
    assert first.said == second.said


@settings(max_examples=12)
@given(
    which=st.integers(0, 1),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=30),
    lateness_ms=st.sampled_from([0, 20, 300, 5000]),
)
def test_the_same_frames_straight_into_the_engine_give_the_same_bytes(
    sessions: list[Session], which: int, cuts: list[int], lateness_ms: int
) -> None:
    session = sessions[which]
    batches = straight(session, cuts, lateness_ms * 1_000_000)
    engine = DataProcessor(batches[0].symbols, windows=WINDOWS)
    assert last_words(engine.on_batch(batch) for batch in batches) == session.said
    for symbol in session.names:
        assert engine.price(symbol) == session.engine.price(symbol)
        for timeframe in ("1s", "1m", "1h"):
            ours, theirs = (e.recent_bars(symbol, timeframe, 600) for e in (engine, session.engine))
            assert ours.close.tobytes() == theirs.close.tobytes()
            assert ours.quote_volume.tobytes() == theirs.quote_volume.tobytes()


@settings(max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    cuts=st.lists(st.integers(1, 1500), min_size=4, max_size=20),
    where=st.floats(0.05, 0.95),
    lateness_ms=st.sampled_from([20, 300]),
)
def test_a_restart_in_the_middle_out_of_the_store_gives_the_same_bytes(
    sessions: list[Session],
    assert_same_state: Callable[[DataProcessor, DataProcessor], None],
    assert_same_updates: Callable[[Updates, Updates], None],
    cuts: list[int],
    where: float,
    lateness_ms: int,
) -> None:
    batches = straight(sessions[0], cuts, lateness_ms * 1_000_000)
    cut = max(1, int(where * (len(batches) - 1)))
    lasting = DataProcessor(batches[0].symbols, windows=WINDOWS)

    async def restart() -> tuple[list[Updates], DataProcessor]:
        """Run up to the cut with a store beside, then bring another engine up from the file."""
        said = []
        with tempfile.TemporaryDirectory() as folder:
            store = await DuckDBStore.open(Path(folder) / "store.duckdb")
            for batch in batches[:cut]:
                said.append(lasting.on_batch(batch))
                kept = [b for b in (*said[-1].closed, *said[-1].revised) if b.timeframe in BASE_TIMEFRAMES]
                await store.append(batch, kept)
            await store.close()
            store = await DuckDBStore.open(Path(folder) / "store.duckdb")
            again = DataProcessor(batches[0].symbols, windows=WINDOWS)
            await warm_start(again, store)
            await store.close()
        return said, again

    before, again = asyncio.run(restart())
    assert_same_state(lasting, again)
    for batch in batches[cut:]:
        before.append(again.on_batch(batch))
        assert_same_updates(lasting.on_batch(batch), before[-1])
    assert last_words(before) == sessions[0].said


def test_frames_are_compared_by_value_and_not_by_luck(sessions: list[Session]) -> None:
    """One trade left out changes a bar's bytes, so that the comparisons above can fail."""
    session = sessions[0]
    lame = Session(session.names, session.frames[:-50], session.said, session.engine, session.ticks)
    batches = straight(lame, [100], 300_000_000)
    engine = DataProcessor(batches[0].symbols, windows=WINDOWS)
    said = last_words(engine.on_batch(batch) for batch in batches)
    assert said != session.said
    assert np.mean([said[0].get(key) == value for key, value in session.said[0].items()]) > 0.9
