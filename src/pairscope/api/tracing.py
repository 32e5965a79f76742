"""A span for each request, a child of the caller's where it says so in ``traceparent``."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.request_log import request_id

__all__ = ["Traces"]


class Traces:
    """Gives every HTTP request a server span of a tracer, under its route's template (W3C trace context)."""

    def __init__(self, app: ASGIApp, *, tracer: Any) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = tracer
        self._server, self._failed = SpanKind.SERVER, StatusCode.ERROR
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        caller = self._propagator.extract(headers)
        with self._tracer.start_as_current_span(scope["method"], context=caller, kind=self._server) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._describe(span, scope, message["status"])
                await send(message)

            await self._app(scope, receive, watched)

    def _describe(self, span: Any, scope: Scope, status: int) -> None:
        route = getattr(scope.get("route"), "path", None)
        span.set_attribute("http.request.method", scope["method"])
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("pairscope.request_id", request_id())
        if route:
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
        if status >= 500:
            span.set_status(self._failed)
