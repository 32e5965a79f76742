"""The probe of a process without the API: alive, ready, healthy, measured; and behind the same door as the API."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from pairscope.api.options import ApiOptions
from pairscope.api.probe import create_probe

KEY = "a key of some length"
KEYED = ApiOptions(api_keys=(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}",))


def probe(
    *, checks: dict[str, Any] | None = None, waits_for: str = "", options: ApiOptions | None = None
) -> httpx2.AsyncClient:
    app = create_probe(
        health=lambda: checks or {"feed": {"status": "ok"}},
        stats=lambda: {"feed": {"ticks": 7}, "leadership": {"shard:0/2": {"leads": True}}},
        waits_for=lambda: waits_for,
        source="live",
        clock=lambda: 1_000_000_000,
        options=options or ApiOptions(),
    )
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://probe")


async def test_it_is_alive_and_not_ready_while_it_waits_for_something() -> None:
    async with probe(waits_for="the store") as client:
        assert (await client.get("/api/health/live")).status_code == 200
        answer = await client.get("/api/health/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, "waiting for the store")
        assert answer.headers["Retry-After"]


async def test_it_is_as_healthy_as_its_worst_part_and_ready_all_the_same() -> None:
    async with probe(checks={"feed": {"status": "down", "reason": "silence"}, "store": {"status": "ok"}}) as client:
        answer = await client.get("/api/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "down")
        assert answer.json()["checks"]["feed"]["reason"] == "silence"
        assert (await client.get("/api/health/ready")).status_code == 200


async def test_its_counters_are_metrics_under_the_names_that_stay() -> None:
    async with probe() as client:
        told = (await client.get("/metrics")).text
    assert "pairscope_ticks_total 7.0" in told
    assert 'pairscope_leader{role="shard:0/2"} 1.0' in told


@pytest.mark.parametrize("path", ["/api/stats", "/metrics", "/", "/docs"])
async def test_whoever_has_no_key_learns_nothing_but_health(path: str) -> None:
    async with probe(options=KEYED) as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers={"X-API-Key": "another"})).status_code == 401
        assert (await client.get(path, headers={"X-API-Key": KEY})).status_code in {200, 404}
        for free in ("/api/health", "/api/health/live", "/api/health/ready"):
            assert (await client.get(free)).status_code == 200
