"""What a backtest's figures mean: money, risk, trades and how sure each is, with a line of explanation beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pairscope.dashboard.pair_verdict import TIMEFRAME_S
from pairscope.dashboard.pair_words import MISSING, duration, number, number_at, p_value, part_of, when

__all__ = [
    "LEVELS",
    "METRICS",
    "Figure",
    "Headline",
    "assumption_lines",
    "chance",
    "headline_figures",
    "metric_text",
    "money_rows",
    "share",
    "span_words",
    "sure_rows",
    "trade_rows",
    "verdict_of",
]  # fmt: skip

Row = Mapping[str, str]
"""Heading -> text."""

LEVELS: Final[Mapping[str, tuple[str, str, str]]] = {
    "good": ("green", "●", "Holds up"),
    "weak": ("yellow", "◐", "Weak"),
    "bad": ("red", "▼", "Does not hold up"),
    "unknown": ("gray", "○", "Cannot tell"),
}
"""Level of a verdict -> colour, sign and word: it is never told by the colour alone."""


def percent(value: float | None, decimals: int = 2) -> str:
    """Write a share in per cent with its sign.

    >>> percent(0.0123), percent(-0.5, 0), percent(None)
    ('+1.23 %', '−50 %', '–')
    """
    if value is None:
        return MISSING
    text = f"{abs(value) * 100:,.{decimals}f} %"
    sign = "" if not any(letter in "123456789" for letter in text) else "−" if value < 0 else "+"
    return sign + text


def share(value: float | None) -> str:
    """Write a share in per cent, without a sign.

    >>> share(0.256)
    '25.6 %'
    """
    return MISSING if value is None else f"{value * 100:.1f} %"


def chance(value: float | None) -> str:
    """Write a probability in per cent, a very small one as a bound.

    >>> chance(0.256), chance(1e-9)
    ('25.6 %', '< 0.1 %')
    """
    return "< 0.1 %" if value is not None and value < 0.0005 else share(value)


def money(value: float | None) -> str:
    """Write an amount of quote units with its sign.

    >>> money(1234.5), money(-0.004), money(-3)
    ('+1,234.50', '0.00', '−3.00')
    """
    if value is None:
        return MISSING
    text = f"{abs(value):,.2f}"
    sign = "" if not any(letter in "123456789" for letter in text) else "−" if value < 0 else "+"
    return sign + text


def ratio(value: float | None) -> str:
    """Write a ratio, with a true minus sign.

    >>> ratio(-1.2345), ratio(12345.6)
    ('−1.23', '12,345.60')
    """
    return MISSING if value is None else f"{'−' if value < 0 else ''}{abs(value):,.2f}"


def _cost(value: float | None) -> str:
    """Write an amount that was paid, negative where it was received."""
    return money(value).removeprefix("+")


Writer = Callable[[float | None], str]


def _count(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return MISSING if value is None else f"{number(value, 3)} ×"


def _bars(value: float | None) -> str:
    return MISSING if value is None else f"{number(value, 3)} bars"


METRICS: Final[Mapping[str, tuple[str, Writer]]] = {
    "total_return": ("Total return", percent),
    "annual_return": ("Annual return", percent),
    "sharpe": ("Sharpe", ratio),
    "sortino": ("Sortino", ratio),
    "calmar": ("Calmar", ratio),
    "max_drawdown": ("Max. drawdown", percent),
    "trades": ("Trades", _count),
    "win_rate": ("Win rate", share),
    "profit_factor": ("Profit factor", ratio),
    "average_holding": ("Average holding", _bars),
    "turnover": ("Turnover", _times),
    "exposure": ("Exposure", share),
    "pnl": ("P&L", money),
    "spread_pnl": ("P&L of the spread", money),
    "fees": ("Fees", _cost),
    "slippage": ("Slippage", _cost),
    "funding": ("Funding paid", _cost),
    "sharpe_stderr": ("Sharpe's standard error", ratio),
    "probabilistic_sharpe": ("Probabilistic Sharpe", share),
    "tail_ratio": ("Tail ratio", ratio),
    "longest_drawdown": ("Longest drawdown", _bars),
}
"""The API's names of metrics -> their label and how a value is written."""


def metric_text(name: str, value: Any) -> str:
    """Write a metric's value by its name.

    >>> metric_text("sharpe", 1.5), metric_text("total_return", 0.02), metric_text("sharpe", None)
    ('1.50', '+2.00 %', '–')
    """
    known = number_at({"value": value}, "value")
    return METRICS[name][1](known) if name in METRICS else number(known)


