"""Health and metrics of a process that has no API: what a supervisor and a scraper ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from pairscope import __version__, schemas
from pairscope.api import problems
from pairscope.api.metrics import Metrics, RequestTimes
from pairscope.api.options import ApiOptions
from pairscope.api.problems import CatchAll
from pairscope.api.request_log import RequestLog
from pairscope.api.security import Gate, Keys, RateLimit, SecurityHeaders, Tickets
from pairscope.api.shared_counts import SharedCounts
from pairscope.ports import Clock

__all__ = ["create_probe"]

_RANK = ("ok", "degraded", "down")

Checks = Mapping[str, Mapping[str, Any]]


def create_probe(
    *,
    health: Callable[[], Checks],
    stats: Callable[[], Mapping[str, Any]],
    waits_for: Callable[[], str],
    source: str,
    clock: Clock,
    options: ApiOptions,
) -> FastAPI:
    """Make the application: ``/api/health`` and what is below it, free of a key; ``/api/stats`` and ``/metrics``.

    ``health`` gives the checks by name, ``waits_for`` what the process still waits for before it does its work, empty
    once it does.
    """
    keys, started_ns = Keys(options), clock()
    RateLimit.of(options, SharedCounts())  # layers are made with the first request: too late to refuse

    def counters() -> Mapping[str, Any]:
        stands = {name: str(check.get("status", "down")) for name, check in health().items()}
        return {**stats(), "checks": stands}

    metrics = Metrics(counters)
    app = FastAPI(title="Pairscope ingest", version=__version__, openapi_url=None, redirect_slashes=False)
    problems.install(app)

    @app.get("/api/health")
    async def whole() -> Response:
        """503 when a part is down."""
        checks = {name: dict(check) for name, check in health().items()}
        worst = max((_RANK.index(check.get("status", "down")) for check in checks.values()), default=0)
        uptime_s = max(0, clock() - started_ns) / 1e9
        document = {"status": _RANK[worst], "source": source, "checks": checks, "version": __version__}
        return _said(document | {"uptime_s": uptime_s}, fit=_RANK[worst] != "down")

    @app.get("/api/health/live")
    async def live() -> Response:
        """Whether the process still turns: where it does not answer, it is to be started again."""
        return _said({"status": "ok"}, fit=True)

    @app.get("/api/health/ready")
    async def ready() -> Response:
        """503 until the process does its work, actively or standing by."""
        reason = waits_for()
        return _said(
            {"status": "down", "reason": f"waiting for {reason}"} if reason else {"status": "ok"}, fit=not reason
        )

    @app.get("/api/stats")
    async def statistics() -> Response:
        return Response(
            schemas.plain_json(dict(stats())), headers={"Cache-Control": "no-store"}, media_type="application/json"
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.media_type)

    app.add_middleware(Gate, options=options, keys=keys, tickets=Tickets(options.jwt_secret, clock))
    app.add_middleware(CatchAll)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTimes, metrics=metrics)
    app.add_middleware(RequestLog)
    return app


def _said(document: Mapping[str, Any], *, fit: bool) -> Response:
    headers = {"Cache-Control": "no-store", **({} if fit else {"Retry-After": "5"})}
    return Response(schemas.plain_json(dict(document)), 200 if fit else 503, headers, "application/json")
