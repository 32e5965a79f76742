"""How the instance has done over the last hour, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.parameters import Time
from pairscope.api.system import health_document
from pairscope.ports import Services

__all__ = ["MONITORING_EXAMPLES", "add_monitoring"]

_MS = 1_000_000

MONITORING_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/monitoring": {
            "status": "ok",
            "source": "live",
            "period_s": 5.0,
            "timestamp": [1767225595123, 1767225600123],
            "columns": {"feed_lag_ms": [41.2, 43.9], "ticks_per_second": [812.4, 797.1], "reconnects": [None, 0]},
            "units": {"feed_lag_ms": "ms", "ticks_per_second": "ticks/s", "reconnects": "connections"},
            "about": {"feed_lag_ms": "How old the newest trade was when it reached us"},
            "ranges": {"feed_lag_ms": {"healthy": [-250, 500], "tolerable": [-1000, 2000]}},
            "now": {
                "feed_lag_ms": {"value": 43.9, "status": "ok"},
                "ticks_per_second": {"value": 797.1, "status": None},
            },
            "checks": {"feed": {"status": "ok"}, "store": {"status": "ok"}, "cache": {"status": "ok"}},
        }
    }
)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: float = Field(60.0, gt=0, le=60, description="How far back from the newest sample.")
    since: Time | None = Field(None, description="Only samples behind this time: what a chart lacks that has the rest.")


def add_monitoring(app: FastAPI, services: Services) -> None:
    """Add the route of monitoring."""

    @app.get("/api/monitoring", response_model=schemas.MonitoringOut, summary="How the instance did in the last hour")
    async def monitoring(query: Annotated[_Asked, Query()]) -> Response:
        """A sample each five seconds. A chart asks once for all, then with `since` the last timestamp that it has."""
        health = health_document(services)
        since_ms = None if query.since is None else query.since // _MS
        document = {
            "status": health["status"],
            "source": health["source"],
            **services.monitor.view(minutes=query.minutes, since_ms=since_ms),
            "checks": orjson.Fragment(schemas.plain_json(health["checks"])),
        }
        return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, "application/json")
