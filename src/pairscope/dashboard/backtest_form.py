"""The form of a backtest: the pair, its bars and the rule, each with a line of help, held in the page's address."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from pairscope.dashboard.backtest_choice import FILLS, GATES, HEDGES, RANGES, SIZINGS, BacktestChoice, told
from pairscope.dashboard.backtest_grid import FIRST_VARIED, GRID
from pairscope.dashboard.pair_choice import SPACES, TIMEFRAMES, PairChoice, choose_legs

__all__ = ["choose_backtest", "use_parameters"]

_MOST_BARS: Final = 100_000
_FREE: Final = "From … to …"

_KEYS: Final[Mapping[str, str]] = {
    "lookback": "bt_lookback", "window": "bt_window", "entry": "bt_entry", "exit": "bt_exit", "stop": "bt_stop",
    "max_holding": "bt_max_holding", "cooldown": "bt_cooldown", "notional": "bt_notional", "fee_bps": "bt_fee",
    "slippage_bps": "bt_slippage", "beta": "bt_beta", "latency_ms": "bt_latency", "capital": "bt_capital",
    "funding": "bt_funding", "round_steps": "bt_round",
}  # fmt: skip
_WHOLE: Final = ("lookback", "window", "max_holding", "cooldown")
_CHOICES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "method": ("bt_hedge", HEDGES),
    "fill": ("bt_fill", FILLS),
    "gate": ("bt_gate", GATES),
    "sizing": ("bt_sizing", SIZINGS),
    "price_space": ("bt_space", SPACES),
}


def choose_backtest(known: Sequence[str], first: PairChoice) -> BacktestChoice | None:
    """Draw the form; return what is chosen, None where a leg was cleared."""
    y, x = choose_legs(known, first, width="stretch")
    with st.grid(2, min_column_width=130):
        timeframe = st.selectbox(
            "Timeframe",
            TIMEFRAMES,
            TIMEFRAMES.index("1m"),
            key="pair_timeframe",
            bind="query-params",
            help="How long one bar lasts. The rule decides at each bar's close.",
        )
        span = st.selectbox(
            "Range",
            list(RANGES),
            key="bt_range",
            bind="query-params",
            help="Bars that are traded; those before them warm the lookback and the window up.",
        )
    bounds = _bounds(str(span))
    st.segmented_control(
        "Hedge ratio",
        list(HEDGES),
        default="OLS",
        required=True,
        key="bt_hedge",
        bind="query-params",
        help="Fitted at each bar on the bars before it: least squares; Huber, which outliers bend less; the Kalman "
        "filter, which follows a drifting ratio; or a number of your own.",
    )
    with st.grid(2, min_column_width=130):
        numbers = _rule()
    with st.expander("Advanced", icon=":material/tune:"):
        numbers |= _advanced()
    chosen = {name: words[str(st.session_state[key])] for name, (key, words) in _CHOICES.items()}
    return BacktestChoice(y, x, str(timeframe), **bounds, **numbers, **chosen) if y and x else None


def use_parameters(parameters: Mapping[str, Any]) -> None:
    """Put a rule into the form, by the API's names; to be called before the form is drawn."""
    state = st.session_state
    for name, key in _KEYS.items():
        if name in parameters or told(parameters, name) is not None:
            value = told(parameters, name)
            value = value[0] if isinstance(value, list) else value
            if value is None or isinstance(value, bool):
                state[key] = value
            else:
                state[key] = int(value) if name in _WHOLE else float(value)
    for name, (key, words) in _CHOICES.items():
        value = told(parameters, name)
        if name in parameters or value is not None:
            state[key] = next((word for word, code in words.items() if code == value), next(iter(words)))


def _bounds(word: str) -> dict[str, Any]:
    """Return from when to when a range goes; ask for it where it is free."""
    if word != _FREE:
        back = RANGES[word]
        return {"start": None if back is None else int(time.time() * 1000) - back, "end": None}
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    with st.grid(2, min_column_width=130):
        start = st.datetime_input("From (UTC)", today - timedelta(days=7), key="bt_start", bind="query-params")
        end = st.datetime_input("To (UTC)", today + timedelta(days=1), key="bt_end", bind="query-params")
    return {"start": _ms(start), "end": _ms(end)}


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _rule() -> dict[str, Any]:
    if st.session_state.get("bt_hedge") == "Fixed":
        beta = _number(
            "Beta", None, None, 1.0, 0.1, "bt_beta", "The hedge ratio that stands: value of X for a unit of Y."
        )
    else:
        beta = 1.0
    lookback = _count(
        "Lookback (bars)", 3, 240, 60, "bt_lookback", "Bars up to each bar that its hedge ratio is fitted on."
    )
    window = _count(
        "Window (bars)", 2, 60, 10, "bt_window", "Bars of the z-score: how far the spread is from its mean."
    )
    entry = _number("Entry z", 0.1, 20.0, 2.0, 0.25, "bt_entry", "A trade begins when |z| reaches it.")
    leave = _number("Exit z", 0.0, 20.0, 0.5, 0.25, "bt_exit", "A trade ends when |z| is back at it.")
    stop = _number(
        "Stop z", 0.1, 50.0, None, 0.5, "bt_stop", "A trade is given up when |z| reaches it. Empty: never.", "none"
    )
    notional = _number(
        "Notional (USDT)", 1.0, 1e9, 10_000.0, 1000.0, "bt_notional", "Value of both legs together at entry."
    )
    fee = _number(
        "Fee (bps)", 0.0, 500.0, 4.0, 0.5, "bt_fee", "The exchange's charge on each leg, one way: 4 is 0.04 %."
    )
    slippage = _number(
        "Slippage (bps)", 0.0, 500.0, 1.0, 0.5, "bt_slippage", "How much worse than the bar's price each fill is."
    )
    return {
        "beta": _or(beta, 1.0),
        "lookback": lookback or 240,
        "window": window or 60,
        "entry": _or(entry, 2.0),
        "exit": _or(leave, 0.5),
        "stop": stop,
        "notional": _or(notional, 10_000.0),
        "fee_bps": _or(fee, 4.0),
        "slippage_bps": _or(slippage, 1.0),
    }


