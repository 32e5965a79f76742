"""Every request has a name that its answer, its problem and its log lines carry."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from pairscope.api.app import ApiOptions
from pairscope.api.request_log import request_id

SECRET = "a-key-that-nobody-may-read"


async def test_a_request_goes_by_the_name_it_came_with(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/nothing", headers={"X-Request-ID": "order-7f3a"})
    assert answer.headers["X-Request-ID"] == "order-7f3a"
    assert answer.json()["instance"] == "urn:pairscope:request:order-7f3a"
    assert request_id() == "", "a name ends with its request"


@pytest.mark.parametrize("strange", ["", "a b", "x" * 65, "<script>", "-first"])
async def test_a_name_that_is_none_is_replaced(api: httpx2.AsyncClient, strange: str) -> None:
    answer = await api.get("/api/health", headers={"X-Request-ID": strange})
    made = answer.headers["X-Request-ID"]
    assert made != strange
    assert len(made) == 16
    assert made != (await api.get("/api/health")).headers["X-Request-ID"]


async def test_the_line_of_a_request_says_what_came_of_it_and_no_secret(api: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        await api.get(f"/api/ohlc/BTCUSDT?limit=2&api_key={SECRET}", headers={"X-API-Key": SECRET})
    (line,) = [entry for entry in logs if entry["event"] == "request"]
    assert (line["method"], line["route"], line["log_level"]) == ("GET", "/api/ohlc/{symbol}", "debug")
    assert line["status"] in {200, 422}
    assert line["ms"] >= 0
    assert SECRET not in str(logs)


async def test_lines_that_are_written_while_it_is_answered_carry_the_name(
    api: httpx2.AsyncClient, market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def noted(*_: Any, **__: Any) -> Any:
        seen.append(request_id())
        raise RuntimeError("a fault that nobody foresaw")

    monkeypatch.setattr(market.store, "ticks", noted)
    answer = await api.get("/api/ticks/BTCUSDT?end=2024-08-01T12:30:00Z", headers={"X-Request-ID": "deep-1"})
    assert (answer.status_code, seen[:1]) == (500, ["deep-1"])
    assert answer.json()["instance"].endswith(":deep-1")


@pytest.mark.parametrize("options", [ApiOptions(api_keys=("sha256:" + "0" * 64,))])
async def test_one_who_is_turned_away_hears_the_name_too(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/symbols", headers={"X-Request-ID": "who-1"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (401, "who-1")
