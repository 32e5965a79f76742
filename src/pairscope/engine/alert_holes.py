"""Holes in a symbol's trades, and what is found in them when their ticks come by back-fill.

What comes late does not touch the gauges, which have gone on. It moves shadows of them, that begin as the gauges stood
before the hole. What comes true in a shadow is a late firing, unless the jump over the hole has told it already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from math import nan
from typing import Final

from pairscope.engine.alert_gauges import ABSENT, Gauge, Moment, Note, Watch
from pairscope.engine.alert_machine import FAR, NEAR

__all__ = ["Holes"]

_MOST: Final = 64
"""Holes of one symbol that are remembered; of an older one, only rules that were kept over a restart are told."""


@dataclass(slots=True, eq=False)
class _Hole:
    """Trade ids ``first`` to ``last`` that are missing, ``left`` of them. ``notebooks`` hold phases before the hole."""

    first: int
    last: int
    left: int
    values: dict[Gauge, float]
    notebooks: dict[Gauge, dict[Watch, int]]
    shadows: dict[Gauge, Gauge] = field(default_factory=dict)
    jumped: set[tuple[str, int]] = field(default_factory=set)


class Holes:
    """The holes of one symbol. ``gauges`` are those that its trades move; ``note`` is told of each step in a shadow."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._holes: list[_Hole] = []

    def begin(self, first: int, last: int, gauges: Iterable[Gauge]) -> None:
        """Remember how the gauges stand: trades ``first`` to ``last`` have been jumped over. O(gauges)."""
        found = list(gauges)
        hole = _Hole(first, last, last - first + 1, {g: g.value for g in found}, {g: {} for g in found})
        for gauge, notebook in hole.notebooks.items():
            gauge.saved.append(notebook)
        self._holes.append(hole)
        if len(self._holes) > _MOST:
            self._forget(self._holes[0])

    def jumped(self) -> None:
        """Remember what the tick behind the newest hole has told: that is not told again when the hole is filled."""
        hole = self._holes[-1]
        for notebook in hole.notebooks.values():
            hole.jumped |= {w.order for w, before in notebook.items() if w.phase == FAR and 0 <= before <= NEAR}

    def fill(self, trade_id: int, gauge: Gauge, value: float, moment: Moment) -> None:
        """Take a gauge's value at a tick that has come late."""
        hole = self._hole_of(trade_id)
        shadow = hole.shadows.get(gauge)
        if shadow is None:
            shadow = hole.shadows[gauge] = self._shadow(hole, gauge)
        shadow.feed(value, moment)

    def filled(self, trade_id: int) -> None:
        """Count a tick that has come late; a hole that is full is forgotten."""
        hole = self._hole_of(trade_id)
        hole.left -= 1
        if hole.left == 0:
            self._forget(hole)

    def drop(self, gauge: Gauge) -> None:
        """Forget a gauge."""
        for hole in self._holes:
            hole.notebooks.pop(gauge, None)
            hole.shadows.pop(gauge, None)

    def __len__(self) -> int:
        return len(self._holes)

    def _hole_of(self, trade_id: int) -> _Hole:
        for hole in reversed(self._holes):
            if hole.first <= trade_id <= hole.last:
                return hole
        last = min((hole.first - 1 for hole in self._holes if hole.first > trade_id), default=1 << 62)
        first = max((hole.last + 1 for hole in self._holes if hole.last < trade_id), default=0)
        unknown = _Hole(first, last, -1, {}, {})
        self._holes.insert(0, unknown)
        return unknown

    def _shadow(self, hole: _Hole, gauge: Gauge) -> Gauge:
        """Return a gauge as it stood before a hole; before one that is not remembered, with what a restart has kept."""
        shadow = Gauge(gauge.key, partial(self._said, hole))
        known = hole.left >= 0
        notebook = hole.notebooks.get(gauge, {})
        for watch in gauge.watches():
            phase = notebook.get(watch, watch.phase if gauge in hole.notebooks else ABSENT)
            if not known:
                phase = watch.phase if watch.kept else ABSENT
            if phase != ABSENT:
                shadow.add(Watch(watch.order, watch.condition, watch.sides, phase))
        shadow.value = hole.values.get(gauge, nan)
        return shadow

    def _said(self, hole: _Hole, watch: Watch, before: int, edge: bool, value: float, moment: Moment) -> None:  # noqa: FBT001 - a Note
        """Pass on what a shadow's condition did, unless it is what the jump over the hole had told."""
        if edge and watch.order in hole.jumped:
            hole.jumped.discard(watch.order)
            return
        if edge:
            self._note(watch, before, edge, value, moment)

    def _forget(self, hole: _Hole) -> None:
        self._holes.remove(hole)
        for gauge, notebook in hole.notebooks.items():
            gauge.saved[:] = [other for other in gauge.saved if other is not notebook]
