"""A screen on its way: how far it is, a button that cancels it, and another that begins it again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.job_card import show_job_card
from pairscope.dashboard.pair_words import duration
from pairscope.dashboard.scanner_choice import ScanChoice
from pairscope.dashboard.scanner_source import cancel_job, go_on, job_of, null_job, stop, stopped

__all__ = ["progress_words", "show_null_job", "show_screen_job", "show_stopped"]

_WATCH_S: Final = 0.5


def show_screen_job(client: Client, choice: ScanChoice, job: Mapping[str, Any], *, newer: bool) -> None:
    """Draw how far a screen is, until it has ended; ``newer`` where one before it is shown meanwhile."""
    _watched(client, str(job["id"]), "A newer screen: " if newer else "Testing every pair: ", choice)


def show_null_job(client: Client, choice: ScanChoice) -> bool:
    """Draw how far the surrogates of the market are; return whether there are any on their way."""
    job = null_job(client, choice)
    if job is not None:
        _watched(client, str(job["id"]), "Surrogate markets, each with no pair in it: ")
    return job is not None


def show_stopped(choice: ScanChoice) -> None:
    """Say that the screen was cancelled, where it was, and let it begin again."""
    if not stopped(choice):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="scan-stopped"):
        st.markdown("This screen was cancelled.", width="content")
        st.button("Compute it", icon=":material/play_arrow:", key="scan-go-on", on_click=go_on, args=(choice,))


def _watch(client: Client, job_id: str, head: str, screen: ScanChoice | None = None) -> None:
    heard = job_of(client, job_id)
    job: Mapping[str, Any] = heard.document or {}
    if (heard.document is None and not heard.passing) or job.get("ended_ms") is not None:
        st.session_state.pop("_scan_stopping", None)
        st.rerun(scope="app")
    share, words = progress_words(job, time.time() * 1000)
    stopping = st.session_state.get("_scan_stopping") == job_id
    show_job_card(
        share,
        head + words,
        key=f"scan-job-{job_id}",
        cancel_key=f"scan-cancel-{job_id}",
        stopping=stopping,
        problem=heard.problem,
        cancel=_cancel,
        args=(client, job_id, screen),
    )


_watched = st.fragment(run_every=_WATCH_S)(_watch)


def _cancel(client: Client, job_id: str, screen: ScanChoice | None) -> None:
    if cancel_job(client, job_id):
        return
    st.session_state["_scan_stopping"] = job_id
    if screen is not None:
        stop(screen)


def progress_words(job: Mapping[str, Any], now_ms: float) -> tuple[float, str]:
    """Return how far a job is, from 0 to 1, and that in words with the time that is left.

    >>> progress_words({"status": "running", "done": 11, "total": 55, "started_ms": 0}, 10_000)
    (0.2, '20 %, about 40 s more')
    >>> progress_words({"status": "running", "done": 0, "total": 0}, 0)
    (0.0, 'reading bars…')
    """
    done, total = int(job.get("done") or 0), int(job.get("total") or 0)
    if job.get("status") == "queued":
        return 0.0, "waiting for its turn…"
    if total <= 0:
        return 0.0, "reading bars…"
    share = min(1.0, max(0.0, done / total))
    started, left = job.get("started_ms"), ""
    if isinstance(started, int | float) and 0 < done < total and now_ms - started > 2000:
        left = f", about {duration((now_ms - started) / 1000 * (total - done) / done, 1)} more"
    return share, f"{100 * share:.0f} %{left}"
