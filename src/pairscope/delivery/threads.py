"""Calls that block, each in a thread that may be left behind when it takes too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

__all__ = ["Threads"]

MOST: Final = 32

T = TypeVar("T")


class Threads:
    """Runs blocking calls in daemon threads, so that one that hangs holds up neither others nor the end of a process.

    ``most`` bounds how many run at once, those that nobody waits for any more among them.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._room = threading.Semaphore(most)
        self._most = most

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a call returns; who stops waiting leaves it behind. ``OSError`` where too many run already."""
        if not self._room.acquire(blocking=False):
            raise OSError(f"{self._most} earlier calls have not come back yet")
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # from here on it cannot be cancelled, only left behind

        def run() -> None:
            try:
                made = work()
            except BaseException as error:  # noqa: BLE001 - raised where the call was made
                done.set_exception(error)
            else:
                done.set_result(made)
            finally:
                self._room.release()

        threading.Thread(target=run, name="delivery", daemon=True).start()
        return await asyncio.wrap_future(done)
