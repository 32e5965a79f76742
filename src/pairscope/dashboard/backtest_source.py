"""What the tab asks of the API: a run to be started, watched and cancelled, and the runs that are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_source import Heard, hear
from pairscope.errors import PairscopeError

__all__ = [
    "ENDED",
    "cancel_job",
    "delete_run",
    "forget_runs",
    "job_of",
    "kept_run",
    "kept_runs",
    "run_id_of",
    "start_run",
]

ENDED: Final = ("done", "failed", "cancelled")
"""What a job's status is once nothing of it moves any more."""

_LISTED: Final = 200


def start_run(client: Client, kind: str, body: Mapping[str, Any]) -> Heard:
    """Start a run of a kind; the document is its job's, or the run's own where that is there already."""

    return hear(f"start_{kind}", "", lambda: client.start_backtest(kind, **body))


def job_of(client: Client, job_id: str) -> Heard:
    """Return where a job stands."""
    return hear("job", job_id, lambda: client.job(job_id))


def cancel_job(client: Client, job_id: str) -> str:
    """Have a job end; return why it could not be told to, else nothing."""
    return _changed(lambda: client.cancel_job(job_id))


def run_id_of(document: Mapping[str, Any]) -> str:
    """Return the kept run's id that a job's document, or the run's own, tells; empty where there is none yet.

    >>> run_id_of({"id": "7", "status": "done", "result": "/api/backtests/abc"})
    'abc'
    >>> run_id_of({"id": "abc", "metrics": {}})
    'abc'
    """
    if "status" not in document:
        return str(document.get("id") or "")
    return str(document.get("result") or "").rstrip("/").rpartition("/")[2]


def kept_run(client: Client, run_id: str) -> Heard:
    """Return a run's whole document; it never changes, and is asked for once."""
    return hear("run", run_id, lambda: _kept(client.base_url, run_id, _client=client))


def _keep(address: str, run_id: str, _client: Client) -> Any:
    return _client.get(f"/api/backtests/{run_id}")


_kept = st.cache_data(ttl=3600, max_entries=24, show_spinner=False)(_keep)


def kept_runs(client: Client) -> Heard:
    """Return the runs that are kept, newest first, a line of each."""
    return hear("runs", client.base_url, lambda: _listed(client.base_url, _client=client))


def _list(address: str, _client: Client) -> Any:
    answer = _client.get("/api/backtests", limit=_LISTED)
    return answer["backtests"]


_listed = st.cache_data(ttl=4, max_entries=4, show_spinner=False)(_list)


def delete_run(client: Client, run_id: str) -> str:
    """Delete a run; return why it could not be, else nothing."""
    problem = _changed(lambda: client.delete_backtest(run_id))
    forget_runs()
    return problem


def forget_runs() -> None:
    """Let the next listing ask anew: it was changed from here."""
    _listed.clear()


def _changed(call: Callable[[], object]) -> str:
    try:
        call()
    except PairscopeError as error:
        return str(error)
    return ""
