"""The document of ``/api/monitoring`` as OpenAPI shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.documents import Check

__all__ = ["MeasureNow", "MeasureRanges", "MonitoringOut"]

Status = Literal["ok", "warning", "critical"]
Ends = tuple[float | None, float | None]


class MeasureNow(BaseModel):
    """A measure's newest value, judged by its ranges."""

    value: float | None = Field(description="null: nobody knows it.")
    status: Status | None = Field(description="null: it is unknown, or there is nothing to judge it by.")


class MeasureRanges(BaseModel):
    """Where a measure is well; both ends belong to it, null is an open one."""

    healthy: Ends = Field(description="Inside: ok.")
    tolerable: Ends = Field(description="Inside: a warning; outside: critical.")


class MonitoringOut(BaseModel):
    """How the instance has done: a column a measure, a row a sample, oldest first; an hour is kept."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "degraded", "down"]
    source: str = Field(description="`live`, `replay` or `synthetic`.")
    period_s: float = Field(description="Time between two samples.")
    timestamp: list[int] = Field(description="When each sample was taken, ms.")
    columns: dict[str, list[float | None]] = Field(description="By measure; null where a value was not known.")
    units: dict[str, str]
    about: dict[str, str] = Field(description="What each measure means; what it counts is since the sample before.")
    ranges: dict[str, MeasureRanges] = Field(description="Of the measures that are judged.")
    now: dict[str, MeasureNow] = Field(description="The newest sample.")
    checks: dict[str, Check] = Field(description="As in `/api/health`.")
