"""Health, counters and metrics say how every part does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.system import StatsView
from pairscope.market.continuity import Gap

from .conftest import client_of, exact
from .market import MS, Market


async def test_health_is_as_bad_as_its_worst_part_and_503_only_when_down(
    api: httpx2.AsyncClient, market: Market
) -> None:
    assert (await api.get("/api/health")).json()["status"] == "ok"
    for status, code in (("degraded", 200), ("down", 503), ("ok", 200)):
        market.checks["store"] = {"status": status, "reason": "disk full", "free_bytes": 1e-9}
        answer = await api.get("/api/health")
        document = exact(answer.text)
        assert (answer.status_code, document["status"], document["source"]) == (code, status, "synthetic")
        assert document["checks"]["store"]["status"] == status
        assert document["checks"]["feed"] == {"status": "ok"}
        assert ("retry-after" in answer.headers) == (code == 503)


async def test_a_check_without_a_status_counts_as_down(api: httpx2.AsyncClient, market: Market) -> None:
    market.checks["feed"] = {}
    assert (await api.get("/api/health")).status_code == 503


async def test_an_instance_is_ready_once_it_waits_for_nothing_and_lives_all_the_while(market: Market) -> None:
    waits = ["the store"]
    services = replace(market.services(), waits_for=lambda: waits[0])
    transport = httpx2.ASGITransport(create_app(services, options=ApiOptions(api_keys=("sha256:" + "0" * 64,))))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as api:  # who asks has no key
        assert (await api.get("/api/health/live")).json() == {"status": "ok"}
        answer = await api.get("/api/health/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, "waiting for the store")
        waits[0] = ""
        assert (await api.get("/api/health/ready")).json() == {"status": "ok"}


async def test_stats_have_what_the_parts_and_the_store_say(api: httpx2.AsyncClient, market: Market) -> None:
    market.counters |= {"last_tick_age_ms": 12, "store": {"flush_lag_ms": 3}}
    stats = (await api.get("/api/stats")).json()
    stored = [t for ts in market.sent.values() for t in ts if t.timestamp < market.now_ns // MS - 5_000]
    assert stats["ticks"] == len(stored)
    assert isinstance(stats["ticks"], int)
    assert stats["symbols"] == 3
    assert stats["uptime_s"] == 60.0
    assert stats["source"] == "synthetic"
    assert stats["rates"] == {"ticks_per_second": 1.5}
    assert stats["queues"] == {"writer": 3}
    assert stats["reconnects"] == 2
    assert stats["last_tick_age_ms"] == 12
    assert stats["store"] | {"bars": 0, "bytes": 0} == {
        "kind": (await market.store.stats()).kind,
        "ticks": len(stored),
        "bars": 0,
        "bytes": 0,
        "flush_lag_ms": 3,
    }
    assert stats["store"]["bytes"] > 0
    assert stats["gaps"] == []


async def test_the_gap_ledger_is_there_with_open_gaps_first(fresh_market: Market) -> None:
    stands = await fresh_market.store.continuity()
    last, pepe = stands.next_id("BTCUSDT") or 0, stands.next_id("PEPEUSDT") or 0
    for gap in (
        Gap("PEPEUSDT", pepe, pepe + 2, "open", 3, seen_ns=5),
        Gap("PEPEUSDT", pepe, pepe + 2, "unrepairable", 3, seen_ns=5, ended_ns=6),
        Gap("BTCUSDT", last, last + 1, "open", 2, seen_ns=1),
    ):
        await fresh_market.store.settle_gap(gap)
    async with client_of(fresh_market) as api:
        gaps = (await api.get("/api/stats")).json()["gaps"]
    assert [(g["symbol"], g["status"]) for g in gaps] == [("BTCUSDT", "open"), ("PEPEUSDT", "unrepairable")]
    assert set(gaps[0]) >= {"symbol", "from_id", "to_id", "status", "missing"}


async def test_stats_answer_without_the_store_and_say_so(fresh_market: Market) -> None:
    await fresh_market.store.close()
    async with client_of(fresh_market) as api:
        stats = (await api.get("/api/stats")).json()
    assert stats["store"]["status"] == "down"
    assert stats["store"]["reason"]
    assert stats["rates"] == {"ticks_per_second": 1.5}


async def test_stats_are_made_at_most_twice_a_second_however_many_ask(market: Market) -> None:
    asked = 0
    services = market.services

    def counting() -> object:
        import dataclasses

        def stats() -> dict[str, int]:
            nonlocal asked
            asked += 1
            return {}

        return dataclasses.replace(services(), stats=stats)

    market.services = counting  # type: ignore[method-assign, assignment]
    async with client_of(market) as api:
        for _ in range(10):
            await api.get("/api/stats")
        assert asked == 1
        market.now_ns += 500 * MS
        await api.get("/api/stats")
        assert asked == 2


async def test_who_asks_while_stats_are_made_waits_for_these(market: Market) -> None:
    asked, answer = 0, asyncio.Event()

    async def held() -> SimpleNamespace:
        nonlocal asked
        asked += 1
        await answer.wait()
        return SimpleNamespace(kind="slow", ticks=asked, bars=0, bytes=0)

    async def none() -> list[Any]:
        return []

    store: Any = SimpleNamespace(stats=held, gaps=none, symbols=none)
    view = StatsView(replace(market.services(), store=store))
    asking = [asyncio.create_task(view.encoded()) for _ in range(3)]
    await asyncio.sleep(0)
    answer.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    assert asked == 1


async def test_metrics_are_prometheus_with_requests_by_route_and_the_parts_counters(
    api: httpx2.AsyncClient, market: Market
) -> None:
    market.counters |= {
        "feed": {"frames_total": 7, "connected": True, "by_symbol": {"BTCUSDT": 4, "币安人生USDT": 1.5}},
        "note": "words are no numbers",
    }
    for path in ("/api/price/BTCUSDT", "/api/price/PEPEUSDT", "/api/price/NOPE", "/nothing", "/else", "/%00"):
        await api.get(path)
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    counts = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for s in families["pairscope_http_request_seconds"].samples
        if s.name.endswith("_count")
    }
    assert counts == {
        ("GET", "/api/price/{symbol}", "200"): 2,
        ("GET", "/api/price/{symbol}", "404"): 1,
        ("GET", "none", "404"): 3,
    }
    value = {name: [s.value for s in family.samples] for name, family in families.items()}
    assert value["pairscope_rates_ticks_per_second"] == [1.5]
    assert value["pairscope_queues_writer"] == [3]
    assert (families["pairscope_feed_frames"].type, value["pairscope_feed_frames"]) == ("counter", [7])
    assert value["pairscope_feed_connected"] == [1]
    assert {(s.labels["key"], s.value) for s in families["pairscope_feed_by_symbol_by_key"].samples} == {
        ("BTCUSDT", 4),
        ("币安人生USDT", 1.5),
    }
    assert value["pairscope_stream_clients"] == [0]
    assert "process_resident_memory_bytes" in families


async def test_two_applications_in_a_process_have_metrics_of_their_own(market: Market) -> None:
    async with client_of(market) as one, client_of(market) as other:
        await one.get("/api/price/BTCUSDT")
        assert 'route="/api/price/{symbol}"' in (await one.get("/metrics")).text
        assert 'route="/api/price/{symbol}"' not in (await other.get("/metrics")).text


async def test_strange_methods_make_no_new_labels(api: httpx2.AsyncClient) -> None:
    for n in range(5):
        await api.request(f"STRANGE{n}", "/api/health")
    text = (await api.get("/metrics")).text
    assert "STRANGE" not in text
    assert 'method="other"' in text


@pytest.mark.parametrize("seconds", [0, -5])
async def test_uptime_is_never_negative(market: Market, seconds: int) -> None:
    market.now_ns += seconds * 1_000_000_000 - 0
    async with client_of(market) as api:
        assert (await api.get("/api/health")).json()["uptime_s"] >= 0
