"""The past never sees the future: cutting a series off changes nothing before the cut, for every public kernel."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import pairscope.analytics
import pairscope.market
from pairscope.errors import DegenerateSeries
from pairscope.market.bars import TIMEFRAMES, BarBatch

from .declared import DECLARED
from .declaring import Closed, PerBar, Series, Whole, sample

LENGTH = 80
"""Rows of a sample series: several windows long, so that a cut may fall anywhere in one."""


def public_functions() -> Iterator[str]:
    """Every function that a module of ``market`` or ``analytics`` names as public, compiled ones included."""
    for package in (pairscope.market, pairscope.analytics):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            loaded = importlib.import_module(module.name)
            for name in getattr(loaded, "__all__", ()):
                value = getattr(loaded, name)
                if callable(value) and not isinstance(value, type) and not is_alias(value):
                    yield f"{module.name}.{name}"


def is_alias(value: object) -> bool:
    """Whether a callable is a type spelled otherwise (``NDArray[...]``)."""
    return hasattr(value, "__origin__")


def test_every_public_function_is_declared_and_nothing_else() -> None:
    assert sorted(public_functions()) == sorted(DECLARED)


@pytest.mark.parametrize("name", [name for name, how in DECLARED.items() if isinstance(how, PerBar)])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cut=st.integers(2, LENGTH))
def test_no_value_depends_on_a_later_row(name: str, seed: int, cut: int) -> None:
    how = DECLARED[name]
    assert isinstance(how, PerBar)
    check_cut(how.call, sample(LENGTH, seed), max(cut, how.least))


@pytest.mark.parametrize("name", [name for name, how in DECLARED.items() if isinstance(how, Closed)])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cut=st.integers(2, LENGTH))
def test_no_closed_bar_depends_on_what_comes_after_its_close(
    assert_same_bars: Callable[[BarBatch, BarBatch], None], name: str, seed: int, cut: int
) -> None:
    how = DECLARED[name]
    assert isinstance(how, Closed)
    series = sample(LENGTH, seed)
    past = series.until(cut)
    known_ns = min(int(past.ticks.ts_event_ns[-1]), int(past.bars.ts_open_ns[-1]))
    ours, truth = how.call(past), how.call(series)
    parts = [made.take(made.ts_open_ns + TIMEFRAMES[made.timeframe] <= known_ns) for made in (ours, truth)]
    assert_same_bars(*parts)


@pytest.mark.parametrize(
    "name", [name for name, how in DECLARED.items() if isinstance(how, PerBar) and how.resumed is not None]
)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, LENGTH))
def test_a_state_that_is_resumed_gives_the_same_bits(name: str, seed: int, cut: int) -> None:
    how = DECLARED[name]
    assert isinstance(how, PerBar)
    assert how.resumed is not None
    series = sample(LENGTH, seed)
    whole, pieces = columns(how.call(series), series), columns(how.resumed(series, cut), series)
    assert len(whole) == len(pieces)
    for ours, theirs in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_declared_as_timeless_says_why() -> None:
    assert all(len(how.reason.split()) >= 1 for how in DECLARED.values() if isinstance(how, Whole))


def test_a_kernel_that_looks_ahead_would_be_found() -> None:
    def centred(series: Series) -> np.ndarray:
        return np.convolve(series.x, np.ones(3) / 3, mode="same")

    def standardised(series: Series) -> np.ndarray:
        return (series.x - series.x.mean()) / series.x.std()

    for call in (centred, standardised):
        with pytest.raises(AssertionError):
            check_cut(call, sample(LENGTH, 1), 40)


def check_cut(call: Callable[[Series], Any], series: Series, cut: int) -> None:
    """Compare what is said of the first rows with and without those after them, bit for bit."""
    whole = columns(call(series), series)
    try:
        past = columns(call(series.until(cut)), series.until(cut))
    except DegenerateSeries:
        reject()  # the first rows happen to be all alike: refused as constant, and nothing is said of them
    assert len(whole) == len(past)
    for full, part in zip(whole, past, strict=True):
        np.testing.assert_array_equal(full[:cut], part)


def columns(answer: Any, series: Series) -> list[np.ndarray]:
    """Spell an answer as arrays of a row each: one array, a tuple of arrays, or a state a row."""
    if isinstance(answer, np.ndarray):
        return [answer]
    if isinstance(answer, list) and len(answer) == series.x.size and not isinstance(answer[0], np.ndarray):
        return [np.array(answer)]
    return [np.asarray(column) for column in answer]
