"""The grid of a sweep: lists of values for two or more parameters, how many rules they make, which make no sense."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pairscope.dashboard.backtest_choice import HEDGES, BacktestChoice
from pairscope.dashboard.pair_words import number

__all__ = [
    "FIRST_VARIED",
    "GRID",
    "GridChoice",
    "Parameter",
    "choose_grid",
    "count_words",
    "sweep_body",
    "values_of",
    "written_value",
]

MOST_VALUES: Final = 1000
"""Values that one parameter may have."""

MOST_COMBINATIONS: Final = 200_000
"""Rules that a sweep may have; beyond, the page would ask for hours."""

_RANGE: Final = re.compile(r"^\s*(\S+)\s*(?:to|\.\.|…|–)\s*(\S+?)\s*(?:(?:step|by)\s*(\S+)\s*)?$", re.IGNORECASE)
_COUNT: Final = 50_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a sweep may vary: its label, the list to begin with, and what its values may be."""

    label: str
    usual: str
    whole: bool = False
    least: float = 0.0
    none: bool = False


GRID: Final[Mapping[str, Parameter]] = {
    "entry": Parameter("Entry z", "1.5 to 3 step 0.25", least=0.1),
    "exit": Parameter("Exit z", "0, 0.25, 0.5, 0.75"),
    "stop": Parameter("Stop z", "3, 4, none", least=0.1, none=True),
    "window": Parameter("Window (bars)", "30, 60, 120", whole=True, least=2),
    "lookback": Parameter("Lookback (bars)", "120, 240, 480", whole=True, least=3),
    "method": Parameter("Hedge ratio", "OLS, Huber, Kalman"),
    "max_holding": Parameter("Max. holding (bars)", "60, 240, none", whole=True, least=1, none=True),
    "cooldown": Parameter("Cooldown (bars)", "0, 30, 60", whole=True),
    "rehedge": Parameter("Re-hedge at (share)", "0.1, 0.25, none", least=0.01, none=True),
}
"""The API's names of what can be varied."""

FIRST_VARIED: Final = (GRID["entry"].label, GRID["exit"].label)
"""Labels of what a sweep varies at first."""


@dataclass(frozen=True, slots=True)
class GridChoice:
    """The values of each parameter that is varied; ``problem`` says what cannot be read."""

    values: Mapping[str, Sequence[Any]]
    problem: str = ""

    @property
    def combinations(self) -> int:
        """How many rules all values together make."""
        return math.prod(len(values) for values in self.values.values()) if self.values else 0


def values_of(text: str, parameter: Parameter) -> list[Any]:
    """Return the values that a text lists, each once: ``1.5, 2, 2.5``, ``1 to 3 step 0.5``, ``none``, or both mixed.

    ``ValueError`` says what cannot be read.

    >>> values_of("1 to 2 step 0.5, 4, none", Parameter("Stop z", "", none=True))
    [1.0, 1.5, 2.0, 4.0, None]
    >>> values_of("ols, kalman", GRID["method"])
    ['ols', 'kalman']
    """
    found: list[Any] = []
    for part in re.split(r"[,;\n]+", text):
        word = part.strip()
        if not word:
            continue
        if parameter is GRID["method"]:
            found.append(_method(word))
        elif word.lower() == "none":
            if not parameter.none:
                raise ValueError(f"{parameter.label} cannot be none.")
            found.append(None)
        else:
            found += _numbers(word, parameter)
        if len(found) > MOST_VALUES:
            raise ValueError(f"{parameter.label} has more than {MOST_VALUES:,} values: make the steps wider.")
    if not found:
        raise ValueError(f"{parameter.label} has no values: write some like {parameter.usual}.")
    return list(dict.fromkeys(found))


def _method(word: str) -> str:
    known = {name.lower(): code for name, code in HEDGES.items() if code != "fixed"}
    if word.lower() not in known:
        raise ValueError(f"There is no hedge ratio {word!r}: write OLS, Huber or Kalman.")
    return known[word.lower()]


def _numbers(word: str, parameter: Parameter) -> list[Any]:
    spread = _RANGE.match(word)
    if spread is None:
        return [_number(word, parameter)]
    first, last = _number(spread[1], parameter), _number(spread[2], parameter)
    step = _plain(spread[3], parameter) if spread[3] else 1
    if step <= 0 or last < first:
        raise ValueError(f"{parameter.label}: {word!r} never ends; write it like 1 to 3 step 0.5.")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise ValueError(f"{parameter.label} has more than {MOST_VALUES:,} values: make the steps wider.")
    steps = (first + i * step for i in range(count))
    return [round(value) if parameter.whole else float(f"{value:.10g}") for value in steps]


