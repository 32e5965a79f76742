"""Traces to whoever collects them by OTLP, where an endpoint is set; where none is, nothing of it is even imported."""

from __future__ import annotations

from typing import Any

from pairscope import __version__
from pairscope.errors import ConfigError

__all__ = ["Telemetry"]


class Telemetry:
    """Spans of one process, sent to an OTLP endpoint over HTTP in batches, in a thread of their own.

    ``endpoint`` is the collector's address, like ``http://collector:4318``. At most 2,048 spans wait; beyond them, and
    while the collector is away, spans are dropped: a trace is worth no request. Raises ``ConfigError`` where the extra
    ``telemetry`` is not installed.
    """

    def __init__(self, endpoint: str, *, service: str, exporter: Any = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                "PAIRSCOPE_OTLP_ENDPOINT asks for traces, and what sends them is not installed",
                loc="PAIRSCOPE_OTLP_ENDPOINT",
                hint="pip install 'pairscope[telemetry]'",
            ) from error
        if exporter is None:
            exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        resource = Resource.create({"service.name": f"pairscope-{service}", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=2048, schedule_delay_millis=1000, max_export_batch_size=256)
        )
        self.tracer: Any = self._provider.get_tracer("pairscope")

    def close(self) -> None:
        """Send what waits, for at most five seconds."""
        self._provider.force_flush(5_000)
        self._provider.shutdown()
