"""A live pair as a document: its figures by name, how old its legs are, and in words what is missing or stale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pairscope.analytics.pair_recursions import sentinel_verdict
from pairscope.analytics.sentinel import BARS, STATISTIC, STATUS, THRESHOLD, WARN_THRESHOLD
from pairscope.market.anchors import anchor_of
from pairscope.market.pairs import PairSettings, span_in_words
from pairscope.market.ticks import F8

__all__ = ["Leg", "Robust", "document"]

MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg's last price and when it was traded; None and -1 where nothing is known of it."""

    price: float | None
    traded_ns: int


@dataclass(frozen=True, slots=True)
class Robust:
    """Huber's hedge ratio and the open time of the newest bar in it, or why there is none."""

    alpha: float | None = None
    beta: float | None = None
    stderr: float | None = None
    timestamp: int | None = None
    reason: str | None = None


def document(
    settings: PairSettings,
    fields: Mapping[str, Any],
    pair: Any,
    sentinel: F8,
    robust: Robust,
    *,
    legs: tuple[Leg, Leg],
    step_ns: int,
    watermark_ns: int,
    open_slot: int | None,
    alive: bool,
    waiting: bool,
    untrained: str | None,
    tripped: int | None,
    listed: bool,
) -> Mapping[str, Any]:
    """Return what a pair says. ``open_slot``: the slot of an open bar that the figures are provisional of.

    ``fields`` are the settings as a mapping, made once.
    A pair that is not ``alive`` has no bar in common within its lookback, and no figures.
    """
    step_ms = step_ns // MS
    slot = int(pair["slot"]) if open_slot is None else open_slot
    n = int(pair["n"]) if alive else 0
    figures = {name: _number(pair[name]) if alive else None for name in _FIGURES}
    missing = _missing(settings, pair, figures, n=n, alive=alive, waiting=waiting)
    ages = [max(0, watermark_ns - leg.traded_ns) // MS if leg.traded_ns >= 0 else None for leg in legs]
    stale_leg, stale_reason = _stale(settings, ages, settings.stale_ns // MS)
    reasons = [reason for reason in (missing, stale_reason) if reason]
    return {
        **fields,
        "timestamp": slot * step_ms if alive else None,
        "closed": open_slot is None,
        "n": n,
        "hedge_ratio": {
            "ols": {
                "alpha": figures["ols_alpha"],
                "beta": figures["ols_beta"],
                "stderr": figures["ols_stderr"],
                "r_squared": figures["ols_r_squared"],
            },
            "huber": {
                "alpha": robust.alpha,
                "beta": robust.beta,
                "stderr": robust.stderr,
                "timestamp": robust.timestamp,
                **({"reason": robust.reason} if robust.reason else {}),
            },
            "kalman": {
                "alpha": figures["kalman_alpha"],
                "beta": figures["kalman_beta"],
                "stderr": figures["kalman_stderr"],
                "since": int(pair["since"]) * step_ms if alive else None,
                "n": int(pair["kalman_n"]) if alive else 0,
            },
        },
        "spread": {"method": settings.method, **{name: figures[name] for name in ("last", "mean", "std", "zscore")}},
        "correlation": {"rolling": figures["correlation"], "window": settings.window},
        "prices": {
            "y": figures["close_y"],
            "x": figures["close_x"],
        },
        "ages_ms": {"y": ages[0], "x": ages[1]},
        "age_ms": None if None in ages else max(age for age in ages if age is not None),
        "stale": stale_leg is not None,
        "stale_leg": stale_leg,
        "sentinel": _verdict(settings, pair, sentinel, step_ms, untrained=untrained, tripped=tripped, alive=alive),
        "on_watchlist": listed,
        "reason": "; ".join(reasons) or None,
    }


_FIGURES: Final = (
    "close_y",
    "close_x",
    "ols_alpha",
    "ols_beta",
    "ols_stderr",
    "ols_r_squared",
    "kalman_alpha",
    "kalman_beta",
    "kalman_stderr",
    "last",
    "mean",
    "std",
    "zscore",
    "correlation",
)


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _missing(
    settings: PairSettings, pair: Any, figures: Mapping[str, float | None], *, n: int, alive: bool, waiting: bool
) -> str | None:
    """Say why there is no z-score, or no correlation."""
    if waiting:
        return "history is being read"
    if not alive:
        return f"no bar in common within the last {settings.lookback} bars"
    if figures["zscore"] is not None:
        return None if figures["correlation"] is not None else _uncorrelated(settings, n)
    if n < int(pair["least"]):
        return f"needs {int(pair['least'])} bars in common, has {n}"
    if settings.method == "kalman" and figures["kalman_beta"] is None:
        return f"the filter needs {int(pair['least'])} bars in common, has {int(pair['kalman_n'])}"
    if figures["last"] is None:
        return f"no hedge ratio by {settings.method}: {settings.x} does not vary, or no answer was found"
    return f"the spread is constant over {settings.window} bars"


def _uncorrelated(settings: PairSettings, n: int) -> str:
    if n <= settings.window:
        return f"a correlation of {settings.window} returns needs one bar more than the {n} in common"
    return f"no correlation: a leg's price has not moved for {settings.window} bars"


def _stale(settings: PairSettings, ages: list[int | None], limit_ms: int) -> tuple[str | None, str | None]:
    """Return which leg is stale, and that in words."""
    for leg, symbol, age in zip("yx", (settings.y, settings.x), ages, strict=True):
        if age is None:
            return leg, f"{symbol} has no price yet"
    known = [age for age in ages if age is not None]
    age = max(known)
    if age <= limit_ms:
        return None, None
    leg = "yx"[known.index(age)]
    return leg, f"{settings.y if leg == 'y' else settings.x} last traded {span_in_words(age)} ago: the z-score is stale"


def _verdict(
    settings: PairSettings,
    pair: Any,
    sentinel: F8,
    step_ms: int,
    *,
    untrained: str | None,
    tripped: int | None,
    alive: bool,
) -> Mapping[str, Any]:
    """Return what the break sentinel says, trained on the lookback before ``since``."""
    if untrained is not None or not alive:
        said = sentinel_verdict(None, reason=untrained or "no bars to train on")
        return {**said, "since": None, "tripped": None}
    readings = [float(sentinel[place]) for place in (STATUS, STATISTIC, THRESHOLD, WARN_THRESHOLD)]
    said = sentinel_verdict(readings, n=int(sentinel[BARS]))
    since = anchor_of(int(pair["epoch"]), settings.lookback, int(pair["offset"]))
    return {**said, "since": since * step_ms, "tripped": None if tripped is None else tripped * step_ms}