Figure = tuple[str, str, str]
"""Label, value and what it means."""

Headline = tuple[str, str, str, str]
"""Label, value, a few words under it (none where empty), and what it means."""


def verdict_of(document: Mapping[str, Any]) -> tuple[str, str, str, Sequence[str]]:
    """Return the verdict's colour, its badge in words, its title and its sentences."""
    level = str(part_of(document, "verdict", "level") or "unknown")
    colour, sign, word = LEVELS.get(level, LEVELS["unknown"])
    title = str(part_of(document, "verdict", "title") or "")
    sentences = part_of(document, "verdict", "sentences")
    return colour, f"{sign} {word}", title, [str(one) for one in sentences] if isinstance(sentences, list) else []


_MEANINGS: Final[Mapping[str, str]] = {
    "Return": "Of the capital, after fees, slippage and funding",
    "Sharpe": "A year's return for its risk, and its standard error",
    "Max. drawdown": "Deepest fall of equity from an earlier peak",
    "Trades": "Round trips, and how many of them earned after costs",
    "Edge a trip": "What a round trip earned before costs, in basis points of what was traded, and what it cost",
    "Luck": "p-value: the share of random pairs without any tie on which this rule did as well",
}


def headline_figures(document: Mapping[str, Any]) -> list[Headline]:
    """Return the six figures that are looked at first."""
    metrics, honesty = document.get("metrics") or {}, document.get("honesty") or {}
    error, won = number_at(metrics, "sharpe_stderr"), number_at(metrics, "win_rate")
    cost, nulls, p = (number_at(honesty, name) for name in ("cost_bps", "nulls_run", "null_pvalue"))

    def one(name: str) -> str:
        return metric_text(name, metrics.get(name))

    luck = MISSING if p is None else f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"
    lines: list[tuple[str, str, str | None]] = [
        ("Return", one("total_return"), f"{one('pnl')} USDT"),
        ("Sharpe", one("sharpe"), None if error is None else f"± {ratio(error)}"),
        ("Max. drawdown", one("max_drawdown"), None),
        ("Trades", one("trades"), None if won is None else f"{share(won)} won"),
        ("Edge a trip", _bps(number_at(honesty, "edge_bps")), None if cost is None else f"costs {_bps(cost)}"),
        ("Luck", luck, None if nulls is None else f"of {nulls:,.0f} nulls"),
    ]
    return [(label, value, under or "", _MEANINGS[label]) for label, value, under in lines]


def _plus_minus(value: float | None, error: float | None) -> str:
    return ratio(value) if value is None or error is None else f"{ratio(value)} ± {ratio(error)}"


def _bps(value: float | None) -> str:
    return MISSING if value is None else f"{ratio(value).removesuffix('.00')} bps"


def money_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return the P&L split into what it is made of."""
    metrics = {**(document.get("metrics") or {}), **(document.get("pnl") or {})}
    notional = number_at(document, "request", "notional")

    def line(label: str, value: float | None, meaning: str) -> Row:
        of = "" if notional is None or value is None else percent(value / notional)
        return {"P&L": label, "USDT": money(value), "Of notional": of or MISSING, "What it is": meaning}

    def paid(name: str) -> float | None:
        value = number_at(metrics, name)
        return None if value is None else -value

    return [
        line("Spread", number_at(metrics, "spread_pnl"), "what both legs' prices earned, before any cost"),
        line("Fees", paid("fees"), "the exchange's charge on each leg, in and out"),
        line("Slippage", paid("slippage"), "fills worse than the bar's price"),
        line("Funding", paid("funding"), "paid (−) or received (+) on perpetuals while held"),
        line("Net", number_at(metrics, "pnl"), "what is left"),
    ]


def sure_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return how sure the result is: each measure, its value, and what it says."""
    return [{"How sure": label, "Value": value, "What it says": meaning} for label, value, meaning in _sure(document)]


