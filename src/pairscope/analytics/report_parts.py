"""The parts of a report: each a value, or the reason why there is none.

A report asks many things of one series, and some of them have no answer: too few bars, a constant price. Those do not
take the others with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from pairscope.errors import InputError, NotEnoughData, NumericalError
from pairscope.market.ticks import F8

__all__ = ["Parts", "Report"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What was found: ``document`` by the names of the API, None for what has no answer; ``reasons`` by path say why.

    ``series`` are columns with a row a bar, oldest first, NaN where a value is not known yet; empty where not asked.
    """

    document: Mapping[str, Any]
    reasons: Mapping[str, str]
    series: Mapping[str, F8] = field(default_factory=dict)


class Parts:
    """Computes parts one by one and keeps the reasons of those that have no answer.

    >>> parts = Parts()
    >>> parts.number("spread.hurst", lambda: 0.4), parts.number("spread.std", lambda: float("nan"), "is constant")
    (0.4, None)
    >>> parts.reasons
    {'spread.std': 'is constant'}
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def result(self, path: str, compute: Callable[[], T]) -> T | None:
        """Return what is computed, None where it has no answer; its reason is then kept."""
        try:
            return compute()
        except NotEnoughData as error:
            self.reasons[path] = f"needs {error.need} bars, has {error.have}"
        except (InputError, NumericalError) as error:
            self.reasons[path] = str(error)
        return None

    def number(self, path: str, compute: Callable[[], Any], reason: str = "has no finite value here") -> float | None:
        """Return a number; None where it has no answer or is not finite, which ``reason`` then explains."""
        value = self.result(path, compute)
        if value is None:
            return None
        if not np.isfinite(value):
            self.reasons[path] = reason
            return None
        return float(value)

    def group(self, path: str, names: tuple[str, ...], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return a part of several values as a mapping; without an answer each is None and ``reason`` stands by them.

        Floats in it that are not finite become None.

        >>> Parts().group("adf", ("statistic",), lambda: {"statistic": -3.1})
        {'statistic': -3.1}
        >>> from pairscope.errors import DegenerateSeries
        >>> def constant():
        ...     raise DegenerateSeries("x: is constant")
        >>> Parts().group("adf", ("statistic",), constant)
        {'statistic': None, 'reason': 'x: is constant'}
        """
        found = self.result(path, compute)
        if found is None:
            return {**dict.fromkeys(names), "reason": self.reasons[path]}
        return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    """Return a value in which no float is NaN or infinite: those are None."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
