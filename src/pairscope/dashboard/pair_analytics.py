"""Pair Analytics: which pairs hold together, and how far each has strayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_choice import PairChoice, choose_pair, in_hindsight, open_pair
from pairscope.dashboard.pair_heatmap import show_heatmap
from pairscope.dashboard.pair_source import Heard, forget_watchlist, pair_report, watched_pairs
from pairscope.dashboard.pair_statistics import show_statistics
from pairscope.dashboard.pair_tables import Row, hedge_rows, measure_rows, test_rows
from pairscope.dashboard.pair_verdict import Verdict, verdict_of
from pairscope.dashboard.pair_words import plain, when
from pairscope.dashboard.price_monitor import palette_chosen
from pairscope.dashboard.scanner import show_scanner
from pairscope.dashboard.scanner_choice import choose_view
from pairscope.errors import PairscopeError

__all__ = ["show"]

_REFRESH_S: Final = 15
_COLOURS: Final[Mapping[str, str]] = {
    "relation": "green", "some": "yellow", "none": "gray", "short": "orange", "broken": "red",
}  # fmt: skip


def show(api: LiveApi, client: Client, known: Sequence[str]) -> None:
    """Draw the tab."""
    if len(known) < 2:
        st.info(
            "A pair needs two symbols, and fewer are followed yet. They appear here as soon as their first trades "
            "arrive; `pairscope run` starts the feed, `pairscope doctor` says what keeps it from starting."
        )
        return
    if choose_view() == "Scanner":
        show_scanner(api, client, known)
        return
    heard = watched_pairs(client)
    watched: Sequence[Mapping[str, Any]] = heard.document or ()
    choice = choose_pair(known, _first(known, watched))
    if choice is None:
        st.info("Choose both legs above: a pair needs two symbols.")
        return
    main, side = st.columns([0.69, 0.31], gap="medium")
    problem = choice.problem()
    with main:
        words = st.container()
        if problem:
            words.warning(problem)
        else:
            _board(api, choice)
    with side:
        _watch_list(api, client, choice, watched, heard.problem)
    if not problem:
        with words:  # above the chart, and sent after it: the chart asks the API itself, meanwhile
            _verdict(client, choice)
        _tables(client, choice)
        st.subheader("Bar by bar", anchor=False)
        show_statistics(client, choice)
    with side:  # last, as it takes longest to send
        st.subheader("Who moves with whom", anchor=False)
        legs = dict.fromkeys(leg for entry in watched for leg in (str(entry["y"]), str(entry["x"])))
        show_heatmap(client, known, tuple(legs), choice.timeframe, choice.window)


def _first(known: Sequence[str], watched: Sequence[Mapping[str, Any]]) -> PairChoice:
    """Return the pair to begin with: the watch-list's first, else the two busiest symbols."""
    if watched:
        return PairChoice(str(watched[0]["y"]), str(watched[0]["x"]))
    return PairChoice(known[1], known[0])


def _say(client: Client, choice: PairChoice) -> None:
    """Say in words what the numbers mean; warn once where there are none."""
    heard = _heard(client, choice)
    if heard.problem and not heard.passing:
        st.warning(heard.problem)
    if heard.document is None:
        if heard.passing:
            st.caption("The verdict comes as soon as the API answers.")
        return
    verdict = verdict_of(heard.document, entry=choice.entry)
    with st.container(border=True, gap="small", key="pair-verdict"):
        st.markdown(f":{_COLOURS[verdict.tone]}-badge[{verdict.badge}] {plain(verdict.sentence)}")
        for line in verdict.warnings:
            st.markdown(f":orange[▲ {plain(line)}]")
        st.caption(_footing(heard, choice, verdict))


_verdict = st.fragment(run_every=_REFRESH_S)(_say)


def _footing(heard: Heard, choice: PairChoice, verdict: Verdict) -> str:
    document = heard.document
    last = document.get("as_of")
    n = document.get("n")
    told = f"{n:,} common closed bars of {choice.timeframe}" if isinstance(n, int) else "closed bars"
    told += f", the newest of {when(last)}" if isinstance(last, int) else ""
    late = (
        f" The API does not answer now ({heard.problem.rstrip('.')}); this is its last word." if heard.problem else ""
    )
    return f"From {told}.{late}"


