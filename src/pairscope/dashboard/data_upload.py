"""Upload: a person's own bars, looked at before anything is stored, every bad row named by row and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_source import Said, change, forget_stored, send_file, uploads_kept
from pairscope.dashboard.data_words import count_words, names_words, span_words, table_height
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.pair_words import number_at, plain
from pairscope.dashboard.price_monitor import TIMEFRAMES

__all__ = ["bar_rows", "rejected_rows", "show_upload", "show_uploads", "stored_words"]

MOST_MB: Final = 25
_ENDINGS: Final = ("csv", "json", "jsonl", "ndjson", "parquet", "gz", "zst", "zip")
_LOOKED: Final = "_upload_looked"
_OUTCOME: Final = "_upload_outcome"
_REMOVAL: Final = "_upload_removal"  # asked for, while the question stands open
_REMOVED: Final = "_upload_removed"
_SHOWN: Final = 200
_PREVIEWED: Final = 5


def _show(client: Client) -> None:
    """Draw the form, what the file says, and what came of the button."""
    st.subheader("Upload", anchor=False)
    with st.grid(2, min_column_width=180):
        symbol = str(
            st.text_input(
                "Symbol",
                placeholder="or a column symbol in the file",
                **kept("up_symbol"),
            )
        ).strip()
        timeframe = str(
            st.selectbox(
                "Timeframe",
                TIMEFRAMES,
                3,
                **kept("up_timeframe"),
            )
        )
    file = st.file_uploader(
        "File with bars",
        _ENDINGS,
        key="up_file",
        max_upload_size=MOST_MB,
        help="Columns by their usual names. Times are a bar's open, in ISO 8601 (UTC), seconds, milliseconds or "
        "microseconds. Larger files: `pairscope import FILE`.",
    )
    if file is None:
        st.session_state.pop(_LOOKED, None)
        st.caption(
            "CSV, JSON or Parquet with time, open, high, low, close and volume; of any symbol, also one that nobody "
            "follows. Nothing is stored before you have seen what the file says and pressed Upload. Longer timeframes "
            "are built from what you upload."
        )
    fields = {"symbol": symbol or None, "timeframe": timeframe}
    partial = False
    if file is not None:
        asked = (file.file_id, *fields.values())
        looked = _looked(client, asked, file.name, file.getvalue(), fields)
        partial = _say_looked(looked)
    pressed = st.button(
        "Upload", type="primary", icon=":material/upload:", key="upload", disabled=file is None, width="stretch"
    )
    if pressed and file is not None:
        with st.spinner("Checking every row and storing them…"):
            said = send_file(
                client, "/api/upload/ohlc", file.name, file.getvalue(), {**fields, "partial": partial or None}
            )
        st.session_state[_OUTCOME] = ((file.file_id, *fields.values()), said)
        forget_stored()
        if not said.problem:
            st.rerun(scope="app")
    _say_outcome((file.file_id, *fields.values()) if file is not None else None)


show_upload = st.fragment(_show)
"""Draw the form of uploads."""


def _looked(client: Client, asked: tuple[Any, ...], name: str, content: bytes, fields: Mapping[str, Any]) -> Said:
    """Return what the API reads in a file; asked once for a file with the same fields."""
    kept: Any = st.session_state.get(_LOOKED)
    if kept is not None and kept[0] == asked:
        return kept[1]  # type: ignore[no-any-return]
    with st.spinner("Reading the file…"):
        said = send_file(client, "/api/upload/ohlc", name, content, {**fields, "partial": True, "preview": True})
    st.session_state[_LOOKED] = (asked, said)
    return said


def _say_looked(said: Said) -> bool:
    """Draw what a file says; return whether its good rows shall be stored without its bad ones."""
    document: Mapping[str, Any] = said.document or {}
    if said.problem and not said.rejected:
        st.warning(plain(said.problem))
        return False
    rejected = said.rejected or document.get("rejected") or ()
    total = int(said.rejected_total or document.get("rejected_total") or len(rejected))
    bad_rows = int(said.more.get("rejected_rows") or document.get("rejected_rows") or total)
    rows = int(number_at(document, "rows") or 0)
    if document:
        st.markdown(plain(read_words(document)))
        columns = document.get("columns") or {}
        if columns:
            named = ", ".join(f"{name} from “{source}”" for name, source in columns.items() if name != source)
            unit = document.get("time_unit")
            parts = (f"Columns: {named}." if named else "", f"Times are in {unit}." if unit else "")
            st.caption(plain(" ".join(filter(None, parts))))
        _table_of_bars(document.get("preview") or ())
    if not total:
        return False
    good = max(0, rows - bad_rows) if rows else 0
    st.warning(f"{count_words(bad_rows, 'row')} cannot be stored. As it is, nothing of the file would be.")
    _table_of_faults(rejected, total)
    if said.problem or not good:
        return False
    return bool(
        st.checkbox(
            "Store the good rows and leave out the bad ones",
            key="up_partial",
            help="Their times stay empty: charts show a hole there, and windows that reach over it have fewer bars.",
        )
    )


def _say_outcome(asked: tuple[Any, ...] | None) -> None:
    """Say what came of the button, for as long as file and fields stay as they were."""
    for_what, said = st.session_state.get(_OUTCOME, (None, Said()))
    if for_what is None or for_what != asked:
        return
    if not said.problem:
        st.success(plain(stored_words(said.document or {})), icon=":material/check:")
        return
    kept: Any = st.session_state.get(_LOOKED)
    shown = kept is not None and (kept[1].rejected or (kept[1].document or {}).get("rejected"))
    if said.rejected and shown:
        st.error(
            "Nothing was stored, because of the rows above. Mend them in the file and choose it again, or have the "
            "good ones stored without them."
        )
        return
    st.error(plain(f"Nothing was stored: {said.problem}"))
    if said.rejected:
        _table_of_faults(said.rejected, said.rejected_total)


def read_words(document: Mapping[str, Any]) -> str:
    """Say what a file holds.

    >>> read_words({"rows": 2, "symbols": ["AUSDT"], "timeframe": "1m", "first_timestamp": 1_700_000_040_000,
    ...             "last_timestamp": 1_700_000_100_000})
    '2 rows of AUSDT, 1m: 2023-11-14 22:14 to 22:15 UTC (60 s)'
    """
    names = names_words([str(name) for name in document.get("symbols") or ()])
    when = span_words(number_at(document, "first_timestamp"), number_at(document, "last_timestamp"))
    rows = count_words(number_at(document, "rows"), "row")
    return f"{rows}{f' of {names}' if names else ''}, {document.get('timeframe', '')}{f': {when}' if when else ''}"


def stored_words(document: Mapping[str, Any]) -> str:
    """Say what became of an upload's rows.

    >>> stored_words({"inserted": 60, "updated": 1, "unchanged": 0, "rejected": [], "symbols": ["AUSDT"]})
    'Stored: 60 new bars of AUSDT, 1 changed.'
    """
    new, changed, same = (int(number_at(document, name) or 0) for name in ("inserted", "updated", "unchanged"))
    names = names_words([str(name) for name in document.get("symbols") or ()])
    left = int(number_at(document, "rejected_rows") or len(document.get("rejected") or ()))
    parts = [
        f"{count_words(new, 'new bar')}{f' of {names}' if names else ''}",
        f"{changed:,} changed" if changed else "",
        f"{same:,} were there already" if same else "",
        f"{left:,} left out" if left else "",
    ]
    return f"Stored: {', '.join(part for part in parts if part)}."


def bar_rows(bars: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return bars as rows of a table, prices and volumes as plain decimals.

    >>> bar_rows([{"symbol": "A", "timestamp": 1_700_000_040_000, "close": 1.2e-05, "volume": 10.0}])
    [{'Symbol': 'A', 'Open time (UTC)': '2023-11-14 22:14:00', 'Close': '0.000012', 'Volume': '10'}]
    """
    numbers = ("open", "high", "low", "close", "volume")
    return [
        {
            **({"Symbol": str(bar["symbol"])} if "symbol" in bar else {}),
            "Open time (UTC)": f"{datetime.fromtimestamp(bar['timestamp'] / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            **{
                name.title(): format(Decimal(repr(bar[name])).normalize(), "f")
                for name in numbers
                if bar.get(name) is not None
            },
        }
        for bar in bars
    ]


