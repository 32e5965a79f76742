"""Export: stored trades and bars, pairs and what alerts and runs left behind, as a file in the viewer's hands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.data_download import ApiDoor, show_download
from pairscope.dashboard.data_source import estimate_of
from pairscope.dashboard.data_words import RANGES, ROWS, count_words, first_of_range, moment_ms, size_words, span_words
from pairscope.dashboard.kept_fields import kept
from pairscope.dashboard.live_chart import LiveApi
from pairscope.dashboard.pair_source import Heard, watched_pairs
from pairscope.dashboard.pair_words import number_at, plain
from pairscope.dashboard.price_monitor import TIMEFRAMES

__all__ = ["FORMATS", "ExportChoice", "show_export"]

MOST_SYMBOLS: Final = 100

FORMATS: Final[Mapping[str, tuple[str, str, str]]] = {
    "csv": ("CSV", "csv", "opens anywhere; times as ISO 8601 in UTC, prices as the exchange wrote them"),
    "parquet": ("Parquet", "parquet", "small and typed, for pandas, polars and DuckDB"),
    "arrow": ("Arrow", "arrows", "a stream of record batches, read without parsing"),
    "jsonl": ("JSON lines", "jsonl", "an object a line, with the API's names"),
}
"""Format -> its name, the ending of its files, and what it is good for."""

_WHAT: Final[Mapping[str, str]] = {"Trades and bars": "symbols", "A pair": "pair", "History": "history"}
_HISTORIES: Final[Mapping[str, str]] = {
    "alerts": "Alerts that fired",
    "backtests": "Trades of kept backtests",
    "paper": "Paper positions",
}
_PACKED: Final[Mapping[str, str]] = {"none": "As it is", "gzip": "Gzip", "zstd": "Zstandard"}
_TYPED: Final = frozenset({"parquet", "arrow"})  # packed inside, by Zstandard or not at all
_ENDINGS: Final[Mapping[str, str]] = {"gzip": ".gz", "zstd": ".zst"}
_LARGE: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """A file to be made: which path of the API, with which parameters, under which name."""

    path: str
    stem: str
    format: str = "csv"
    params: Mapping[str, Any] = field(default_factory=dict)
    estimated: bool = False

    def asked(self) -> dict[str, Any]:
        """Return the parameters without what is not set."""
        return {name: value for name, value in {**self.params, "format": self.format}.items() if value is not None}

    def name(self) -> str:
        """Return the file's name.

        >>> ExportChoice("/api/export/BTCUSDT", "BTCUSDT-1m", "csv", {"compression": "gzip"}).name()
        'BTCUSDT-1m.csv.gz'
        """
        packed = "" if self.format in _TYPED else _ENDINGS.get(str(self.params.get("compression")), "")
        return f"{self.stem}.{FORMATS[self.format][1]}{packed}"


def _show(api: LiveApi, client: Client, known: Sequence[str], door: ApiDoor) -> None:
    """Draw the form, the estimate and the button; a change of the form draws nothing else of the page."""
    st.subheader("Export", anchor=False)
    what = st.segmented_control(
        "What to export",
        list(_WHAT),
        default="Trades and bars",
        required=True,
        label_visibility="collapsed",
        **kept("ex_what"),
    )
    choose = {"symbols": _symbols, "pair": _pair, "history": _history}[_WHAT[str(what)]]
    choice = choose(client, known)
    if choice is None:
        return
    if choice.estimated:
        _estimate(client, choice)
    label = f"Download {FORMATS[choice.format][0]}"
    show_download(api, door, label, choice.path, choice.asked(), name=choice.name(), key="export-download")


show_export = st.fragment(_show)
"""Draw the form of exports."""


def _symbols(client: Client, known: Sequence[str]) -> ExportChoice | None:
    if not known:
        st.info("Nothing is stored yet. Trades arrive once `pairscope run` follows the market; bars can be uploaded.")
        return None
    st.session_state.setdefault("ex_symbols", list(known[:1]))
    names = st.multiselect(
        "Data of",
        sorted({*known, *st.session_state["ex_symbols"]}),
        max_selections=MOST_SYMBOLS,
        placeholder="Choose symbols",
        **kept("ex_symbols"),
        help="Several symbols go into one file, with a leading column that names each row's symbol.",
    )
    with st.grid(2, min_column_width=180):
        rows = str(
            st.selectbox(
                "Rows",
                list(ROWS),
                list(ROWS).index("1m"),
                format_func=lambda one: ROWS[one],
                **kept("ex_rows"),
                help="Every trade as it came, or bars of a length; times are UTC.",
            )
        )
        shape = _format()
    start, end = _range("ex")
    packed, columns = _more(shape)
    if not names:
        st.caption("Choose one or more symbols.")
        return None
    if start is not None and end is not None and start >= end:
        st.warning("The range ends before it begins: let it end later.")
        return None
    stem = f"{'-'.join(names) if len(names) <= 3 else f'{len(names)}-symbols'}-{rows}{_days(start, end)}"
    params = {"timeframe": rows, "start": start, "end": end, "compression": packed, "columns": columns}
    return ExportChoice(f"/api/export/{','.join(names)}", stem, shape, params, estimated=True)


def _pair(client: Client, known: Sequence[str]) -> ExportChoice | None:
    if len(known) < 2:
        st.info("A pair needs two symbols, and fewer are stored yet.")
        return None
    watched: Sequence[Mapping[str, Any]] = watched_pairs(client).document or ()
    first = (str(watched[0]["y"]), str(watched[0]["x"])) if watched else (known[1], known[0])
    options = sorted({*known, *first})
    with st.grid(2, min_column_width=180):
        y = st.selectbox("y (dependent leg)", options, options.index(first[0]), **kept("ex_y"))
        x = st.selectbox("x (hedging leg)", options, options.index(first[1]), **kept("ex_x"))
        rows = st.selectbox("Bars of", TIMEFRAMES, 3, format_func=lambda one: ROWS[one], key="ex_pair_rows")
        shape = _format()
        lookback = st.number_input("Lookback (bars)", 10, 100_000, 1440, **kept("ex_lookback"))
        window = st.number_input("Window (bars)", 2, 100_000, 60, **kept("ex_window"))
    start, end = _range("ex")
    st.caption("Spread, z-score, hedge ratio and correlation bar by bar, each as it was known at that bar.")
    if y == x:
        st.warning(f"Both legs are {y}: choose two different symbols.")
        return None
    params = {"timeframe": rows, "lookback": lookback, "window": window, "start": start, "end": end}
    return ExportChoice(f"/api/export/pair/{y}/{x}", f"{y}-{x}-{rows}{_days(start, end)}", shape, params)


def _history(client: Client, known: Sequence[str]) -> ExportChoice | None:
    with st.grid(2, min_column_width=180):
        kind = str(
            st.selectbox(
                "History of",
                list(_HISTORIES),
                format_func=lambda one: _HISTORIES[one],
                **kept("ex_history"),
            )
        )
        shape = _format()
    start, end = _range("ex")
    params = {"start": start, "end": end}
    return ExportChoice(f"/api/export/history/{kind}", f"{kind}{_days(start, end)}", shape, params)


def _format() -> str:
    return str(
        st.selectbox(
            "Format",
            list(FORMATS),
            format_func=lambda one: FORMATS[one][0],
            **kept("ex_format"),
            help="  \n".join(f"**{name}**: {why}" for name, _, why in FORMATS.values()),
        )
    )


def _range(prefix: str) -> tuple[int | None, int | None]:
    """Draw the range; both its ends in milliseconds, the second one not included."""
    word = str(st.selectbox("Range", list(RANGES), **kept(f"{prefix}_range")))
    now = datetime.now(UTC)
    if word != "From … to …":
        return first_of_range(word, int(time.time() * 1000)), None
    today = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    with st.grid(2, min_column_width=180):
        start = st.datetime_input("From (UTC)", today - timedelta(days=1), key=f"{prefix}_from", step=60)
        end = st.datetime_input("To (UTC), not included", today + timedelta(days=1), key=f"{prefix}_to", step=60)
    return moment_ms(start), moment_ms(end)


def _more(shape: str) -> tuple[str | None, str | None]:
    """Draw what few change: compression and columns."""
    ways = [way for way in _PACKED if way != "gzip" or shape not in _TYPED]
    if st.session_state.get("ex_packed") not in {None, *ways}:
        st.session_state["ex_packed"] = "none"
    with st.expander("Compression and columns"):
        packed = str(
            st.segmented_control(
                "Compression",
                ways,
                default="none",
                required=True,
                format_func=lambda one: _PACKED[one],
                **kept("ex_packed"),
            )
        )
        every = st.toggle(
            "All columns",
            **kept("ex_all"),
            help="Also what most tools do not ask for: quote volume, bought volume, receive times, revisions, gaps.",
        )
    return (None if packed == "none" else packed), ("all" if every else None)


def _days(start: int | None, end: int | None) -> str:
    """Return the part of a file's name that tells its range.

    >>> _days(1_704_067_200_000, None), _days(None, None)
    ('-from-2024-01-01', '')
    """
    words = [("from", start), ("to", end)]
    return "".join(f"-{word}-{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" for word, ms in words if ms is not None)


def _estimate(client: Client, choice: ExportChoice) -> None:
    st.markdown(estimate_words(estimate_of(client, choice.path, choice.asked())))


def estimate_words(heard: Heard) -> str:
    """Say how large a file would be, as Markdown.

    >>> print(estimate_words(Heard({"rows": 1440, "bytes": 90_000, "first_timestamp": None, "last_timestamp": None})))
    **1,440 rows**, about 90.0 kB
    >>> print(estimate_words(Heard({"rows": 0})))
    :orange[▲ Nothing is stored in this range: choose another one, or back-fill it first.]
    """
    if heard.document is None:
        why = "The size is told as soon as the API answers." if heard.passing else heard.problem
        return f":orange[▲ {plain(why or 'The size is not known.')}]"
    rows, size = number_at(heard.document, "rows"), number_at(heard.document, "bytes")
    if rows == 0:
        return ":orange[▲ Nothing is stored in this range: choose another one, or back-fill it first.]"
    about = f"**{count_words(rows, 'row')}**, about {size_words(size)}"
    when = span_words(number_at(heard.document, "first_timestamp"), number_at(heard.document, "last_timestamp"))
    long = "  \nA file this large takes minutes; it is written to the disk as it comes." if (size or 0) > _LARGE else ""
    return about + (f"  \n:gray[{when}]" if when else "") + long
