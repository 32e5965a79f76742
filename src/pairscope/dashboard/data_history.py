"""Back-fill: fetch what happened before Pairscope ran, from the exchange itself or from its archive files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_jobs import show_jobs
from pairscope.dashboard.data_source import Said, change, send_file
from pairscope.dashboard.data_words import moment_ms
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import plain

__all__ = ["show_history"]

MOST_FILE_MB: Final = 100
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "Bars": (
        "bars",
        "One-minute bars, as the exchange made them: 1,440 a day and symbol, of any time since it was listed.",
    ),
    "Trades": (
        "trades",
        "Every trade, so that second bars and replays become possible. The exchange hands out those of the last 48 "
        "hours, busy symbols slowly; older ones come out of its archive files.",
    ),
}
_OUTCOME: Final = "_backfill_outcome"
_FILE_OUTCOME: Final = "_exchange_outcome"


def show_history(client: Client, known: Sequence[str]) -> None:
    """Draw both forms, and the works that are on their way."""
    left, right = st.columns(2, gap="large")
    with left:
        _form(client, known)
    with right:
        _file_form(client)
    st.subheader("On their way, and the last ones", anchor=False)
    show_jobs(client, ("backfill", "exchange"), "Nothing was fetched or read yet since Pairscope was started.")


def _ask(client: Client, known: Sequence[str]) -> None:
    st.subheader("From the exchange", anchor=False)
    names = st.multiselect(
        "Symbols to fetch",
        sorted(known),
        accept_new_options=True,
        placeholder="Choose or type",
        **kept("bf_symbols"),
        help="Also symbols that are not followed: type the exchange's name.",
    )
    kind = str(st.segmented_control("What to fetch", list(_KINDS), default="Bars", required=True, **kept("bf_kind")))
    st.caption(_KINDS[kind][1])
    today = datetime.now(UTC).date()
    with st.grid(2, min_column_width=180):
        since = st.date_input("Since (UTC day)", today - timedelta(days=7), max_value=today, key="bf_since")
        until = st.date_input(
            "Until, not included",
            None,
            max_value=today + timedelta(days=1),
            key="bf_until",
            help="Empty: up to now.",
        )
    start, end = moment_ms(since), moment_ms(until)
    body: dict[str, Any] = {
        "symbols": [str(name).strip().upper() for name in names],
        "since": start,
        "until": end,
        "kind": _KINDS[kind][0],
    }
    wrong = start is not None and end is not None and start >= end
    if wrong:
        st.warning("The range ends before it begins: let it end later.")
    pressed = st.button(
        "Start back-fill",
        type="primary",
        icon=":material/history:",
        key="backfill",
        width="stretch",
        disabled=not names or start is None or wrong,
        help="Goes on where the last one stopped; live trades keep their share of what the exchange allows.",
    )
    if pressed:
        given = {name: value for name, value in body.items() if value is not None}
        st.session_state[_OUTCOME] = change(client, "POST", "/api/backfill", given)
        st.rerun(scope="app")
    _say(_OUTCOME, "Started: it goes on while you look elsewhere.")


_form = st.fragment(_ask)


def _take(client: Client) -> None:
    st.subheader("From the exchange's archive files", anchor=False)
    st.caption(
        "Zip files of trades or bars as the exchange publishes them, day by day or month by month. They also fill "
        "holes that nobody can fetch any more. A folder of them: `pairscope import FOLDER`."
    )
    file = st.file_uploader(
        "Exchange file",
        ("zip", "csv"),
        key="bf_file",
        max_upload_size=MOST_FILE_MB,
        help="Like BTCUSDT-aggTrades-2024-01-01.zip or BTCUSDT-1m-2024-01.zip; the name tells what is in it.",
    )
    pressed = st.button(
        "Read this file", icon=":material/upload_file:", key="exchange-file", width="stretch", disabled=file is None
    )
    if pressed and file is not None:
        with st.spinner("Sending the file…"):
            st.session_state[_FILE_OUTCOME] = send_file(client, "/api/upload/exchange", file.name, file.getvalue(), {})
        st.rerun(scope="app")
    _say(_FILE_OUTCOME, "The file is being read.")


_file_form = st.fragment(_take)


def _say(key: str, words: str) -> None:
    said: Said | None = st.session_state.pop(key, None)
    if said is None:
        return
    if said.problem:
        st.warning(plain(f"Not started: {said.problem}"))
    else:
        st.caption(words)
