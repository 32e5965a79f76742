"""Charts as inline SVG that a page can carry with it: curves over time, bars, and a map of two parameters.

Widths are shares of the page's, heights and letters are pixels, so that a chart reads the same on paper, on a desk and
at 375 px. Colours are classes; the page that carries a chart says what they are by day and by night.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.market.ticks import F8, I8

__all__ = ["Curve", "Marks", "Panel", "bar_chart", "heat_map", "time_chart"]

_COLUMNS: Final = 700
"""Steps across a chart; of the values within one the lowest and the highest are drawn."""

_TICKS: Final = 6
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 1440 * _MINUTE_MS
_STEPS_MS: Final = (
    *(minutes * _MINUTE_MS for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *(days * _DAY_MS for days in (1, 2, 7, 14)),
)
_MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120, 600)
_AXIS: Final = 22
_GAP: Final = 8
_NAME: Final = 18
_MARGIN: Final = 0.06

Written = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Curve:
    """A value a time, NaN where there is none; ``look`` is the class of its colour, ``filled`` shades it down to 0."""

    values: F8
    look: str
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Signs at some of the times: ``sign`` is ``up``, ``down`` or ``dot``; ``said`` are their tooltips."""

    places: NDArray[np.int64]
    values: F8
    sign: str
    look: str
    said: Sequence[str]


@dataclass(frozen=True, slots=True)
class Panel:
    """One strip of a chart: curves, marks, lines at a level (a value and its name), and how values are written."""

    name: str
    height: int
    curves: Sequence[Curve]
    written: Written
    marks: Sequence[Marks] = ()
    levels: Sequence[tuple[float, str]] = ()


def time_chart(times_ms: I8, panels: Sequence[Panel], *, said: str) -> str:
    """Return panels one below the other over one axis of time, with ``said`` for those who cannot see it.

    >>> panel = Panel("equity", 80, [Curve(np.array([1.0, 2.0]), "main")], "{:g}".format)
    >>> chart = time_chart(np.array([0, 60_000]), [panel], said="one up")
    >>> chart.startswith('<svg class="chart" role="img" aria-label="one up"'), "<path" in chart
    (True, True)
    """
    times = np.asarray(times_ms, np.int64)
    first, last = (int(times[0]), int(times[-1])) if times.size else (0, 0)
    across = (times - first) / max(last - first, 1)
    ticks = _time_ticks(first, last)
    parts, top = [], 0
    for panel in panels:
        parts.append(f'<text class="name" x="0" y="{top + 12}">{escape(panel.name)}</text>')
        top += _NAME
        parts.append(_panel(panel, across, [share for share, _ in ticks], top))
        top += panel.height + _GAP
    for i, (share, name) in enumerate(ticks):
        rare = ' class="rare"' if i % 2 else ""
        parts.append(f'<text x="{share:.2%}" y="{top + 7}"{rare} text-anchor="middle">{escape(name)}</text>')
    return _svg("".join(parts), top + _AXIS - _GAP, said)


def bar_chart(
    values: F8, names: Sequence[str], *, written: Written, said: str, height: int = 150, looks: Sequence[str] = ()
) -> str:
    """Return a bar a value, up where it is above 0; a tooltip each, a name below the first and the last.

    Without ``looks``, the classes of the colours, what is below 0 looks bad.

    >>> bar_chart(np.array([1.0, -2.0]), ["a", "b"], written="{:g}".format, said="two").count("<rect")
    2
    """
    scale = _Scale(np.append(values, 0.0), height)
    lines, texts = _grid(scale, written, zero=True)
    parts = [lines]
    width = 1.0 / max(values.size, 1)
    zero = scale.at(0.0)
    for i, value in enumerate(values.tolist()):
        if not math.isfinite(value):
            continue
        y = scale.at(value)
        high, low = min(y, zero), max(y, zero)
        look = looks[i] if looks else "good" if value >= 0 else "bad"
        parts.append(
            f'<rect class="{look}" x="{(i + 0.1) * width:.3%}" width="{0.8 * width:.3%}" '
            f'y="{high:.1f}" height="{max(low - high, 0.5):.1f}">'
            f"<title>{escape(names[i])}: {escape(written(value))}</title></rect>"
        )
    parts.append(texts)
    if names:
        ends = [("0%", "start", names[0])] + ([("100%", "end", names[-1])] if len(names) > 1 else [])
        parts += [
            f'<text x="{x}" y="{height + 16}" text-anchor="{anchor}">{escape(name)}</text>' for x, anchor, name in ends
        ]
    return _svg("".join(parts), height + _AXIS, said)


