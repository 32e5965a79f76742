"""What a process says of a part that ended by itself, and the exit code that comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from pairscope.errors import PairscopeError

__all__ = ["report", "until_one_ends"]

_log = structlog.get_logger(__name__)


def report(task: asyncio.Task[None], what: str = "ingest ended") -> int:
    """Log why a task ended that should not have, and return the exit code."""
    error = task.exception()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, PairscopeError):
        _log.error(what, error=error.line())
        return 1
    _log.error(what, exc_info=error)
    return 1


async def until_one_ends(working: asyncio.Task[None], serving: asyncio.Task[None], asked: asyncio.Task[Any]) -> int:
    """Wait until the work or its server ends by itself, which is reported, or a stop is asked; return the exit code."""
    await asyncio.wait({serving, working, asked}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        return report(working)
    if serving.done():
        return report(serving, "the server ended")
    return 0