def _sure(document: Mapping[str, Any]) -> Iterator[Figure]:
    metrics, honesty = document.get("metrics") or {}, document.get("honesty") or {}
    error = number_at(honesty, "sharpe_stderr")
    error = number_at(metrics, "sharpe_stderr") if error is None else error
    sharpe = number_at(metrics, "sharpe")
    yield "Sharpe", _plus_minus(sharpe, error), "return for its risk, a year; two standard errors each way are likely"
    interval = part_of(honesty, "sharpe_interval")
    if isinstance(interval, list) and len(interval) == 2:
        low, high = (number_at({"end": end}, "end") for end in interval)
        yield "95 % interval", f"{ratio(low)} to {ratio(high)}", "where the true Sharpe lies, if the future is alike"
    p, nulls = number_at(honesty, "null_pvalue"), number_at(honesty, "nulls_run")
    tried = "" if nulls is None else f" of {nulls:,.0f}"
    yield "Null p-value", p_value(p), f"share{tried} random pairs without any tie on which this rule did as well"
    psr = number_at(honesty, "probabilistic_sharpe")
    psr = number_at(metrics, "probabilistic_sharpe") if psr is None else psr
    yield "Probabilistic Sharpe", chance(psr), "chance that the true Sharpe is above 0, as if this were the only try"
    trials = number_at(honesty, "trials")
    tries = "all tries" if trials is None else f"{trials:,.0f} {'try' if trials == 1 else 'tries'}"
    yield (
        "Deflated Sharpe",
        chance(number_at(honesty, "deflated_sharpe")),
        f"the same, less what the best of {tries} on this pair shows by luck; below 95 % is not enough",
    )
    returns = number_at(honesty, "effective_returns")
    if returns is not None:
        yield "Independent returns", metric_text("trades", returns), "what the error is reckoned on"
    even = number_at(honesty, "break_even_bps")
    if even is not None:
        yield "Break-even cost", _bps(even), "fee and slippage of a fill at which nothing would be left"


def trade_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return how it traded and what it risked."""
    metrics = document.get("metrics") or {}
    bar_s = TIMEFRAME_S.get(str(part_of(document, "request", "timeframe")), 60)

    def bars(name: str) -> str:
        value = number_at(metrics, name)
        return MISSING if value is None else f"{number(value, 3)} bars = {duration(value, bar_s)}"

    def one(name: str, meaning: str) -> Figure:
        return METRICS[name][0], metric_text(name, metrics.get(name)), meaning

    lines: list[Figure] = [
        one("annual_return", "the return as if it went on for a year"),
        one("sortino", "as Sharpe, counting only what fell"),
        one("calmar", "annual return over the deepest drawdown"),
        ("Longest drawdown", bars("longest_drawdown"), "time below an earlier peak"),
        one("profit_factor", "money won over money lost; above 1 earns"),
        ("Average holding", bars("average_holding"), "from fill to fill"),
        one("exposure", "share of the time with an open trade"),
        one("turnover", "all value traded over the capital"),
        one("tail_ratio", "large gains over large losses; above 1 is good"),
    ]
    return [{"How it traded": label, "Value": value, "What it says": meaning} for label, value, meaning in lines]


def span_words(document: Mapping[str, Any]) -> str:
    """Say which bars were traded and of which source they are.

    >>> span_words({"equity": {"timestamp": [0, 60_000]}, "request": {"timeframe": "1m"}, "source": "synthetic"})
    '2 bars of 1m, 1970-01-01 00:00 UTC to 1970-01-01 00:01 UTC, synthetic'
    """
    times = part_of(document, "equity", "timestamp") or []
    if not times:
        return ""
    timeframe = str(part_of(document, "request", "timeframe") or "1m")
    bar_s = TIMEFRAME_S.get(timeframe, 60)
    source = document.get("source") or part_of(document, "assumptions", "source")
    told = f", {source}" if isinstance(source, str) and source else ""
    return f"{len(times):,} bars of {timeframe}, {when(times[0], bar_s)} to {when(times[-1], bar_s)}{told}"


def assumption_lines(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the assumptions, each with its name in words.

    >>> assumption_lines({"assumptions": {"bars_per_year": 525600.0, "price_space": "log", "gaps": []}})
    [('Bars per year', '525,600'), ('Price space', 'log')]
    """
    found = []
    for name, value in (document.get("assumptions") or {}).items():
        if value is None or value in ([], {}):
            continue
        label = str(name).replace("_", " ")
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, int | float):
            text = number(float(value), 9)
        elif isinstance(value, list):
            text = "; ".join(str(one) for one in value)
        else:
            text = str(value)
        found.append((label[:1].upper() + label[1:], text))
    return found
