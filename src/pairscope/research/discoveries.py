"""Which pairs a screen has discovered, screen after screen: who entered, who left, and each one's q-value over time.

A pair is discovered when either of its two tests has a q-value of at most ``fdr``, and stays so until both are above
twice that: a pair at the threshold does not come and go with every bar. Two series of tests belong to one pair, so it
is told once, as the direction with the smaller p-value when it entered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.research.standing import Standing

__all__ = ["Discoveries"]

_LEAVES: Final = 2.0
"""Times ``fdr``: the q-value above which a discovered pair has left."""

_FIGURES: Final = ("qvalue", "pvalue", "half_life", "zscore", "beta", "correlation")


@dataclass(slots=True)
class _Pair:
    """A pair that is or was discovered; ``place`` is its column of the history."""

    y: str
    x: str
    since_ms: int
    left_ms: int | None
    place: int


class Discoveries:
    """The pairs of one series of screens: at most ``most`` are followed, over the last ``kept`` screens.

    Who has left longest ago makes room for who enters; where all that are followed are still discovered, a new one is
    not, and counted in ``unfollowed``. May be read from other threads while a screen is taken.

    >>> Discoveries(fdr=0.05).events(10)
    []
    """

    def __init__(self, *, fdr: float = 0.05, most: int = 300, kept: int = 720, most_events: int = 500) -> None:
        self.fdr = fdr
        self.unfollowed = 0
        self._most = most
        self._kept = kept
        self._lock = Lock()
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._times: list[int] = []
        self._qvalues: NDArray[np.float32] = np.full((kept, 0, 2), np.nan, np.float32)
        self._events: deque[dict[str, Any]] = deque(maxlen=most_events)

    @property
    def kept(self) -> int:
        """How many screens the history reaches back at most."""
        return self._kept

    def discovered(self) -> int:
        """Return how many pairs are discovered now."""
        return sum(pair.left_ms is None for pair in [*self._pairs.values()])

    def events(self, limit: int) -> list[Mapping[str, Any]]:
        """Return who entered and who left, newest first."""
        with self._lock:
            return [dict(event) for event in [*self._events][-limit:][::-1]] if limit > 0 else []

    def history(self, y: str, x: str) -> Mapping[str, Any] | None:
        """Return the q-values of y on x, oldest first, NaN where it was not tested; None for a pair not followed."""
        with self._lock:
            pair = self._pairs.get(_key(y, x))
            if pair is None:
                return None
            column = self._qvalues[: len(self._times), pair.place, 0 if y < x else 1].astype(np.float64)
            return {
                "timestamp": list(self._times),
                "qvalue": column.tolist(),
                "discovered": pair.left_ms is None,
                "since": pair.since_ms if pair.left_ms is None else None,
            }

    def take(self, standing: Standing) -> dict[str, Any]:
        """Take a screen; return what to keep of it: time, sizes, every followed pair's q-values, who entered and left.

        A screen of the same bar as the last one takes its place, one of an earlier bar that of all later ones.
        """
        with self._lock:
            return self._take(standing)

    def restore(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take up what was kept of earlier screens, oldest first."""
        named: set[str] = set()
        with self._lock:
            for kept in documents:
                named = set(kept["pairs"])
                self._begin(int(kept["as_of"]))
                for event in kept["events"]:
                    self._events.append(event)
                for name, (since, left, low, high) in kept["pairs"].items():
                    y, _, x = name.partition(":")
                    pair = self._pairs.get(_key(y, x)) or self._place(y, x, int(since))
                    if pair is None:
                        continue
                    pair.y, pair.x, pair.since_ms, pair.left_ms = y, x, since, left
                    self._write(pair, low, high)
            for pair in self._pairs.values():
                if f"{pair.y}:{pair.x}" not in named and pair.left_ms is None:
                    pair.left_ms = self._times[-1]

    def _take(self, standing: Standing) -> dict[str, Any]:
        at_ms = standing.as_of_ms
        again = self._begin(at_ms)
        codes = {name: i for i, name in enumerate(standing.symbols)}
        place = np.full((len(codes), len(codes)), -1, np.int32)
        place[standing.y, standing.x] = np.arange(standing.y.size, dtype=np.int32)
        events = []
        for pair in self._pairs.values():
            rows = _rows_of(pair, codes, place)
            qvalues = [float(standing.numbers["qvalue"][row]) if row >= 0 else float("nan") for row in rows]
            self._write(pair, *qvalues)
            if pair.left_ms is None and not min(_known(qvalues), default=np.inf) <= _LEAVES * self.fdr:
                pair.left_ms = at_ms
                events.append(_event("left", pair, at_ms, standing, place, codes) | self._why(pair, standing, qvalues))
        events += self._enter(standing, place, codes, at_ms)
        self._events.extend(events)
        return {
            "as_of": at_ms,
            "timeframe": standing.timeframe,
            "lookback": standing.lookback,
            "universe": len(standing.symbols),
            "tests": standing.head.tests,
            "discoveries": self.discovered(),
            "events": [event for event in self._events if event["timestamp"] == at_ms] if again else events,
            "pairs": {f"{pair.y}:{pair.x}": self._kept_of(pair) for pair in self._pairs.values()},
        }

    def _enter(
        self, standing: Standing, place: NDArray[np.int32], codes: Mapping[str, int], at_ms: int
    ) -> list[dict[str, Any]]:
        """Let pairs in that this screen discovers, the smallest q-values first, as far as there is room."""
        found = int(np.searchsorted(standing.numbers["qvalue"], self.fdr, side="right"))
        y, x = standing.y[:found].astype(np.int64), standing.x[:found].astype(np.int64)
        first = np.sort(np.unique(np.minimum(y, x) * len(codes) + np.maximum(y, x), return_index=True)[1])
        events, self.unfollowed = [], 0
        names = standing.symbols
        for row in first.tolist():
            leg_y, leg_x = names[int(y[row])], names[int(x[row])]
            pair = self._pairs.get(_key(leg_y, leg_x))
            if pair is not None and pair.left_ms is None:
                continue
            if pair is None:
                pair = self._place(leg_y, leg_x, at_ms)
            if pair is None:
                self.unfollowed += 1
                continue
            pair.y, pair.x, pair.since_ms, pair.left_ms = leg_y, leg_x, at_ms, None
            rows = _rows_of(pair, codes, place)
            self._write(pair, *(float(standing.numbers["qvalue"][r]) if r >= 0 else float("nan") for r in rows))
            events.append(_event("entered", pair, at_ms, standing, place, codes))
        return events

    def _why(self, pair: _Pair, standing: Standing, qvalues: list[float]) -> dict[str, str]:
        """Say in words why a pair has left."""
        known = _known(qvalues)
        if known:
            return {"reason": f"its q-value is {min(known):.2g}, above {_LEAVES * self.fdr:g}"}
        missing = [f"{name} {standing.excluded[name]}" for name in (pair.y, pair.x) if name in standing.excluded]
        return {"reason": f"it is not tested any more: {'; '.join(missing) or 'a symbol is not followed any more'}"}

    def _begin(self, at_ms: int) -> bool:
        """Make a row for a screen; True where it takes the place of the last one."""
        again = bool(self._times) and self._times[-1] == at_ms
        while self._times and self._times[-1] >= at_ms:
            self._times.pop()
        if not again:
            while self._events and self._events[-1]["timestamp"] >= at_ms:
                self._events.pop()
        if len(self._times) == self._kept:
            self._times.pop(0)
            self._qvalues[:-1] = self._qvalues[1:].copy()
        self._times.append(at_ms)
        self._qvalues[len(self._times) - 1] = np.nan
        return again

    def _place(self, y: str, x: str, at_ms: int) -> _Pair | None:
        """Give a new pair a column, that of who left longest ago where there is no other; None where there is none."""
        place = len(self._pairs)
        if place >= self._most:
            gone = min((p for p in self._pairs.values() if p.left_ms is not None), key=lambda p: (p.left_ms, p.y, p.x),
                       default=None)  # fmt: skip
            if gone is None:
                return None
            del self._pairs[_key(gone.y, gone.x)]
            place = gone.place
        elif place >= self._qvalues.shape[1]:
            more = np.full((self._kept, max(16, place), 2), np.nan, np.float32)
            self._qvalues = np.concatenate([self._qvalues, more], axis=1)
        self._qvalues[:, place] = np.nan
        pair = _Pair(y, x, at_ms, None, place)
        self._pairs[_key(y, x)] = pair
        return pair

    def _write(self, pair: _Pair, low: float | None, high: float | None) -> None:
        """Note a pair's two q-values in the newest row: ``low`` where the symbol that comes first by name is y."""
        row = len(self._times) - 1
        self._qvalues[row, pair.place] = (np.nan if low is None else low, np.nan if high is None else high)

    def _kept_of(self, pair: _Pair) -> list[int | float | None]:
        """Return what is kept of a pair: since when it is discovered, when it left, and its newest q-values."""
        newest = [float(f"{q:.6g}") for q in self._qvalues[len(self._times) - 1, pair.place].tolist()]
        return [pair.since_ms, pair.left_ms, *(None if np.isnan(q) else q for q in newest)]


