"""The indicators that can be drawn: their names for the API, their numbers, and how a person sets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

__all__ = ["CHOICES", "Choice", "Chosen", "chosen_names", "numbers_of"]

Chosen = Mapping[str, Sequence[str]]
"""Kind -> the numbers of each line of it: ``{"SMA": ["20", "50"], "MACD": ["12:26:9"]}``."""

LONGEST: Final = 1440
"""Bars that a period may have at most; the API's own limit."""

_MOST_LINES: Final = 3

Check = Callable[[Sequence[float]], bool]


def _bars(*, least: int = 1) -> Check:
    return lambda numbers: all(n == int(n) and least <= n <= LONGEST for n in numbers)


_whole_bars = _bars()


def _bollinger(numbers: Sequence[float]) -> bool:
    return _bars(least=2)(numbers[:1]) and 0.1 <= numbers[1] <= 10


def _macd(numbers: Sequence[float]) -> bool:
    return _bars()(numbers) and numbers[0] < numbers[1]


@dataclass(frozen=True, slots=True)
class Choice:
    """One kind of indicator: the API's name, what its setting starts with and is called, and which numbers it takes."""

    name: str
    first: str = ""
    label: str = ""
    rule: str = ""
    parts: int = 1
    several: bool = False
    check: Check = _whole_bars

    def ask(self) -> Sequence[str]:
        """Draw its setting; return the numbers of each line, those of the start where what is written is none."""
        if not self.first:
            return [""]
        more = f" Up to {_MOST_LINES} lines, separated by commas." if self.several else ""
        text = st.text_input(
            self.label,
            self.first,
            key=f"{self.name}_periods",
            bind="query-params",
            max_chars=24,
            help=f"{self.rule}.{more}",
        )
        found = numbers_of(str(text), self)
        if found is None:
            st.caption(f":red[Not usable: {self.rule}, like {self.first}.]")
        return found or numbers_of(self.first, self) or []


_PERIOD = f"Whole bars, 1 to {LONGEST}"

CHOICES: Final[Mapping[str, Choice]] = {
    "SMA": Choice("sma", "20", "SMA", _PERIOD, several=True),
    "EMA": Choice("ema", "20", "EMA", _PERIOD, several=True),
    "Bollinger": Choice(
        "bollinger", "20 2", "Bollinger", "Bars (2 or more) and standard deviations (0.1 to 10)", 2, check=_bollinger
    ),
    "VWAP": Choice("vwap"),
    "RSI": Choice("rsi", "14", "RSI", _PERIOD),
    "MACD": Choice("macd", "12 26 9", "MACD", "Fast, slow and signal in bars, fast below slow", 3, check=_macd),
    "ATR": Choice("atr", "14", "ATR", _PERIOD),
    "Realised volatility": Choice(
        "volatility", "60", "Realised volatility", f"Returns in the window, 2 to {LONGEST}", check=_bars(least=2)
    ),
}
"""What can be chosen, by the name that a person reads."""


def numbers_of(text: str, choice: Choice) -> list[str] | None:
    """Read numbers as a person writes them; None where the indicator cannot have them.

    >>> numbers_of("20, 50", CHOICES["SMA"]), numbers_of("12 26 9", CHOICES["MACD"])
    (['20', '50'], ['12:26:9'])
    >>> numbers_of("26 12 9", CHOICES["MACD"]) is None
    True
    """
    found = []
    for line in text.split(",") if choice.several else [text]:
        words = line.replace(",", " ").replace("·", " ").split()
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            return None
        if len(numbers) != choice.parts or not choice.check(numbers):
            return None
        found.append(":".join(f"{number:g}" for number in numbers))
    return list(dict.fromkeys(found))[:_MOST_LINES]


def chosen_names(chosen: Chosen) -> list[str]:
    """Return the API's names of what was chosen: ``sma:20``, ``macd:12:26:9``, ``vwap``."""
    return [
        ":".join(part for part in (CHOICES[kind].name, numbers) if part)
        for kind, lines in chosen.items()
        for numbers in lines
    ]
