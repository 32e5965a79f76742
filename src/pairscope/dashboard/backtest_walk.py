"""A walk-forward as it is read: what was chosen in each fold, what it kept of its promise, and the equity outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from pairscope.dashboard.backtest_grid import GRID, written_value
from pairscope.dashboard.backtest_report import draw_table, show_figures, show_trades
from pairscope.dashboard.backtest_series import chart_data
from pairscope.dashboard.backtest_sweep import grid_names
from pairscope.dashboard.backtest_words import LEVELS, METRICS, metric_text
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_words import MISSING, number_at, part_of, plain
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = ["choose_folds", "fold_rows", "promise_of", "show_walk"]

_METRICS: Final[Mapping[str, str]] = {
    METRICS[name][0]: name for name in ("sharpe", "sortino", "total_return", "calmar", "profit_factor")
}
_SIDES: Final = (("in_sample", "trained"), ("out_of_sample", "tested"))


def choose_folds() -> dict[str, Any]:
    """Draw how the bars are cut; return it under the API's names."""
    with st.grid(2, min_column_width=130):
        folds = st.number_input(
            "Folds", 2, 100, 5, 1, key="wf_folds", bind="query-params", help="How often parameters are chosen anew."
        )
        metric = st.selectbox(
            "Chosen by",
            list(_METRICS),
            key="wf_metric",
            bind="query-params",
            help="The rule with the most of it is taken.",
        )
        train = _bars("Train (bars)", "wf_train", "Bars that parameters are chosen on.")
        test = _bars("Test (bars)", "wf_test", "Bars that follow, on which they are traded.")
        purge = _bars(
            "Purge (bars)", "wf_purge", "Bars between the two, so that neither has seen the other's.", least=0
        )
    given = {"train": train, "test": test, "purge": purge}
    return {
        "folds": int(folds or 5),
        "metric": _METRICS[str(metric)],
        **{name: value for name, value in given.items() if value is not None},
    }


def _bars(label: str, key: str, words: str, *, least: int = 1) -> int | None:
    found = st.number_input(
        label, least, 1_000_000, None, 60, key=key, bind="query-params", help=words, placeholder="by the folds"
    )
    return None if found is None else int(found)


def show_walk(api: LiveApi, document: Mapping[str, Any]) -> None:
    """Draw one walk-forward."""
    level, sentence = promise_of(document)
    colour, sign, word = LEVELS[level]
    with st.container(border=True, gap="small", key="walk-verdict"):
        st.markdown(f":{colour}-badge[{sign} {word}] {plain(sentence)}")
        st.caption("Out of sample: only bars that the choice of parameters had not seen.")
    metrics = document.get("metrics") or {}
    show_figures(
        [
            (METRICS[name][0], metric_text(name, metrics.get(name)), "", "Of bars that the choice had not seen")
            for name in ("total_return", "sharpe", "max_drawdown", "trades", "win_rate", "pnl")
            if name in metrics
        ]
    )
    if part_of(document, "equity", "timestamp"):
        live_view(
            "backtest_chart",
            api=api,
            key="walk_chart",
            version=str(document.get("id")),
            palette=palette_chosen(),
            **chart_data(document),
        )
    if document.get("trades"):
        show_trades(document)
    draw_table("Folds", fold_rows(document), "Folds of the walk-forward: parameters chosen, then and thereafter")


def fold_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row a fold: when it trained and tested, what it chose, and the chosen rule's figures then and after."""
    metric = str(document.get("metric") or part_of(document, "request", "metric") or "sharpe")
    rows = []
    for place, fold in enumerate(document.get("folds") or (), 1):
        row = {
            "Fold": str(place),
            "Trained (UTC)": _span(fold, "train"),
            "Tested (UTC)": _span(fold, "test"),
            "Chosen": _chosen(fold, document),
        }
        for side, word in _SIDES:
            figures = fold.get(side) or {}
            row[f"{METRICS[metric][0] if metric in METRICS else metric} {word}"] = metric_text(
                metric, figures.get(metric)
            )
        after = fold.get("out_of_sample") or {}
        row["Return tested"] = metric_text("total_return", after.get("total_return"))
        row["Trades"] = metric_text("trades", after.get("trades"))
        rows.append(row)
    return rows


def _chosen(fold: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    names = grid_names(document) or [name for name in GRID if name in fold]
    if not fold.get("in_sample") and all(fold.get(name) is None for name in names):
        return f"{MISSING} (no rule of the grid traded)"
    told = [
        f"{(GRID[name].label if name in GRID else name).partition(' (')[0]} {written_value(name, fold[name])}"
        for name in names
        if name in fold
    ]
    return ", ".join(told) or MISSING


def _span(fold: Mapping[str, Any], name: str) -> str:
    start, end = (number_at(fold, f"{name}_{end}") for end in ("start", "end"))
    if start is None or end is None:
        return MISSING
    first, last = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (start, end))
    return f"{first:%m-%d %H:%M} – {last:%m-%d %H:%M}"


def promise_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the level and a sentence on what the chosen parameters kept of their promise.

    >>> folds = [{"in_sample": {"sharpe": 4.0}, "out_of_sample": {"sharpe": -1.0, "total_return": -0.01}}] * 3
    >>> promise_of({"folds": folds, "metrics": {"total_return": -0.03, "sharpe": -1.0}})
    ('bad', 'Chosen for a Sharpe of 4.00, they had −1.00 thereafter: 0 of 3 folds earned, −3.00 % in all.')
    """
    folds: Sequence[Mapping[str, Any]] = document.get("folds") or ()
    total = number_at(document, "metrics", "total_return")
    if not folds or total is None:
        return "unknown", "Too few folds were traded to tell."
    before = [value for fold in folds if (value := number_at(fold, "in_sample", "sharpe")) is not None]
    sharpe = number_at(document, "metrics", "sharpe")
    earned = sum((number_at(fold, "out_of_sample", "total_return") or 0.0) > 0.0 for fold in folds)
    promised = (
        f"Chosen for a Sharpe of {metric_text('sharpe', sum(before) / len(before))}, they had"
        if before
        else "They had a Sharpe of"
    )
    sentence = (
        f"{promised} {metric_text('sharpe', sharpe)} thereafter: {earned} of {len(folds)} "
        f"folds earned, {metric_text('total_return', total)} in all."
    )
    if total <= 0.0:
        return "bad", sentence
    kept = sharpe is not None and before and sharpe >= 0.5 * sum(before) / len(before)
    return ("good" if kept and earned * 2 > len(folds) else "weak"), sentence
