"""Backtesting: what trading a pair by its z-score would have earned after all costs, and how far that is luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.backtest_choice import BacktestChoice, same_rule
from pairscope.dashboard.backtest_form import choose_backtest
from pairscope.dashboard.backtest_grid import choose_grid, count_words, sweep_body
from pairscope.dashboard.backtest_jobs import is_running, launch, run_shown, show_job
from pairscope.dashboard.backtest_report import document_of, show_report
from pairscope.dashboard.backtest_runs import show_runs
from pairscope.dashboard.backtest_source import kept_run
from pairscope.dashboard.backtest_sweep import show_sweep
from pairscope.dashboard.backtest_walk import choose_folds, show_walk
from pairscope.dashboard.live_chart import LiveApi
from pairscope.dashboard.pair_choice import PairChoice
from pairscope.dashboard.pair_source import watched_pairs

__all__ = ["VIEWS", "show"]

VIEWS: Final[Mapping[str, str]] = {
    "Backtest": "backtest", "Sweep": "sweep", "Walk-forward": "walk_forward", "Runs": "",
}  # fmt: skip
"""Views of the tab -> the kind of run that each shows."""

_BUTTONS: Final[Mapping[str, str]] = {
    "backtest": "Run backtest", "sweep": "Start sweep", "walk_forward": "Run walk-forward",
}  # fmt: skip
_EMPTY: Final[Mapping[str, str]] = {
    "backtest": "Choose a pair and a rule, and press **Run backtest**. You get what it would have earned after fees, "
    "slippage and funding, every trade, and a verdict on how much of it is luck. No bar's decision uses a later bar.",
    "sweep": "A sweep tries every combination of some parameters on the same bars, shows where the good ones lie, and "
    "says how much of the best one's result comes from having tried so many.",
    "walk_forward": "A walk-forward chooses the grid's parameters on a stretch of bars and trades them on the next, "
    "over and over: what is left is what choosing them would really have earned.",
}


def show(api: LiveApi, client: Client, known: Sequence[str]) -> None:
    """Draw the tab."""
    if len(known) < 2:
        st.info(
            "A pair needs two symbols, and fewer are followed yet. They appear here as soon as their first trades "
            "arrive; `pairscope run` starts the feed, `pairscope doctor` says what keeps it from starting."
        )
        return
    view = st.segmented_control(
        "View of backtests",
        list(VIEWS),
        default="Backtest",
        required=True,
        key="bt_view",
        bind="query-params",
        label_visibility="collapsed",
    )
    kind = VIEWS[str(view)]
    if not kind:
        show_runs(api, client)
        return
    side, main = st.columns([0.26, 0.74], gap="medium")
    with side:
        _form(client, known, _first(client, known), kind)
    with main:
        document = document_of(client, kind)
        if document is None:
            if not run_shown(kind):
                st.info(_EMPTY[kind], icon=":material/query_stats:")
        elif kind == "backtest":
            show_report(api, document)
        elif kind == "sweep":
            show_sweep(document)
        else:
            show_walk(api, document)


def _first(client: Client, known: Sequence[str]) -> PairChoice:
    """Return the pair to begin with: the watch-list's first, else the two busiest symbols."""
    watched: Sequence[Mapping[str, Any]] = watched_pairs(client).document or ()
    return PairChoice(str(watched[0]["y"]), str(watched[0]["x"])) if watched else PairChoice(known[1], known[0])


def _ask(client: Client, known: Sequence[str], first: PairChoice, kind: str) -> None:
    """Draw the form, the button, and how far a run is; a change of the form draws nothing else."""
    choice = choose_backtest(known, first)
    if choice is None:
        st.info("Choose both legs: a pair needs two symbols.")
        return
    body, problem = choice.body(), choice.problem()
    if kind != "backtest":
        grid = choose_grid()
        body = sweep_body(choice, grid)
        problem = grid.problem or (problem if choice.y == choice.x else "")
        if not grid.problem:
            st.caption(count_words(choice, grid))
        if kind == "walk_forward":
            body |= choose_folds()
    if problem:
        st.warning(problem)
    pressed = st.button(
        _BUTTONS[kind],
        type="primary",
        icon=":material/play_arrow:",
        disabled=bool(problem) or is_running(kind),
        key=f"run-{kind}",
        width="stretch",
    )
    if pressed and not problem:  # here and not in a callback, which would be given the form as it was drawn before
        launch(client, kind, body)
        st.rerun(scope="app")
    show_job(client, kind)
    if kind == "backtest" and not is_running(kind):
        _compare(client, choice)


_form = st.fragment(_ask)


def _compare(client: Client, choice: BacktestChoice) -> None:
    """Say where the form is not that of the run which is shown."""
    shown = run_shown("backtest")
    document = kept_run(client, shown).document if shown else None
    if document is not None and not same_rule(choice.body(), document.get("request") or {}):
        st.caption(":orange[▲ The run shown is of other settings than these.]")
