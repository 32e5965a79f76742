"""The runs that are kept: listed, laid side by side, opened again and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.backtest_choice import rule_words
from pairscope.dashboard.backtest_form import use_parameters
from pairscope.dashboard.backtest_jobs import open_run
from pairscope.dashboard.backtest_series import curve_data
from pairscope.dashboard.backtest_source import delete_run, kept_run, kept_runs
from pairscope.dashboard.backtest_sweep import swept_rule
from pairscope.dashboard.backtest_walk import promise_of
from pairscope.dashboard.backtest_words import LEVELS, METRICS, metric_text
from pairscope.dashboard.live_chart import LiveApi, live_view
from pairscope.dashboard.pair_words import base_of, number_at, part_of, plain, when
from pairscope.dashboard.price_monitor import palette_chosen

__all__ = ["compare_rows", "run_name", "run_rows", "show_runs"]

MOST_COMPARED: Final = 6

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "backtest": ("Backtest", "Backtest"), "sweep": ("Sweep", "Sweep"), "walk_forward": ("Walk-forward", "Walk-forward"),
}  # fmt: skip
_COMPARED: Final = (
    "total_return", "sharpe", "sortino", "max_drawdown", "calmar", "trades", "win_rate", "profit_factor",
    "average_holding", "exposure", "turnover", "pnl", "spread_pnl", "fees", "slippage", "funding",
)  # fmt: skip


def show_runs(api: LiveApi, client: Client) -> None:
    """Draw the list, and what is compared."""
    heard = kept_runs(client)
    refused = st.session_state.pop("_run_refused", "")
    if refused or (heard.problem and not heard.passing):
        st.warning(refused or f"The runs could not be read: {heard.problem}")
    elif heard.problem and heard.document is None:
        st.caption("The runs are listed as soon as the API answers.")
    runs: Sequence[Mapping[str, Any]] = heard.document or ()
    if not runs:
        if not heard.problem:
            st.info("No run is kept yet. Every backtest, sweep and walk-forward that ends is kept and listed here.")
        return
    rows = run_rows(runs)
    st.dataframe(
        pd.DataFrame(rows),
        key="runs",
        hide_index=True,
        height=min(320, 38 + 35 * len(rows)),
        column_config=_columns(),
        alt=f"{len(rows)} kept runs, the newest first; a heading sorts",
    )
    names = _named(runs)
    comparable = [name for name, run in names.items() if str(run.get("kind") or "backtest") != "sweep"]
    state = st.session_state
    if "compared" in state:
        state["compared"] = [name for name in state["compared"] if name in names]
    chosen = st.multiselect(
        "Runs to compare, open or delete",
        list(names),
        default=comparable[:2],
        max_selections=MOST_COMPARED,
        key="compared",
        persist_state="session",
        placeholder="Choose runs",
        help=f"Up to {MOST_COMPARED}; the metrics of two or more are laid side by side, their equity over each other.",
    )
    for name in chosen:
        _line(client, name, names[name])
    _compare(api, client, [(name, names[name]) for name in chosen if name in comparable])


def _named(runs: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the runs by names of which no two are alike."""
    names: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        name, number = run_name(run), 2
        while name in names:
            first, _, rest = run_name(run).partition(" · ")
            name, number = f"{first} ({number}) · {rest}", number + 1
        names[name] = run
    return names


