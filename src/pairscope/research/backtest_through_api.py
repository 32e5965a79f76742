"""A backtest or a sweep run by the Pairscope that holds the store: asked for, watched, cancelled, fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from threading import Event
from typing import Any, Final

from pairscope.client import Client
from pairscope.errors import PairscopeError

__all__ = ["run_through_api"]

_LOOK_S: Final = 0.2


def run_through_api(
    api: Client,
    kind: str,
    body: Mapping[str, Any],
    *,
    ask: Callable[[Callable[[], Any]], Any],
    progress: Callable[[int, int], None],
    stopped: Event,
) -> dict[str, Any]:
    """Return the document of a run of ``kind``, which the instance keeps; ``progress`` is told how far it is.

    ``ask`` calls what it is given, again where it has to. Once ``stopped`` is set the job is cancelled there, and
    ``CancelledError`` raised. ``PairscopeError`` says why a run failed that the API had accepted; what it does not
    accept raises as ``Client`` does.
    """
    job = ask(partial(api.start_backtest, kind, **body))
    try:
        while job["status"] in ("queued", "running"):
            progress(job["done"], max(job["total"], 1))
            if stopped.wait(_LOOK_S):
                raise CancelledError("the run was cancelled")
            job = ask(partial(api.job, job["id"]))
    except BaseException:
        api.cancel_job(job["id"])
        raise
    if job["status"] != "done":
        raise PairscopeError(job["error"] or f"the run was {job['status']} where it ran")
    return dict(ask(partial(api.backtest_run, job["id"])).document)
