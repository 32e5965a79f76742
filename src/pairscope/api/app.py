"""The application: routes over ports, inside the layers that guard, measure and shape every answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from pairscope import __version__
from pairscope.api import problems
from pairscope.api.alerts import add_alerts
from pairscope.api.analytics import add_analytics
from pairscope.api.answers import GZIP_FROM, GZIP_LEVEL, Packing
from pairscope.api.arrivals import Arrivals, Entrance
from pairscope.api.backtests import add_backtests
from pairscope.api.bulk import FILE_PATH, add_bulk
from pairscope.api.catalog import Catalog
from pairscope.api.desk_link import DeskLink
from pairscope.api.docs import add_docs
from pairscope.api.export import add_export
from pairscope.api.forwarding import Forwarding
from pairscope.api.gaps import add_gaps
from pairscope.api.head import Heads
from pairscope.api.indicators import add_indicators
from pairscope.api.jobs import add_jobs
from pairscope.api.metrics import Metrics, RequestTimes
from pairscope.api.monitoring import add_monitoring
from pairscope.api.openapi import describe
from pairscope.api.options import ApiOptions
from pairscope.api.paper import add_paper
from pairscope.api.passes import Passes
from pairscope.api.prices import add_prices
from pairscope.api.problems import CatchAll
from pairscope.api.recorded import add_recorded
from pairscope.api.request_log import HEADER, RequestLog
from pairscope.api.screen import add_screen
from pairscope.api.security import BodyLimit, Gate, Keys, Origins, RateLimit, SecurityHeaders, Tickets
from pairscope.api.shared_counts import SharedCounts
from pairscope.api.statistics import add_statistics
from pairscope.api.storage import add_storage
from pairscope.api.stream import PART_S, Stream
from pairscope.api.system import StatsView, add_system
from pairscope.api.topics import Topics, add_topic
from pairscope.api.tracing import Traces
from pairscope.api.uploads import FORM_BYTES, UPLOAD_PATH, add_uploads
from pairscope.api.volume import add_volume
from pairscope.api.warm_up import warm_up
from pairscope.api.watchlist import add_watchlist
from pairscope.api.workers import Workers
from pairscope.ports import Services

__all__ = ["ApiOptions", "create_app"]


def create_app(services: Services, *, options: ApiOptions | None = None, tracer: Any = None) -> FastAPI:
    """Make the application over services that already run; ``ConfigError`` where an option cannot be.

    ``tracer`` is OpenTelemetry's, and gives each request a span.
    """
    options = options or ApiOptions()
    catalog, stats = Catalog(services), StatsView(services)
    counts = SharedCounts(options.rate_storage)
    RateLimit.of(options, counts)  # the layers are made with the first request: too late to refuse what cannot be read
    keys, tickets = Keys(options), Tickets(options.jwt_secret, services.clock, counts)
    passes = None if services.desk is None else Passes(options.jwt_secret, services.clock)
    link = None
    if services.desk is not None and passes is not None:
        link = DeskLink(services.desk, passes, wait_s=options.desk_wait_s)
    workers = Workers()
    topics = Topics(services, catalog, stats, link)
    stream, arrivals = Stream(services, options, topics, stats), Arrivals()

    def counters() -> Mapping[str, Any]:
        stands = {name: str(check.get("status", "down")) for name, check in services.health().items()}
        parts = {"stream": stream.counters(), "workers": workers.counters(), "checks": stands}
        shared = {} if link is None else {"handed_on": link.counters(), "door": counts.counters()}
        return {**services.stats(), **parts, **shared}

    metrics = Metrics(counters)
    services.monitor.join("stream", stream.counters)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work, name="stream") for work in (stream.publish_stats(), stream.watch())]
        tasks.append(asyncio.create_task(warm_up(workers), name="warm-up"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await stream.close()
            workers.close()
            if link is not None:
                await link.close()

    app = FastAPI(
        title="Pairscope",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app)
    add_prices(app, services, catalog)
    add_system(app, services, stats, metrics, tickets)
    add_monitoring(app, services)
    add_indicators(app, services, catalog)
    add_gaps(app, services, catalog)
    add_analytics(app, services, catalog, workers)
    add_statistics(app, services, catalog, workers)
    add_screen(app, services, catalog, workers)
    add_jobs(app, services)
    add_backtests(app, services, catalog, workers)
    add_volume(app, services, catalog)
    add_watchlist(app, services, catalog)
    add_paper(app, services, catalog)
    add_alerts(app, services, catalog)
    add_recorded(app, services)
    add_storage(app, services, catalog)
    add_export(app, services, catalog)
    add_bulk(app, services)
    add_uploads(app, services, catalog, workers, options)
    if link is not None:
        add_topic(app, topics)
    app.add_api_websocket_route("/ws/updates", stream.serve, name="updates")

    async def part() -> None:
        """End what lasts, before the server does: who waits for a desk, then the clients of the stream."""
        if link is not None:
            link.part()
        await asyncio.gather(stream.part(), arrivals.part(within_s=PART_S))

    app.state.part = part
    describe(app, keys_required=keys.required)
    if options.docs:
        add_docs(app)
    app.add_middleware(Packing, minimum_size=GZIP_FROM, compresslevel=GZIP_LEVEL)
    if link is not None:
        app.add_middleware(Forwarding, link=link)
    app.add_middleware(Heads)
    files = {FILE_PATH: options.max_file_bytes, UPLOAD_PATH: options.max_upload_bytes + FORM_BYTES}
    app.add_middleware(BodyLimit, most=options.max_body_bytes, most_json=options.max_json_bytes, files=files)
    app.add_middleware(Gate, options=options, keys=keys, tickets=tickets, counts=counts, passes=passes)
    app.add_middleware(CatchAll)
    if options.cors_origins:
        app.add_middleware(
            Origins,
            allow_origins=list(options.cors_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["X-API-Key", "Authorization", "Content-Type", "If-None-Match"],
            expose_headers=[
                "ETag",
                "X-Next-Cursor",
                "X-Gap-Bars",
                "X-Source",
                "Content-Disposition",
                "Retry-After",
                HEADER,
            ],
            max_age=600,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTimes, metrics=metrics)
    if tracer is not None:
        app.add_middleware(Traces, tracer=tracer)
    app.add_middleware(RequestLog)
    app.add_middleware(Entrance, arrivals=arrivals)
    return app
