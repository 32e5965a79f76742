"""A sweep as it is read: how much of its best rule is luck, a map of any metric over two parameters, and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from pairscope.dashboard.backtest_choice import rule_words
from pairscope.dashboard.backtest_form import use_parameters
from pairscope.dashboard.backtest_grid import GRID, written_value
from pairscope.dashboard.backtest_words import LEVELS, METRICS, chance, metric_text, share
from pairscope.dashboard.pair_words import number_at, part_of, plain

__all__ = [
    "CHOSEN_BY",
    "best_row",
    "csv_of_rows",
    "grid_names",
    "heat_cells",
    "heat_figure",
    "luck_of",
    "show_sweep",
    "swept_rule",
]

CHOSEN_BY: Final = (
    "sharpe", "total_return", "sortino", "calmar", "max_drawdown", "profit_factor", "win_rate", "trades",
)  # fmt: skip
"""Metrics that a map may show; of each, more is better."""

_MOST_ROWS: Final = 500
_OTHERS: Final[Mapping[str, str]] = {"Median": "median", "Best": "best"}
_SCALES: Final[Mapping[str, Sequence[tuple[float, str]]]] = {
    "dark": ((0.0, "#B5610A"), (0.5, "#161A1E"), (1.0, "#1F78B4")),
    "light": ((0.0, "#F0A05A"), (0.5, "#F8F9FA"), (1.0, "#7DB8E0")),
}
_TEXT: Final[Mapping[str, str]] = {"dark": "#EAECEF", "light": "#1B2128"}
_WRITTEN_CELLS: Final = 150


def show_sweep(document: Mapping[str, Any]) -> None:
    """Draw one sweep."""
    rows: Sequence[Mapping[str, Any]] = document.get("rows") or ()
    names = grid_names(document)
    best = document.get("best") or best_row(rows, "sharpe")
    _say(document, rows, names, best)
    if not rows:
        st.info("No rule of the grid makes sense: let the exits be below the entries, and the stops above them.")
        return
    _results(document, rows, names)


def _say(
    document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], names: Sequence[str], best: Mapping[str, Any] | None
) -> None:
    level, lines = luck_of(document)
    colour, sign, word = LEVELS[level]
    skipped = int(document.get("skipped") or 0)
    left = f", {skipped:,} left out because they make no sense" if skipped else ""
    with st.container(border=True, gap="small", key="sweep-verdict"):
        st.markdown(f":{colour}-badge[{sign} {word}] **{len(rows):,} rules tried{left}.**")
        if best:
            st.markdown(plain(f"Best by Sharpe: {_rule(best, names)}: {_told(best)}."))
        for line in lines:
            st.markdown(plain(line))
        st.caption(plain(f"{rule_words(swept_rule(document))}."))
        if best:
            st.button(
                "Use these parameters",
                icon=":material/check:",
                on_click=_use,
                args=({name: best.get(name) for name in names},),
                key="use-best",
                help="Put the best rule into the form and look at it as a backtest",
            )


def _use(parameters: Mapping[str, Any]) -> None:
    use_parameters(parameters)
    st.session_state["bt_view"] = "Backtest"


def _rule(row: Mapping[str, Any], names: Sequence[str]) -> str:
    labels = ((GRID[name].label if name in GRID else name, name) for name in names)
    return ", ".join(f"{label.partition(' (')[0]} {written_value(name, row.get(name))}" for label, name in labels)


def _told(row: Mapping[str, Any]) -> str:
    words = {"sharpe": "Sharpe {}", "total_return": "return {}", "max_drawdown": "drawdown {}", "trades": "{} trades"}
    return ", ".join(text.format(metric_text(name, row.get(name))) for name, text in words.items())


def swept_rule(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sweep's request as if it were one rule, an ellipsis where the grid varied it."""
    request = dict(document.get("request") or {})
    hedge = request.get("hedge")
    request["hedge"] = dict(hedge) if isinstance(hedge, Mapping) else {}
    for name in grid_names(document):
        holder = request["hedge"] if name in {"method", "lookback", "beta"} else request
        holder[name] = "…"
    return request


