"""How a screen keeps out of the live market's way: threads that give way, and kernels compiled in another process."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from pairscope.research.moving_screen import load_kernels

__all__ = ["compile_kernels", "compiled", "quiet_threads"]

_NICENESS: Final = 5
_IN_CHILD: Final = "from pairscope.research.background import compile_kernels; compile_kernels()"


def quiet_threads(count: int, name: str, *, niceness: int = _NICENESS) -> ThreadPoolExecutor:
    """Return threads that give way to every other one, where the system gives threads a priority of their own."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_step_back, initargs=(niceness,))


async def compiled(work: str = _IN_CHILD) -> None:
    """Compile kernels, a screen's by default, in a child process of low priority: the machine code stays on disk.

    In a thread of this process it would hold a lock of Numba's for seconds, and with it the live market.
    """
    quiet = asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", work, stdout=quiet, stderr=quiet)
    except OSError:
        return  # where there can be no child they are compiled at the first screen
    try:
        await child.wait()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()


def compile_kernels() -> None:
    """Compile what a screen needs, behind everybody else who wants the processor."""
    if hasattr(os, "nice"):
        os.nice(19)
    load_kernels()


def _step_back(niceness: int) -> None:
    """Lower this thread's priority. Linux keeps one for each thread; where that is not so, nothing changes."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
