"""The feed against the replay server's faults: whatever breaks in between, every trade comes once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.feed.replay_faults import parse_fault
from pairscope.feed.replay_server import ReplayServer, serve
from pairscope.feed.replay_source import open_source
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.market.continuity import Continuity, Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch, concat_ticks

DEADLINE_S = 120.0
MARKET = "synthetic:seed=3,symbols=6,rate=300"
TAPES = [
    Path(__file__).parents[3] / "shared" / "data" / "tape" / f"um_{name}_2024-08-08.gz"
    for name in ("btcusdt", "ethusdt")
]
needs_tapes = pytest.mark.skipif(not TAPES[0].is_file(), reason="the real tapes are not here")


class Bench:
    """A replay server, a feed that follows all of it, and what the feed handed on."""

    def __init__(self, server: ReplayServer, **options: Any) -> None:
        self.server = server
        self.names = [listing.symbol for listing in server.source.listings]
        self.verdicts: list[Gap] = []
        self.batches: list[TickBatch] = []
        self.ledger = Continuity()
        self.rest = ExchangeRest(f"http://127.0.0.1:{server.port}", clock=time.time_ns, weight_per_minute=24_000)
        self.feed = WebSocketFeed(
            Symbols(),
            self.names,
            ws_url=f"ws://127.0.0.1:{server.port}",
            rest=self.rest,
            continuity=self.ledger,
            on_verdict=self.verdicts.append,
            **({"settle_seconds": 0.2, "grace_seconds": 0.1, "stall_seconds": 2.0} | options),
        )
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for batch in self.feed.batches():
            self.batches.append(batch)

    def arrived(self) -> TickBatch:
        return concat_ticks(self.batches)

    def all_begun(self) -> bool:
        """Tell whether every symbol has brought a tick: before that nothing of it can be said to lack."""
        came = self.arrived() if self.batches else None
        return came is not None and all(len(came.of_symbol(name)) for name in self.names)

    def lacking(self) -> dict[str, int]:
        """Count by symbol what was printed since its first tick and has not come."""
        truth, came = self.server.truth(), self.arrived()
        missing = {}
        for row, name in enumerate(self.names):
            ids = came.of_symbol(name).trade_id
            printed = truth.agg_id[truth.symbol_id == row]
            if ids.size:
                lost = np.setdiff1d(printed[printed >= ids.min()], ids)
                if lost.size:
                    missing[name] = int(lost.size)
        return missing

    async def until(self, true: Callable[[], Any], what: str, *, look_s: float = 0.02) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not true():
            if self.task.done():
                self.task.result()
                raise AssertionError(f"the feed ended while waiting for {what}")
            if time.monotonic() > end_s:
                gaps = self.ledger.open_gaps()[:3]
                raise AssertionError(f"{what}: {self.lacking()} {gaps} {self.feed.counters()} {self.feed.status()}")
            await asyncio.sleep(look_s)

    async def until_whole(self) -> None:
        """Wait until all that was printed has come."""
        await self.until(lambda: not self.ledger.open_gaps() and not self.lacking(), "the rest", look_s=0.2)

    def stop_market(self) -> None:
        """Let the market stand still, so that there is a last trade to wait for."""
        self.server._clock.speed = 1e-9

    def check(self) -> None:
        """Demand that what came is the truth, each tick once and with its columns, and time never went back."""
        truth = self.server.truth()
        came = self.arrived()
        assert self.ledger.open_gaps() == []
        for row, name in enumerate(self.names):
            mine = came.of_symbol(name)
            order = np.argsort(mine.trade_id, kind="stable")
            mine = mine.take(order)
            if not len(mine):
                continue
            expected = truth.take((truth.symbol_id == row) & (truth.agg_id >= mine.trade_id[0]))
            true = expected.ticks(self.server.source.listings, came.symbols)
            np.testing.assert_array_equal(mine.trade_id, true.trade_id, err_msg=name)
            np.testing.assert_array_equal(mine.ts_event_ns, true.ts_event_ns)
            np.testing.assert_array_equal(mine.price, true.price)
            np.testing.assert_array_equal(mine.size, true.size)
            np.testing.assert_array_equal(mine.buyer_is_maker, true.buyer_is_maker)
        marks = [batch.watermark_ns for batch in self.batches]
        assert marks == sorted(marks)


Start = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Serve a market with faults and follow it: ``await start(faults=["drop:0.01"], speed=20.0)``."""
    benches: list[Bench] = []

    async def begin(
        words: list[str] | None = None,
        *,
        faults: tuple[str, ...] = (),
        speed: float | None = 10.0,
        weight_limit: int = 24_000,
        **options: Any,
    ) -> Bench:
        server = await serve(
            open_source(words or [MARKET]),
            speed=speed,
            faults=[parse_fault(fault) for fault in faults],
            seed=11,
            weight_limit=weight_limit,
        )
        benches.append(Bench(server, **options))
        return benches[-1]

    yield begin
    for bench in benches:
        await bench.feed.close()
        await asyncio.gather(bench.task, return_exceptions=True)
        await bench.rest.close()
        await bench.server.close()


async def settle(bench: Bench, seconds: float, enough: Callable[[], bool] = lambda: True) -> None:
    """Let the market run for a while and until it is enough, stop it, and wait until all that was printed has come."""
    await bench.until(lambda: bench.batches and len(bench.arrived()), "the first tick")
    await asyncio.sleep(seconds)
    await bench.until(enough, "enough faults")
    bench.stop_market()
    await bench.until_whole()
    bench.check()


