"""How Pairscope itself does: health, counters, metrics, tickets for the stream."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from pairscope import __version__, schemas
from pairscope.api.metrics import Metrics
from pairscope.api.security import TICKET_S, Tickets
from pairscope.errors import StorageError
from pairscope.market.continuity import Gap
from pairscope.ports import Services
from pairscope.schemas.gaps import gap_fields

__all__ = ["StatsView", "add_system", "health_document"]

_RANK = ("ok", "degraded", "down")
_GAPS_SHOWN = 10_000
_STATS_FRESH_NS = 500_000_000


def health_document(services: Services) -> dict[str, Any]:
    """Return what ``/api/health`` says; the whole is as bad as its worst part."""
    checks = {name: dict(check) for name, check in services.health().items()}
    worst = max((_RANK.index(check.get("status", "down")) for check in checks.values()), default=0)
    return {
        "status": _RANK[worst],
        "source": services.source(),
        "checks": checks,
        "version": __version__,
        "uptime_s": _uptime_s(services),
    }


class StatsView:
    """The document of ``/api/stats``, made at most twice a second however many ask."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._document: dict[str, Any] = {}
        self._encoded = b""
        self._made_ns: int | None = None
        self._making = asyncio.Lock()

    async def encoded(self) -> bytes:
        """Return the document as JSON; who asks while it is made waits for it, so that no older one takes its place."""
        if not self._fresh():
            async with self._making:
                if not self._fresh():
                    now_ns = self._services.clock()
                    self._document = await self._make()
                    self._encoded = schemas.plain_json(self._document)
                    self._made_ns = now_ns
        return self._encoded

    def _fresh(self) -> bool:
        return self._made_ns is not None and 0 <= self._services.clock() - self._made_ns < _STATS_FRESH_NS

    async def _make(self) -> dict[str, Any]:
        services = self._services
        parts = dict(services.stats())
        rates, queues = parts.pop("rates", {}), parts.pop("queues", {})
        store: dict[str, Any] = dict(parts.pop("store", {}))
        ticks, gaps, known = self._document.get("ticks"), self._document.get("gaps", []), self._document.get("symbols")
        try:
            held = await services.store.stats()
            ticks = held.ticks
            store |= {"kind": held.kind, "ticks": held.ticks, "bars": held.bars, "bytes": held.bytes}
            gaps = [gap_fields(gap) for gap in sorted(await services.store.gaps(), key=_open_first)[:_GAPS_SHOWN]]
            known = len({*services.live.symbols(), *(s.symbol for s in await services.store.symbols())})
        except StorageError as error:
            store |= {"status": "down", "reason": str(error)}
        return {
            "ticks": ticks,
            "symbols": known if known is not None else len(services.live.symbols()),
            "uptime_s": _uptime_s(services),
            "source": services.source(),
            "rates": rates,
            "store": store,
            "queues": queues,
            "reconnects": parts.pop("reconnects", 0),
            "gaps": gaps,
            **parts,
        }


def add_system(app: FastAPI, services: Services, stats: StatsView, metrics: Metrics, tickets: Tickets) -> None:
    """Add the routes that answer how Pairscope does."""

    @app.get("/api/health", response_model=schemas.Health, summary="Whether everything works")
    async def health() -> Response:
        """503 when a part is down; asked for no key."""
        document = health_document(services)
        down = document["status"] == "down"
        headers = {"Cache-Control": "no-store", **({"Retry-After": "5"} if down else {})}
        return Response(schemas.plain_json(document), 503 if down else 200, headers, "application/json")

    @app.get("/api/health/live", response_model=schemas.Fitness, summary="Whether the process still turns")
    async def live() -> Response:
        """Where this is not answered, the process is to be started again; asked for no key."""
        return _fitness(fit=True, document={"status": "ok"})

    @app.get("/api/health/ready", response_model=schemas.Fitness, summary="Whether requests may be sent here")
    async def ready() -> Response:
        """503 until the instance can answer, and again while it stops; asked for no key."""
        reason = services.waits_for()
        return _fitness(
            fit=not reason,
            document={"status": "down", "reason": f"waiting for {reason}"} if reason else {"status": "ok"},
        )

    @app.get("/api/stats", response_model=schemas.Stats, summary="Counters, rates, queues and the gap ledger")
    async def statistics() -> Response:
        return Response(await stats.encoded(), headers={"Cache-Control": "no-store"}, media_type="application/json")

    @app.get("/metrics", summary="Prometheus' exposition", response_class=PlainTextResponse)
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.media_type)

    @app.post("/api/ws-ticket", response_model=schemas.WsTicket, status_code=201, summary="A ticket for one WebSocket")
    async def ws_ticket(request: Request) -> Response:
        """For browsers, which cannot send a key: connect with the subprotocols `pairscope.v1` and `ticket.<ticket>`."""
        document = {"ticket": tickets.issue(request.scope.get("state", {}).get("holder", "")), "expires_in_s": TICKET_S}
        return Response(orjson.dumps(document), 201, {"Cache-Control": "no-store"}, "application/json")


def _fitness(*, fit: bool, document: dict[str, str]) -> Response:
    headers = {"Cache-Control": "no-store", **({} if fit else {"Retry-After": "5"})}
    return Response(orjson.dumps(document), 200 if fit else 503, headers, "application/json")


def _uptime_s(services: Services) -> float:
    return max(0, services.clock() - services.started_ns) / 1e9


def _open_first(gap: Gap) -> tuple[bool, int]:
    return gap.status != "open", -gap.seen_ns
