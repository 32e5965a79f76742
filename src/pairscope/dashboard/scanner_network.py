"""The network of discoveries: symbols that hold together, in places that follow from the ties alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.dashboard.pair_words import base_of, number, p_value

__all__ = ["MOST_TIES", "Tie", "network_figure", "partner_rows", "places", "ties_of"]

MOST_TIES: Final = 60
"""Ties drawn, the surest first: more is a ball of wool."""

Place = tuple[float, float]

_ROUNDS: Final = 120
_PAGE: Final = 350.0  # pixels across, on a phone and beside the table
_GAP: Final = 0.9
_ROW_GAP: Final = 0.45
_LEVELS: Final = (0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 1e-4, 1e-5, 1e-6)
_REACH: Final = (0.36, 0.24)  # from a symbol to the middle of its name
_INK: Final[Mapping[str, tuple[str, str, str]]] = {
    "dark": ("#EAECEF", "#F0B90B", "#3FB6FF"), "light": ("#1B2128", "#8A6400", "#0B6FB8"),
}  # fmt: skip
_LABELS: Final = (
    "middle right", "top right", "top center", "top left", "middle left", "bottom left", "bottom center",
    "bottom right",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tie:
    """Two symbols that were discovered together, one way round or both, with the smaller q-value."""

    a: str
    b: str
    qvalue: float
    both_ways: bool


def ties_of(rows: Iterable[Mapping[str, Any]]) -> list[Tie]:
    """Return the ties among the rows that are discoveries, the surest first.

    >>> ties_of([{"y": "B", "x": "A", "qvalue": 0.01, "discovery": True}])
    [Tie(a='A', b='B', qvalue=0.01, both_ways=False)]
    """
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.get("discovery"):
            a, b = sorted((str(row["y"]), str(row["x"])))
            found.setdefault((a, b), []).append(float(row["qvalue"]))
    ties = [Tie(a, b, min(qs), len(qs) > 1) for (a, b), qs in found.items()]
    return sorted(ties, key=lambda tie: (tie.qvalue, tie.a, tie.b))


def places(ties: Sequence[Tie]) -> dict[str, Place]:
    """Return where each symbol stands: tied ones one unit apart, groups side by side; the same ties, the same places.

    Within a group the places minimise stress, the squared differences between distances on the page and steps along
    ties (Gansner, Koren & North 2004, by majorization from a circle in the symbols' order).
    """
    groups = [(names, _spread(names, ties)) for names in _groups(ties)]
    total = sum((_width(spots) + _GAP) * (_height(spots) + _ROW_GAP) for _, spots in groups)
    most = max([math.sqrt(1.4 * total), *(_width(spots) for _, spots in groups)]) if groups else 0.0
    found: dict[str, Place] = {}
    x = y = tallest = 0.0
    for names, spots in groups:
        if x > 0.0 and x + _width(spots) > most:
            x, y, tallest = 0.0, y - tallest - _ROW_GAP, 0.0
        corner = np.array([spots[:, 0].min(), spots[:, 1].max()])
        for name, spot in zip(names, spots - corner, strict=True):
            found[name] = (round(x + float(spot[0]), 3), round(y + float(spot[1]), 3))
        x += _width(spots) + _GAP
        tallest = max(tallest, _height(spots))
    return found


def _groups(ties: Sequence[Tie]) -> list[list[str]]:
    """Return the symbols that hang together, largest group first, each in the order of names."""
    near = _near(ties)
    seen: set[str] = set()
    groups = []
    for first in sorted(near):
        if first in seen:
            continue
        group, ahead = {first}, [first]
        while ahead:
            fresh = near[ahead.pop()] - group
            group |= fresh
            ahead += sorted(fresh)
        seen |= group
        groups.append(sorted(group))
    return sorted(groups, key=lambda names: (-len(names), names))


def _near(ties: Sequence[Tie]) -> dict[str, set[str]]:
    near: dict[str, set[str]] = {}
    for tie in ties:
        near.setdefault(tie.a, set()).add(tie.b)
        near.setdefault(tie.b, set()).add(tie.a)
    return near


def _spread(names: Sequence[str], ties: Sequence[Tie]) -> NDArray[np.float64]:
    """Return the places of one group about its middle, longer than high."""
    n = len(names)
    steps = _steps(names, _near(ties))
    angle = 2.0 * np.pi * np.arange(n) / n
    spots = np.column_stack([np.cos(angle), np.sin(angle)]) * max(1.0, n / (2.0 * np.pi))
    weight = 1.0 / np.where(steps > 0.0, steps, 1.0) ** 2
    np.fill_diagonal(weight, 0.0)
    laplacian = np.diag(weight.sum(axis=1)) - weight
    inverse = np.linalg.pinv(laplacian)
    for _ in range(_ROUNDS):
        apart = np.hypot(*(spots[:, None, :] - spots[None, :, :]).transpose(2, 0, 1))
        ratio = weight * steps / np.maximum(apart, 1e-9)
        spots = inverse @ ((np.diag(ratio.sum(axis=1)) - ratio) @ spots)
    spots -= spots.mean(axis=0)
    _, _, axes = np.linalg.svd(spots, full_matrices=False)
    turned = spots @ axes.T
    signs = np.where(turned[0] < 0.0, -1.0, 1.0)  # an axis has no sign of its own: the first symbol gives it
    placed: NDArray[np.float64] = turned * signs
    return placed


def _steps(names: Sequence[str], near: Mapping[str, set[str]]) -> NDArray[np.float64]:
    """Return how many ties lie between any two symbols of a group."""
    at = {name: i for i, name in enumerate(names)}
    steps = np.zeros((len(names), len(names)))
    for start in names:
        known, edge, far = {start}, {start}, 0
        while edge:
            far += 1
            edge = {other for name in edge for other in near[name]} - known
            known |= edge
            for name in edge:
                steps[at[start], at[name]] = far
    return steps


def _width(spots: NDArray[np.float64]) -> float:
    return float(np.ptp(spots[:, 0])) + 0.8  # room for a name


def _height(spots: NDArray[np.float64]) -> float:
    return float(np.ptp(spots[:, 1])) + 0.3


def network_figure(ties: Sequence[Tie], tone: str) -> dict[str, Any]:
    """Return the network as a Plotly figure: a tie the wider, the smaller its q-value."""
    spots = places(ties)
    text, accent, line = _INK[tone]
    widths: dict[float, list[Tie]] = {}
    for tie in ties:
        widths.setdefault(_line_width(tie.qvalue), []).append(tie)
    traces = [_lines(tied, spots, width, line) for width, tied in sorted(widths.items())]
    traces.append(_middles(ties, spots))
    traces.append(_nodes(ties, spots, text, accent))
    across, up = (_range([spot[axis] for spot in spots.values()], room) for axis, room in ((0, 0.55), (1, 0.4)))
    unit = min(115.0, _PAGE / (across[1] - across[0]))
    hidden = {"visible": False, "fixedrange": True}
    return {
        "data": traces,
        "layout": {
            "height": round(min(640.0, unit * (up[1] - up[0]) + 20.0)),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "showlegend": False,
            "hovermode": "closest",
            "xaxis": {**hidden, "range": across},
            "yaxis": {**hidden, "range": up, "scaleanchor": "x"},
        },
    }


def _range(values: Sequence[float], room: float) -> list[float]:
    return [min(values, default=0.0) - room, max(values, default=0.0) + room]


def _level(qvalue: float) -> int:
    """Return how many of the usual levels a q-value is below.

    >>> _level(0.03), _level(0.5)
    (3, 0)
    """
    return sum(qvalue <= level for level in _LEVELS)


def _line_width(qvalue: float) -> float:
    """Return a tie's width in pixels, by levels: a picture stays while nothing in it has changed to the eye."""
    return 1.0 + 0.75 * _level(qvalue)


def _lines(ties: Sequence[Tie], spots: Mapping[str, Place], width: float, colour: str) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[float | None] = []
    for tie in ties:
        x += [spots[tie.a][0], spots[tie.b][0], None]
        y += [spots[tie.a][1], spots[tie.b][1], None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "opacity": 0.55,
        "line": {"width": width, "color": colour},
    }  # fmt: skip


def _middles(ties: Sequence[Tie], spots: Mapping[str, Place]) -> dict[str, Any]:
    """Return unseen points halfway along the ties, which say on hovering what a line means."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [(spots[tie.a][0] + spots[tie.b][0]) / 2.0 for tie in ties],
        "y": [(spots[tie.a][1] + spots[tie.b][1]) / 2.0 for tie in ties],
        "marker": {"size": 22, "opacity": 0},
        "text": [f"{_pair(tie)}<br>{_surety(tie.qvalue)}, {_ways(tie)}" for tie in ties],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _nodes(ties: Sequence[Tie], spots: Mapping[str, Place], text: str, accent: str) -> dict[str, Any]:
    near = _near(ties)
    names = sorted(spots)
    size = 11 if len(names) <= 20 else 7
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [spots[name][0] for name in names],
        "y": [spots[name][1] for name in names],
        "text": [base_of(name) for name in names],
        "textposition": _label_places(near, spots),
        "textfont": {"color": text, "size": 12 if len(names) <= 30 else 10},
        "marker": {
            "size": [size + 2 * min(len(near[name]), 5) for name in names],
            "color": accent,
            "opacity": 1,
            "line": {"width": 0},
        },
        "cliponaxis": False,
        "customdata": [", ".join(sorted(base_of(other) for other in near[name])) for name in names],
        "hovertemplate": "<b>%{text}</b> holds together with %{customdata}<extra></extra>",
    }


def _label_places(near: Mapping[str, set[str]], spots: Mapping[str, Place]) -> list[str]:
    """Return the side of each symbol, in the order of names, where its name is clear of ties, symbols and other names.

    A side gains by its angle to the nearest tie, and loses by whatever stands where the name would.
    """
    names: list[Place] = []
    found = []
    for name in sorted(spots):
        x, y = spots[name]
        ways = [math.atan2(spots[other][1] - y, spots[other][0] - x) for other in near[name]]
        taken = [*names, *(spot for other, spot in spots.items() if other != name)]
        best, middle, most = "", (x, y), -math.inf
        for i, label in enumerate(_LABELS):
            side = math.pi / 4.0 * i
            place = (x + _REACH[0] * round(math.cos(side)), y + _REACH[1] * round(math.sin(side)))
            freedom = min(abs(math.remainder(side - way, 2.0 * math.pi)) for way in ways)
            crowd = sum(max(0.0, 1.0 - math.hypot((place[0] - a) / 0.5, (place[1] - b) / 0.3)) for a, b in taken)
            score = freedom + (0.4 if i in {2, 6} else 0.0) - 6.0 * crowd  # above and below read best
            if score > most + 1e-9:
                best, middle, most = label, place, score
        names.append(middle)
        found.append(best)
    return found


def partner_rows(ties: Sequence[Tie]) -> list[dict[str, str]]:
    """Return the network as a table: a row a tie, the surest first."""
    return [{"Pair": _pair(tie), "q-value": p_value(tie.qvalue), "Found": _ways(tie)} for tie in ties]


def _pair(tie: Tie) -> str:
    return f"{base_of(tie.a)} – {base_of(tie.b)}"


def _surety(qvalue: float) -> str:
    level = _level(qvalue)
    return f"q up to {number(_LEVELS[level - 1])}" if level else f"q above {_LEVELS[0]:g}"


def _ways(tie: Tie) -> str:
    return "both ways round" if tie.both_ways else "one way round"