def _key(y: str, x: str) -> tuple[str, str]:
    return (y, x) if y < x else (x, y)


def _known(qvalues: Iterable[float]) -> list[float]:
    return [q for q in qvalues if not np.isnan(q)]


def _rows_of(pair: _Pair, codes: Mapping[str, int], place: NDArray[np.int32]) -> tuple[int, int]:
    """Return the rows of a pair's two tests, first that of the symbol which comes first by name; -1 for none."""
    low, high = (codes.get(name) for name in _key(pair.y, pair.x))
    if low is None or high is None:
        return -1, -1
    return int(place[low, high]), int(place[high, low])


def _event(
    what: str, pair: _Pair, at_ms: int, standing: Standing, place: NDArray[np.int32], codes: Mapping[str, int]
) -> dict[str, Any]:
    """Return what is told of a pair that entered or left: its test then, null where there was none."""
    low, high = _rows_of(pair, codes, place)
    row = low if pair.y < pair.x else high
    figures = {name: float(standing.numbers[name][row]) if row >= 0 else float("nan") for name in _FIGURES}
    return {
        "timestamp": at_ms,
        "event": what,
        "timeframe": standing.timeframe,
        "lookback": standing.lookback,
        "y": pair.y,
        "x": pair.x,
        **{name: value if np.isfinite(value) else None for name, value in figures.items()},
    }
