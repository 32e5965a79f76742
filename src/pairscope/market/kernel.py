"""How a kernel is compiled: cached, the GIL released, and never with ``fastmath`` (ADR 0009)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba.core import caching

__all__ = ["kernel"]

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function to machine code on its first call; ``function.py_func`` stays the plain Python one.

    The machine code is kept on disk where that is possible, until any kernel changes.

    >>> @kernel
    ... def twice(x: float) -> float:
    ...     return 2.0 * x
    >>> twice(21.0)
    42.0
    """
    compiled: Any = numba.njit(nogil=True, fastmath=False)(function)
    try:
        compiled._cache = _KernelCache(function)
    except RuntimeError:
        # Numba says so where it has no place to write, or no file to watch: then every start compiles anew.
        return compiled  # type: ignore[no-any-return]
    return compiled  # type: ignore[no-any-return]


@cache
def _sources_digest() -> bytes:
    """Return a digest of every source that holds kernels which others call."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(
        path for folder in ("market", "analytics", "research") for path in package.glob(f"{folder}/*.py")
    ):
        text = path.read_bytes()
        if b"@kernel" in text:
            digest.update(text)
    return digest.digest()


class _Stamped:
    """A place for machine code that also watches the other kernels.

    Numba itself watches the file of a kernel alone; a kernel that it calls in another file may change unseen, and the
    old machine code, with the old callee inside it, would run on.
    """

    def get_source_stamp(self) -> tuple[object, bytes]:
        return super().get_source_stamp(), _sources_digest()  # type: ignore[misc]


class _InTree(_Stamped, caching.InTreeCacheLocator):  # type: ignore[misc]
    """Beside the source."""


class _Given(_Stamped, caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """Where ``NUMBA_CACHE_DIR`` says."""


class _UserWide(_Stamped, caching.UserWideCacheLocator):  # type: ignore[misc]
    """In the user's own cache, where the source is not writable."""


class _Places(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Given, _InTree, _UserWide)


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _Places