def luck_of(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the level and the sentences on how much of the best rule is luck.

    >>> luck_of({"pbo": 0.6, "deflated_sharpe": 0.3, "trials": 40})[0]
    'bad'
    """
    pbo, deflated = number_at(document, "pbo"), number_at(document, "deflated_sharpe")
    trials = number_at(document, "trials")
    tries = f"{trials:,.0f} tries" if trials else "all tries"
    lines = []
    if pbo is not None:
        lines.append(
            f"Probability of backtest overfitting {share(pbo)}: in so many of the ways to halve the bars did the rule "
            f"that was best on one half come out below the median on the other. {_overfit(pbo)}"
        )
    else:
        lines.append(f"The probability of overfitting was not computed{_reason(document, 'pbo')}.")
    if deflated is not None:
        lines.append(
            f"Deflated Sharpe {chance(deflated)}: the chance that the best rule has any skill, less what the best of "
            f"{tries} shows by luck. {'Enough' if deflated >= 0.95 else 'Below 95 % is not enough'}."
        )
    else:
        lines.append(f"The deflated Sharpe was not computed{_reason(document, 'deflated_sharpe')}.")
    known = [value for value in (pbo, deflated) if value is not None]
    if not known:
        return "unknown", lines
    if (pbo is not None and pbo >= 0.5) or (deflated is not None and deflated < 0.5):
        return "bad", lines
    good = (pbo is None or pbo <= 0.2) and (deflated is None or deflated >= 0.95)
    return ("good" if good else "weak"), lines


def _overfit(pbo: float) -> str:
    if pbo >= 0.5:
        return "Choosing by these results is no better than drawing lots."
    return "What is chosen carries over." if pbo <= 0.2 else "What is chosen carries over a little at best."


def _reason(document: Mapping[str, Any], name: str) -> str:
    reason = part_of(document, name, "reason") or part_of(document, "reasons", name)
    return f": {reason}" if reason else ""


def _draw(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    varied = [name for name in names if len({str(row.get(name)) for row in rows}) > 1] or list(names)
    labels = {(GRID[name].label if name in GRID else name): name for name in varied}
    words = {METRICS[name][0]: name for name in CHOSEN_BY if any(name in row for row in rows[:1])}
    with st.container(horizontal=True, vertical_alignment="bottom", key="heat-choice"):
        metric = words[str(st.selectbox("Metric", list(words), key="sweep_metric", bind="query-params", width=160))]
        first, second, others = "", "", "median"
        if len(labels) >= 2:
            first = labels[str(st.selectbox("Across", list(labels), 0, key="sweep_a", bind="query-params", width=180))]
            second = labels[str(st.selectbox("Up", list(labels), 1, key="sweep_b", bind="query-params", width=180))]
        if len(labels) > 2:
            chosen = st.segmented_control(
                "Of the others",
                list(_OTHERS),
                default="Median",
                required=True,
                key="sweep_others",
                bind="query-params",
                help="A cell has many rules, one for each value of the other parameters: their median tells where a "
                "region is good, their best one what luck can find in it.",
            )
            others = _OTHERS[str(chosen)]
    if first and first != second:
        tone = "light" if st.context.theme.type == "light" else "dark"
        cells = heat_cells(rows, first, second, metric, others)
        st.plotly_chart(
            heat_figure(cells, first, second, metric, tone),
            key="sweep-heat",
            config={"displayModeBar": False, "scrollZoom": False},
            alt=f"Map of {METRICS[metric][0]} over {_label(first)} and {_label(second)}; ★ is the best cell",
        )
    elif first:
        st.caption("Choose two different parameters to see a map.")
    _table(document, rows, names, metric)


_results = st.fragment(_draw)


def _table(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], names: Sequence[str], metric: str) -> None:
    ordered = sorted(rows, key=lambda row: -_rank(row, metric))
    shown = ordered[:_MOST_ROWS]
    of = f"The best {len(shown):,} of {len(rows):,} rules" if len(rows) > len(shown) else f"{len(rows):,} rules"
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="rules-head"
    ):
        st.subheader(f"{of} by {METRICS[metric][0]}", anchor=False)
        st.download_button(
            "Download sweep",
            lambda: csv_of_rows(rows).encode(),
            f"sweep-{part_of(document, 'request', 'y')}-{part_of(document, 'request', 'x')}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="download-sweep",
        )
    table = pd.DataFrame(
        {
            **{_label(name): [_value(name, row.get(name)) for row in shown] for name in names},
            **{
                METRICS[name][0]: [row.get(name) for row in shown]
                for name in METRICS
                if name in (shown[0] if shown else {})
            },
        }
    )
    st.dataframe(
        table,
        key="sweep-rows",
        hide_index=True,
        height=min(380, 38 + 35 * len(table)),
        column_config=_columns(),
        alt=f"{of} by {METRICS[metric][0]}, best first; a heading sorts",
    )


def _columns() -> dict[str, Any]:
    percents = {"Total return", "Annual return", "Max. drawdown", "Win rate", "Exposure", "Probabilistic Sharpe"}
    return {
        label: st.column_config.NumberColumn(label, format="percent" if label in percents else "%.2f")
        for name, (label, _) in METRICS.items()
        if name != "trades"
    }


def _value(name: str, value: Any) -> Any:
    return written_value(name, value) if value is None or isinstance(value, str) else value


def _label(name: str) -> str:
    return GRID[name].label if name in GRID else name


def grid_names(document: Mapping[str, Any]) -> list[str]:
    """Return the parameters that the sweep varied, in the order of its grid.

    >>> grid_names({"rows": [{"entry": 2.0, "window": 60, "sharpe": 1.0}]})
    ['entry', 'window']
    """
    grid = document.get("grid")
    if isinstance(grid, Mapping) and grid:
        return [str(name) for name in grid]
    first: Mapping[str, Any] = next(iter(document.get("rows") or ()), {})
    return [name for name in first if name in GRID]


def _rank(row: Mapping[str, Any], metric: str) -> float:
    value = number_at(row, metric)
    return -np.inf if value is None else value


def best_row(rows: Sequence[Mapping[str, Any]], metric: str) -> Mapping[str, Any] | None:
    """Return the row with the most of a metric; None where no row has it.

    >>> best_row([{"sharpe": None}, {"sharpe": 1.0, "entry": 2}], "sharpe")
    {'sharpe': 1.0, 'entry': 2}
    """
    known = [row for row in rows if number_at(row, metric) is not None]
    return max(known, key=lambda row: _rank(row, metric)) if known else None


Cells = tuple[list[Any], list[Any], list[list[float | None]]]
"""Values across, values up, and the metric by row and column."""


def heat_cells(rows: Sequence[Mapping[str, Any]], a: str, b: str, metric: str, others: str = "median") -> Cells:
    """Return the map of a metric over parameter ``a`` (across) and ``b`` (up): the median or the best of each cell.

    >>> rows = [{"entry": e, "exit": x, "sharpe": e - x} for e in (1.0, 2.0) for x in (0.0, 0.5)]
    >>> heat_cells(rows, "entry", "exit", "sharpe")
    ([1.0, 2.0], [0.0, 0.5], [[1.0, 2.0], [0.5, 1.5]])
    """
    across = list(dict.fromkeys(row.get(a) for row in rows))
    up = list(dict.fromkeys(row.get(b) for row in rows))
    across, up = sorted(across, key=_order), sorted(up, key=_order)
    found: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        value = number_at(row, metric)
        if value is not None:
            found.setdefault((row.get(b), row.get(a)), []).append(value)
    read = np.median if others == "median" else np.max
    cells = [[float(read(found[u, v])) if (u, v) in found else None for v in across] for u in up]
    return across, up, cells


def _order(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def heat_figure(cells: Cells, a: str, b: str, metric: str, tone: str) -> dict[str, Any]:
    """Return the map as a Plotly figure; its middle colour is 0 where the metric has a sign, ★ the best cell."""
    across, up, values = cells
    known = [value for row in values for value in row if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    middle = -low / (high - low) if low < 0 < high else 0.5
    written = len(across) * len(up) <= _WRITTEN_CELLS
    best = max(known, default=None)
    text = [
        [
            f"{'★ ' if value == best else ''}{metric_text(metric, value) if written else ''}"
            if value is not None
            else ""
            for value in row
        ]
        for row in values
    ]
    names = [written_value(a, value) for value in across], [written_value(b, value) for value in up]
    one, two, label = _label(a), _label(b), METRICS[metric][0]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": values,
                "x": names[0],
                "y": names[1],
                "text": text,
                "customdata": [[metric_text(metric, value) for value in row] for row in values],
                "texttemplate": "%{text}",
                "textfont": {"color": _TEXT[tone], "size": 11},
                "zmin": low,
                "zmax": high if high > low else low + 1.0,
                "colorscale": [[middle if at == 0.5 else at, colour] for at, colour in _SCALES[tone]],
                "xgap": 1,
                "ygap": 1,
                "hoverongaps": False,
                "hovertemplate": f"{one} %{{x}}, {two} %{{y}}<br>{label} <b>%{{customdata}}</b><extra></extra>",
                "colorbar": {
                    "thickness": 8,
                    "outlinewidth": 0,
                    "xpad": 4,
                    "tickformat": ".0%" if _is_share(metric) else "",
                },
            }
        ],
        "layout": {
            "height": int(min(560, max(240, 110 + 34 * len(up)))),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {"type": "category", "title": {"text": one}, "automargin": True, "showgrid": False},
            "yaxis": {"type": "category", "title": {"text": two}, "automargin": True, "showgrid": False},
        },
    }


def _is_share(metric: str) -> bool:
    return metric in {"total_return", "max_drawdown", "win_rate"}


def csv_of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return all rules and their metrics as CSV, in the order of the grid.

    >>> csv_of_rows([{"entry": 2.0, "sharpe": None}]).splitlines()
    ['entry,sharpe', '2.0,']
    """
    return str(pd.DataFrame(list(rows)).to_csv(index=False))
