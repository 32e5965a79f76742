"""A backtest as one page of HTML that carries all it needs: verdict, figures, charts, trades, assumptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from pairscope.research.backtest_charts import (
    equity_chart,
    heat_maps,
    period_chart,
    signal_chart,
    trade_chart,
)
from pairscope.research.backtest_text import (
    LEVELS,
    TRADE_COLUMNS,
    believed_of,
    figure,
    figures,
    label_of,
    minute,
    source_words,
    split_of,
    trade_cells,
    written,
)
from pairscope.research.pair_gaps import gap_words
from pairscope.research.sweep_text import FOLD_COLUMNS, fold_cells, sweep_verdict, walk_verdict

__all__ = ["report_html"]

_MOST_TRADES: Final = 1_000
_MOST_ROWS: Final = 200
_TITLES: Final = {"backtest": "Backtest", "sweep": "Parameter sweep", "walk_forward": "Walk-forward"}
_GRID_METRICS: Final = ("sharpe", "total_return", "max_drawdown", "trades", "win_rate", "pnl")


def report_html(document: Mapping[str, Any]) -> str:
    """Return the page of a backtest's, a sweep's or a walk-forward's document; a sweep's ``best_run`` is drawn too.

    The page asks nothing of any network and runs no script; all text that comes from outside is escaped. O(bars).
    """
    kind, request = document.get("kind", "backtest"), document["request"]
    name = f"{request['y']} on {request['x']}"
    parts = [_head(document, kind, name)]
    if kind == "backtest":
        parts += _backtest(document)
    elif kind == "sweep":
        parts += _sweep(document)
    else:
        parts += _walk(document)
    parts.append(_section("What was asked for", _words(_flat(request))))
    style = files("pairscope.research").joinpath("backtest_report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: {_TITLES[kind].lower()}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _head(document: Mapping[str, Any], kind: str, name: str) -> str:
    """Return the title, the span, and whose prices these are."""
    source, request = str(document.get("source", "")), document["request"]
    times = (document if "equity" in document else document.get("best_run", {})).get("equity", {}).get("timestamp", [])
    span = f", {len(times):,} bars, {minute(times[0])} to {minute(times[-1])} UTC" if len(times) else ""
    gaps = document.get("gaps") or 0
    lacking = gap_words(document, str(request["y"]), str(request["x"]))
    lines = [
        f"<h1>{_TITLES[kind]}: {escape(name)}</h1>",
        f'<p class="quiet">{escape(str(request["timeframe"]))} bars{span}</p>',
        f'<p class="quiet">Prices: {escape(source_words(source))}'
        + (f"; {gaps:,} holes in the recorded trades are still open" if gaps else "")
        + "</p>",
        *([f'<p class="made-up">{escape(lacking)}.</p>'] if lacking else []),
    ]
    if source.startswith("synthetic"):
        lines.append('<p class="made-up">These prices are made: nothing here says anything about a real market.</p>')
    return f"<header>{''.join(lines)}</header>"


def _backtest(document: Mapping[str, Any]) -> Iterable[str]:
    """Return the parts of one rule's backtest."""
    if document.get("verdict"):
        yield _verdict(document["verdict"])
    yield f'<dl class="figures">{_figures(document["metrics"])}</dl>'
    believed = _figures(believed_of(document))
    if believed:
        yield _section("Can it be believed?", f'<dl class="figures">{believed}</dl>')
    yield _section("Where the money came from", _split(document["pnl"]))
    yield _section(
        "Equity and drawdown", _figure(equity_chart(document), "Drawdown is the fall from the running peak.")
    )
    signal = signal_chart(document)
    if signal:
        keys = (
            "<span>▲ long the spread</span><span>▼ short the spread</span><span>■ closed, at its own z-score</span>"
            "<span>dashed: entry and exit</span>"
        )
        yield _section("z-score and trades", f'<figure>{signal}<figcaption class="keys">{keys}</figcaption></figure>')
    trades = document["trades"]
    if trades:
        chart, said = trade_chart(document)
        yield _section("P&L of each trade", _figure(chart, said))
    chart, said = period_chart(document)
    if chart:
        yield _section("Returns by time", _figure(chart, said))
    yield _trades(trades)
    yield _section("What was assumed", _words(document.get("assumptions", {})))


