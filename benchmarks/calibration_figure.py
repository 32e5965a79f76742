"""A figure of rates beside the rates promised: lines with their bands on two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn"]

F8 = NDArray[np.float64]

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 24, 52
LOWEST, HIGHEST = -5.0, 0.0
LEAST, MOST = math.log10(0.3), math.log10(100.0)
COLOURS = ("#4269d0", "#efb118", "#6cc5b0", "#ff725c", "#a463f2", "#97bbf5", "#9c6b4e", "#3ca951")


def drawn(lines: Mapping[str, tuple[F8, F8, F8, F8]]) -> str:
    """Return the figure: of each line its levels, rates, and their intervals' ends; a rate is drawn over its level."""
    return "\n".join(parts(lines)) + "\n"


def parts(lines: Mapping[str, tuple[F8, F8, F8, F8]]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Rate of small p-values over the rate promised">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    for power in range(int(LOWEST), int(HIGHEST) + 1):
        x = across(10.0**power)
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#333">{10.0**power:g}</text>'
    for ratio in (0.3, 1, 3, 10, 30, 100):
        y = up(ratio)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{"#333" if ratio == 1 else "#e4e4e4"}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#333">{ratio:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle" fill="#333">p by MacKinnon</text>'
    tall = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text transform="translate(18 {tall:.0f}) rotate(-90)" text-anchor="middle" fill="#333">'
        "times as often as promised</text>"
    )
    for place, (name, (levels, rates, low, high)) in enumerate(lines.items()):
        yield from line(name, place, levels, rates, low, high)
    yield "</svg>"


def line(name: str, place: int, levels: F8, *rates: Any) -> Iterator[str]:
    """Yield a line's band, the line itself, as far as anything was counted, and its name."""
    colour = COLOURS[place % len(COLOURS)]
    seen = rates[0] > 0.0
    middle, low, high = (path(levels[seen], rate[seen]) for rate in rates)
    back = [*reversed(low)]
    if len(middle) > 1:
        yield f'<path d="M{"L".join([*high, *back])}Z" fill="{colour}" opacity="0.15"/>'
        yield f'<path d="M{"L".join(middle)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    y = TOP + 14 + 20 * place
    x = WIDTH - RIGHT + 16
    yield f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="3"/>'
    yield f'<text x="{x + 28}" y="{y}" fill="#333">{escape(name)}</text>'


def path(levels: F8, rates: F8) -> list[str]:
    """Return the points of a line; what lies below the figure's floor is put on it."""
    return [
        f"{across(float(level)):.1f} {up(float(rate / level)):.1f}" for level, rate in zip(levels, rates, strict=True)
    ]


def across(level: float) -> float:
    """Return a level's place from the left."""
    share = (math.log10(level) - LOWEST) / (HIGHEST - LOWEST)
    return LEFT + share * (WIDTH - RIGHT - LEFT)


def up(ratio: float) -> float:
    """Return a ratio's place from the top."""
    share = (math.log10(max(ratio, 10.0**LEAST)) - LEAST) / (MOST - LEAST)
    return HEIGHT - BOTTOM - min(share, 1.0) * (HEIGHT - BOTTOM - TOP)
