"""The OpenAPI document: FastAPI's, with the errors, the keys and an example for each operation put in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pairscope.api.alert_examples import ALERT_EXAMPLES
from pairscope.api.analytics_examples import ANALYTICS_EXAMPLES
from pairscope.api.backtest_examples import BACKTEST_EXAMPLES
from pairscope.api.bulk import BULK_EXAMPLES
from pairscope.api.export import EXPORT_EXAMPLES
from pairscope.api.gaps import GAP_EXAMPLES
from pairscope.api.job_examples import JOB_EXAMPLES
from pairscope.api.monitoring import MONITORING_EXAMPLES
from pairscope.api.pair_examples import PAIR_EXAMPLES
from pairscope.api.paper import PAPER_EXAMPLES
from pairscope.api.problems import MEDIA_TYPE
from pairscope.api.screen_examples import SCREEN_EXAMPLES
from pairscope.api.security import FREE_PATHS
from pairscope.api.storage import STORAGE_EXAMPLES
from pairscope.api.uploads import UPLOAD_EXAMPLES
from pairscope.schemas import Health, Problem

__all__ = ["describe"]

_ABOUT = """Live and stored trades of the followed symbols, and what is computed from them.

Times are milliseconds since the epoch, UTC; as parameters also ISO 8601. Ranges are [start, end). Missing numbers are
null. Errors are RFC 9457 problems. What reads bars or ticks also answers Arrow IPC to
`Accept: application/vnd.apache.arrow.stream`.

The stream is the WebSocket `/ws/updates`: send `{"op": "subscribe", "topics": ["price:BTCUSDT", "bar:BTCUSDT:1m",
"indicators:BTCUSDT:1m:sma:20,ema:20", "pair:ETHUSDT:BTCUSDT", "discoveries", "jobs", "job:ID", "alerts", "stats"]}`
(or `unsubscribe`); each message that comes is `{"topic", "seq", "data"}`, the topic's whole current value. A hole in
`seq` means that a slow client was given the newest only. `alerts` have no holes: `"since": SEQ` beside the topics sends
what was missed. A bad message gets `{"error": ...}`, with `"retry": true` where asking again may help. Browsers send a
ticket from `POST /api/ws-ticket` in the subprotocols `pairscope.v1` and `ticket.<ticket>`.
"""

_BAR = MappingProxyType(
    {
        "timestamp": 1767225600000,
        "open": 65000.1,
        "high": 65012.5,
        "low": 64990.0,
        "close": 65003.2,
        "volume": 12.345,
        "trades": 210,
        "vwap": 65001.7,
        "quote_volume": 802445.98,
        "buy_volume": 6.789,
        "closed": True,
        "origin": "own",
    }
)

_EXAMPLES: Mapping[str, Any] = {
    **PAIR_EXAMPLES,
    **ANALYTICS_EXAMPLES,
    **SCREEN_EXAMPLES,
    **BACKTEST_EXAMPLES,
    **BULK_EXAMPLES,
    **EXPORT_EXAMPLES,
    **GAP_EXAMPLES,
    **JOB_EXAMPLES,
    **MONITORING_EXAMPLES,
    **PAPER_EXAMPLES,
    **STORAGE_EXAMPLES,
    **ALERT_EXAMPLES,
    **UPLOAD_EXAMPLES,
    "/api/health": {
        "status": "ok",
        "source": "live",
        "checks": {"feed": {"status": "ok"}, "store": {"status": "ok"}, "cache": {"status": "ok"}},
        "version": "0.1.0",
        "uptime_s": 86400.5,
    },
    "/api/health/live": {"status": "ok"},
    "/api/health/ready": {"status": "ok"},
    "/api/symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "live",
            "last_timestamp": 1767225600123,
            "tick_count": 4812345,
            "uploaded": False,
        },
    ],
    "/api/price/{symbol}": {
        "symbol": "BTCUSDT",
        "price": 65003.2,
        "size": 0.015,
        "timestamp": 1767225600123,
        "change_24h": 0.012,
        "volume_24h": 182345.678,
        "received": 1767225600165,
        "age_ms": 42,
        "source": "live",
    },
    "/api/ohlc/{symbol}": {"symbol": "BTCUSDT", "timeframe": "1m", "bars": [dict(_BAR)], "next": "1767225660000"},
    "/api/ticks/{symbol}": {
        "symbol": "BTCUSDT",
        "ticks": [
            {"id": 3000001, "timestamp": 1767225600123, "price": 65003.2, "size": 0.015, "buyer_is_maker": False}
        ],
        "next": "1767225600123-3000001",
    },
    "/api/indicators/{symbol}": {
        "symbol": "BTCUSDT",
        "timeframe": "1m",
        "timestamp": [1767225600000],
        "closed": [True],
        "values": {"sma:20": [64998.4], "ema:20": [64999.1]},
        "next": None,
    },
    "/api/volume/{symbol}": {
        "symbol": "BTCUSDT",
        "start": 1767139200000,
        "end": 1767225600000,
        "resolution": "1m",
        "volume": 182345.678,
        "quote_volume": 11852469070.1,
        "buy_volume": 91234.5,
        "sell_volume": 91111.178,
        "buy_share": 0.5003,
        "trades": 2104567,
        "profile": [{"low": 64000.0, "high": 64100.0, "volume": 7597.7, "buy_volume": 3801.4}],
        "time_of_day": {
            "today": 1234.5,
            "mean": 1500.0,
            "ratio": 0.823,
            "days": 7,
            "hours": [{"hour": 0, "today": 1234.5, "mean": 1500.0}],
        },
    },
    "/api/stats": {
        "ticks": 4812345,
        "symbols": 20,
        "uptime_s": 86400.5,
        "source": "live",
        "rates": {"ticks_per_second": 812.4},
        "store": {"kind": "duckdb", "ticks": 4812345, "bars": 345678, "bytes": 104857600},
        "queues": {"writer": 0},
        "reconnects": 1,
        "gaps": [{"symbol": "BTCUSDT", "from_id": 100, "to_id": 104, "status": "repaired", "missing": 0}],
    },
    "/api/ws-ticket": {"ticket": "eyJ0eXAiOiJKV1Qi…", "expires_in_s": 30},
    "/metrics": "pairscope_rates_ticks_per_second 812.4\n",
}

_PARAMETERS: Mapping[str, Any] = {
    "symbol": "BTCUSDT",
    "start": "2026-01-01T00:00:00Z",
    "end": 1767229200000,
    "indicators": "sma:20,ema:20",
    "y": "ETHUSDT",
    "x": "BTCUSDT",
    "symbols": "BTCUSDT,ETHUSDT,SOLUSDT",
    "timeframe": "1m",
}

_ERRORS: Mapping[str, tuple[str, str]] = {
    "401": ("No key", "a key is asked for: send it as X-API-Key or as Authorization: Bearer"),
    "403": ("Host or origin not allowed", "this host name is not served here"),
    "404": ("Unknown symbol", "unknown symbol 'BTCUSD'; did you mean BTCUSDT?"),
    "409": ("Cancelled while it was waited for", "the job 'backtest of ETHUSDT on BTCUSDT, 1m' was cancelled"),
    "413": ("Body too large", "a body has at most 33554432 bytes"),
    "415": ("Wrong media type", "the body must be application/json"),
    "422": ("Bad parameter", "limit: Input should be less than or equal to 10000"),
    "429": ("Too many calls; `Retry-After` says when to ask again", "more than 600 calls in 60 s; ask again in 12 s"),
    "503": ("The store is down; `Retry-After` says when to ask again", "the store did not answer"),
}


def describe(app: FastAPI, *, keys_required: bool) -> None:
    """Make an application describe itself in full, once, when it is first asked."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            app.openapi_schema = _completed(document, keys_required=keys_required)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any], *, keys_required: bool) -> dict[str, Any]:
    components = document.setdefault("components", {})
    shapes = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        shapes.pop(name, None)
    for model in (Problem, Health):
        shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
        shapes |= shape.pop("$defs", {})
        shapes[model.__name__] = shape
    components["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer", "description": "The key, or for reads a WebSocket ticket."},
    }
    asked: list[dict[str, list[str]]] = [{"ApiKey": []}, {"Bearer": []}]
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            free = path in FREE_PATHS
            operation["security"] = [] if free else asked if keys_required else [{}, *asked]
            _complete(verb.upper(), path, operation, free=free)
    return document


