"""Where tiles are computed: on this machine's cores, or on those of a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from pairscope.errors import ConfigError

__all__ = ["open_executor"]


@contextmanager
def open_executor(cluster: str | None = None, *, threads: int | None = None) -> Iterator[Executor]:
    """Lend an executor: the threads of this process, or the workers of the Dask scheduler at ``cluster``.

    ``cluster`` is its address, ``tcp://host:8786``; ``threads`` as many as there are cores where it is not given (the
    kernels hold no lock, so that threads are enough). On a cluster a tile whose worker dies is computed again by
    another. ``ConfigError`` where a cluster is asked for and the extra ``cluster`` is not installed, or none answers.

    >>> with open_executor(threads=2) as executor:
    ...     executor.submit(sum, [1, 2]).result()
    3
    """
    if cluster is None:
        with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="screen") as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "a cluster is asked for, and Dask is not installed", loc="cluster", hint="pip install 'pairscope[cluster]'"
        ) from error
    try:
        client = Client(cluster, timeout="10s", set_as_default=False)
    except OSError as error:
        raise ConfigError(
            f"no Dask scheduler answers at {cluster}", loc="cluster", hint="start one with `dask scheduler`"
        ) from error
    with client:
        # Tiles are pure functions: a lost one may be repeated, a failed one may be tried elsewhere.
        yield client.get_executor(retries=2, pure=False)
