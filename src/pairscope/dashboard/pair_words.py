"""Numbers of a pair as a trader reads them: levels of p-values, lengths of time, how many deviations and which way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

__all__ = [
    "MISSING",
    "base_of",
    "duration",
    "level_of",
    "number",
    "number_at",
    "p_value",
    "part_of",
    "plain",
    "reason_of",
    "span",
    "when",
]

MISSING: Final = "–"
"""What stands where there is no number."""

_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB")
_LEVELS: Final = (0.01, 0.05, 0.10)


def part_of(document: Any, *path: str) -> Any:
    """Return what stands at a path of a document, None where the path ends early.

    >>> part_of({"spread": {"hurst": None}}, "spread", "hurst", "value") is None
    True
    """
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def number_at(document: Any, *path: str) -> float | None:
    """Return the finite number at a path, also where it stands as ``{"value": …}``; None where there is none.

    >>> number_at({"a": {"value": 2}}, "a"), number_at({"a": "2"}, "a")
    (2.0, None)
    """
    found = part_of(document, *path)
    if isinstance(found, Mapping):
        found = found.get("value")
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def reason_of(document: Mapping[str, Any], path: str) -> str:
    """Return why something is missing, as the document's ``reasons`` have it: by the path or by one below it.

    >>> reason_of({"reasons": {"spread.hurst": "needs 100 bars, has 12"}}, "spread")
    'needs 100 bars, has 12'
    """
    reasons = document.get("reasons")
    if not isinstance(reasons, Mapping):
        return ""
    return next((str(why) for name, why in reasons.items() if f"{name}.".startswith(f"{path}.")), "")


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with so many significant digits, never with an exponent.

    >>> number(0.000012346), number(1234.5, 6), number(None)
    ('0.00001235', '1,234.5', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def p_value(value: float | None) -> str:
    """Write a p-value; a very small one as a bound.

    >>> p_value(0.0321), p_value(1e-9)
    ('0.032', '< 0.001')
    """
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def level_of(pvalue: float | None) -> float | None:
    """Return the usual level at which a p-value rejects: 0.01, 0.05 or 0.10; None where at none of them.

    >>> level_of(0.03), level_of(0.2)
    (0.05, None)
    """
    return next((level for level in _LEVELS if pvalue is not None and pvalue <= level), None)


def duration(bars: float | None, bar_s: int) -> str:
    """Write a number of bars as a length of time.

    >>> duration(42.2, 60), duration(0.5, 1), duration(400, 900)
    ('42 min', '0.5 s', '4.2 d')
    """
    if bars is None or not math.isfinite(bars):
        return MISSING
    seconds = bars * bar_s
    for most, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{_short(seconds / length)} {unit}"
    return f"{_short(seconds / 86_400)} d"


def span(low: float | None, high: float | None, bar_s: int) -> str:
    """Write two numbers of bars as a range of time; an open end as words.

    >>> span(30, 65, 60), span(30, None, 60)
    ('30 min to 65 min', '30 min or more')
    """
    if low is None:
        return ""
    if high is None or not math.isfinite(high):
        return f"{duration(low, bar_s)} or more"
    return f"{duration(low, bar_s)} to {duration(high, bar_s)}"


def when(ms: float | None, bar_s: int = 60) -> str:
    """Write a time in UTC, with its day where that is not today's business, with seconds where bars are short.

    >>> when(1_700_000_000_000)
    '2023-11-14 22:13 UTC'
    """
    if ms is None:
        return MISSING
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    clock = moment.strftime("%H:%M:%S" if bar_s < 60 else "%H:%M")
    return f"{clock} UTC" if moment.date() == datetime.now(UTC).date() else f"{moment:%Y-%m-%d} {clock} UTC"


def base_of(symbol: str) -> str:
    """Return what a symbol's size is counted in.

    >>> base_of("ETHUSDT"), base_of("ODD")
    ('ETH', 'ODD')
    """
    return next((symbol.removesuffix(q) for q in _QUOTES if symbol.endswith(q) and symbol != q), symbol)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def plain(text: str) -> str:
    r"""Write a text so that Markdown takes it as it is.

    >>> print(plain("p < 0.01 [a] $5*2"))
    p < 0.01 \[a\] \$5\*2
    """
    return "".join(f"\\{letter}" if letter in "\\`*_[]$~|#" else letter for letter in text)