def _heard(client: Client, choice: PairChoice) -> Heard:
    params = choice.computed()
    first = st.session_state.get("_heard_pair_key") != params
    if not first:
        return pair_report(client, str(params), params)
    with st.spinner("Fitting and testing the pair…"):
        heard = pair_report(client, str(params), params)
    st.session_state["_heard_pair_key"] = params
    return heard


def _board(api: LiveApi, choice: PairChoice) -> None:
    live_view(
        "pair_board",
        api=api,
        key="pair_board",
        settings=choice.settings(),
        hindsight=in_hindsight(),
        palette=palette_chosen(),
    )


def _tell(client: Client, choice: PairChoice) -> None:
    document = _heard(client, choice).document
    if document is None:
        return
    _table("Hedge ratios", hedge_rows(document), "Hedge ratios by method with their uncertainty")
    _table("Does it hold together?", test_rows(document), "Tests of the pair with their null hypotheses")
    _table(
        "How does it come back?", measure_rows(document), "Half-life, Hurst exponent and variance ratio of the spread"
    )


_tables = st.fragment(run_every=_REFRESH_S)(_tell)


def _table(title: str, rows: Sequence[Row], alt: str) -> None:
    st.subheader(title, anchor=False)
    columns = {name: [plain(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    st.table(columns, border="horizontal", hide_index=True, alt=alt)


# ── the watch-list ────────────────────────────────────────────────────────────────────────────────────────────────


def _watch_list(
    api: LiveApi, client: Client, choice: PairChoice, watched: Sequence[Mapping[str, Any]], problem: str
) -> None:
    entry = next((one for one in watched if (one["y"], one["x"]) == (choice.y, choice.x)), None)
    with st.container(horizontal=True, vertical_alignment="center", key="watch-head"):
        st.subheader("Watch-list", anchor=False)
        if not choice.problem():
            _watch_button(client, choice, entry)
    refused = st.session_state.pop("_watch_refused", "")
    if refused or problem:
        st.caption(f":orange[{plain(refused or problem)}]")

    def opened() -> None:
        key = _told("opened")
        found = next((one for one in watched if f"{one['y']}:{one['x']}" == key), None)
        y, _, x = key.partition(":")
        if x:
            open_pair(found or {"y": y, "x": x})

    def removed() -> None:
        y, _, x = _told("removed").partition(":")
        if x:
            _unwatch(client, y, x)

    live_view(
        "watch_list",
        api=api,
        key="watch_list",
        pairs=[dict(one) for one in watched],
        opened=choice.key,
        palette=palette_chosen(),
        on_opened_change=opened,
        on_removed_change=removed,
    )


def _told(name: str) -> str:
    """Return what the list just told of."""
    return str(getattr(st.session_state.get("watch_list"), name, None) or "")


def _watch_button(client: Client, choice: PairChoice, entry: Mapping[str, Any] | None) -> None:
    wanted = choice.settings()
    if entry is None:
        st.button("Watch this pair", icon=":material/add:", on_click=_watch, args=(client, wanted))
    elif any(entry.get(name) != value for name, value in wanted.items() if name in entry):
        st.button(
            "Save these settings",
            icon=":material/save:",
            on_click=_watch,
            args=(client, wanted),
            help="The pair is watched by other settings; its live values follow those.",
        )
    else:
        st.button(
            "Stop watching",
            icon=":material/remove:",
            on_click=_unwatch,
            args=(client, choice.y, choice.x),
            type="tertiary",
        )


def _watch(client: Client, settings: Mapping[str, Any]) -> None:
    try:
        client.watch(**settings)
    except PairscopeError as error:
        st.session_state["_watch_refused"] = f"Not added: {error}"
    forget_watchlist()


def _unwatch(client: Client, y: str, x: str) -> None:
    try:
        client.unwatch(y, x)
    except PairscopeError as error:
        st.session_state["_watch_refused"] = f"Not removed: {error}"
    forget_watchlist()
