"""Monitoring of the scripted market: an hour of samples, or none yet, and whatever trouble a test wants to see."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

FIRST_MS = 1_700_000_000_000
PERIOD_MS = 5_000

UNITS = {
    "feed_lag_ms": "ms",
    "tick_age_ms": "ms",
    "ticks_per_second": "ticks/s",
    "late_ticks": "ticks",
    "open_gaps": "gaps",
    "reconnects": "connections",
    "queue_depth": "batches",
    "queue_capacity": "batches",
    "flush_ms": "ms",
    "spool_bytes": "bytes",
    "store_bytes": "bytes",
    "cache_entries": "entries",
    "cache_evictions": "entries",
    "bus_published": "messages/s",
    "clients": "clients",
    "loop_lag_ms": "ms",
    "machine_cpu_percent": "%",
    "memory_bytes": "bytes",
    "disk_free_bytes": "bytes",
    "outbox_waiting": "messages",
}
LEVELS = {
    "feed_lag_ms": 42.0,
    "tick_age_ms": 9.0,
    "ticks_per_second": 812.4,
    "queue_depth": 12.0,
    "queue_capacity": 512.0,
    "flush_ms": 4.25,
    "store_bytes": 6_750_000.0,
    "cache_entries": 20.0,
    "bus_published": 35.5,
    "clients": 1.0,
    "loop_lag_ms": 1.5,
    "machine_cpu_percent": 17.0,
    "memory_bytes": 365_000_000.0,
    "disk_free_bytes": 80_000_000_000.0,
}
RANGES = {
    "feed_lag_ms": {"healthy": [-250, 500], "tolerable": [-1000, 2000]},
    "queue_depth": {"healthy": [0, 128], "tolerable": [0, 384]},
    "loop_lag_ms": {"healthy": [0, 100], "tolerable": [0, 500]},
    "open_gaps": {"healthy": [0, 0], "tolerable": [0, 100]},
    "spool_bytes": {"healthy": [0, 0], "tolerable": [0, None]},
}


class ScriptedMonitoring:
    """The monitoring's side of a scripted market; ``sample`` takes one, ``fill`` as many as an hour has."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Forget every sample: a start."""
        self.asked.clear()
        self.times: list[int] = []
        self.columns: dict[str, list[float | None]] = {name: [] for name in UNITS}
        self.checks: dict[str, Any] = {name: {"status": "ok"} for name in ("feed", "store", "cache")}
        self.refusal: str | None = None

    def sample(self, **values: float | None) -> None:
        """Take a sample five seconds after the one before; what is not given is as usual."""
        self.times.append(FIRST_MS + PERIOD_MS * len(self.times))
        for name, column in self.columns.items():
            usual = LEVELS.get(name, 0.0) if name != "outbox_waiting" else None
            column.append(values.get(name, usual))

    def fill(self, samples: int = 720) -> None:
        """Take so many samples, the feed's lag in waves between 30 and 54 ms."""
        for i in range(samples):
            self.sample(feed_lag_ms=42.0 + 12.0 * math.sin(i / 20))

    def document(self, since: int | None) -> dict[str, Any]:
        """What the API says, of all samples or of those behind a time."""
        first = next((i for i, time in enumerate(self.times) if since is None or time > since), len(self.times))
        newest = {name: column[-1] if column else None for name, column in self.columns.items()}
        return {
            "status": "ok",
            "source": "synthetic",
            "period_s": 2.0,  # a test does not wait as long as a person does
            "timestamp": self.times[first:],
            "columns": {name: column[first:] for name, column in self.columns.items()},
            "units": UNITS,
            "about": {name: f"What {name} means" for name in UNITS},
            "ranges": RANGES,
            "now": {name: {"value": value, "status": status_of(name, value)} for name, value in newest.items()},
            "checks": self.checks,
        }

    def install(self, app: FastAPI) -> None:
        """Add the route."""

        @app.get("/api/monitoring")
        async def monitoring(since: int | None = None) -> Any:
            self.asked.append({"since": since})
            if self.refusal is not None:
                problem = {"title": "No", "status": 503, "detail": self.refusal}
                return JSONResponse(problem, 503, media_type="application/problem+json")
            return self.document(since)


def status_of(name: str, value: float | None) -> str | None:
    """Judge a value as the API does."""
    if value is None or name not in RANGES:
        return None
    for status, (low, high) in zip(("ok", "warning"), RANGES[name].values(), strict=True):
        if low <= value <= (math.inf if high is None else high):
            return status
    return "critical"
