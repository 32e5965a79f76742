"""What the API says of a screen: asked whole only when there is a new one; its last word while it says nothing.

A screen that nobody keeps up to date is computed by a job: while it runs the page has the screen before, or the job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.pair_source import Heard, ask, forget, hear
from pairscope.dashboard.scanner_choice import MOST_ROWS, ScanChoice
from pairscope.errors import Busy, PairscopeError

__all__ = [
    "Scan",
    "ask_null",
    "cancel_job",
    "closer_look",
    "discovery_events",
    "go_on",
    "job_of",
    "made_by",
    "null_job",
    "pair_history",
    "screened",
    "stop",
    "stopped",
]

_PATH: Final = "/api/analytics/screen"
_EVENTS: Final = 12
_SURROGATES: Final = 20
_SHORT_S: Final = 1.0
"""A job that ends within this time is never shown."""

_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Scan:
    """The newest screen and the job that computes a newer one, each None where there is none; ``problem`` of either."""

    heard: Heard
    job: Mapping[str, Any] | None = None


def screened(client: Client, choice: ScanChoice) -> Scan:
    """Return the newest screen through the choice's filters, with the z-scores of the last bars for each row.

    One row is asked for first; only where that tells of another screen than before, all of them. A job that fails is a
    problem of the screen before.
    """
    params = choice.asked()
    running: list[Mapping[str, Any]] = []

    def call() -> Any:
        head, job = _head(client, choice)
        running.extend([job] if job is not None else [])
        if head is None:
            return None
        version = tuple(str(head.get(name)) for name in ("screen", "as_of", "tests", "null"))
        return _kept(client.base_url, tuple(sorted(params.items())), version, made_by(choice), _client=client)

    return Scan(hear("screen", str(params), call), running[0] if running else None)


def made_by(choice: ScanChoice) -> str | None:
    """Return the job that computed the screen that is shown; None of one that is kept up to date."""
    found: str | None = _state("made_by").get(_name(choice))
    return found


def stopped(choice: ScanChoice) -> bool:
    """Return whether somebody cancelled the screen: it is not computed again before somebody asks for it."""
    return _name(choice) in _state("stopped")


def stop(choice: ScanChoice) -> None:
    """Have a screen not computed again by itself: it was cancelled from here."""
    _state("stopped")[_name(choice)] = True


def go_on(choice: ScanChoice) -> None:
    """Have a screen that was cancelled computed after all."""
    _state("stopped").pop(_name(choice), None)


def _head(client: Client, choice: ScanChoice) -> tuple[Any, Mapping[str, Any] | None]:
    """Return one row of the newest screen and the job that computes a newer one, None where there is none."""
    asked = {**choice.screen(), "limit": 1}
    name, job = _name(choice), None
    if not stopped(choice):
        answer = ask(client, _PATH, **asked, wait=False)
        if "pairs" in answer:
            _state("made_by").pop(name, None)
            return answer, None
        forget(client, _PATH, **asked, wait=False)
        job = _ended(client, answer)
        if job.get("status") == "done":
            _state("made_by")[name] = str(job["id"])
        elif job.get("status") == "cancelled":
            stop(choice)
        if job.get("ended_ms") is not None:
            job = None
    maker = made_by(choice)
    if maker is None:
        return None, job
    try:
        return ask(client, _PATH, **asked, job=maker), job
    except PairscopeError as error:
        if getattr(error, "http_status", error.status) != 404:
            raise
        del _state("made_by")[name]  # it was let go of there
        return None, job


def _ended(client: Client, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job when it has ended, or as it is after a moment; ``PairscopeError`` of one that failed."""
    until = time.monotonic() + _SHORT_S
    while job.get("ended_ms") is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
        job = client.get(f"/api/jobs/{job['id']}")
    if job.get("status") == "failed":
        raise PairscopeError(str(job.get("error") or "the screen could not be computed"))
    return job


def _whole(
    address: str, params: tuple[tuple[str, Any], ...], version: tuple[str, ...], maker: str | None, _client: Client
) -> Any:
    which = {"job": maker} if maker else {"wait": False}
    answer = _client.get(_PATH, **dict(params), **which, limit=MOST_ROWS, sort="qvalue", sparkline=True)
    if "pairs" not in answer:
        raise Busy("the screen is being computed anew")
    return answer


_kept = st.cache_data(ttl=3600, max_entries=32, show_spinner=False)(_whole)


def job_of(client: Client, job: str) -> Heard:
    """Return how far a job is."""
    return hear("job", job, lambda: client.get(f"/api/jobs/{job}"))


def cancel_job(client: Client, job: str) -> str:
    """Cancel a job; return what was wrong with that, nothing where all is well."""
    try:
        client.send("DELETE", f"/api/jobs/{job}")
    except PairscopeError as error:
        return str(error)
    return ""


def ask_null(client: Client, choice: ScanChoice) -> str:
    """Have surrogates of the market screened; return what was wrong with that, nothing where all is well."""
    asked = {"timeframe": choice.timeframe, "lookback": choice.lookback, "limit": 1}
    try:
        client.get(_PATH, **asked, empirical_null=_SURROGATES, wait=False)
    except PairscopeError as error:
        return str(error)
    return ""


def closer_look(client: Client, choice: ScanChoice, y: str, x: str) -> Heard:
    """Return both tests of a pair with a second look at each, whether they are discoveries or not."""
    maker = made_by(choice)
    asked = {"timeframe": choice.timeframe, "lookback": choice.lookback, "control": choice.control, "fdr": 1}
    which = {"job": maker} if maker else {"wait": False}
    return hear(
        "closer",
        f"{y}:{x} {asked}",
        lambda: ask(client, _PATH, **asked, **which, pair=f"{y}:{x}", examine=True, limit=2),
    )


def pair_history(client: Client, choice: ScanChoice, y: str, x: str) -> Heard:
    """Return a pair's q-values over time."""
    params = {"y": y, "x": x, "timeframe": choice.timeframe, "lookback": choice.lookback}
    return hear("history", str(params), lambda: ask(client, f"{_PATH}/history", **params))


def discovery_events(client: Client, choice: ScanChoice) -> Heard:
    """Return what entered the discoveries and what left them, newest first."""
    params = {"timeframe": choice.timeframe, "lookback": choice.lookback, "limit": _EVENTS}
    return hear("discoveries", str(params), lambda: ask(client, f"{_PATH}/discoveries", **params))


def null_job(client: Client, choice: ScanChoice) -> Mapping[str, Any] | None:
    """Return the job that screens surrogates of the market; None where none does."""
    heard = hear("nulls", client.base_url, lambda: client.get("/api/jobs", kind="null"))
    mark = f"timeframe={choice.timeframe}&lookback={choice.lookback}&"
    jobs = (heard.document or {}).get("jobs", ())
    return next((job for job in jobs if job["ended_ms"] is None and mark in str(job["result"])), None)


def _state(what: str) -> dict[str, Any]:
    found: dict[str, Any] = st.session_state.setdefault(f"_scan_{what}", {})
    return found


def _name(choice: ScanChoice) -> str:
    return f"{choice.timeframe}:{choice.lookback}"
