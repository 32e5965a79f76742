"""Keeping: what archiving, deleting, checking and compacting would do, said before anybody confirms it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_source import Said, change, forget_stored
from pairscope.dashboard.data_words import count_words, names_words, size_words, table_height
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import number_at, plain

__all__ = ["amount_words", "limit_of", "show_keeping"]

_TRIED: Final = "_keeping_tried"
_SAID: Final = "_keeping_said"
_CONFIRM: Final = "_keeping_confirm"  # what is to be deleted, while the question stands open


def show_keeping(client: Client, storage: Mapping[str, Any]) -> None:
    """Draw the forms, and what came of the last button."""
    st.subheader("Keeping it small and sound", anchor=False)
    said: tuple[str, Said] | None = st.session_state.pop(_SAID, None)
    if said is not None:
        name, outcome = said
        if outcome.problem:
            st.warning(plain(f"{name} was not started: {outcome.problem}"))
        else:
            st.caption(f"{name} was started.")
    left, middle, right = st.columns(3, gap="medium")
    with left, st.container(border=True, key="keep-archive", height="stretch"):
        _archive(client, storage)
    with middle, st.container(border=True, key="keep-retention", height="stretch"):
        _retention(client, storage)
    with right, st.container(border=True, key="keep-sound", height="stretch"):
        _sound(client, storage)
    asked = st.session_state.get(_CONFIRM)
    if asked is not None:
        _confirm(client, *asked)


def _draw_archive(client: Client, storage: Mapping[str, Any]) -> None:
    st.markdown("**Archive old days**")
    st.caption(
        "Whole days move out of the store into Parquet files, which are smaller. Everything reads them in place: "
        "charts, exports and backtests see no difference."
    )
    older = st.number_input(
        "Older than (days)",
        1,
        36_500,
        int(number_at(storage, "archive_after_days") or 7),
        **kept("keep_archive_days"),
    )
    body = {"older_than_days": int(older)}
    if st.button("See what would move", key="archive-try", icon=":material/visibility:", width="stretch"):
        _try(client, "archive", body)
    document = _tried("archive", body)
    if document is None:
        return
    if _amount(document, "There is nothing to move: no such day lies in the store."):
        st.button(
            f"Archive {count_words(number_at(document, 'days'), 'day')}",
            type="primary",
            key="archive-do",
            width="stretch",
            on_click=_start,
            args=(client, "archive", body),
        )


_archive = st.fragment(_draw_archive)


def _draw_retention(client: Client, storage: Mapping[str, Any]) -> None:
    st.markdown("**Delete old days**")
    st.caption("The oldest days go first, out of the store and out of the archive. What is deleted is gone.")
    with st.grid(2, min_column_width=130):
        days = st.number_input(
            "Keep at most (days)",
            1,
            36_500,
            int(limit_of(storage, "retention", "days") or 0) or None,
            help="Today and so many whole days before it stay; bars that were uploaded stay whatever their age.",
            placeholder="no limit",
            **kept("keep_days"),
        )
        most = st.number_input(
            "Keep at most (GB)",
            0.001,
            1e6,
            limit_of(storage, "retention", "gb"),
            placeholder="no limit",
            **kept("keep_gb"),
        )
    body = {"days": days or 0, "gb": most or 0}  # 0 is no limit; what is left out is as the settings have it
    pressed = st.button(
        "See what would be deleted",
        key="retention-try",
        icon=":material/visibility:",
        width="stretch",
        disabled=not any(body.values()),
    )
    if pressed:
        _try(client, "retention", body)
    document = _tried("retention", body)
    if document is None:
        st.caption("This happens once. `PAIRSCOPE_RETENTION_DAYS` and `PAIRSCOPE_RETENTION_GB` do it every day.")
        return
    if _amount(document, "There is nothing to delete: all that is stored is within these limits."):
        pressed = st.button(
            f"Delete {count_words(number_at(document, 'days'), 'day')}…",
            key="retention-do",
            width="stretch",
            icon=":material/delete_forever:",
        )
        if pressed:
            st.session_state[_CONFIRM] = (body, document)
            st.rerun(scope="app")


_retention = st.fragment(_draw_retention)


def _sound(client: Client, storage: Mapping[str, Any]) -> None:
    st.markdown("**Check and compact**")
    st.caption("Are all ids there, do bars equal their trades, are the archive's files whole? Reading only.")
    st.button(
        "Check integrity",
        key="check-do",
        icon=":material/fact_check:",
        width="stretch",
        on_click=_start,
        args=(client, "check", {"repair": False}),
    )
    st.button(
        "Check and repair",
        key="repair-do",
        icon=":material/build:",
        width="stretch",
        on_click=_start,
        args=(client, "check", {"repair": True}),
        help="Bars are made anew from their trades, and what cannot be repaired is listed. Trades are never changed.",
    )
    size, used = number_at(storage, "bytes"), number_at(storage, "used_bytes")
    now = f" Of its {size_words(size)} now, rows fill {size_words(used)}." if size and used else ""
    st.caption(f"After deleting or archiving, the store's file keeps its size until it is written anew.{now}")
    st.button(
        "Compact the store",
        key="compact-do",
        icon=":material/compress:",
        width="stretch",
        on_click=_start,
        args=(client, "compact", {}),
        help="New trades wait in memory meanwhile; none is lost.",
    )


def _try(client: Client, what: str, body: Mapping[str, Any]) -> None:
    with st.spinner("Looking…"):
        said = change(client, "POST", f"/api/storage/{what}", {**body, "dry_run": True})
    st.session_state[f"{_TRIED}_{what}"] = (dict(body), said)


def _tried(what: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a dry run with these very settings said; its problem is drawn."""
    asked, said = st.session_state.get(f"{_TRIED}_{what}", (None, Said()))
    if asked != body:
        return None
    if said.problem:
        st.warning(plain(said.problem))
        return None
    found: Mapping[str, Any] = said.document or {}
    return found