def _number(word: str, parameter: Parameter) -> Any:
    value = _plain(word, parameter)
    if value < parameter.least:
        raise ValueError(f"{parameter.label} must be at least {parameter.least:g}, not {word}.")
    return value


def _plain(word: str, parameter: Parameter) -> Any:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e6:
        raise ValueError(f"{parameter.label}: {word!r} is no number; write values like {parameter.usual}.")
    if parameter.whole:
        if value != int(value):
            raise ValueError(f"{parameter.label} is counted in whole bars, not {word}.")
        return int(value)
    return value


def choose_grid() -> GridChoice:
    """Draw which parameters vary and their values; return what is chosen."""
    labels = {parameter.label: name for name, parameter in GRID.items()}
    chosen = st.multiselect(
        "Parameters to vary",
        list(labels),
        default=list(FIRST_VARIED),
        key="grid",
        bind="query-params",
        placeholder="Choose two or more",
        help="Every combination of their values is a rule of its own; all else stays as the form has it.",
    )
    values: dict[str, Sequence[Any]] = {}
    problems = []
    for label in chosen:
        name = labels[label]
        parameter = GRID[name]
        text = st.text_input(
            f"{label} of the grid",
            parameter.usual,
            key=f"grid_{name}",
            bind="query-params",
            help="A list like 1.5, 2, 2.5, a range like 1 to 3 step 0.25, or both"
            + (", and none." if parameter.none else "."),
        )
        try:
            values[name] = values_of(text or "", parameter)
        except ValueError as error:
            problems.append(str(error))
    if len(chosen) < 2:
        problems.append("Choose two or more parameters to vary.")
    grid = GridChoice(values)
    if not problems and grid.combinations > MOST_COMBINATIONS:
        problems.append(
            f"{grid.combinations:,} combinations are more than {MOST_COMBINATIONS:,}: take fewer values or wider steps."
        )
    return GridChoice(values, " ".join(problems))


def sweep_body(choice: BacktestChoice, grid: GridChoice) -> dict[str, Any]:
    """Return what is asked of the API: the rule's body with lists where the grid varies it."""
    body = choice.body()
    body.pop("rehedge", None) if "rehedge" in grid.values else None
    for name, values in grid.values.items():
        if name in {"method", "lookback"}:
            body["hedge"] = {**body["hedge"], name: list(values)}
            if name == "method":
                body["hedge"].pop("beta", None)
        else:
            body[name] = list(values)
    return body


def count_words(choice: BacktestChoice, grid: GridChoice) -> str:
    """Say how many rules the grid makes and how many of them make no sense.

    >>> count_words(BacktestChoice("A", "B"), GridChoice({"entry": [1.0, 2.0], "exit": [0.5, 1.0]}))
    '2 × 2 = 4 combinations; 1 makes no sense (it would end where it begins) and is left out.'
    """
    sizes = " × ".join(f"{len(values):,}" for values in grid.values.values())
    total = f"{sizes} = {grid.combinations:,} combination{'' if grid.combinations == 1 else 's'}"
    names = [name for name in ("entry", "exit", "stop", "window", "lookback") if name in grid.values]
    rest = math.prod(len(values) for name, values in grid.values.items() if name not in names)
    if math.prod(len(grid.values[name]) for name in names) > MOST_COMBINATIONS:
        return f"{total}."
    senseless = 0
    for values in itertools.product(*(grid.values[name] for name in names)):
        rule = {name: getattr(choice, name) for name in ("entry", "exit", "stop", "window", "lookback")}
        rule |= dict(zip(names, values, strict=True))
        stop = rule["stop"]
        senseless += (
            rule["exit"] >= rule["entry"]
            or (stop is not None and stop <= rule["entry"])
            or rule["window"] > rule["lookback"]
        )
    senseless *= rest
    if not senseless:
        return f"{total}."
    one = senseless == 1
    return (
        f"{total}; {senseless:,} make{'s' if one else ''} no sense ({'it' if one else 'they'} would end where "
        f"{'it begins' if one else 'they begin'}) and {'is' if one else 'are'} left out."
    )


def written_value(name: str, value: Any) -> str:
    """Write a value of a parameter as a person gave it.

    >>> written_value("stop", None), written_value("method", "ols"), written_value("entry", 1.5)
    ('none', 'OLS', '1.5')
    """
    if value is None:
        return "none"
    if name == "method":
        return next((word for word, code in HEDGES.items() if code == value), str(value))
    return number(float(value), 6) if isinstance(value, int | float) else str(value)
