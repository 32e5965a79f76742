"""What a pair's numbers mean for a trader, in words: is there a relation, and how far has the spread strayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pairscope.dashboard.pair_words import (
    base_of,
    duration,
    level_of,
    number_at,
    p_value,
    part_of,
    reason_of,
    span,
    when,
)

__all__ = ["FEW_BARS", "TIMEFRAME_S", "Tone", "Verdict", "johansen_of", "verdict_of"]

Tone = Literal["relation", "some", "none", "broken", "short"]

TIMEFRAME_S: Final[Mapping[str, int]] = {
    "1s": 1, "5s": 5, "15s": 15, "1m": 60, "3m": 180, "5m": 300,
    "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400, "1d": 86_400,
}  # fmt: skip
"""Seconds of a bar."""

FEW_BARS: Final = 250
"""Common bars below which the tests have little power: nothing they do not find is evidence of absence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict: its tone, a few words for the badge, one sentence, and sentences of warning."""

    tone: Tone
    badge: str
    sentence: str
    warnings: tuple[str, ...] = ()


def verdict_of(document: Mapping[str, Any], *, entry: float = 2.0) -> Verdict:
    """Return the verdict on the answer of ``/api/analytics/pair``; ``entry`` is the z-score that a trader acts on.

    Two directions of Engle-Granger decide: both at 5 % is a relation, one of them, or both at 10 %, is some evidence.
    """
    bar_s = TIMEFRAME_S.get(str(document.get("timeframe")), 60)
    strayed, half_life = _strayed(document, entry), _half_life(document, bar_s)
    broken = _broken(document, bar_s)
    warnings = _warnings(document)
    if broken:
        return Verdict("broken", "▼ Broken", f"{broken}. {_upper(strayed)}.", warnings)
    both = [number_at(document, "cointegration", "engle_granger", way, "pvalue") for way in ("y_on_x", "x_on_y")]
    known = [p for p in both if p is not None]
    if not known:
        why = part_of(document, "cointegration", "engle_granger", "reason") or reason_of(document, "cointegration")
        said = f"There is not enough to test yet{f': {why}' if why else ''}"
        return Verdict("short", "○ Too short to tell", f"{said}. {_upper(strayed)}.", warnings)
    tone, evidence = _evidence(document, both)
    if tone == "none":
        n = number_at(document, "n") or 0
        badge = "○ Too short to tell" if n < FEW_BARS else "○ No evidence of a relation"
        moral = (
            "with so few bars that proves little either way"
            if n < FEW_BARS
            else "a wide spread may be a plain price move, not a bargain"
        )
        return Verdict("short" if n < FEW_BARS else "none", badge, f"{evidence}: {moral}. {_upper(strayed)}.", warnings)
    badge = "● Looks mean-reverting" if tone == "relation" else "◐ Some evidence"
    return Verdict(tone, badge, f"{evidence}; {half_life}; {strayed}.", warnings)


def _evidence(document: Mapping[str, Any], both: list[float | None]) -> tuple[Tone, str]:
    """Say what Engle-Granger says in its two directions, and whether Johansen agrees."""
    levels = [level_of(p) for p in both]
    y, x = (base_of(str(document.get(leg, ""))) for leg in ("y", "x"))
    if levels[0] is not None and levels[1] is not None:
        worst = max(levels[0], levels[1])
        tone: Tone = "relation" if worst <= 0.05 else "some"
        agrees = _johansen(document, expected=True)
        return tone, f"Engle-Granger rejects “no cointegration” at {worst:.0%} in both directions{agrees}"
    for i, (this, other) in enumerate(((y, x), (x, y))):
        level = levels[i]
        if level is not None and level <= 0.05:
            return "some", (
                f"Engle-Granger rejects “no cointegration” at {level:.0%} with {this} explained by {other}, "
                f"not the other way round (p {_is(both[1 - i])}){_johansen(document, expected=True)}"
            )
    told = " and ".join(p_value(p) for p in both if p is not None)
    return (
        "none",
        f"Engle-Granger does not reject “no cointegration” (p = {told}){_johansen(document, expected=False)}".replace(
            "= <", "<"
        ),
    )


def _johansen(document: Mapping[str, Any], *, expected: bool) -> str:
    """Say where Johansen's trace test stands at 5 %, if it was computed."""
    statistic, values = johansen_of(document, "trace")
    critical = number_at(values, "5%")
    if statistic is None or critical is None:
        return ""
    found = statistic > critical
    return f", {'and' if found is expected else 'but'} Johansen finds {'a relation' if found else 'none'}"


def johansen_of(document: Mapping[str, Any], kind: str) -> tuple[float | None, Mapping[str, Any] | None]:
    """Return Johansen's statistic for "no relation" (``kind`` trace or max_eigenvalue) and its critical values."""
    rows = part_of(document, "cointegration", "johansen", kind)
    first = rows[0] if isinstance(rows, list) and rows else None
    return number_at(first, "statistic"), part_of(first, "critical_values")


def _half_life(document: Mapping[str, Any], bar_s: int) -> str:
    bars = number_at(document, "spread", "half_life")
    if bars is None:
        return "no half-life: the spread as fitted does not come back"
    low, high = (number_at(document, "spread", "half_life_interval", end) for end in ("low", "high"))
    about = span(low, high, bar_s)
    return f"half-life {duration(bars, bar_s)}" + (f" ({about})" if about else "")


def _strayed(document: Mapping[str, Any], entry: float) -> str:
    """Say how far the spread is from its mean, and what that makes y."""
    z = number_at(document, "spread", "zscore")
    if z is None:
        why = reason_of(document, "spread.zscore") or part_of(document, "spread", "reason")
        return f"no z-score yet{f': {why}' if why else ''}"
    y = base_of(str(document.get("y", "")))
    way = "above" if z >= 0 else "below"
    place = f"at the last close the spread was {abs(z):.1f} deviations {way} its mean"
    if document.get("stale") is True:
        return f"{place}; a leg has not traded since, so that says little of now"
    if abs(z) < entry:
        return f"{place}: inside ±{entry:g}, no entry"
    return f"{place}: {y} is {'rich ▲' if z > 0 else 'cheap ▼'}"


def _broken(document: Mapping[str, Any], bar_s: int) -> str:
    sentinel = part_of(document, "sentinel")
    if part_of(sentinel, "status") != "broken":
        return ""
    since = number_at(sentinel, "tripped")
    told = f" since {when(since, bar_s)}" if since is not None else ""
    return f"The spread has stopped reverting{told}: do not treat this as a wide spread"


def _warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    told = document.get("warnings")
    return tuple(str(line) for line in told) if isinstance(told, list) else ()


def _is(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