def _amount(document: Mapping[str, Any], nothing: str) -> bool:
    """Draw what a dry run found; False where it found nothing."""
    if not number_at(document, "days"):
        st.caption(nothing)
        return False
    st.markdown(plain(amount_words(document)))
    rows: Sequence[Mapping[str, Any]] = document.get("rows") or ()
    if rows:
        table = [
            {"Day": row.get("date"), "Symbol": row.get("symbol"), "Trades": row.get("ticks"), "Size": row.get("bytes")}
            for row in rows
        ]
        st.dataframe(
            pd.DataFrame(table),
            hide_index=True,
            height=table_height(len(table), 180),
            column_config={
                "Trades": st.column_config.NumberColumn("Trades", format="localized"),
                "Size": st.column_config.NumberColumn("Size", format="bytes"),
            },
            alt=f"The first {len(table)} days and symbols",
        )
    return True


def amount_words(document: Mapping[str, Any]) -> str:
    """Say how much a dry run found, and of which days.

    >>> amount_words({"days": 2, "ticks": 1000, "bars": 60, "bytes": 5_000_000, "rows": [
    ...     {"date": "2024-01-01", "symbol": "A"}, {"date": "2024-01-02", "symbol": "B"}]})
    '2 days (2024-01-01 to 2024-01-02) of A and B: 1,000 trades and 60 bars, 5.0 MB.'
    """
    rows: Sequence[Mapping[str, Any]] = document.get("rows") or ()
    dates = sorted({str(row.get("date")) for row in rows})
    days = int(number_at(document, "days") or 0)
    which = (
        f" ({dates[0]} to {dates[-1]})" if len(dates) == days > 1 else f" ({dates[0]})" if days == 1 and dates else ""
    )
    names = names_words(sorted({str(row.get("symbol")) for row in rows}))
    amount = (
        f"{count_words(number_at(document, 'ticks'), 'trade')} and {count_words(number_at(document, 'bars'), 'bar')}"
    )
    size = number_at(document, "bytes")
    return (
        f"{count_words(days, 'day')}{which}{f' of {names}' if names else ''}: {amount}"
        f"{f', {size_words(size)}' if size else ''}."
    )


def _start(client: Client, what: str, body: Mapping[str, Any]) -> None:
    """Start a work; the list of works shows it from then on."""
    names = {"archive": "Archiving", "retention": "The deletion", "check": "The check", "compact": "Compaction"}
    dry = {"dry_run": False} if what in {"archive", "retention"} else {}
    said = change(client, "POST", f"/api/storage/{what}", {**body, **dry})
    st.session_state[_SAID] = (names[what], said)
    for tried in ("archive", "retention"):  # what was looked at before is no longer so
        st.session_state.pop(f"{_TRIED}_{tried}", None)
    forget_stored()


def _confirm(client: Client, body: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    def asked() -> None:
        st.markdown(plain(f"This will be deleted: {amount_words(document)}"))
        st.markdown(
            "**It cannot be undone.** Charts, backtests and exports of these days will be empty, and nothing here "
            "brings them back: only another back-fill, for as long as the exchange still has them. If you may want "
            "them again, archive or export them first."
        )
        sure = st.checkbox("I want these days deleted", key="retention-sure")
        if st.button("Delete for good", type="primary", key="retention-yes", disabled=not sure, width="stretch"):
            _start(client, "retention", body)
            _dismiss()
            st.rerun()

    st.dialog("Delete stored days?", width="medium", on_dismiss=_dismiss)(asked)()


def _dismiss() -> None:
    st.session_state.pop(_CONFIRM, None)


def limit_of(storage: Mapping[str, Any], *path: str) -> float | None:
    """Return a limit of the settings; None where there is none, which they write as 0.

    >>> limit_of({"retention": {"days": 0, "gb": 2.5}}, "retention", "days") is None
    True
    """
    return number_at(storage, *path) or None
