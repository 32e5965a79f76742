"""The live feed against a scripted exchange over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import structlog

from pairscope.errors import ExchangeRefused
from pairscope.market.continuity import Continuity


async def test_every_trade_comes_once_with_its_columns(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT", "币安人生USDT"])
    await exchange.trade("BTCUSDT", "61800.30", "0.006", m=True, T=1_700_000_000_000)
    await exchange.trade("币安人生USDT", "0.1234", "17", T=1_700_000_000_001)
    await exchange.trade("BTCUSDT", "61800.40", "1", T=1_700_000_000_002)
    await feed.until(lambda: len(feed.ids("BTCUSDT")) == 2 and feed.ids("币安人生USDT"))
    ticks = feed.ticks().of_symbol("BTCUSDT")
    assert ticks.trade_id.tolist() == [1, 2]
    assert ticks.price.tolist() == [61800.30, 61800.40]
    assert ticks.buyer_is_maker.tolist() == [True, False]
    assert ticks.ts_event_ns.tolist() == [1_700_000_000_000_000_000, 1_700_000_000_002_000_000]
    assert feed.feed.status()["status"] == "ok"


async def test_a_dropped_frame_is_repaired_over_rest(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT"])
    await exchange.trade("BTCUSDT")
    exchange.record("BTCUSDT", "99.25", "3")
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: len(feed.ids("BTCUSDT")) == 3)
    assert sorted(feed.ids("BTCUSDT")) == [1, 2, 3]
    counters = feed.feed.counters()
    assert (counters["gaps_opened"], counters["gaps_repaired"]) == (1, 1)


async def test_a_cut_connection_comes_back_and_loses_nothing(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT"])
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: feed.ids("BTCUSDT") == [1])
    before = exchange.sockets
    await exchange.cut(1006)
    exchange.record("BTCUSDT")
    await feed.until(lambda: exchange.listeners == 1 and exchange.sockets != before, "another connection")
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: sorted(feed.ids("BTCUSDT")) == [1, 2, 3])
    assert feed.feed.counters()["reconnects"] == 1


Simulate = Callable[[Awaitable[None]], None]
BUSY = {"BTCUSDT": 20.0, "ETHUSDT": 10.0, "THINUSDT": 0.1}


def test_with_one_frame_in_fifty_lost_every_trade_is_there_once_and_no_hole_stays_open(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY)
        chance = random.Random(5)
        await sim.market(2, BUSY)
        network.lose = lambda _: chance.random() < 0.02
        await sim.market(120, BUSY)
        network.lose = lambda _: False
        await sim.market(70, BUSY)
        await asyncio.sleep(3)
        assert sim.complete()
        counters = sim.feed.counters()
        assert counters["gaps_opened"] == counters["gaps_repaired"] > 30
        assert sim.continuity.open_gaps() == []
        await sim.follower.stop()

    simulate(main())


def test_frames_out_of_order_fill_their_hole_without_a_word_over_rest(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"])
        await sim.market(1, {"BTCUSDT": 10})
        for _ in range(50):
            rows = [sim.exchange.record("BTCUSDT") for _ in range(2)]
            network.say(sim.exchange.frame("BTCUSDT", rows[1]))
            await asyncio.sleep(0.05)
            network.say(sim.exchange.frame("BTCUSDT", rows[0]))
        await asyncio.sleep(1)
        assert sim.complete()
        assert sim.exchange.asked("aggTrades") == []
        assert sim.feed.counters()["gaps_repaired"] == 50
        await sim.follower.stop()

    simulate(main())


def test_what_comes_twice_is_handed_on_once(network: Any, simulate: Simulate, simulation: Any) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"])
        await sim.market(1, {"BTCUSDT": 10})
        for row in list(sim.exchange.trades["BTCUSDT"]):
            network.say(sim.exchange.frame("BTCUSDT", row))
        await asyncio.sleep(0.2)
        assert sim.complete()
        assert sim.feed.counters()["repeats"] == len(sim.exchange.trades["BTCUSDT"])
        await sim.follower.stop()

    simulate(main())


def test_a_lost_tail_of_a_thin_symbol_is_found_without_another_trade_of_it(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY)
        await sim.market(30, BUSY)
        network.lose = lambda text: "THINUSDT" in text
        for _ in range(3):
            sim.trade("THINUSDT")
        lost = [row["a"] for row in sim.exchange.trades["THINUSDT"][-3:]]
        await sim.market(65, {"BTCUSDT": 20.0})
        assert sim.complete()
        assert [(gap.symbol, gap.from_id, gap.to_id, gap.status) for gap in sim.verdicts] == [
            ("THINUSDT", lost[0], lost[2], "open")
        ]
        assert sim.continuity.open_gaps() == []
        assert len(network.sockets) == 1
        await sim.follower.stop()

    simulate(main())


def test_a_busy_symbol_that_falls_silent_alone_is_audited_and_its_line_renewed(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY, audit_seconds=3600.0)
        await sim.market(60, BUSY)
        network.lose = lambda text: "ETHUSDT" in text and len(network.sockets) == 1
        await sim.market(20, BUSY)
        assert len(network.sockets) == 2
        await sim.market(5, BUSY)
        await asyncio.sleep(3)
        assert sim.complete()
        await sim.follower.stop()

    simulate(main())


def test_a_symbol_whose_trading_stopped_costs_a_few_questions_and_no_line(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY, audit_seconds=3600.0, flush_ms=100)
        await sim.market(60, BUSY)
        await sim.market(900, {"BTCUSDT": 2.0})
        assert len(network.sockets) == 1
        assert 1 < len(sim.exchange.asked("ticker/24hr")) < 40
        await sim.follower.stop()

    simulate(main())


def test_ids_of_prints_that_are_never_aggregated_are_asked_about_once(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT", "ETHUSDT"])
        await sim.market(10, {"BTCUSDT": 5.0, "ETHUSDT": 5.0})
        last = sim.exchange.trades["ETHUSDT"][-1]["l"]
        sim.exchange.tickers = [{"symbol": "ETHUSDT", "lastId": last + 4}]
        await sim.market(300, {"BTCUSDT": 2.0})
        assert len(sim.exchange.asked("ticker/24hr")) >= 5
        assert len(sim.exchange.asked("aggTrades")) == 1
        assert sim.verdicts == []
        await sim.follower.stop()

    simulate(main())


def test_time_away_comes_back_like_any_hole_and_for_a_symbol_that_does_not_trade_too(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        ledger = Continuity()
        sim = simulation(["BTCUSDT", "THINUSDT"], continuity=ledger)
        for _ in range(2500):
            sim.exchange.record("BTCUSDT")
            sim.exchange.record("THINUSDT")
        ledger.resume("BTCUSDT", next_id=101, last_ns=sim.event_ns())
        ledger.resume("THINUSDT", next_id=2400, last_ns=sim.event_ns())
        await sim.market(2, {"BTCUSDT": 10.0})
        assert sim.behind_s() < 0.5
        await sim.market(28, {"BTCUSDT": 10.0})
        assert sorted(sim.follower.ids("BTCUSDT")) == list(range(101, len(sim.exchange.trades["BTCUSDT"]) + 1))
        assert sorted(sim.follower.ids("THINUSDT")) == list(range(2400, 2501))
        assert ledger.open_gaps() == []
        await sim.follower.stop()

    simulate(main())


def test_time_is_told_at_least_every_tenth_of_a_second_and_runs_while_nobody_trades(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["THINUSDT"], lateness_ms=300)
        await sim.market(61, {"THINUSDT": 1 / 30})
        marks, told = sim.follower.marks(), len(sim.follower.batches)
        await asyncio.sleep(9)
        assert len(sim.follower.batches) - told >= 80
        assert sim.behind_s() < 0.5
        assert marks == sorted(marks)
        await sim.follower.stop()

    simulate(main())


def test_while_the_line_is_down_the_watermark_stands_until_all_that_was_missed_is_there(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY)
        await sim.market(60, BUSY)
        assert sim.behind_s() < 0.5
        network.always = ConnectionRefusedError("down")
        cut_ns = sim.event_ns()
        network.live[0].break_off("1006")
        await sim.market(20, BUSY)
        assert sim.follower.marks()[-1] <= cut_ns
        assert sim.feed.status()["status"] == "degraded"
        assert sim.feed.status()["watermark_held"]
        network.always = None
        await sim.market(45, BUSY)
        assert sim.complete()
        late = [
            int(batch.trade_id[i])
            for before, batch in pairwise(sim.follower.batches)
            for i in range(len(batch))
            if batch.ts_event_ns[i] < before.watermark_ns
        ]
        assert late == []
        assert sim.behind_s() < 0.5
        assert sim.feed.status()["status"] == "ok"
        assert sim.follower.marks() == sorted(sim.follower.marks())
        await sim.follower.stop()

    simulate(main())


def test_a_silent_socket_stops_the_watermark_before_it_counts_as_stalled(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY)
        await sim.market(60, BUSY)
        network.mute = True
        muted_ns = sim.event_ns()
        await sim.market(8, BUSY)
        assert sim.follower.marks()[-1] < muted_ns + 1_000_000_000
        assert sim.feed.status()["status"] == "ok"
        await sim.market(3, BUSY)
        assert len(network.attempts) >= 2
        assert sim.feed.status()["status"] == "degraded"
        network.mute = False
        await sim.market(30, BUSY)
        assert sim.complete()
        assert sim.behind_s() < 0.5
        await sim.follower.stop()

    simulate(main())


def test_with_rest_gone_as_well_the_watermark_stands_for_its_bound_and_no_longer(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY, hold_seconds=30.0)
        await sim.market(60, BUSY)
        network.always = ConnectionRefusedError("down")
        network.live[0].break_off("1006")
        await sim.market(28, BUSY)
        assert sim.behind_s() > 27
        await sim.market(4, BUSY)
        assert sim.behind_s() < 0.5
        await sim.market(60, BUSY)
        assert sim.feed.status()["status"] == "down"
        network.always = None
        await sim.market(60, BUSY)
        assert sim.feed.status()["status"] == "ok"
        await asyncio.sleep(3)
        assert sim.complete()
        await sim.follower.stop()

    simulate(main())


def test_a_frame_from_the_future_does_not_drag_the_watermark_along(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(BUSY)
        await sim.market(30, BUSY)
        row = sim.exchange.record("ETHUSDT")
        network.say(sim.exchange.frame("ETHUSDT", row | {"T": row["T"] + 3_600_000}))
        await sim.market(10, BUSY)
        assert -0.1 < sim.behind_s() < 0.5
        assert sim.feed.counters()["rejected"] == {"leap": 1}
        assert sim.complete()
        ticks = sim.follower.ticks().of_symbol("ETHUSDT")
        assert ticks.ts_event_ns[ticks.trade_id == row["a"]].tolist() == [row["T"] * 1_000_000]
        await sim.follower.stop()

    simulate(main())


def test_a_rotation_loses_nothing_and_hands_nothing_on_twice(network: Any, simulate: Simulate, simulation: Any) -> None:
    async def main() -> None:
        sim = simulation(BUSY, rotate_seconds=20.0)
        await sim.market(90, BUSY)
        await asyncio.sleep(1)
        assert len(network.sockets) == 5
        assert sim.complete()
        counters = sim.feed.counters()
        assert counters["gaps_opened"] == 0
        assert counters["reconnects"] == 4
        assert sim.follower.marks() == sorted(sim.follower.marks())
        await sim.follower.stop()

    simulate(main())


def test_what_is_on_its_way_over_the_old_line_fills_the_hole_that_a_faster_one_begins_with(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"], rotate_seconds=5)
        await sim.market(2, {"BTCUSDT": 10})
        network.sockets[0].delay_s = 0.4
        await sim.market(8, {"BTCUSDT": 10})
        assert len(network.sockets) == 2 and len(network.live) == 1
        assert sim.complete()
        assert sim.feed.counters()["gaps_repaired"] == 1
        assert sim.exchange.asked("aggTrades") == []
        await sim.follower.stop()

    simulate(main())


def test_as_many_connections_as_the_cap_asks_and_one_may_fail_alone(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        names = [f"S{k}USDT" for k in range(10)]
        sim = simulation(names, streams_per_connection=4)
        rates = dict.fromkeys(names, 5.0)
        await sim.market(10, rates)
        assert len(network.live) == 3
        network.live[1].break_off("1006")
        await asyncio.sleep(0)
        assert sim.feed.status()["status"] == "degraded"
        assert sim.feed.status()["connections"] == 2
        await sim.market(10, rates)
        assert sim.feed.status() | {"last_frame_age_ms": 0} == {
            "status": "ok",
            "reason": "",
            "connections": 3,
            "connections_wanted": 3,
            "last_frame_age_ms": 0,
            "open_gaps": 0,
            "watermark_held": False,
        }
        await sim.follower.stop()

    simulate(main())


def test_a_zero_size_goes_along_as_a_void_id_so_that_the_store_sees_no_hole_either(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"])
        await sim.market(2, {"BTCUSDT": 10.0})
        for _ in range(20):
            sim.trade("BTCUSDT", q="0.000")
            await asyncio.sleep(0.2)
            sim.trade("BTCUSDT")
        await asyncio.sleep(1)
        store = Continuity()
        for batch in sim.follower.batches:
            if len(batch):
                assert store.admit(batch).changed == ()
        assert store.open_gaps() == []
        assert sim.feed.counters()["rejected"] == {"not_positive": 20}
        assert sim.feed.counters()["gaps_opened"] == 0
        await sim.follower.stop()

    simulate(main())


def test_a_consumer_that_falls_behind_slows_the_socket_and_loses_nothing(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"], max_pending=50)
        await sim.market(2, {"BTCUSDT": 100.0})
        held = sim.follower.hold()
        await sim.market(30, {"BTCUSDT": 100.0})
        assert sim.feed.counters()["pauses"] >= 1
        held.set()
        await asyncio.sleep(3)
        assert sim.complete()
        assert sim.feed.counters()["pauses"] >= 50
        assert sim.feed.counters()["gaps_opened"] == 0
        assert len(network.sockets) == 1
        await sim.follower.stop()

    simulate(main())


def test_a_bug_in_a_task_is_counted_and_the_task_started_again(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"])
        sim.exchange.answers.extend([KeyError("a bug"), KeyError("a bug")])
        await sim.market(65, {"BTCUSDT": 10.0})
        assert sim.feed.counters()["crashes"] == {"feed tail audit": 2}
        sim.exchange.record("BTCUSDT")
        await sim.market(5, {"BTCUSDT": 10.0})
        assert sim.complete()
        sim.exchange.answers.extend([KeyError("a bug")] * 20)
        await sim.market(370, {"BTCUSDT": 1.0})
        assert isinstance(sim.follower.error, KeyError)

    with structlog.testing.capture_logs() as logs:
        simulate(main())
    assert sum(entry["event"] == "feed_task_crashed" for entry in logs) == 6


def test_what_no_retry_can_help_comes_out_of_the_batches(network: Any, simulate: Simulate, simulation: Any) -> None:
    async def main() -> None:
        network.always = ExchangeRefused("HTTP 451 to the WebSocket handshake", http_status=451)
        sim = simulation(["BTCUSDT"])
        await sim.follower.ended()
        assert sim.follower.error is network.always
        assert sim.feed.status()["status"] == "down"
        assert "451" in sim.feed.status()["reason"]

    simulate(main())


def test_batches_end_where_the_clock_is_at_a_multiple_of_the_flush_interval(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        await asyncio.sleep(0.013)
        sim = simulation(["BTCUSDT"], flush_ms=100)
        await sim.market(5, {"BTCUSDT": 90.0})
        ticks = [batch.ts_recv_ns for batch in sim.follower.batches[2:] if len(batch) > 1]
        assert len(ticks) > 40
        assert all(
            first // 100_000_000 == last // 100_000_000 for first, last in ((t[0] + 1, t[-1] - 1) for t in ticks)
        )
        await sim.follower.stop()

    simulate(main())


def test_closing_hands_on_what_has_come_and_ends(network: Any, simulate: Simulate, simulation: Any) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"], flush_ms=1000)
        await sim.market(2.5, {"BTCUSDT": 10.0})
        await sim.follower.stop()
        assert sim.follower.error is None
        assert sim.complete()
        assert network.live == []
        assert len(asyncio.all_tasks()) == 1

    simulate(main())


def test_a_feed_that_closes_opens_no_line_any_more_which_would_begin_behind_a_hole(
    network: Any, simulate: Simulate, simulation: Any
) -> None:
    async def main() -> None:
        sim = simulation(["BTCUSDT"], flush_ms=1000)
        await sim.market(2.5, {"BTCUSDT": 10.0})
        last = sim.exchange.trades["BTCUSDT"][-1]["a"]
        await sim.feed.close()
        await sim.market(2.0, {"BTCUSDT": 50.0})
        await sim.follower.ended()
        assert sim.follower.error is None
        assert sim.follower.ids("BTCUSDT") == list(range(1, last + 1))
        assert len(network.sockets) == 1

    simulate(main())


async def test_back_pressure_holds_on_a_real_socket(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT"], max_pending=100, stall_seconds=30.0)
    held = feed.hold()
    for _ in range(3000):
        await exchange.trade("BTCUSDT")
    await feed.until(lambda: feed.feed.counters()["pauses"] >= 1, "a pause")
    assert feed.feed.counters()["frames"] < 3000, "the socket holds the rest"
    held.set()
    await feed.until(lambda: len(feed.ids("BTCUSDT")) == 3000, "all ticks")
    assert feed.ids("BTCUSDT") == list(range(1, 3001)), "once each, also where the audit asked for some"


async def test_a_handshake_that_is_refused_for_good_says_so(exchange: Any, follow: Any) -> None:
    exchange.refuse = HTTPStatus.NOT_FOUND
    feed = await follow(["BTCUSDT"], wait=False)
    await feed.ended()
    assert isinstance(feed.error, ExchangeRefused)
    assert feed.error.http_status == 404


async def test_a_handshake_that_is_refused_for_now_is_tried_again(exchange: Any, follow: Any) -> None:
    exchange.refuse = HTTPStatus.SERVICE_UNAVAILABLE
    feed = await follow(["BTCUSDT"], wait=False)
    await feed.until(lambda: len(exchange.paths) >= 2, "a second attempt")
    exchange.refuse = None
    await feed.until(lambda: exchange.listeners == 1, "a connection")
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: feed.ids("BTCUSDT") == [1])


async def test_the_servers_farewell_is_the_reason(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT"])
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: feed.ids("BTCUSDT") == [1])
    with structlog.testing.capture_logs() as logs:
        await exchange.cut(3001)
        await feed.until(lambda: exchange.listeners == 1 and len(exchange.paths) == 2, "a new connection")
        await feed.until(lambda: any(entry["event"] == "feed_line_replaced" for entry in logs), "word of it")
    assert [entry["reason"] for entry in logs if entry["event"] == "feed_line_replaced"] == ["closed: 3001 bye"]


async def test_a_message_in_several_frames_is_put_together(exchange: Any, follow: Any) -> None:
    feed = await follow(["BTCUSDT"])
    text = exchange.frame("BTCUSDT", exchange.record("BTCUSDT"))
    for socket in list(exchange.sockets):
        await socket.send([text[:20], text[20:90], text[90:]])
    await feed.until(lambda: feed.ids("BTCUSDT") == [1])


async def test_pings_are_answered(exchange: Any, follow: Any) -> None:
    await follow(["BTCUSDT"])
    for socket in list(exchange.sockets):
        async with asyncio.timeout(30):
            await (await socket.ping(b"payload"))


async def test_raw_frames_go_to_the_recorder_as_they_came(exchange: Any, follow: Any) -> None:
    kept: list[tuple[int, bytes]] = []

    class Keep:
        def write(self, ts_recv_ns: int, frame: bytes) -> None:
            kept.append((ts_recv_ns, frame))

    feed = await follow(["BTCUSDT"], recorder=Keep())
    await exchange.trade("BTCUSDT")
    await exchange.say("not json")
    await feed.until(lambda: len(kept) == 2)
    await feed.until(lambda: feed.ids("BTCUSDT"))
    assert kept[0][0] == int(feed.ticks().ts_recv_ns[0])
    assert kept[0][1].decode() == exchange.frame("BTCUSDT", exchange.trades["BTCUSDT"][0])
    assert kept[1][1] == b"not json"
