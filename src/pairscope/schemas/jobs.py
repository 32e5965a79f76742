"""The documents of jobs as OpenAPI shows them, and the encoders that write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Job", "JobsOut", "encode_job", "encode_jobs"]


class Job(BaseModel):
    """A long computation: how far it is, or how it ended."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str = Field(description="`screen`, `backtest`, `sweep`, `backfill` and the like; one of a kind at a time.")
    title: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int = Field(description="Steps that are done …")
    total: int = Field(description="… of so many; 0 before that is known.")
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    error: str | None = Field(description="Why it failed.")
    result: str | None = Field(description="The path that gives its answer.")


class JobsOut(BaseModel):
    """Jobs, the newest first."""

    jobs: list[Job]


def encode_job(view: Any) -> bytes:
    """Return where a job stands as JSON; ``view`` is a dataclass with the fields of ``Job``."""
    return orjson.dumps(asdict(view))


def encode_jobs(views: Iterable[Any]) -> bytes:
    """Return where jobs stand as JSON.

    >>> encode_jobs([])
    b'{"jobs":[]}'
    """
    return b'{"jobs":[%b]}' % b",".join(map(encode_job, views))
