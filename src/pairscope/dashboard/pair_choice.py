"""Which pair is looked at and by which settings: what a person chooses, held in the page's address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import streamlit as st

__all__ = ["METHODS", "SPACES", "TIMEFRAMES", "PairChoice", "choose_legs", "choose_pair", "in_hindsight", "open_pair"]

TIMEFRAMES: Final = ("1s", "5s", "15s", "1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d")
METHODS: Final[Mapping[str, str]] = {"OLS": "ols", "Huber": "huber", "Kalman": "kalman"}
SPACES: Final[Mapping[str, str]] = {"Logs": "log", "Prices": "linear"}

_MOST: Final = 10_000
_METHOD_NAMES: Final[Mapping[str, str]] = {value: name for name, value in METHODS.items()}
_SPACE_NAMES: Final[Mapping[str, str]] = {value: name for name, value in SPACES.items()}


@dataclass(frozen=True, slots=True)
class PairChoice:
    """A pair and its settings, as the API names them; ``entry`` and ``exit`` are lines on the chart."""

    y: str
    x: str
    timeframe: str = "1m"
    lookback: int = 1440
    window: int = 60
    method: str = "ols"
    price_space: str = "log"
    entry: float = 2.0
    exit: float = 0.5

    @property
    def key(self) -> str:
        """The pair's name on the stream."""
        return f"{self.y}:{self.x}"

    def settings(self) -> dict[str, Any]:
        """Return all of it by the API's names."""
        return asdict(self)

    def computed(self) -> dict[str, Any]:
        """Return what the numbers depend on: all but the lines."""
        return {name: value for name, value in asdict(self).items() if name not in {"entry", "exit"}}

    def problem(self) -> str:
        """Say what cannot be computed and what to do; empty where all is well.

        >>> PairChoice("ETHUSDT", "BTCUSDT").problem()
        ''
        >>> PairChoice("ETHUSDT", "BTCUSDT", window=90, lookback=60).problem()
        'The window (90 bars) is longer than the lookback (60 bars): make it shorter, or the lookback longer.'
        """
        if self.y == self.x:
            return f"Both legs are {self.y}: choose two different symbols."
        if self.window > self.lookback:
            return (
                f"The window ({self.window} bars) is longer than the lookback ({self.lookback} bars): "
                "make it shorter, or the lookback longer."
            )
        if self.exit >= self.entry:
            return f"The exit (z {self.exit:g}) must be below the entry (z {self.entry:g})."
        return ""


def choose_pair(known: Sequence[str], first: PairChoice) -> PairChoice | None:
    """Draw the settings; return what is chosen, at first the first pair; None where a leg was cleared."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="pair-choice"):
        y, x = choose_legs(known, first, width=260)
        timeframe = st.segmented_control(
            "Timeframe",
            TIMEFRAMES,
            default="1m",
            required=True,
            key="pair_timeframe",
            bind="query-params",
            wrap=True,
        )
        with st.popover("Settings", icon=":material/tune:"):
            numbers = _settings()
        st.toggle(
            "Hindsight",
            key="hindsight",
            bind="query-params",
            help="Off: each bar's spread stands under the hedge ratio that was known then. "
            "On: the whole chart under the newest hedge ratio, which nobody knew then.",
        )
    return PairChoice(y, x, str(timeframe), **numbers) if y and x else None


def choose_legs(
    known: Sequence[str], first: PairChoice, *, width: int | Literal["stretch"]
) -> tuple[str | None, str | None]:
    """Draw the search of both legs and the button that lets them change places; None for a leg that was cleared."""
    state = st.session_state
    if not state.get("_pair_offered") and "y" not in st.query_params and "x" not in st.query_params:
        for name in ("y", "x"):
            state[name] = getattr(first, name)
            st.query_params[name] = state[name]  # a widget alone would write it at its first change: share it as it is
    state["_pair_offered"] = True
    symbols = sorted({*known, *(state[name] for name in ("y", "x") if state.get(name))})
    y = st.selectbox(
        "Y (what you buy when the spread is low)",
        symbols,
        index=None,
        key="y",
        bind="query-params",
        placeholder="Search a symbol",
        width=width,
    )
    st.button("Swap", icon=":material/swap_horiz:", help="Let the legs change places", on_click=_swap, args=(y,))
    x = st.selectbox(
        "X (its hedge)",
        symbols,
        index=None,
        key="x",
        bind="query-params",
        placeholder="Search a symbol",
        width=width,
    )
    return y, x


def in_hindsight() -> bool:
    """Return whether the chart's past is to stand under the newest hedge ratio."""
    return bool(st.session_state.get("hindsight"))


def _settings() -> dict[str, Any]:
    method = st.segmented_control(
        "Hedge ratio of the spread",
        list(METHODS),
        default="OLS",
        required=True,
        key="method",
        bind="query-params",
        help="Least squares; Huber, which outliers bend less; or the Kalman filter, which follows a drifting ratio.",
    )
    space = st.segmented_control(
        "Spread in",
        list(SPACES),
        default="Logs",
        required=True,
        key="price_space",
        bind="query-params",
        help="Logs: beta is value against value. Prices: beta is units against units.",
    )
    with st.grid(2, min_column_width=130):
        lookback = st.number_input(
            "Lookback (bars)",
            3,
            _MOST,
            1440,
            60,
            key="lookback",
            bind="query-params",
            help="Bars that the hedge ratio is fitted on and the tests are made with.",
        )
        window = st.number_input(
            "Window (bars)",
            2,
            _MOST,
            60,
            10,
            key="window",
            bind="query-params",
            help="Bars of z-score and rolling correlation.",
        )
        entry = st.number_input(
            "Entry z",
            0.1,
            20.0,
            2.0,
            0.25,
            key="entry",
            bind="query-params",
            help="The spread is rich or cheap beyond it.",
        )
        leave = st.number_input(
            "Exit z", 0.0, 20.0, 0.5, 0.25, key="exit", bind="query-params", help="The spread is back inside it."
        )
    return {
        "lookback": int(lookback or 1440),
        "window": int(window or 60),
        "method": METHODS[str(method)],
        "price_space": SPACES[str(space)],
        "entry": float(entry or 2.0),
        "exit": float(leave or 0.0),
    }


def open_pair(entry: Mapping[str, Any]) -> None:
    """Make the page show a pair by the settings of its watch-list entry; to be called before widgets are drawn."""
    state = st.session_state
    state["y"], state["x"] = str(entry["y"]), str(entry["x"])
    state["_pair_offered"] = True
    plain = {
        "timeframe": "pair_timeframe",
        "lookback": "lookback",
        "window": "window",
        "entry": "entry",
        "exit": "exit",
    }
    for name, key in plain.items():
        if name in entry:
            state[key] = entry[name]
    if "method" in entry:
        state["method"] = _METHOD_NAMES.get(str(entry["method"]), "OLS")
    if "price_space" in entry:
        state["price_space"] = _SPACE_NAMES.get(str(entry["price_space"]), "Logs")


def _swap(y: str | None) -> None:
    st.session_state["y"], st.session_state["x"] = st.session_state.get("x"), y
