"""The Scanner: which pairs of the whole market hold together now, tested at each close, with errors controlled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_source import Heard
from pairscope.dashboard.pair_verdict import TIMEFRAME_S
from pairscope.dashboard.pair_words import plain
from pairscope.dashboard.price_monitor import palette_chosen
from pairscope.dashboard.scanner_choice import ScanChoice, choose_scan, open_from_scan
from pairscope.dashboard.scanner_detail import look_closer, looked_at, show_detail
from pairscope.dashboard.scanner_detail_words import null_words
from pairscope.dashboard.scanner_jobs import show_null_job, show_screen_job, show_stopped
from pairscope.dashboard.scanner_network import MOST_TIES, network_figure, partner_rows, ties_of
from pairscope.dashboard.scanner_source import Scan, ask_null, discovery_events, screened
from pairscope.dashboard.scanner_words import account_of, csv_of, event_rows, headline, paying, rows_of, too_short

__all__ = ["show_scanner"]

_REFRESH_S: Final = 10
_SENT: Final = (
    "y", "x", "beta", "pvalue", "qvalue", "half_life", "zscore", "correlation", "discovery", "spread_bps",
    "cost_bps", "edge_bps", "zscores",
)  # fmt: skip


def show_scanner(api: LiveApi, client: Client, known: Sequence[str]) -> None:
    """Draw the view."""
    choice = choose_scan(known)
    problem = choice.problem()
    if problem:
        st.warning(problem)
        return
    _scan(api, client, choice)


def _draw(api: LiveApi, client: Client, choice: ScanChoice) -> None:
    """Draw the newest screen: drawn again every ten seconds, and nothing of it moves while there is no other."""
    if "_opened_from_scan" in st.session_state:
        st.rerun(scope="app")
    scan = _screened(client, choice)
    heard = scan.heard
    show_stopped(choice)
    if scan.job is not None:
        show_screen_job(client, choice, scan.job, newer=heard.document is not None)
    if heard.document is None:
        if heard.problem:
            st.warning(f"The screen could not be read: {heard.problem}" if heard.passing else heard.problem)
        return
    rows = rows_of(heard.document, choice)
    found = _say(client, heard, rows, choice)
    main, side = st.columns([0.69, 0.31], gap="medium")
    with main:
        _table(api, heard.document, rows, choice)
        show_detail(client, choice)
        with st.expander("What was tested, and what was left out", icon=":material/help:"):
            _explain(heard.document, choice)
    with side:
        _network(rows, found)
        _events(client, heard.document, choice)


_scan = st.fragment(run_every=_REFRESH_S)(_draw)


def _screened(client: Client, choice: ScanChoice) -> Scan:
    key = str(choice.asked())
    if st.session_state.get("_heard_screen_key") == key:
        return screened(client, choice)
    with st.spinner("Testing every pair…"):
        scan = screened(client, choice)
    st.session_state["_heard_screen_key"] = key
    return scan


def _say(client: Client, heard: Heard, rows: Sequence[Mapping[str, Any]], choice: ScanChoice) -> int:
    """Say what was tested, what was found and what of it would pay; return how many discoveries there are."""
    found, sentence = headline(heard.document, choice)
    badge = f":green-badge[◆ {found:,} found]" if found else ":gray-badge[○ None found]"
    with st.container(border=True, gap="small", key="scan-verdict"):
        st.markdown(f"{badge} {plain(sentence)}")
        if found:
            st.markdown(plain(paying(rows)))
        else:
            st.markdown(
                f"No discoveries: at {choice.fdr * 100:g} % FDR nothing in this market holds; that is an answer."
            )
        _say_null(client, heard.document, choice)
        short = too_short(heard.document)
        if short:
            st.markdown(f":orange[▲ {plain(short)}]")
        if heard.problem:
            st.markdown(f":orange[▲ The API does not answer now ({plain(heard.problem.rstrip('.'))}); its last word.]")
    return found


def _say_null(client: Client, document: Mapping[str, Any], choice: ScanChoice) -> None:
    """Say what chance offers in this market beside what theory promises, or offer to find out."""
    told, much = null_words(document.get("null"))
    if told:
        st.markdown(f":orange[▲ {plain(told)}]" if much else plain(told))
    elif not show_null_job(client, choice):
        st.button(
            "What does chance alone offer here?",
            icon=":material/casino:",
            key="ask-null",
            type="tertiary",
            on_click=ask_null,
            args=(client, choice),
            help="Screens 20 surrogates of this market, in which each symbol moves by itself and no pair holds.",
        )


def _table(api: LiveApi, document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], choice: ScanChoice) -> None:
    filters = choice.filters()
    if not rows:
        st.info(f"No test passes the filters ({filters}): widen them." if filters else "No test was made yet.")
        return

    def opened() -> None:
        key = str(getattr(st.session_state.get("scanner"), "opened", None) or "")
        if ":" in key:
            open_from_scan(key, choice)

    def looked() -> None:
        look_closer(str(getattr(st.session_state.get("scanner"), "looked", None) or ""))

    matching = int(document.get("matching") or len(rows))
    best = f"The best {len(rows):,} of {matching:,} tests by q-value" if matching > len(rows) else f"{matching:,} tests"
    legend = "◆ is a discovery; a click opens the pair, ⌕ looks closer at it here."
    note = f"{best}{f' ({filters})' if filters else ''}. {legend}"
    live_view(
        "scanner",
        api=api,
        key="scanner",
        columns=_SENT,
        rows=[[_short(row.get(name)) for name in _SENT] for row in rows],
        bar_s=TIMEFRAME_S[choice.timeframe],
        version=f"{document.get('screen')} {document.get('as_of')} {choice}",
        fdr=choice.fdr,
        cost_bps=choice.cost_bps,
        exit=choice.exit,
        note=note,
        looked=looked_at(),
        palette=palette_chosen(),
        on_opened_change=opened,
        on_looked_change=looked,
    )
    st.download_button(
        "Download scan",
        lambda: csv_of(rows).encode(),
        f"scan-{choice.timeframe}-{choice.lookback}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="download-scan",
    )


def _short(value: Any) -> Any:
    """Write a number no longer than anybody reads it: a market's table is sent at each screen."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [None if item is None else round(float(item), 2) for item in value]
    return value


