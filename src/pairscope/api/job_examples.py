"""The answers that OpenAPI shows for the routes of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["JOB_EXAMPLE", "JOB_EXAMPLES"]

JOB_EXAMPLE: Mapping[str, Any] = MappingProxyType(
    {
        "id": "9f2c4b7a1d3e5f60",
        "kind": "screen",
        "title": "screen of 2,016 5m bars",
        "status": "running",
        "done": 21,
        "total": 55,
        "created_ms": 1767225600000,
        "started_ms": 1767225600004,
        "ended_ms": None,
        "error": None,
        "result": "/api/analytics/screen?timeframe=5m&lookback=2016&job=9f2c4b7a1d3e5f60",
    }
)

JOB_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {"/api/jobs": {"jobs": [dict(JOB_EXAMPLE)]}, "/api/jobs/{id}": dict(JOB_EXAMPLE)}
)