def heat_map(
    values: F8,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    names: tuple[str, str],
    written: Written,
    said: str,
    best: tuple[int, int] | None = None,
) -> str:
    """Return a cell for each value of a table (rows by columns), coloured by sign and size, ``best`` framed.

    Cells without a value stay empty; the numbers stand in the cells where there is room, in tooltips always.

    >>> drawn = heat_map(np.array([[1.0, np.nan]]), ["2"], ["0", "1"], names=("a", "b"), written="{:g}".format, said="")
    >>> drawn.count("<rect")
    1
    """
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size and finite.max() > 0.0 else 1.0
    left, cell, head = 0.12, 26, 36
    width = (1.0 - left) / max(len(columns), 1)
    roomy = len(columns) <= 14
    every = max(1, math.ceil(len(columns) / 14))
    parts = [
        f'<text x="{left:.2%}" y="13">{escape(names[1])} →</text>',
        f'<text x="0" y="{head - 8}">{escape(names[0])} ↓</text>',
    ]
    for j, name in enumerate(columns):
        if j % every == 0:
            rare = ' class="rare"' if (j // every) % 2 and len(columns) > 6 else ""
            parts.append(
                f'<text x="{left + (j + 0.5) * width:.2%}" y="{head - 8}"{rare} text-anchor="middle">'
                f"{escape(name)}</text>"
            )
    for i, name in enumerate(rows):
        y = head + i * cell
        parts.append(f'<text x="0" y="{y + cell / 2 + 4:.0f}">{escape(name)}</text>')
        for j, value in enumerate(values[i].tolist()):
            if not math.isfinite(value):
                continue
            x = left + j * width
            frame = " best" if best == (i, j) else ""
            told = f"{names[0]} {name}, {names[1]} {columns[j]}: {written(value)}"
            parts.append(
                f'<rect class="{"good" if value >= 0 else "bad"}{frame}" x="{x:.2%}" width="{width:.2%}" y="{y}" '
                f'height="{cell}" fill-opacity="{0.08 + 0.72 * abs(value) / largest:.2f}">'
                f"<title>{escape(told)}</title></rect>"
            )
            if roomy:
                rare = ' class="cell rare"' if len(columns) > 6 else ' class="cell"'
                parts.append(
                    f'<text x="{x + width / 2:.2%}" y="{y + cell / 2 + 4:.0f}"{rare} text-anchor="middle">'
                    f"{escape(written(value))}</text>"
                )
    return _svg("".join(parts), head + cell * len(rows) + 2, said)


class _Scale:
    """Where a value stands in a strip of some pixels."""

    def __init__(self, values: F8, height: int, top: int = 0) -> None:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        room = (high - low) * _MARGIN or max(abs(high), 1.0) * 1e-3
        self.low, self.high, self.height, self.top = low - room, high + room, height, top

    def at(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round values, two to five of them."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 2))
        step = next(step * power for step in (5.0, 2.0, 1.0, 0.5) if span / (step * power) >= 2)
        first = math.ceil(self.low / step)
        return [round(i * step, 12) for i in range(first, math.floor(self.high / step) + 1)][:6]


def _panel(panel: Panel, across: F8, upright: Sequence[float], top: int) -> str:
    """Return one strip, ``top`` pixels down."""
    seen = [curve.values for curve in panel.curves] + [mark.values for mark in panel.marks]
    scale = _Scale(np.concatenate([*seen, [level for level, _ in panel.levels]]), panel.height, top)
    bottom = top + panel.height
    parts = [f'<rect class="frame" x="0" y="{top}" width="100%" height="{panel.height}"/>']
    parts += [f'<line class="grid" x1="{x:.2%}" x2="{x:.2%}" y1="{top}" y2="{bottom}"/>' for x in upright]
    lines, texts = _grid(scale, panel.written, zero=not panel.levels)
    parts.append(lines)
    for level, name in panel.levels:
        y = scale.at(level)
        parts.append(f'<line class="level" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        texts += f'<text class="level" x="100%" dx="-4" y="{y - 3:.1f}" text-anchor="end">{escape(name)}</text>'
    parts.append(
        f'<svg x="0" y="{top}" width="100%" height="{panel.height}" viewBox="0 0 1000 {panel.height}" '
        'preserveAspectRatio="none">'
    )
    parts += [_path(curve, across, scale) for curve in panel.curves]
    parts.append("</svg>")
    for mark in panel.marks:
        shape = {"up": "M0-5L5 4H-5Z", "down": "M0 5L5-4H-5Z"}.get(mark.sign, "M-3-3H3V3H-3Z")
        for place, value, told in zip(mark.places.tolist(), mark.values.tolist(), mark.said, strict=True):
            if math.isfinite(value):
                parts.append(
                    f'<svg class="mark" x="{across[place]:.2%}" y="{scale.at(value):.1f}" overflow="visible">'
                    f'<path class="{mark.look}" d="{shape}"><title>{escape(told)}</title></path></svg>'
                )
    return "".join([*parts, texts])


def _grid(scale: _Scale, written: Written, *, zero: bool) -> tuple[str, str]:
    """Return lines at round values, at 0 a stronger one where ``zero``; and the values, which go over the curves."""
    lines, parts = [], []
    for value in scale.ticks():
        y = scale.at(value)
        kind = "zero" if value == 0.0 and zero else "grid"
        lines.append(f'<line class="{kind}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        if y > scale.top + 12:
            parts.append(f'<text x="6" y="{y - 3:.1f}">{escape(written(value))}</text>')
    return "".join(lines), "".join(parts)


def _path(curve: Curve, across: F8, scale: _Scale) -> str:
    """Return a curve of at most two points a step across, broken where there is no value."""
    places = _drawn(curve.values)
    heights = [scale.at(value) - scale.top for value in curve.values[places].tolist()]
    words, pen = [], False
    for x, y in zip((across[places] * 1000).tolist(), heights, strict=True):
        words.append(f"{'L' if pen else 'M'}{x:.1f} {y:.1f}" if math.isfinite(y) else "")
        pen = math.isfinite(y)
    line = "".join(words)
    drawn = f'<path class="curve {curve.look}" d="{line}"/>'
    if not curve.filled or not line:
        return drawn
    floor = min(max(scale.at(0.0) - scale.top, 0.0), float(scale.height))
    ends = [x for x, y in zip((across[places] * 1000).tolist(), heights, strict=True) if math.isfinite(y)]
    area = f"{line}L{ends[-1]:.1f} {floor:.1f}L{ends[0]:.1f} {floor:.1f}Z"
    return f'<path class="area {curve.look}" d="{area}"/>{drawn}'


def _drawn(values: F8) -> NDArray[np.int64]:
    """Return which values are drawn: all where they are few, else the lowest and the highest of each step."""
    size = values.size
    if size <= 2 * _COLUMNS:
        return np.arange(size, dtype=np.int64)
    edges = np.linspace(0, size, _COLUMNS + 1).astype(np.int64)
    places = {0, size - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        if np.isnan(part).all():
            places.add(start)
        else:
            places |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
    return np.array(sorted(places), np.int64)


def _time_ticks(first_ms: int, last_ms: int) -> list[tuple[float, str]]:
    """Return where round times stand, as shares of the width, and how they are written."""
    span = max(last_ms - first_ms, 1)
    step = next((step for step in _STEPS_MS if span / step <= _TICKS), None)
    form = "%Y-%m-%d" if not step or step >= _DAY_MS else "%m-%d %H:%M" if span > _DAY_MS else "%H:%M"
    at = range(-(-first_ms // step) * step, last_ms + 1, step) if step else range(*_months(first_ms, last_ms))
    ticks = []
    for place in at:
        moment = place if step else int(np.datetime64(place, "M").astype("M8[ms]").astype(np.int64))
        share = (moment - first_ms) / span
        if 0.04 <= share <= 0.96:
            ticks.append((share, datetime.fromtimestamp(moment / 1000, UTC).strftime(form)))
    return ticks


def _months(first_ms: int, last_ms: int) -> tuple[int, int, int]:
    """Return from which month on to which, in months since 1970, one stands every how many."""
    first, last = (int(np.datetime64(at, "ms").astype("M8[M]").astype(np.int64)) for at in (first_ms, last_ms))
    step = next((step for step in _MONTHS if (last - first) / step <= _TICKS), _MONTHS[-1])
    return -(-first // step) * step, last + 1, step


def _svg(inside: str, height: int, said: str) -> str:
    return f'<svg class="chart" role="img" aria-label="{escape(said)}" width="100%" height="{height}">{inside}</svg>'
