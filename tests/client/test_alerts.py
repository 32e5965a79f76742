"""Alerts through the client: bodies as they are sent, rows in the right types, pages joined."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pandas as pd
import pytest

from pairscope.client import Client
from pairscope.errors import InputError

RULE = {"id": "a1", "type": "price", "symbol": "BTCUSDT", "status": "active", "created": 1_767_225_600_000}
FIRING = {"id": "a1-1", "alert_id": "a1", "seq": 1, "timestamp": 1_767_225_600_000, "received": 1_767_225_600_040}


class Server:
    """Answers from a list and keeps what was asked."""

    def __init__(self, *answers: Any, status: int = 200) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.queries: list[dict[str, str]] = []
        self._answers = list(answers)
        self._status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        self.queries.append(dict(request.url.params))
        answer = self._answers.pop(0)
        return httpx2.Response(204) if answer is None else httpx2.Response(self._status, json=answer)

    def client(self) -> Client:
        client = Client("http://api.test")
        client._http = httpx2.Client(base_url=client.base_url, transport=httpx2.MockTransport(self))
        return client


def test_an_alert_is_made_changed_tried_and_deleted() -> None:
    server = Server(RULE, RULE, RULE, RULE, {"test": True}, None)
    with server.client() as api:
        ends = datetime(2026, 1, 2, tzinfo=UTC)
        made = api.create_alert("price", "above", 70000, symbol="BTCUSDT", once=True, expires=ends, note=None)
        api.create_joined_alert({"type": "price"}, {"type": "zscore"}, join="or", cooldown_s=5)
        assert api.alert("a/1")["id"] == made["id"] == "a1"
        api.change_alert("a1", note=None, status="paused")
        assert api.test_alert("a1") == {"test": True}
        api.delete_alert("a1")
    body = {"type": "price", "condition": "above", "threshold": 70000, "symbol": "BTCUSDT", "once": True}
    assert server.asked == [
        ("POST", "/api/alerts", {**body, "expires": "2026-01-02T00:00:00+00:00"}),
        (
            "POST",
            "/api/alerts",
            {"join": "or", "conditions": [{"type": "price"}, {"type": "zscore"}], "cooldown_s": 5},
        ),
        ("GET", "/api/alerts/a/1", None),
        ("PATCH", "/api/alerts/a1", {"note": None, "status": "paused"}),
        ("POST", "/api/alerts/a1/test", None),
        ("DELETE", "/api/alerts/a1", None),
    ]


def test_alerts_are_rows_with_times_in_utc_also_where_none_has_fired() -> None:
    rows = [{**RULE, "last_fired": None, "expires": None}, {**RULE, "id": "a2", "last_fired": 1_767_225_660_000}]
    with Server({"alerts": rows}, {"alerts": []}).client() as api:
        table = api.alerts(status="active")
        assert table.created.tolist() == [pd.Timestamp("2026-01-01T00:00:00Z")] * 2
        assert pd.isna(table.last_fired["a1"])
        assert table.last_fired["a2"] == pd.Timestamp("2026-01-01T00:01:00Z")
        assert len(api.alerts()) == 0


def test_what_was_told_is_read_to_its_end_or_its_limit() -> None:
    pages = [{"alerts": [{**FIRING, "id": f"a1-{n}", "seq": n}], "next": str(n)} for n in (3, 2)]
    pages.append({"alerts": [FIRING], "next": None})
    server = Server(*pages, pages[0], {"alerts": [], "next": None})
    with server.client() as api:
        table = api.triggered(since=5, symbol="BTCUSDT")
        assert table.index.tolist() == ["a1-3", "a1-2", "a1-1"]
        assert table.received.iloc[0] == pd.Timestamp("2026-01-01T00:00:00.040Z")
        assert [query.get("cursor") for query in server.queries] == [None, "3", "2"]
        assert server.queries[1] == {"cursor": "3", "limit": "500", "since": "5", "symbol": "BTCUSDT"}
        assert api.triggered(1).index.tolist() == ["a1-3"]
        assert list(api.triggered().columns)[:3] == ["alert_id", "seq", "timestamp"]


def test_a_preview_sends_the_same_fields_and_a_refusal_names_the_field() -> None:
    server = Server({"fired": 3})
    with server.client() as api:
        assert api.preview_alert(6, type="price", condition="above", threshold=1, symbol="B")["fired"] == 3
    assert server.asked[0][1:] == (
        "/api/alerts/preview",
        {"type": "price", "condition": "above", "threshold": 1, "symbol": "B", "hours": 6},
    )
    refused = Server({"detail": "threshold: x", "errors": [{"loc": ["body", "threshold"], "msg": "x"}]}, status=422)
    with refused.client() as api, pytest.raises(InputError) as error:
        api.create_alert("price", "above", 1)
    assert error.value.loc == "threshold"