def _complete(verb: str, path: str, operation: dict[str, Any], *, free: bool) -> None:
    """Put examples and errors into one operation."""
    responses = operation["responses"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in _PARAMETERS:
            parameter["example"] = _PARAMETERS[parameter["name"]]
    for status in ("200", "201"):
        if status in responses:
            responses[status]["description"] = "OK" if status == "200" else "Created"
        for media_type, content in responses.get(status, {}).get("content", {}).items():
            example = _EXAMPLES.get(f"{verb} {path}", _EXAMPLES.get(path))
            if example is not None and ("json" in media_type or "text" in media_type):
                content.setdefault("example", example)
    wrong = {"403"} if free else {"401", "403", "429", "503"}
    wrong |= {"422"} if operation.get("parameters") else set()
    wrong |= {"404"} if "{symbol}" in path or path.startswith(("/api/analytics", "/api/gaps")) else set()
    if "requestBody" in operation:
        wrong |= {"404", "413", "415", "422"}
    wrong |= {"409"} if path.startswith("/api/backtest") and verb == "POST" else set()
    wrong |= {"404"} if "{y}" in path or "{id}" in path else set()
    responses.pop("422", None)
    for status in sorted(wrong):
        responses[status] = _error(status)
    if free:
        content = {"schema": {"$ref": "#/components/schemas/Health"}}
        responses["503"] = {"description": "A part is down", "content": {"application/json": content}}
    if path.startswith(("/api/ohlc", "/api/ticks")):
        responses["304"] = {"description": "As it was under the ETag sent as If-None-Match"}
    if path == "/api/ws-ticket":
        responses["413"] = _error("422") | {"description": "Body too large"}


def _error(status: str) -> dict[str, Any]:
    description, detail = _ERRORS[status]
    example = {
        "type": "urn:pairscope:problem:example",
        "title": description.partition(";")[0],
        "status": int(status),
        "detail": detail,
        "errors": [{"loc": ["query", "limit"], "msg": detail}] if status == "422" else [],
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": description, "content": {MEDIA_TYPE: content}}