def _network(rows: Sequence[Mapping[str, Any]], found: int) -> None:
    st.subheader("What holds together", anchor=False)
    ties = ties_of(rows)
    if not ties:
        told = "the filters let none of the discoveries through" if found else "there is no discovery"
        st.caption(f"Nothing to draw: {told}.")
        return
    drawn = ties[:MOST_TIES]
    symbols = {name for tie in drawn for name in (tie.a, tie.b)}
    more = f" The {MOST_TIES} surest of {len(ties):,} are drawn." if len(ties) > MOST_TIES else ""
    st.caption(
        f"{len(symbols)} symbols, {len(drawn)} pair{'' if len(drawn) == 1 else 's'} discovered; "
        f"the wider the line, the smaller its q-value.{more}"
    )
    tone = "light" if st.context.theme.type == "light" else "dark"
    told = "; ".join(f"{row['Pair']} ({row['Found']})" for row in partner_rows(drawn))
    st.plotly_chart(
        network_figure(drawn, tone),
        key="network",
        config={"displayModeBar": False, "scrollZoom": False},
        alt=f"Network of discovered pairs: {told}",
    )
    with st.expander("The network as a table"):
        _rows(partner_rows(drawn), "Discovered pairs, the surest first")


def _events(client: Client, document: Mapping[str, Any], choice: ScanChoice) -> None:
    st.subheader("Entered and left", anchor=False)
    if document.get("continuous") is False:
        st.caption(
            "This screen is computed when it is asked for. What enters and leaves is followed for screens that are "
            "kept up to date, those of PAIRSCOPE_SCREEN."
        )
        return
    heard = discovery_events(client, choice)
    if heard.problem and heard.document is None:
        st.caption(f":orange[{plain(heard.problem)}]")
        return
    rows = event_rows(heard.document, TIMEFRAME_S[choice.timeframe])
    if not rows:
        st.caption("No pair has entered or left the discoveries since the first screen.")
        return
    _rows(rows, "Pairs that entered the discoveries or left them, newest first")
    st.caption("A pair enters with a q-value up to 5 % either way round, and leaves when both are above 10 %.")


def _explain(document: Mapping[str, Any], choice: ScanChoice) -> None:
    for paragraph in account_of(document, choice):
        st.markdown(plain(paragraph))
    excluded: Mapping[str, str] = document.get("excluded") or {}
    if not excluded:
        st.markdown("No symbol was left out.")
        return
    st.markdown(f"Left out, {len(excluded):,} of {len(excluded) + int(document.get('universe') or 0):,} symbols:")
    _rows([{"Symbol": name, "Why": str(excluded[name])} for name in sorted(excluded)], "Symbols left out")


def _rows(rows: Sequence[Mapping[str, str]], alt: str) -> None:
    columns = {name: [plain(row[name]) for row in rows] for name in rows[0]}
    st.table(columns, border="horizontal", hide_index=True, alt=alt)