def _advanced() -> dict[str, Any]:
    fixed = st.session_state.get("bt_hedge") == "Fixed"
    with st.grid(2, min_column_width=130):
        longest = _count(
            "Max. holding (bars)", 1, None, 10, "bt_max_holding", "A trade is closed after so many bars.", "none"
        )
        cooldown = _count("Cooldown (bars)", 0, 0, 10, "bt_cooldown", "Bars without a new entry after a stop.")
        fee_x = _number(
            "Fee of X (bps)", 0.0, 500.0, None, 0.5, "bt_fee_x", "Where X is filled otherwise: maker, taker.", "as Y"
        )
        of_range = _number(
            "Slippage (% of range)", 0.0, 100.0, 0.0, 5.0, "bt_slippage_range",
            "Added to the slippage: a share of the filling bar's high less its low.",
        )  # fmt: skip
        capital = _number("Capital (USDT)", 1.0, 1e9, None, 1000.0, "bt_capital", "What returns are of.", "notional")
        rehedge = _number(
            "Re-hedge at (%)", 1.0, 500.0, None, 5.0, "bt_rehedge",
            "An open trade is hedged anew when beta has moved by so much; its turnover costs.", "never",
        )  # fmt: skip
        latency = _number(
            "Latency (ms)", 0.0, 60_000.0, None, 50.0, "bt_latency",
            "Fill on the stored trades so long after the decision. Empty: on bars.", "on bars",
        )  # fmt: skip
    _pick(
        "Fill",
        FILLS,
        "bt_fill",
        "Where a decision of a bar's close is filled. Same close cannot be had: for comparison only.",
    )
    _pick(
        "Trade only while",
        GATES,
        "bt_gate",
        "Cointegrated: the trailing test rejects at 5 %. Sentinel: it sees no break.",
    )
    _pick("Sizing", SIZINGS, "bt_sizing", "Legs in the proportion 1 to |beta|, or of equal value.")
    _pick("Spread in", SPACES, "bt_space", "Logs: beta is value against value. Prices: units against units.")
    funding = st.toggle(
        "Funding", True, key="bt_funding", bind="query-params", help="Charge the exchange's funding rates where known."
    )
    steps = st.toggle(
        "Round to lot size", True, key="bt_round", bind="query-params", help="Quantities in the exchange's own steps."
    )
    return {
        "max_holding": longest,
        "cooldown": cooldown or 0,
        "fee_bps_x": fee_x,
        "slippage_range": _or(of_range, 0.0) / 100.0,
        "capital": capital,
        "rehedge": None if rehedge is None or fixed else rehedge / 100.0,
        "latency_ms": None if latency is None else round(latency),
        "funding": bool(funding),
        "round_steps": bool(steps),
    }


def _number(
    label: str,
    least: float | None,
    most: float | None,
    usual: float | None,
    step: float,
    key: str,
    words: str,
    empty: str | None = None,
) -> float | None:
    found = st.number_input(
        label,
        least,
        most,
        usual,
        step,
        key=key,
        bind="query-params",
        help=words,
        placeholder=empty,
        format="%g",
        disabled=key in _varied(),
    )
    return None if found is None else float(found)


def _count(
    label: str, least: int, usual: int | None, step: int, key: str, words: str, empty: str | None = None
) -> int | None:
    found = st.number_input(
        label,
        least,
        _MOST_BARS,
        usual,
        step,
        key=key,
        bind="query-params",
        help=words,
        placeholder=empty,
        disabled=key in _varied(),
    )
    return None if found is None else int(found)


def _varied() -> set[str]:
    """Return the keys of the fields that a grid takes the place of."""
    state = st.session_state
    if state.get("bt_view", "Backtest") == "Backtest":
        return set()
    chosen = state.get("grid", FIRST_VARIED)
    names = [name for name, parameter in GRID.items() if parameter.label in chosen]
    return {_KEYS.get(name, f"bt_{name}") for name in names}


def _pick(label: str, words: Mapping[str, Any], key: str, meaning: str) -> None:
    st.segmented_control(
        label,
        list(words),
        default=next(iter(words)),
        required=True,
        key=key,
        bind="query-params",
        help=meaning,
        wrap=True,
    )


def _or(value: float | None, usual: float) -> float:
    return usual if value is None else value
