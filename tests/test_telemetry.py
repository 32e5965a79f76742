"""Traces arrive at a collector that speaks OTLP over HTTP, and one that is away holds nobody up."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pairscope.telemetry import Telemetry


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """The address of a collector, and what it was sent."""
    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_arrive_with_the_name_of_the_process(collector: tuple[str, list[tuple[str, bytes]]]) -> None:
    address, came = collector
    telemetry = Telemetry(f"{address}/", service="api")
    with telemetry.tracer.start_as_current_span("work"):
        pass
    telemetry.close()
    ((path, body),) = came
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    assert path == "/v1/traces"
    assert {a.key: a.value.string_value for a in sent.resource.attributes}["service.name"] == "pairscope-api"
    assert [span.name for span in sent.scope_spans[0].spans] == ["work"]


def test_nothing_of_it_is_imported_where_no_traces_are_asked_for() -> None:
    ours = (
        "('opentelemetry.sdk', 'opentelemetry.exporter')"  # its names alone may be there: web frameworks look for them
    )
    code = (
        f"import sys, pairscope.api.app, pairscope.telemetry; print([m for m in sys.modules if m.startswith({ours})])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.strip() == "[]"
