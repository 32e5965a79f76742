"""Where much is computed: on this machine's cores, or on those of a Dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from pairscope.analytics.dickey_fuller import longest_lag
from pairscope.errors import ConfigError, PairscopeError

__all__ = ["ClusterFailed", "open_executor", "working_executor"]

_WORKER_S: Final = 30.0


class ClusterFailed(PairscopeError):
    """The workers of a Dask cluster could not compute what was asked of them."""

    retry, status = True, 503


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


@contextmanager
def working_executor(cluster: str | None) -> Iterator[Executor]:
    """Lend what ``open_executor`` does, on a cluster after a worker has done something; its own errors become ours.

    Those are of the kind ``ClusterFailed`` and name the flag ``--cluster``.
    """
    try:
        with open_executor(cluster) as executor:
            if cluster is not None:
                logging.getLogger("distributed").setLevel(logging.ERROR)  # a worker that is lost is no news
                _demand_worker(executor, cluster)
            yield executor
    except PairscopeError:
        raise
    except Exception as error:
        kinds = (ImportError, OSError, CancelledError)  # of the last kind is what a lost scheduler had promised
        theirs = isinstance(error, kinds) or type(error).__module__.startswith("distributed")
        if cluster is None or not theirs:
            raise
        what = " ".join(f"{type(error).__name__} {error}".split())
        raise ClusterFailed(
            f"the cluster at {cluster} could not do it: {what}", loc="--cluster", hint="its workers' logs say more"
        ) from error


def _demand_worker(executor: Executor, cluster: str) -> None:
    """Wait until a worker has done something small; a scheduler without workers would take any work and do none."""
    try:
        executor.submit(longest_lag, 1440, 0, None).result(_WORKER_S)
    except TimeoutError:
        raise ClusterFailed(
            f"no worker of {cluster} took up work within {_WORKER_S:.0f} s",
            loc="--cluster",
            hint=f"start some with `dask worker {cluster}`",
        ) from None
