"""Monitoring over HTTP: columns of the last hour with their units and ranges, and only what a chart lacks."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from pairscope.monitor import MEASURES

from .conftest import client_of, exact
from .market import MS, Market

S = 1_000_000_000


async def sampled(market: Market, count: int) -> None:
    """Take samples, five seconds apart, the last one now."""
    now_ns = market.now_ns
    for back in reversed(range(count)):
        market.now_ns = now_ns - back * 5 * S
        await market.monitor.sample(1.25)


async def test_a_column_a_measure_with_unit_meaning_range_and_verdict(api: httpx2.AsyncClient, market: Market) -> None:
    empty = (await api.get("/api/monitoring")).json()
    assert empty["timestamp"] == []
    assert empty["now"]["loop_lag_ms"] == {"value": None, "status": None}
    market.counters["feed"] = {"gaps_pending": 0}
    await sampled(market, 3)
    answer = await api.get("/api/monitoring")
    assert answer.headers["cache-control"] == "no-store"
    document = exact(answer.text)
    assert document["timestamp"] == [market.now_ns // MS - back for back in (10_000, 5_000, 0)]
    assert set(document["columns"]) == {measure.name for measure in MEASURES}
    assert [float(value) for value in document["columns"]["ticks_per_second"]] == [1.5] * 3
    assert document["columns"]["tick_age_ms"] == [None] * 3
    assert document["columns"]["reconnects"][0] is None
    assert document["units"]["loop_lag_ms"] == "ms"
    assert document["ranges"]["loop_lag_ms"] == {"healthy": [0, 100], "tolerable": [0, 500]}
    assert document["now"]["open_gaps"] == {"value": 0, "status": "ok"}
    assert document["now"]["cpu_percent"]["value"] == 12.5
    assert document["now"]["clients"]["value"] == 0  # the stream's own counters are read too
    assert document["about"]["feed_lag_ms"].startswith("How old the newest trade was when it reached us")


async def test_the_checks_are_those_of_health_also_when_a_part_is_down(api: httpx2.AsyncClient, market: Market) -> None:
    market.checks["store"] = {"status": "down", "reason": "disk full", "free_bytes": 1e-9}
    answer = await api.get("/api/monitoring")
    assert answer.status_code == 200
    health = (await api.get("/api/health")).json()
    document = exact(answer.text)
    assert document["status"] == health["status"] == "down"
    assert document["checks"]["store"]["reason"] == "disk full"
    assert document["source"] == "synthetic"


async def test_a_chart_is_given_what_it_lacks(api: httpx2.AsyncClient, market: Market) -> None:
    await sampled(market, 20)
    last = (await api.get("/api/monitoring", params={"minutes": 1})).json()["timestamp"]
    assert len(last) == 12
    lacks = (await api.get("/api/monitoring", params={"since": last[-3]})).json()
    assert lacks["timestamp"] == last[-2:]
    assert {len(column) for column in lacks["columns"].values()} == {2}
    assert (await api.get("/api/monitoring", params={"since": last[-1]})).json()["timestamp"] == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"minutes": "0"}, "minutes"),
        ({"minutes": "61"}, "minutes"),
        ({"minutes": "nan"}, "minutes"),
        ({"minutes": "all"}, "minutes"),
        ({"since": "yesterday"}, "since"),
        ({"hours": "1"}, "hours"),
    ],
)
async def test_a_bad_parameter_is_named(api: httpx2.AsyncClient, given: dict[str, str], named: str) -> None:
    answer = await api.get("/api/monitoring", params=given)
    assert answer.status_code == 422
    assert named in answer.json()["errors"][0]["loc"]


async def test_a_key_is_asked_for_where_keys_are_on(market: Market) -> None:
    from pairscope.api.options import ApiOptions

    options = replace(ApiOptions(), api_keys=("sha256:" + "0" * 64,))
    async with client_of(market, options) as api:
        assert (await api.get("/api/monitoring?minutes=none")).status_code == 401