def _line(client: Client, name: str, run: Mapping[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"run-{run['id']}"):
        st.markdown(plain(name), width="stretch")
        st.button("Open", key=f"open-{run['id']}", on_click=_open, args=(run,), icon=":material/open_in_full:")
        st.button("Delete", key=f"delete-{run['id']}", on_click=_delete, args=(client, run), icon=":material/delete:")


def _open(run: Mapping[str, Any]) -> None:
    """Show a run in its own view, with the form as it was asked with."""
    kind = str(run.get("kind") or "backtest")
    open_run(kind, str(run["id"]))
    state = st.session_state
    state["bt_view"] = _KINDS.get(kind, _KINDS["backtest"])[0]
    request = run.get("request") or {}
    for name, key in (("y", "y"), ("x", "x"), ("timeframe", "pair_timeframe")):
        value = request.get(name) or run.get(name)
        if value:
            state[key] = value
    if kind == "backtest":
        use_parameters(request)


def _delete(client: Client, run: Mapping[str, Any]) -> None:
    problem = delete_run(client, str(run["id"]))
    if problem:
        st.session_state["_run_refused"] = f"Not deleted: {problem}"
    shown = f"{run.get('kind') or 'backtest'}_run"
    if st.query_params.get(shown) == run["id"]:
        del st.query_params[shown]


def _compare(api: LiveApi, client: Client, chosen: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    found = [(name, kept_run(client, str(run["id"]))) for name, run in chosen]
    documents = [(name, heard.document) for name, heard in found if heard.document is not None]
    if len(documents) < 2:
        st.caption("Choose two or more backtests or walk-forwards to lay them side by side.")
        return
    curves = [{"name": _short(name), **curve_data(document)} for name, document in documents]
    live_view(
        "backtest_curves",
        api=api,
        key="backtest_curves",
        version=" ".join(str(document.get("id")) for _, document in documents),
        title="Equity of the runs, as a change since each began",
        curves=curves,
        palette=palette_chosen(),
    )
    rows = compare_rows([(_short(name), document) for name, document in documents])
    columns = {name: [plain(row[name]) for row in rows] for name in rows[0]}
    st.table(columns, border="horizontal", hide_index=True, alt="Metrics of the runs side by side")


def _short(name: str) -> str:
    """Return the part of a run's name that tells it from others: what it is, and when it was asked for."""
    return name.partition(" · ")[0]


def run_name(run: Mapping[str, Any]) -> str:
    """Name a run in one line: what and when, which pair by which rule, and how it ended.

    >>> run_name({"id": "7", "kind": "sweep", "created": 0, "y": "ETHUSDT", "x": "BTCUSDT", "timeframe": "1m"})
    'Sweep 1970-01-01 00:00:00 UTC · ETH on BTC, 1m'
    """
    kind = _KINDS.get(str(run.get("kind") or "backtest"), _KINDS["backtest"])[1]
    request = run.get("request") or {}
    pair = _pair(run)
    rule = _rule(request) if kind == "Backtest" else ""
    parts = [
        f"{kind} {when(number_at(run, 'created'), 1)}",
        f"{pair}, {run.get('timeframe') or request.get('timeframe') or ''}{rule}",
    ]
    sharpe = number_at(run, "metrics", "sharpe")
    return " · ".join([*parts, *([f"Sharpe {metric_text('sharpe', sharpe)}"] if sharpe is not None else [])])


def _pair(run: Mapping[str, Any]) -> str:
    request = run.get("request") or {}
    y, x = (base_of(str(run.get(leg) or request.get(leg) or "")) for leg in ("y", "x"))
    return f"{y} on {x}"


def _moment(created: Any) -> Any:
    return pd.to_datetime(float(created), unit="ms", utc=True) if isinstance(created, int | float) else None


def _rule(request: Mapping[str, Any]) -> str:
    entry, leave = number_at(request, "entry"), number_at(request, "exit")
    return "" if entry is None or leave is None else f", in {entry:g} out {leave:g}"


def run_rows(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the list's rows: what was run when, by which rule, and its main figures."""
    rows = []
    for run in runs:
        level = str(part_of(run, "verdict", "level") or "")
        _, sign, word = LEVELS.get(level, ("", "", ""))
        request = run.get("request") or {}
        metrics = run.get("metrics") or run.get("best") or {}
        rows.append(
            {
                "Run": run_name(run).partition(" · ")[0],
                "When": _moment(run.get("created")),
                "Pair": _pair(run),
                "Bars": str(run.get("timeframe") or request.get("timeframe") or ""),
                "Rule": _listed_rule(run),
                "Verdict": f"{sign} {part_of(run, 'verdict', 'title') or word}".strip(),
                **{
                    METRICS[name][0]: metrics.get(name) for name in ("total_return", "sharpe", "max_drawdown", "trades")
                },
            }
        )
    return rows


def _listed_rule(run: Mapping[str, Any]) -> str:
    """Return the rule of a backtest, of others how many were tried."""
    if str(run.get("kind") or "backtest") == "backtest":
        request = run.get("request") or {}
        return rule_words(request).partition(": ")[2].partition(";")[0] if request else ""
    tried = run.get("combinations")
    return f"{tried:,} rules" if isinstance(tried, int) else "chosen anew in each fold"


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "Run": st.column_config.TextColumn("Run", pinned=True),
        "When": st.column_config.DatetimeColumn("When (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        "Rule": st.column_config.TextColumn("Rule", width="large"),
        "Total return": number("Total return", format="percent", width="small"),
        "Sharpe": number("Sharpe", format="%.2f", width="small"),
        "Max. drawdown": number("Max. drawdown", format="percent", width="small"),
        "Trades": number("Trades", width="small"),
    }


def compare_rows(documents: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Return a row a metric, a column a run; first the verdict and the rule.

    >>> rows = compare_rows([("A", {"metrics": {"sharpe": 1.0}}), ("B", {"metrics": {"sharpe": 2.0}})])
    >>> next(row for row in rows if row["Figure"] == "Sharpe")
    {'Figure': 'Sharpe', 'A': '1.00', 'B': '2.00'}
    """

    def verdict(document: Mapping[str, Any]) -> str:
        level = promise_of(document)[0] if document.get("folds") else str(part_of(document, "verdict", "level") or "")
        _, sign, word = LEVELS.get(level, LEVELS["unknown"])
        return f"{sign} {part_of(document, 'verdict', 'title') or word}"

    rows = [
        {"Figure": "Rule", **{name: rule_words(swept_rule(document)) for name, document in documents}},
        {"Figure": "Verdict", **{name: verdict(document) for name, document in documents}},
    ]
    for metric in _COMPARED:
        values = {name: metric_text(metric, part_of(document, "metrics", metric)) for name, document in documents}
        if any(metric in (document.get("metrics") or {}) for _, document in documents):
            rows.append({"Figure": METRICS[metric][0], **values})
    return rows
