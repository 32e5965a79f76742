"""Long works on stored data: how far each is, the button that cancels it, and what the last ones came to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_source import cancel_job, forget_stored, job_result, kept_jobs
from pairscope.dashboard.data_words import count_words, names_words, size_words, span_words, table_height
from pairscope.dashboard.job_card import show_job_card
from pairscope.dashboard.pair_words import duration, number_at, plain, when

__all__ = ["found_words", "job_words", "result_words", "show_jobs"]

_WATCH_S: Final = 1.0
_SHOWN: Final = 3
_LISTED: Final = 200
_ENDED: Final = ("done", "failed", "cancelled")
_STOPPING: Final = "_data_jobs_stopping"
_SEEN: Final = "_data_jobs_running"
_NAMES: Final[Mapping[str, str]] = {
    "backfill": "Back-fill",
    "exchange": "Exchange file",
    "archive": "Archiving",
    "retention": "Deletion",
    "compact": "Compaction",
    "check": "Integrity check",
}


def _watch(client: Client, kinds: Sequence[str], nothing: str = "") -> None:
    """Draw the works of some kinds: those on their way, and the newest that have ended."""
    heard = kept_jobs(client)
    jobs = [job for job in heard.document or () if job.get("kind") in kinds]
    running = [job for job in jobs if job.get("status") not in _ENDED]
    before = st.session_state.get(_SEEN, frozenset())
    st.session_state[_SEEN] = frozenset(str(job["id"]) for job in running)
    if before & {str(job["id"]) for job in jobs if job.get("status") in _ENDED}:
        forget_stored()
        st.rerun(scope="app")
    if nothing and not jobs and not heard.problem:
        st.caption(nothing)
    for job in running:
        share, words = job_words(job)
        name = str(job["id"])
        show_job_card(
            share,
            words,
            key=f"data-job-{name}",
            cancel_key=f"cancel-data-{name}",
            stopping=name in st.session_state.get(_STOPPING, ()),
            problem=heard.problem,
            cancel=_cancel,
            args=(client, name),
        )
    for job in [job for job in jobs if job.get("status") in _ENDED][:_SHOWN]:
        _ended(client, job)


show_jobs = st.fragment(run_every=_WATCH_S)(_watch)
"""Draw them, again every second."""


def _cancel(client: Client, job_id: str) -> None:
    if not cancel_job(client, job_id):
        st.session_state[_STOPPING] = {*st.session_state.get(_STOPPING, ()), job_id}


def _ended(client: Client, job: Mapping[str, Any]) -> None:
    """Say what became of one: in a sentence, with the findings of a check below it."""
    name = _NAMES.get(str(job.get("kind")), "Job")
    head = f"**{name}**, {when(number_at(job, 'ended_ms'))}: "
    status = job.get("status")
    if status == "failed":
        st.markdown(f":red[✗] {head}{plain(str(job.get('error') or 'it failed without a reason'))}")
        return
    if status == "cancelled":
        st.markdown(f"○ {head}cancelled. What was done until then stays; start it again to go on from there.")
        return
    document: Mapping[str, Any] = job_result(client, job).document or {}
    title = str(job.get("title") or "done")
    sign = ":orange[▲]" if document.get("left") or document.get("failed") else ":green[✓]"
    st.markdown(f"{sign} {head}{plain(result_words(str(job.get('kind')), document) or title)}")
    findings: Sequence[Mapping[str, Any]] = document.get("findings") or ()
    if findings:
        rows = [found_words(one) for one in findings[:_LISTED]]
        columns = {name: [plain(row[name]) for row in rows] for name in rows[0]}
        st.table(
            columns,
            border="horizontal",
            hide_index=True,
            height=table_height(len(rows), 320),
            alt=f"{count_words(len(rows), 'finding')} of the check",
        )


def job_words(job: Mapping[str, Any]) -> tuple[float, str]:
    """Return how far a job is, from 0 to 1, and that in words with the time that is left.

    >>> job_words({"title": "back-fill of 2 symbols", "status": "running", "done": 50, "total": 200,
    ...            "started_ms": 0, "now_ms": 10_000})
    (0.25, 'Back-fill of 2 symbols: 25 %, about 30 s more')
    >>> job_words({"title": "check", "status": "queued"})
    (0.0, 'Check: waiting for its turn…')
    """
    title = str(job.get("title") or _NAMES.get(str(job.get("kind")), "job"))
    title = plain(title[:1].upper() + title[1:])
    done, total = int(job.get("done") or 0), int(job.get("total") or 0)
    if job.get("status") == "queued":
        return 0.0, f"{title}: waiting for its turn…"
    if total <= 0:
        return 0.0, f"{title}: making ready…"
    share = min(1.0, max(0.0, done / total))
    started = number_at(job, "started_ms")
    now = number_at(job, "now_ms") or time.time() * 1000
    spent_s = None if started is None else (now - started) / 1000
    left = ""
    if spent_s is not None and spent_s > 2 and 0 < share < 1:
        left = f", about {duration(spent_s * (1 - share) / share, 1)} more"
    return share, f"{title}: {share * 100:.0f} %{left}"


def result_words(kind: str, document: Mapping[str, Any]) -> str:
    """Say what a job came to; empty where its document says nothing that is known here.

    >>> result_words("exchange", {"symbol": "BTCUSDT", "kind": "trades", "rows": 5, "stored": 4, "repeats": 1})
    'BTCUSDT: 5 trades read, 4 stored, 1 there already.'
    >>> result_words("check", {"ok": True, "findings": []})
    'Everything holds: ids, bars and checksums.'
    >>> result_words("retention", {"days": 2, "ticks": 10, "bytes": 2000})
    '2 days, 10 trades, 2.0 kB.'
    >>> result_words("compact", {"bytes_before": 9_000_000, "bytes": 2_000_000})
    "the store's file had 9.0 MB, and has 2.0 MB now."
    """
    if kind == "check":
        return _checked_words(document)
    if kind in {"backfill", "exchange"}:
        return _fetched_words(document)
    parts = [count_words(number_at(document, name), word) for name, word in _COUNTED if number_at(document, name)]
    before, size = number_at(document, "bytes_before"), number_at(document, "bytes")
    if before is not None:
        parts.append(f"the store's file had {size_words(before)}, and has {size_words(size)} now")
    elif size:
        parts.append(size_words(size))
    return f"{', '.join(parts)}." if parts else ""


_COUNTED: Final = (("days", "day"), ("ticks", "trade"), ("bars", "bar"))


def _checked_words(document: Mapping[str, Any]) -> str:
    """Say what a check found, and how much it looked at.

    >>> _checked_words({"ok": False, "found": 3, "left": 1, "checked": {"ticks": 9000, "bars": 60, "files": 2}})
    '3 findings, 1 of them left as it is; 9,000 trades, 60 bars and 2 files were looked at.'
    """
    if not document:
        return ""
    found = number_at(document, "found")
    found = len(document.get("findings") or ()) if found is None else found
    left = number_at(document, "left")
    seen = [
        count_words(number_at(document, "checked", name), word)
        for name, word in (("ticks", "trade"), ("bars", "bar"), ("files", "file"))
        if number_at(document, "checked", name)
    ]
    looked = f"; {', '.join(seen[:-1])}{' and ' if seen[1:] else ''}{seen[-1]} were looked at" if seen else ""
    if not found:
        return f"Everything holds: ids, bars and checksums{looked}."
    still = f", {left:,.0f} of them left as {'it is' if left == 1 else 'they are'}" if left else ", all repaired"
    return f"{count_words(found, 'finding')}{still if left is not None else ''}{looked}."


def _fetched_words(document: Mapping[str, Any]) -> str:
    """Say what a back-fill or a file brought.

    >>> _fetched_words({"kind": "bars", "symbols": ["A", "B"], "stored": 1440, "failed": {"B": "unknown symbol"}})
    'A and B: 1,440 bars stored; not of B: unknown symbol.'
    """
    if not document:
        return ""
    one = "trade" if document.get("kind") == "trades" else "bar"
    symbols = document.get("symbols")
    named = [str(symbol) for symbol in symbols] if isinstance(symbols, list | tuple) else [document.get("symbol")]
    names = names_words([str(name) for name in named if name])
    rows, stored, repeats, rejected, healed = (
        number_at(document, name) for name in ("rows", "stored", "repeats", "rejected", "healed")
    )
    parts = [
        f"{count_words(rows, one)} read" if rows is not None else "",
        f"{count_words(stored, one) if rows is None else f'{stored:,.0f}'} stored" if stored is not None else "",
        f"{repeats:,.0f} there already" if repeats else "",
        f"{rejected:,.0f} refused" if rejected else "",
        f"{count_words(healed, 'missing trade')} found" if healed else "",
        span_words(number_at(document, "first_timestamp"), number_at(document, "last_timestamp")),
    ]
    told = ", ".join(part for part in parts if part)
    failed = document.get("failed")
    lost = [f"; not of {name}: {why}" for name, why in failed.items()] if isinstance(failed, Mapping) else []
    more = f"; and not of {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else ""
    old = document.get("too_old")
    until = number_at(old, "until")
    late = f"; trades before {when(until)} come out of archive files only" if until is not None else ""
    return (
        f"{names}{': ' if names and told else ''}{told}{''.join(lost[:_SHOWN])}{more}{late}." if names or told else ""
    )


def found_words(finding: Mapping[str, Any]) -> dict[str, str]:
    """Return a finding of a check as a row of a table: what it is, what it means, and what became of it.

    >>> found = found_words({"symbol": "A", "date": "2024-01-01", "kind": "bar", "detail": "high differs",
    ...                      "means": "charts are wrong", "repair": "made anew from trades", "repaired": False})
    >>> found["What"], found["It means"], found["Repair"]
    ('high differs', 'charts are wrong', 'made anew from trades')
    """
    where = (finding.get("symbol"), finding.get("date"))
    return {
        "Where": " ".join(str(part) for part in where if part) or "the store",
        "What": str(finding.get("detail") or finding.get("kind") or ""),
        "It means": str(finding.get("means") or ""),
        "Repair": "done" if finding.get("repaired") else str(finding.get("repair") or ""),
    }
