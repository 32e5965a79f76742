"""What a process says of a part that ended by itself, and the exit code that comes of it."""

from __future__ import annotations

import asyncio

import structlog

from pairscope.errors import PairscopeError

__all__ = ["report"]

_log = structlog.get_logger(__name__)


def report(task: asyncio.Task[None]) -> int:
    """Log why a task ended that should not have, and return the exit code."""
    error = task.exception()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, PairscopeError):
        _log.error("ingest ended", error=error.line())
        return 1
    _log.error("ingest ended", exc_info=error)
    return 1
