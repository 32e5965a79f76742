"""The life of stored days over HTTP: what lies where, dry runs, jobs, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from .conftest import client_of
from .market import Market

JSON = {"content-type": "application/json"}


async def done(api: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a job, and what it came to."""
    answer = await api.post(path, json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    found = await api.get(job["result"])
    assert found.status_code == 200, found.text
    assert (await api.get(f"/api/jobs/{job['id']}")).json()["status"] == "done"
    return dict(found.json())


async def test_days_and_sizes_are_told_and_a_symbol_and_range_narrow_them(api):
    whole = (await api.get("/api/storage")).json()
    assert {day["symbol"] for day in whole["days"]} == {"BTCUSDT", "PEPEUSDT", "币安人生USDT"}
    assert {day["date"] for day in whole["days"]} == {"2024-08-08"} and whole["days"][0]["where"] == "store"
    assert sum(day["ticks"] for day in whole["days"]) == whole["ticks"]
    assert whole["retention"] == {"days": 400, "gb": 0.0} and whole["archive"]["files"] == 0
    one = (await api.get("/api/storage", params={"symbol": "btcusdt"})).json()
    assert [day["symbol"] for day in one["days"]] == ["BTCUSDT"] and one["ticks"] == whole["ticks"]
    assert (await api.get("/api/storage", params={"start": "2024-08-09"})).json()["days"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "where"),
    [
        ("/api/storage/archive", {}, 422, "before"),
        ("/api/storage/archive", {"before": "2030-01-01"}, 422, "before"),
        ("/api/storage/archive", {"older_than_days": -1}, 422, "older_than_days"),
        ("/api/storage/archive", {"older_than_days": 1, "before": "2024-08-01"}, 422, "before"),
        ("/api/storage/archive", {"symbols": ["NOSUCHUSDT"], "older_than_days": 1}, 404, "symbols"),
        ("/api/storage/archive", {"url": "s3://elsewhere"}, 422, "url"),
        ("/api/storage/retention", {"days": 0, "gb": 0}, 422, "days"),
        ("/api/storage/retention", {"gb": -1}, 422, "gb"),
        ("/api/storage/check", {"repair": "please"}, 422, "repair"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(api, path, body, status, where):
    answer = await api.post(path, json=body)
    assert answer.status_code == status and where in answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_job_of_another_kind_is_no_result_of_storage(api):
    assert (await api.get("/api/storage/result/0123456789abcdef")).status_code == 404


async def test_a_day_is_archived_answered_for_compacted_and_deleted(fresh_market: Market):
    fresh_market.now_ns += 2 * 86_400_000_000_000
    async with client_of(fresh_market) as api:
        ask = {"limit": 10_000, "start": "2024-08-08", "end": "2024-08-09"}
        ticks, bars = await asyncio.gather(
            api.get("/api/ticks/BTCUSDT", params=ask), api.get("/api/ohlc/BTCUSDT", params={**ask, "timeframe": "5m"})
        )
        plan = (await api.post("/api/storage/archive", json={"older_than_days": 1, "dry_run": True})).json()
        moved = await done(api, "/api/storage/archive", {"older_than_days": 1})
        assert (moved["ticks"], moved["bars"], moved["days"]) == (plan["ticks"], plan["bars"], 1)
        days = (await api.get("/api/storage")).json()
        assert {day["where"] for day in days["days"]} == {"archive"} and days["archive"]["ticks"] == days["ticks"]
        again = await asyncio.gather(
            api.get("/api/ticks/BTCUSDT", params=ask), api.get("/api/ohlc/BTCUSDT", params={**ask, "timeframe": "5m"})
        )
        assert [answer.text for answer in again] == [ticks.text, bars.text]
        compacted = await done(api, "/api/storage/compact", {})
        assert set(compacted) == {"bytes_before", "bytes", "reads_waited_ms"}
        nothing = await done(api, "/api/storage/retention", {"days": 1})
        assert nothing["days"] == 0  # the newest day of the store stays, however old it is
