"""A run on its way: started by a button, watched in place, cancelled, and its result put into the address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.backtest_source import ENDED, cancel_job, forget_runs, job_of, run_id_of, start_run
from pairscope.dashboard.job_card import show_job_card
from pairscope.dashboard.pair_words import duration

__all__ = ["is_running", "launch", "open_run", "progress_words", "run_shown", "show_job"]

_WATCH_S: Final = 0.5
_PACE_S: Final = 2.0  # looked on for so long before the time left is told
_UNITS: Final[Mapping[str, str]] = {"backtest": "steps", "sweep": "rules", "walk_forward": "rules"}


def run_shown(kind: str) -> str:
    """Return the id of the run of a kind that the address names; empty where there is none."""
    return str(st.query_params.get(f"{kind}_run", ""))


def open_run(kind: str, run_id: str) -> None:
    """Let the address name a run: it is what the page shows."""
    st.query_params[f"{kind}_run"] = run_id


def is_running(kind: str) -> bool:
    """Return whether a run of this kind is on its way, as far as this page knows."""
    return f"{kind}_job" in st.query_params


def launch(client: Client, kind: str, body: Mapping[str, Any]) -> None:
    """Start a run: the page watches it from then on, or shows it where it was there at once."""
    st.session_state.pop(f"_{kind}_note", None)
    heard = start_run(client, kind, body)
    if heard.problem or heard.document is None:
        st.session_state[f"_{kind}_note"] = ("red", heard.problem or "The API said nothing.")
        return
    if "status" in heard.document:
        st.query_params[f"{kind}_job"] = str(heard.document["id"])
    else:
        _done(kind, run_id_of(heard.document))


def show_job(client: Client, kind: str) -> None:
    """Draw how far a run is, with the button that cancels it, or what became of the last one."""
    if is_running(kind):
        _watched(client, kind)
    note = st.session_state.get(f"_{kind}_note")
    if note and not is_running(kind):
        colour, text = note
        if colour == "red":
            st.warning(text)
        else:
            st.caption(text)


def _watch(client: Client, kind: str) -> None:
    job_id = st.query_params.get(f"{kind}_job")
    if not job_id:
        return
    heard = job_of(client, job_id)
    if heard.document is None and not heard.passing:
        _ended(kind, ("red", f"Nothing is known of this run any more ({heard.problem.rstrip('.')}): start it again."))
    document: Mapping[str, Any] = heard.document or {}
    status = str(document.get("status") or "running")
    if status in ENDED and not heard.problem:
        if status == "done":
            _done(kind, run_id_of(document))
        _ended(kind, _outcome(kind, status, document))
    share, words = progress_words(document, kind, _left_s(kind, job_id, document))
    stopping = st.session_state.get(f"_{kind}_stopping") == job_id
    show_job_card(
        share,
        words,
        key=f"{kind}-job",
        cancel_key=f"cancel-{kind}",
        stopping=stopping,
        problem=heard.problem,
        cancel=_cancel,
        args=(client, kind, job_id),
    )


_watched = st.fragment(run_every=_WATCH_S)(_watch)


def _cancel(client: Client, kind: str, job_id: str) -> None:
    problem = cancel_job(client, job_id)
    if not problem:
        st.session_state[f"_{kind}_stopping"] = job_id


def _done(kind: str, run_id: str) -> None:
    open_run(kind, run_id)
    forget_runs()


def _outcome(kind: str, status: str, document: Mapping[str, Any]) -> tuple[str, str] | None:
    if status == "failed":
        return "red", f"It failed: {document.get('error') or 'no reason was given'}"
    if status == "cancelled":
        done, total = int(document.get("done") or 0), int(document.get("total") or 0)
        far = f" after {done:,} of {total:,} {_UNITS[kind]}" if total else ""
        return "gray", f"Cancelled{far}: nothing of it was kept."
    return None


def _ended(kind: str, note: tuple[str, str] | None) -> None:
    """Stop watching and draw the page anew."""
    del st.query_params[f"{kind}_job"]
    st.session_state.pop(f"_{kind}_stopping", None)
    if note is not None:
        st.session_state[f"_{kind}_note"] = note
    st.rerun(scope="app")


def _left_s(kind: str, job_id: str, document: Mapping[str, Any]) -> float | None:
    """Return how long a job will take yet, by its pace since it was first seen to move; None while that is unknown."""
    done, total, now = int(document.get("done") or 0), int(document.get("total") or 0), time.monotonic()
    seen = st.session_state.get(f"_{kind}_pace")
    if not done:
        return None
    if seen is None or seen[0] != job_id:
        st.session_state[f"_{kind}_pace"] = (job_id, now, done)
        return None
    _, since, first = seen
    return (now - since) * (total - done) / (done - first) if done > first and now - since > _PACE_S else None


def progress_words(document: Mapping[str, Any], kind: str, left_s: float | None = None) -> tuple[float, str]:
    """Return how far a job is, from 0 to 1, and that in words with the time that is left.

    >>> progress_words({"status": "running", "done": 250, "total": 1000}, "sweep", 30.0)
    (0.25, '250 of 1,000 rules, about 30 s more')
    >>> progress_words({"status": "queued"}, "backtest")
    (0.0, 'Waiting for its turn…')
    """
    done, total = int(document.get("done") or 0), int(document.get("total") or 0)
    if document.get("status") == "queued":
        return 0.0, "Waiting for its turn…"
    if total <= 0:
        return 0.0, "Reading bars and making ready…"
    if done >= total:
        return 1.0, f"{total:,} of {total:,} {_UNITS[kind]}, judging the result…"
    left = "" if left_s is None else f", about {duration(left_s, 1)} more"
    return max(0.0, done / total), f"{done:,} of {total:,} {_UNITS[kind]}{left}"