def _table_of_bars(bars: Sequence[Mapping[str, Any]]) -> None:
    rows = bar_rows(bars[:_PREVIEWED])
    if rows:
        _table(rows, 250, f"The first {len(rows)} bars as the file is read")


def _table(rows: Sequence[Mapping[str, str]], most_height: int, about: str) -> None:
    columns = {name: [plain(row.get(name, "")) for row in rows] for name in rows[0]}
    st.table(columns, border="horizontal", hide_index=True, height=table_height(len(rows), most_height), alt=about)


def rejected_rows(rejected: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the faults of a file as rows of a table; a fault of the whole file has no row.

    >>> rejected_rows([{"row": 3, "column": "high", "reason": "is below low"}])
    [{'Row': '3', 'Column': 'high', 'What is wrong': 'is below low'}]
    """
    return [
        {
            "Row": "whole file" if one.get("row") is None else f"{one['row']:,}",
            "Column": str(one.get("column") or "whole row"),
            "What is wrong": str(one.get("reason") or ""),
        }
        for one in rejected
    ]


def _table_of_faults(rejected: Sequence[Mapping[str, Any]], total: int) -> None:
    rows = rejected_rows(rejected[:_SHOWN])
    _table(rows, 290, f"{count_words(len(rows), 'fault')} of the file, by row and column")
    if total > len(rows):
        st.caption(f"The first {len(rows):,} of {total:,} faults.")
    st.caption("Rows are counted from 1, without the heading.")


def show_uploads(client: Client) -> None:
    """Draw the list of what was uploaded, each with a button that deletes it."""
    st.subheader("Uploaded bars", anchor=False)
    heard = uploads_kept(client)
    refused = st.session_state.pop(_REMOVED, "")
    if refused:
        st.warning(plain(refused))
    if heard.document is None:
        waiting = "The list comes as soon as the API answers."
        st.caption(waiting if heard.passing else f":orange[▲ {plain(heard.problem)}]")
        return
    uploads: Sequence[Mapping[str, Any]] = heard.document
    if not uploads:
        st.caption("No bars were uploaded yet. Symbols that were can be charted, paired, screened and backtested.")
    for one in uploads[:_SHOWN]:
        name, timeframe = str(one["symbol"]), str(one["timeframe"])
        with st.container(horizontal=True, vertical_alignment="center", key=f"upload-{name}-{timeframe}"):
            when = span_words(number_at(one, "first_timestamp"), number_at(one, "last_timestamp"))
            source = f" from {one['filename']}" if one.get("filename") else ""
            rows = count_words(number_at(one, "rows"), "bar")
            st.markdown(f"**{plain(name)}** {timeframe}: {rows}, {when}{plain(source)}", width="stretch")
            st.button(
                "Delete",
                key=f"remove-{name}-{timeframe}",
                icon=":material/delete:",
                on_click=_ask_removal,
                args=(name, timeframe),
            )
    if len(uploads) > _SHOWN:
        st.caption(f"The first {_SHOWN} of {len(uploads):,}.")
    asked = st.session_state.get(_REMOVAL)
    if asked is not None:
        _confirm(client, *asked)


def _ask_removal(symbol: str, timeframe: str) -> None:
    st.session_state[_REMOVAL] = (symbol, timeframe)


def _confirm(client: Client, symbol: str, timeframe: str) -> None:
    def body() -> None:
        st.markdown(
            f"The {timeframe} bars of **{plain(symbol)}** that were uploaded are deleted. This cannot be undone; the "
            "file can be uploaded again. Bars made of trades, and the exchange's own, stay."
        )
        if st.button("Delete these bars", type="primary", key="remove-upload", width="stretch"):
            said = change(client, "DELETE", f"/api/uploads/{symbol}?timeframe={timeframe}")
            st.session_state[_REMOVED] = f"Not deleted: {said.problem}" if said.problem else ""
            forget_stored()
            _dismiss()
            st.rerun()

    st.dialog("Delete uploaded bars?", on_dismiss=_dismiss)(body)()


def _dismiss() -> None:
    st.session_state.pop(_REMOVAL, None)
