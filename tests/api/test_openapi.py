"""The OpenAPI document is whole and true: examples, keys, errors, and answers that match it whatever is sent."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pairscope.api.app import ApiOptions, create_app
from pairscope.api.security import FREE_PATHS
from pairscope.api.warm_up import load_kernels
from pairscope.research.moving_screen import load_kernels as load_screen

from .conftest import client_of
from .market import START_MS, Market
from .test_security import LOCKED

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PATIENCE_S = 120.0
"""What an answer may take on a busy machine; the tool gives it ten seconds."""
OPERATIONS = [
    "DELETE /api/alerts/{id}",
    "DELETE /api/backtests/{id}",
    "DELETE /api/jobs/{id}",
    "DELETE /api/paper/{id}",
    "DELETE /api/uploads/{symbol}",
    "DELETE /api/watchlist/{y}/{x}",
    "GET /api/alerts",
    "GET /api/alerts/triggered",
    "GET /api/alerts/{id}",
    "GET /api/analytics/correlation",
    "GET /api/analytics/pair",
    "GET /api/analytics/screen",
    "GET /api/analytics/screen/discoveries",
    "GET /api/analytics/screen/history",
    "GET /api/analytics/statistics",
    "GET /api/analytics/symbol",
    "GET /api/backtests",
    "GET /api/backtests/{id}",
    "GET /api/backtests/{id}/heatmap",
    "GET /api/backtests/{id}/trades.csv",
    "GET /api/bulk/{id}",
    "GET /api/export/history/{kind}",
    "GET /api/export/pair/{y}/{x}",
    "GET /api/export/{symbol}",
    "GET /api/export/{symbol}/estimate",
    "GET /api/gaps",
    "GET /api/gaps/calendar",
    "GET /api/gaps/held",
    "GET /api/health",
    "GET /api/health/live",
    "GET /api/health/ready",
    "GET /api/indicators/{symbol}",
    "GET /api/jobs",
    "GET /api/jobs/{id}",
    "GET /api/monitoring",
    "GET /api/ohlc/{symbol}",
    "GET /api/paper",
    "GET /api/paper/{id}",
    "GET /api/price/{symbol}",
    "GET /api/stats",
    "GET /api/storage",
    "GET /api/storage/result/{id}",
    "GET /api/symbols",
    "GET /api/ticks/{symbol}",
    "GET /api/uploads",
    "GET /api/volume/{symbol}",
    "GET /api/watchlist",
    "GET /api/watchlist/{y}/{x}",
    "GET /metrics",
    "PATCH /api/alerts/{id}",
    "PATCH /api/watchlist/{y}/{x}",
    "POST /api/alerts",
    "POST /api/alerts/preview",
    "POST /api/alerts/{id}/test",
    "POST /api/backfill",
    "POST /api/backtest",
    "POST /api/backtest/sweep",
    "POST /api/backtest/walk_forward",
    "POST /api/paper",
    "POST /api/storage/archive",
    "POST /api/storage/check",
    "POST /api/storage/compact",
    "POST /api/storage/retention",
    "POST /api/upload/exchange",
    "POST /api/upload/ohlc",
    "POST /api/watchlist",
    "POST /api/ws-ticket",
]


@pytest.fixture(scope="module")
def compiled() -> None:
    """The kernels as a running instance has them: compiled; a first call may take longer than a caller waits."""
    load_kernels()
    load_screen()


def document_of(market: Market, options: ApiOptions | None = None) -> dict[str, Any]:
    return create_app(market.services(), options=options).openapi()


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{verb.upper()} {path}": o for path, verbs in document["paths"].items() for verb, o in verbs.items()}


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def test_every_operation_of_the_contract_is_described(market: Market) -> None:
    assert sorted(operations_of(document_of(market))) == sorted(OPERATIONS)


def test_every_operation_has_an_example_that_its_own_schema_accepts(market: Market) -> None:
    document = document_of(market)
    for name, operation in operations_of(document).items():
        contents = [
            content
            for status, response in operation["responses"].items()
            if status in {"200", "201"}
            for media_type, content in response["content"].items()
            if "arrow" not in media_type
        ]
        assert contents or "204" in operation["responses"], name
        for content in contents:
            validator(document, content["schema"]).validate(content["example"])


def test_every_operation_names_both_keys_and_its_errors(market: Market) -> None:
    for options, optional in ((ApiOptions(), True), (LOCKED, False)):
        document = document_of(market, options)
        schemes = document["components"]["securitySchemes"]
        assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        assert (schemes["Bearer"]["type"], schemes["Bearer"]["scheme"]) == ("http", "bearer")
        for name, operation in operations_of(document).items():
            if name.split()[1] in FREE_PATHS:
                assert operation["security"] == []
                continue
            assert [s for s in operation["security"] if s] == [{"ApiKey": []}, {"Bearer": []}]
            assert ({} in operation["security"]) == optional
            for status in ("401", "429", "503"):
                content = operation["responses"][status]["content"]["application/problem+json"]
                validator(document, content["schema"]).validate(content["example"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_parameter_says_what_it_is(market: Market) -> None:
    for name, operation in operations_of(document_of(market)).items():
        assert operation["summary"], name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or "enum" in parameter["schema"], (name, parameter["name"])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.usefixtures("compiled")
def test_whatever_is_sent_the_answer_is_no_5xx_and_matches_the_document(market: Market, name: str) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(market.services()), timeout=PATIENCE_S)
    verb, path = name.split()
    operation = schema[path][verb]
    modes = [GenerationMode.POSITIVE] + ([GenerationMode.NEGATIVE] if list(operation.iter_parameters()) else [])
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])
    known = st.sampled_from(["BTCUSDT", "pepeusdt", "币安人生USDT", None])
    within = st.sampled_from([None, START_MS, "2024-08-08T01:00:00Z", "2024-08-08 02:00"])

    @settings(max_examples=10 if len(modes) > 1 else 3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, symbol=known, start=within)
    def check(case: schemathesis.Case, symbol: str | None, start: int | str | None) -> None:
        if symbol is not None and "{symbol}" in path:
            case.path_parameters = {"symbol": symbol}
        if start is not None and isinstance(case.query, dict) and "start" in case.query:
            case.query["start"] = start
        if symbol is not None and isinstance(case.query, dict):
            others = {"symbol": symbol, "y": symbol, "x": "BTCUSDT", "symbols": f"{symbol},btcusdt"}
            case.query |= {name: value for name, value in others.items() if name in case.query}
        case.call_and_validate(checks=CHECKS, timeout=PATIENCE_S)

    check()


async def test_the_page_for_people_shows_every_operation_and_asks_no_other_server(market: Market) -> None:
    async with client_of(market) as api:
        page = await api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for name in OPERATIONS:
        assert name.split()[1] in page.text
    assert "://" not in page.text.replace("http://www.w3.org", "")
    assert "<script" not in page.text
    assert "`" not in page.text
    async with client_of(market) as api:
        for link in re.findall(r'<a href="([^"]+)">try</a>', page.text):
            assert (await api.get(link)).status_code == 200, link
    assert "script-src" not in page.headers["content-security-policy"]


async def test_the_documents_can_be_switched_off(market: Market) -> None:
    async with client_of(market, ApiOptions(docs=False)) as api:
        assert [(await api.get(path)).status_code for path in ("/docs", "/openapi.json", "/redoc")] == [404] * 3


async def test_the_document_is_the_same_each_time(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/openapi.json")).text == (await api.get("/openapi.json")).text


async def test_others_are_answered_while_the_document_is_written(market: Market) -> None:
    app, others = create_app(market.services()), threading.Event()
    whole = app.openapi
    app.openapi = lambda: whole() if others.wait(60) else pytest.fail("nobody else was answered")  # type: ignore[method-assign]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as api:
        asked = [asyncio.create_task(api.get(path)) for path in ("/docs", "/openapi.json")]
        assert (await api.get("/api/health/live")).status_code == 200
        assert not any(task.done() for task in asked)
        others.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200]
