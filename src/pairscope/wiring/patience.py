"""What is done again while a part refuses for the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from pairscope.errors import StorageError

__all__ = ["until_stored"]

_log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0

_Answer = TypeVar("_Answer")


async def until_stored(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Ask the store, again while it refuses for the moment; raises what no retry helps."""
    while True:
        try:
            return await ask()
        except StorageError as error:
            if not error.retry:
                raise
            _log.warning("the store refuses for now", error=str(error), again_in_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