def _sweep(document: Mapping[str, Any]) -> Iterable[str]:
    """Return the parts of a sweep: how much of the best is luck, the maps, the rows, and the best rule's own run."""
    grid = document["grid"]
    yield _verdict(sweep_verdict(document))
    for title, chart in heat_maps(document):
        yield _section(title, _figure(chart, "The best combination is framed; hover for the numbers."))
    names = [*grid, *(name for name in _GRID_METRICS if not document["rows"] or name in document["rows"][0])]
    rows = document["rows"][:_MOST_ROWS]
    cells = [[figure(name, row[name]) for name in names] for row in rows]
    said = (
        f"The first {len(rows):,} of {len(document['rows']):,} combinations."
        if len(rows) < len(document["rows"])
        else ""
    )
    yield _section("Combinations", _table([label_of(name) for name in names], cells) + f'<p class="quiet">{said}</p>')
    best = document.get("best_run")
    if best:
        yield "<h2>The best combination on its own</h2>"
        yield f'<p class="quiet">{escape(_values({name: best_value(document, name) for name in grid}))}</p>'
        yield from _backtest(best)


def best_value(document: Mapping[str, Any], name: str) -> Any:
    """Return the best row's value of a parameter."""
    return (document.get("best") or {}).get(name)


def _walk(document: Mapping[str, Any]) -> Iterable[str]:
    """Return the parts of a walk-forward: out of sample alone, then fold by fold."""
    metrics, grid = document["metrics"], [*document["grid"]]
    yield _verdict(walk_verdict(document))
    yield f'<dl class="figures">{_figures(metrics)}</dl>'
    yield _section("Where the money came from", _split(metrics))
    yield _section(
        "Equity out of sample", _figure(equity_chart(document), "The tests of all folds, one after the other.")
    )
    heads = ["test from (UTC)", "to", *map(label_of, grid), *FOLD_COLUMNS]
    cells = [fold_cells(fold, grid) for fold in document["folds"]]
    yield _section("Folds: chosen in sample, tried out of sample", _table(heads, cells, left=(0, 1)))
    yield _trades(document["trades"])


def _verdict(verdict: Mapping[str, Any]) -> str:
    """Return the verdict in a box, its level as a word, too."""
    level = str(verdict.get("level", "unknown"))
    kind = level if level in LEVELS else "unknown"
    head = f"<strong>{escape(LEVELS[kind])}: {escape(str(verdict.get('title', '')))}</strong>"
    return f'<section class="verdict {kind}">{head}<ul>{_items(verdict.get("sentences", []))}</ul></section>'


def _items(sentences: Iterable[str]) -> str:
    return "".join(f"<li>{escape(str(sentence))}</li>" for sentence in sentences)


def _figures(told: Mapping[str, Any]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in figures(told))


def _split(pnl: Mapping[str, Any]) -> str:
    """Return the P&L as the sum that it is."""
    rows = [[name, written("money", value)] for name, value in split_of(pnl)]
    return f'<div class="narrow">{_table(["", "in quote"], rows, left=(0,))}</div>'


def _trades(trades: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of trades, the newest first."""
    if not trades:
        return _section("Trades", "<p>No trade.</p>")
    shown = trades[: -_MOST_TRADES - 1 : -1]
    said = f"The newest {len(shown):,} of {len(trades):,} trades." if len(shown) < len(trades) else "Newest first."
    table = _table(TRADE_COLUMNS, [trade_cells(trade) for trade in shown], left=(0, 1, 2, 9), signed=(6, 7))
    return _section("Trades", f'{table}<p class="quiet">{said}</p>')


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def _figure(chart: str, said: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(said)}</figcaption></figure>"


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (), signed: Sequence[int] = ()
) -> str:
    """Return a table that scrolls in itself; cells of ``signed`` columns are coloured by their sign."""
    sides = [' class="left"' if i in left else "" for i in range(len(heads))]
    head = "".join(f"<th{sides[i]}>{escape(name)}</th>" for i, name in enumerate(heads))
    body = []
    for row in rows:
        cells = []
        for i, cell in enumerate(row):
            sign = "minus" if cell.startswith("-") else "plus"
            side = f' class="{sign}"' if i in signed and cell not in {"none", "0.00", "+0.00 %"} else sides[i]
            cells.append(f"<td{side}>{escape(cell)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _words(told: Mapping[str, Any]) -> str:
    """Return names and what is said of each as a table."""
    rows = "".join(
        f"<tr><th>{escape(label_of(name))}</th><td>{escape(_value(name, value))}</td></tr>"
        for name, value in told.items()
    )
    return f'<div class="box"><table class="words"><tbody>{rows}</tbody></table></div>'


def _flat(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with the parts of ``hedge`` beside the others."""
    flat: dict[str, Any] = {}
    for name, value in request.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {part}": inner for part, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _value(name: str, value: Any) -> str:
    """Return a parameter or an assumption as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("start", "end") and isinstance(value, int):
        return f"{minute(value)} UTC"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value("", part) for part in value)
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _values(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{label_of(name)} {_value(name, value)}" for name, value in row.items())
