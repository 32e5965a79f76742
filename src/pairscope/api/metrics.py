"""Prometheus metrics: requests by route template, the stable ones, and every other counter of the running parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.stable_metrics import STABLE, StableMetrics

__all__ = ["Metrics", "RequestTimes"]

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TAKEN = frozenset(metric.name for metric in STABLE)
_HISTOGRAMS = frozenset(tuple(metric.path.split(".")) for metric in STABLE if metric.kind == "histogram")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Metrics:
    """One application's registry."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "pairscope_http_request_seconds",
            "Time from request to the end of its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(StableMetrics(counters))
        self.registry.register(_Counters(counters))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def exposition(self) -> bytes:
        """Return the text that a scrape gets."""
        return generate_latest(self.registry)


class RequestTimes:
    """Measures every request under its route's template, so that labels stay few whatever is asked for."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests
        self._children: dict[tuple[str, str, int], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._observe(scope, status, perf_counter() - began)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        key = (method, getattr(scope.get("route"), "path", "none"), status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(*key)
        child.observe(seconds)


class _Counters(Collector):
    """Turns a nested document of numbers into metrics.

    A path of plain names becomes ``pairscope_<path>``; a key that is no plain name (a symbol, an address) becomes the
    label ``key`` of ``pairscope_<path>_by_key``. Names that end in ``_total`` are counters, the others gauges. They are
    for who looks into a part, and change with it; what is relied on is in :mod:`pairscope.api.stable_metrics`.
    """

    def __init__(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        self._counters = counters

    def describe(self) -> list[Metric]:
        """Say nothing before the first scrape, when the parts may not run yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the counters now."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for path, label, value in _leaves(self._counters(), (), ""):
            name = "pairscope_" + "_".join((*path, "by_key") if label else path)
            if name in _TAKEN or path[:-1] in _HISTOGRAMS:
                continue
            family = families.get(name)
            if family is None:
                made = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                labels = ["key"] if label else []
                family = families[name] = made(name, f"{' '.join(path)} of the running parts.", labels=labels)
            family.add_metric([label] if label else [], value)
        yield from families.values()


def _leaves(value: Any, path: tuple[str, ...], label: str) -> Iterator[tuple[tuple[str, ...], str, float]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _NAME.fullmatch(str(key)):
                yield from _leaves(item, (*path, str(key)), label)
            else:
                yield from _leaves(item, path, f"{label}/{key}" if label else str(key))
    elif isinstance(value, (int, float)) and path:
        yield path, label, float(value)
