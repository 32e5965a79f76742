"""Each request is a span under its route, a child of the caller's, and an error marks it."""

from __future__ import annotations

from typing import Any

import httpx2
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pairscope.api.app import create_app

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_request_is_a_span_of_the_caller_s_trace(market: Any) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(market.services(), tracer=provider.get_tracer("test"))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as api:
        await api.get("/api/price/BTCUSDT", headers={"traceparent": CALLER, "X-Request-ID": "r-1"})
        await api.get("/api/nothing")
        market.checks["store"]["status"] = "down"
        await api.get("/api/health")
    price, nothing, health = spans.get_finished_spans()
    assert price.name == "GET /api/price/{symbol}"
    assert f"{price.context.trace_id:032x}" == CALLER.split("-")[1]
    assert price.parent is not None and f"{price.parent.span_id:016x}" == CALLER.split("-")[2]
    assert price.attributes is not None
    assert (price.attributes["pairscope.request_id"], price.attributes["http.response.status_code"]) == ("r-1", 200)
    assert (nothing.name, nothing.parent) == ("GET", None)
    assert (health.status.status_code, price.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