@pytest.mark.parametrize(
    ("faults", "counted"),
    [
        (("drop:0.01",), "dropped"),
        (("duplicate:0.05",), "duplicated"),
        (("reorder:0.05",), "reordered"),
        (("malformed:0.01",), "malformed"),
    ],
)
async def test_one_kind_of_fault(start: Start, faults: tuple[str, ...], counted: str) -> None:
    bench = await start(faults=faults)

    def befallen() -> int:
        """Count the faults, with those of connections that a slow machine had replaced."""
        now = sum(connection.faults.counts[counted] for connection in bench.server.connections)
        return now + bench.server.counters[counted]

    await settle(bench, 1.0, lambda: befallen() > 10)
    if counted in {"malformed", "duplicated"}:

        def heard() -> int:
            counters = bench.feed.counters()
            return int(counters["repeats"] if counted == "duplicated" else counters["rejected"].get("malformed", 0))

        def disturbed() -> bool:
            """Tell whether a slow machine had a line replaced, or trades fetched that the socket still held."""
            counters = bench.feed.counters()
            return bool(counters["reconnects"] or (counted == "duplicated" and counters["gaps_opened"]))

        await bench.until(lambda: heard() >= befallen() or disturbed(), "the faults that the socket still holds")
        assert heard() > 0
        assert heard() == befallen() or disturbed()
    counters = bench.feed.counters()
    assert counters["gaps_opened"] == counters["gaps_repaired"]
    assert set(counters["rejected"]) <= {counted}
    if counted in {"dropped", "malformed"}:
        assert counters["gaps_opened"] > 0


async def test_everything_at_once_over_three_connections_that_are_cut_every_second(start: Start) -> None:
    faults = ("drop:0.005", "duplicate:0.01", "reorder:0.01", "malformed:0.005", "disconnect:1s")
    bench = await start(faults=faults, streams_per_connection=2, stall_seconds=1.0)

    def enough() -> bool:
        counters = bench.feed.counters()
        return counters["reconnects"] >= 6 and counters["gaps_opened"] > 20

    await settle(bench, 2.0, enough)
    counters = bench.feed.counters()
    assert counters["gaps_unrepairable"] == 0
    assert not counters["crashes"]


async def test_a_socket_that_stays_open_and_silent_is_replaced_and_nothing_is_lost(start: Start) -> None:
    bench = await start(faults=("stall:800ms",), stall_seconds=0.5)
    await settle(bench, 0.5, lambda: bench.feed.counters()["reconnects"] >= 2)
    assert bench.feed.counters()["gaps_repaired"] >= 1


async def test_a_server_that_is_gone_for_a_while_and_back_with_more(start: Start) -> None:
    bench = await start()
    await bench.until(lambda: bench.batches and len(bench.arrived()) > 2000, "ticks")
    port, source = bench.server.port, bench.server.source
    began_ms, now_ms = bench.server._start_ms, bench.server.now_ms
    await bench.server.close()
    sent_ms = bench.server.now_ms
    await bench.until(lambda: bench.feed.status()["status"] == "degraded", "the loss to be noticed")
    await asyncio.sleep(1.0)  # ten seconds of the market, of which nothing was heard
    assert bench.batches[-1].watermark_ns <= sent_ms * 1_000_000
    bench.server = await serve(source, port=port, start_ms=now_ms + 20_000, speed=10.0)
    bench.server._start_ms = began_ms
    await settle(bench, 2.0)
    await bench.until(lambda: bench.feed.status()["connections"] == 1, "its connection")  # silence renews it, too


async def test_a_rotation_every_half_second_loses_and_repeats_nothing(start: Start) -> None:
    bench = await start(rotate_seconds=0.5)
    await settle(bench, 1.0, lambda: bench.feed.counters()["reconnects"] >= 2)
    assert bench.feed.counters()["gaps_unrepairable"] == 0


async def test_rest_that_answers_429_delays_the_repair_and_does_not_prevent_the_stream(start: Start) -> None:
    bench = await start(faults=("drop:0.01",), weight_limit=60)
    await bench.until(lambda: bench.rest.refused >= 1, "a refusal")
    came = len(bench.arrived())
    await bench.until(lambda: len(bench.arrived()) > came + 500, "more ticks")
    assert bench.server.counters["requests_refused"] <= 4
    assert not bench.feed.counters()["crashes"]


async def test_a_burst_beyond_what_may_wait_is_taken_at_the_consumers_pace(start: Start) -> None:
    bench = await start(["synthetic:seed=3,symbols=6,rate=1000"], speed=50.0, max_pending=500, stall_seconds=30.0)
    await settle(bench, 0.5, lambda: bench.feed.counters()["pauses"] >= 1)
    assert bench.feed.counters()["gaps_opened"] == 0


@needs_tapes
@pytest.mark.parametrize("faults", [(), ("drop:0.001", "duplicate:0.001", "reorder:0.001", "malformed:0.001")])
async def test_both_real_tapes_at_full_speed_come_whole(start: Start, faults: tuple[str, ...]) -> None:
    patient = {} if faults else {"stall_seconds": 30.0}  # a line that a slow machine lets fall silent misses trades
    bench = await start([str(tape) for tape in TAPES], speed=None, faults=faults, **patient)
    await bench.until(bench.server.finished.is_set, "the end of the tapes")
    await bench.until(bench.all_begun, "ticks of both")  # printed is not yet read: the socket holds the rest
    await bench.until_whole()
    bench.check()
    truth = bench.server.truth()
    assert len(truth) > 10_000
    if not faults:
        assert len(bench.arrived()) == len(truth)
        assert bench.feed.counters()["gaps_opened"] == 0
