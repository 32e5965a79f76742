"""How the running parts are, as ``/api/health`` and ``/api/stats`` tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pairscope.feed.websocket_client import WebSocketFeed
from pairscope.pipeline import Pipeline
from pairscope.storage.tick_storage import StoreWriter

__all__ = ["health_of", "stats_of"]


def health_of(feed: WebSocketFeed | None, writer: StoreWriter, waiting_for: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the checks of ``/api/health``; ``waiting_for`` says why there is no feed yet."""
    waits: Mapping[str, Any] = {"status": "degraded", "reason": f"waiting for {waiting_for}"}
    return {
        "feed": waits if feed is None else feed.status(),
        "store": writer.status(),
        "cache": {"status": "ok", "kind": "in process"},
    }


def stats_of(
    feed: WebSocketFeed | None, pipeline: Pipeline | None, writer: StoreWriter, now_ns: int
) -> Mapping[str, Any]:
    """Return the counters of what goes from the exchange to the store."""
    counted = dict(feed.counters()) if feed is not None else {}
    written = dict(writer.counters())
    seen_ns = pipeline.last_tick_ns if pipeline is not None else 0
    return {
        "rates": {"ticks_per_second": round(pipeline.rate.per_second(now_ns), 1) if pipeline else 0.0},
        "feed": counted,
        "reconnects": counted.get("reconnects", 0),
        "queues": {"writer": {"depth": written["depth"], "capacity": written["capacity"], "lag_ms": written["lag_ms"]}},
        "writer": written,
        "late_ticks": pipeline.late if pipeline else 0,
        "last_tick_age_ms": max(0, now_ns - seen_ns) // 1_000_000 if seen_ns else None,
        "feed_lag_ms": round(pipeline.lag_ns / 1e6, 3) if pipeline and pipeline.lag_ns is not None else None,
        "engine": {
            "batches_total": pipeline.batches if pipeline else 0,
            "busy_ms_total": round(pipeline.busy_ns / 1e6, 3) if pipeline else 0.0,
        },
        "following": len(feed.follow) if feed is not None else 0,
    }
