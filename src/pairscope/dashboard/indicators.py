"""The indicators that can be drawn: their names for the API, their periods, and how a person sets them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

__all__ = ["CHOICES", "Choice", "Chosen", "chosen_names", "periods_of"]

Chosen = Mapping[str, Sequence[str]]
"""Kind -> the parameter texts of each line of it: ``{"SMA": ["20", "50"], "MACD": ["12:26:9"]}``."""

LONGEST = 1000
_MOST_LINES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """One kind of indicator.

    ``first`` is the text that its setting starts with: periods of one line, joined by ``·``; several lines by commas.
    """

    name: str
    first: str
    meaning: str
    parts: int = 1
    several: bool = False

    def ask(self) -> Sequence[str]:
        """Draw its setting; return the parameters of each of its lines, those of the start where they are malformed."""
        if not self.first:
            return [""]
        key = f"{self.name}_periods"
        text = st.text_input(
            self.meaning,
            self.first,
            key=key,
            bind="query-params",
            max_chars=24,
            help=_HELP_SEVERAL if self.several else None,
        )
        periods = periods_of(str(text), parts=self.parts, several=self.several)
        if periods is None:
            st.caption(f":red[Not a period: write it like {self.first}; 2 to {LONGEST}.]")
        return periods or periods_of(self.first, parts=self.parts, several=self.several) or []


_HELP_SEVERAL = f"Up to {_MOST_LINES} lines, their periods separated by commas."

CHOICES: Mapping[str, Choice] = {
    "SMA": Choice("sma", "20", "SMA: bars", several=True),
    "EMA": Choice("ema", "20", "EMA: span, bars", several=True),
    "Bollinger": Choice("bollinger", "20 2", "Bollinger: bars, deviations", parts=2),
    "VWAP": Choice("vwap", "", "VWAP"),
    "RSI": Choice("rsi", "14", "RSI: bars"),
    "MACD": Choice("macd", "12 26 9", "MACD: fast, slow, signal", parts=3),
    "ATR": Choice("atr", "14", "ATR: bars"),
    "Realised volatility": Choice("volatility", "60", "Volatility: bars"),
}


def periods_of(text: str, *, parts: int, several: bool) -> list[str] | None:
    """Read periods as a person writes them; None where that is not what they are.

    >>> periods_of("20, 50", parts=1, several=True), periods_of("12 26 9", parts=3, several=False)
    (['20', '50'], ['12:26:9'])
    """
    lines = text.split(",") if several else [text]
    found = []
    for line in lines[:_MOST_LINES]:
        numbers = re.findall(r"\d+(?:\.\d+)?", line)
        whole = [number for number in numbers if "." not in number]
        if len(numbers) != parts or (parts != 2 and len(whole) != parts) or not 2 <= float(numbers[0]) <= LONGEST:
            return None
        found.append(":".join(numbers))
    return list(dict.fromkeys(found))


def chosen_names(chosen: Chosen) -> list[str]:
    """Return the API's names of what was chosen: ``sma:20``, ``macd:12:26:9``, ``vwap``."""
    return [
        ":".join(part for part in (CHOICES[kind].name, period) if part)
        for kind, periods in chosen.items()
        for period in periods
    ]
