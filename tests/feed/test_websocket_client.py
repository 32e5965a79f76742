"""The live feed against a scripted exchange over real sockets."""

from __future__ import annotations

from typing import Any


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
    await exchange.cut(1006)
    await feed.until(lambda: exchange.listeners == 0)
    exchange.record("BTCUSDT")
    await feed.until(lambda: exchange.listeners == 1)
    await exchange.trade("BTCUSDT")
    await feed.until(lambda: sorted(feed.ids("BTCUSDT")) == [1, 2, 3])
    assert feed.feed.counters()["reconnects"] == 1
