"""What the tab asks of the API about stored data: once for all viewers, and the last answer while it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_source import Heard, ask, hear
from pairscope.errors import PairscopeError

__all__ = [
    "JOB_KINDS",
    "Said",
    "cancel_job",
    "change",
    "estimate_of",
    "forget_stored",
    "gaps_calendar",
    "gaps_listed",
    "job_result",
    "kept_jobs",
    "send_file",
    "stats_now",
    "stored",
    "uploads_kept",
]

JOB_KINDS: Final = ("backfill", "exchange", "archive", "retention", "compact", "check")
"""Long works on stored data, as the list of jobs names them."""

_FILE_PATIENCE_S: Final = 120.0
_ASKED_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a request that changes something; ``problem`` in a sentence, with the rows it refused."""

    document: Any = None
    problem: str = ""
    rejected: Sequence[Mapping[str, Any]] = ()
    rejected_total: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


def stats_now(client: Client) -> Heard:
    """Return the counters of the instance."""
    return hear("data_stats", client.base_url, lambda: _often(client.base_url, "/api/stats", (), _client=client))


def stored(client: Client, **narrow: Any) -> Heard:
    """Return what is stored where, day by day."""
    return _listed(client, "storage", "/api/storage", narrow)


def gaps_calendar(client: Client, **narrow: Any) -> Heard:
    """Return the days that holes touch, a row a symbol and day."""
    return _listed(client, "calendar", "/api/gaps/calendar", narrow)


def gaps_listed(client: Client, **narrow: Any) -> Heard:
    """Return the holes themselves, the newest first."""
    return _listed(client, "gaps", "/api/gaps", narrow)


def uploads_kept(client: Client) -> Heard:
    """Return the bars that were uploaded, a row a symbol and timeframe."""
    return _listed(client, "uploads", "/api/uploads", {})


def estimate_of(client: Client, path: str, params: Mapping[str, Any]) -> Heard:
    """Return how many rows and about how many bytes an export would have."""
    key = f"{path} {sorted(params.items())}"
    return hear("estimate", key, lambda: ask(client, f"{path}/estimate", **params))


def kept_jobs(client: Client) -> Heard:
    """Return the works on stored data that wait, run or have ended, the newest first."""

    def call() -> list[Mapping[str, Any]]:
        jobs = _often(client.base_url, "/api/jobs", (), _client=client)["jobs"]
        return [job for job in jobs if job.get("kind") in JOB_KINDS]

    return hear("data_jobs", client.base_url, call)


def job_result(client: Client, job: Mapping[str, Any]) -> Heard:
    """Return what a job that is done has found; it never changes, and is asked for once."""
    path = str(job.get("result") or "")
    if not path:
        return Heard()
    return hear(f"result_{job['id']}", path, lambda: _once(client.base_url, path, _client=client))


def cancel_job(client: Client, job_id: str) -> str:
    """Have a job end; return why it could not be told to, else nothing."""
    try:
        client.cancel_job(job_id)
    except PairscopeError as error:
        return str(error)
    return ""


def change(client: Client, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Said:
    """Ask for a change of what is stored."""
    return _said(lambda: client.send(verb, path, body, timeout=_ASKED_PATIENCE_S))


def send_file(client: Client, path: str, name: str, content: bytes, fields: Mapping[str, Any]) -> Said:
    """Send a file with the fields of a form."""
    return _said(lambda: client.post_file(path, name, content, fields, timeout=_FILE_PATIENCE_S))


def forget_stored() -> None:
    """Let the next look ask anew: something was changed from here."""
    _often.clear()
    _now_and_then.clear()


def _said(call: Callable[[], Any]) -> Said:
    try:
        return Said(call())
    except PairscopeError as error:
        problem: Mapping[str, Any] = getattr(error, "problem", None) or {}
        rejected = [row for row in problem.get("rejected") or () if isinstance(row, Mapping)]
        hint = f": {error.hint}" if error.hint and error.hint not in str(error) else ""
        return Said(
            None, sentence(f"{error}{hint}"), rejected, int(problem.get("rejected_total") or len(rejected)), problem
        )


def sentence(text: str) -> str:
    """Make a sentence of an error's words.

    >>> sentence("symbol: is missing")
    'Symbol: is missing.'
    """
    told = text[:1].upper() + text[1:]
    return told if told.endswith((".", "?", "!")) else f"{told}."


def _listed(client: Client, name: str, path: str, narrow: Mapping[str, Any]) -> Heard:
    given = tuple(sorted((key, value) for key, value in narrow.items() if value is not None))
    return hear(f"data_{name}", f"{given}", lambda: _now_and_then(client.base_url, path, given, _client=client))


def _get(address: str, path: str, params: tuple[tuple[str, Any], ...], _client: Client) -> Any:
    return _client.get(path, **dict(params))


def _get_plain(address: str, path: str, _client: Client) -> Any:
    return _client.get(path)


_often = st.cache_data(ttl=1, max_entries=8, show_spinner=False)(_get)
_now_and_then = st.cache_data(ttl=10, max_entries=64, show_spinner=False)(_get)
_once = st.cache_data(ttl=3600, max_entries=64, show_spinner=False)(_get_plain)
