"""How a numerical kernel is compiled: cached, the GIL released, and never with ``fastmath`` (ADR 0009)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

__all__ = ["kernel"]

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function to machine code on its first call; ``function.py_func`` stays the plain Python one.

    >>> @kernel
    ... def twice(x: float) -> float:
    ...     return 2.0 * x
    >>> twice(21.0)
    42.0
    """
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False)(function)
    return compiled
