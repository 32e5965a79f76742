"""The form of an alert: what is watched, when it fires, how often it tells and whom; only what applies is shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from pairscope.client import Client
from pairscope.dashboard.alert_choice import AlertChoice, ConditionChoice, conditions_of, unit_of
from pairscope.dashboard.alert_fields import Fields
from pairscope.dashboard.alert_kinds import CONDITIONS, KINDS, SENTINEL_LEVELS, fields_of, frequencies_of, screens_of
from pairscope.dashboard.pair_choice import METHODS, SPACES, TIMEFRAMES
from pairscope.dashboard.pair_source import ask
from pairscope.dashboard.pair_words import plain
from pairscope.errors import PairscopeError

__all__ = ["MOST_CONDITIONS", "choose_alert", "first_of"]

MOST_CONDITIONS: Final = 4
"""Conditions that the form offers to join; the API takes eight."""

_HOUR_S: Final = 3600
_EXPIRIES: Final[Mapping[str, int | None]] = {
    "Never": None, "In an hour": _HOUR_S, "In a day": 24 * _HOUR_S, "In a week": 168 * _HOUR_S,
    "In 30 days": 720 * _HOUR_S,
}  # fmt: skip
_AT: Final = "At a time"
_METHODS: Final = {value: name for name, value in METHODS.items()}
_SPACES: Final = {value: name for name, value in SPACES.items()}


def choose_alert(client: Client, known: Sequence[str], fields: Fields) -> AlertChoice:
    """Draw the form and return what is chosen."""
    count = int(fields.value("count", 1))
    frequency = str(fields.value("frequency", "every"))
    parts = []
    for place in range(count):
        if place:
            st.divider()
            if place == 1:
                fields.choose("Joined by", "join", {"and": "and: all at once", "or": "or: any of them"})
            else:
                st.caption(str(fields.value("join", "and")))
        parts.append(_condition(client, known, fields, place, frequency))
    _more_or_fewer(fields, count)
    with st.grid(2, min_column_width=130):
        frequency = fields.choose("How often", "frequency", frequencies_of(part.type for part in parts))
        cooldown = fields.count("Cooldown (s)", "cooldown_s", 60, least=0, most=604_800, step=30)
    st.caption("After it has told you it is silent for the cooldown, however often it comes true.")
    fields.beside("cooldown_s", "frequency", "once")
    lines = fields.text(
        "Deliver to",
        "notify",
        lines=True,
        height=68,
        placeholder="https://… or tgram://… (one target a line)",
        help="Where a firing is sent, one target a line: an https:// webhook, or tgram://, slack://, discord://, "
        "mailto://, ntfy:// and others. A test message is sent at once. Empty: shown on this page only.",
    )
    fields.beside("notify")
    note = fields.text("Note", "note", max_chars=500, placeholder="Why you want to know; it comes with each message")
    fields.beside("note")
    with st.expander("More", icon=":material/tune:"):
        expires = _expiry(fields)
        fields.beside("expires")
        message = fields.text(
            "Message",
            "message",
            max_chars=500,
            placeholder="{symbol} is at {value}: {note}",
            help="Your own words in place of ours: {symbol} {y} {x} {value} {threshold} {condition} {time} {note} "
            "are filled in.",
        )
        fields.beside("message")
        for place, part in enumerate(parts):
            parts[place] = _details(fields, place, part, frequency, several=count > 1)
    return AlertChoice(
        tuple(parts),
        join=str(fields.value("join", "and")),
        frequency=str(frequency),
        cooldown_s=60 if cooldown is None else cooldown,
        expires=expires,
        notify=tuple(line.strip() for line in lines.splitlines() if line.strip()),
        note=note,
        message=message,
    )


# ── one condition ─────────────────────────────────────────────────────────────────────────────────────────────────


def _condition(client: Client, known: Sequence[str], fields: Fields, place: int, frequency: str) -> ConditionChoice:
    """Draw type, subject, condition and threshold, and the bars that they are of."""
    of = f" ({place + 1})" if place else ""
    subject: dict[str, Any] = {}
    with st.grid(2, min_column_width=130):
        kind = fields.choose(f"Type{of}", f"type{place}", {name: one.label for name, one in KINDS.items()})
        if KINDS[kind].subject == "symbol":
            subject["symbol"] = fields.search(f"Symbol{of}", f"symbol{place}", sorted(known), known[0]) or ""
    if not subject:
        subject = _pair(known, fields, place, kind, of)
    fields.beside("type", "symbol", place=place)
    words = {name: CONDITIONS[name] for name in KINDS[kind].conditions}
    with st.grid(2, min_column_width=130):
        condition = fields.choose(f"Condition{of}", f"condition{place}", words)
        numbers = _thresholds(client, fields, place, kind, condition, subject)
    fields.beside("condition", "conditions", "threshold", "lower", "upper", place=place)
    shown = fields_of(kind, condition, frequency)
    bars: dict[str, Any] = {}
    if "timeframe" in shown:
        with st.grid(2, min_column_width=130):
            bars["timeframe"] = fields.choose(
                f"Timeframe{of}", f"timeframe{place}", {one: one for one in TIMEFRAMES}, "1m"
            )
            if "window" in shown:
                usual = KINDS[kind].window or 60
                window = fields.count(
                    f"Window (bars){of}", f"window{place}_{usual}", usual, step=1 if usual == 1 else 10
                )
                bars["window"] = usual if window is None else window
        if "baseline" in shown:
            bars["baseline"] = fields.count(
                f"Against the usual of (bars){of}",
                f"baseline{place}",
                None,
                step=10,
                placeholder="not",
                help="The threshold is then in times the mean volume of so many bars before: 3 is three times it.",
            )
    if kind == "cointegration":
        screen = fields.choose(f"Screen{of}", f"screen{place}", screens_of(fields.value(f"screen{place}")))
        bars["timeframe"], lookback = str(screen).split(":")
        bars["lookback"] = int(lookback)
    fields.beside("window", "timeframe", "baseline", "lookback", place=place)
    chosen = ConditionChoice(kind, condition=condition, **subject, **numbers, **bars)
    st.caption(plain(_meaning(chosen)))
    return chosen


def _pair(known: Sequence[str], fields: Fields, place: int, kind: str, of: str) -> dict[str, Any]:
    """Draw the legs of the pair that is watched; nothing where it is any pair."""
    if KINDS[kind].subject == "pair or any" and fields.toggle(f"Any pair of the market{of}", f"any{place}"):
        return {}
    symbols = sorted(known)
    y = fields.search(
        f"Y (what you buy when the spread is low){of}", f"y{place}", symbols, known[min(1, len(known) - 1)]
    )
    fields.beside("y", place=place)
    x = fields.search(f"X (its hedge){of}", f"x{place}", symbols, known[0])
    fields.beside("x", place=place)
    return {"y": y or "", "x": x or ""}


def _thresholds(
    client: Client, fields: Fields, place: int, kind: str, condition: str, subject: Mapping[str, str]
) -> dict[str, Any]:
    """Draw the level, or the two ends of the band; each type and symbol keeps its own."""
    shown = fields_of(kind, condition)
    of = f" ({place + 1})" if place else ""
    if kind == "sentinel":
        return {"threshold": float(fields.choose(f"Threshold{of}", f"sentinel{place}", SENTINEL_LEVELS, 1.5))}
    if not shown & {"threshold", "lower"}:
        return {}
    symbol = subject.get("symbol", "")
    times = kind == "volume" and bool(fields.value(f"baseline{place}"))
    name = _threshold_name(kind, condition, symbol, times=times, place=place)
    first, decimals = (3.0, 2) if times else _first(client, kind, condition, symbol)
    decimals = max(decimals, fields.value(f"decimals_{name}", 0))  # a price may come with fewer than the last one
    fields.set(f"decimals_{name}", decimals)
    step = max(10.0**-decimals, _step(first))
    look: dict[str, Any] = {"step": step, "format": f"%.{decimals}f"}
    if "threshold" in shown:
        return {"threshold": fields.number(f"Threshold{of}", f"threshold_{name}", first, **look)}
    width = abs(first or 0.0) * (0.01 if kind == "price" else 1.0)
    ends = (first - width, first + width) if first is not None and kind == "price" else (-width or None, width or None)
    lower = fields.number(f"Lower{of}", f"lower_{name}", _rounded(ends[0], decimals), **look)
    upper = fields.number(f"Upper{of}", f"upper_{name}", _rounded(ends[1], decimals), **look)
    return {"lower": lower, "upper": upper}


def _threshold_name(kind: str, condition: str, symbol: str, *, times: bool, place: int) -> str:
    """Return what the threshold's field is kept under: another unit is another number."""
    unit = "times" if times else "moves" if condition == "moves" else "at"
    return f"{kind}_{symbol}_{unit}{place}"


def _first(client: Client, kind: str, condition: str, symbol: str) -> tuple[float | None, int]:
    """Return a threshold to begin with, as it stands on screen, and the decimals that it is entered in."""
    if condition == "moves":
        return 1.0, 2
    known = KINDS[kind]
    if kind not in {"price", "volume"} or not symbol:
        return known.first, max(known.decimals, 2)
    try:
        last = ask(client, f"/api/price/{symbol}")
    except PairscopeError:
        return None, 8
    if kind == "volume":
        day = last.get("volume_24h")
        return (None if not day else _short(3.0 * day / 1440.0)), 4
    return last.get("price"), _decimals(last.get("price"))


def _decimals(value: float | None) -> int:
    """Return the decimals of a price as it was sent, at least two.

    >>> _decimals(67012.5), _decimals(0.00001234)
    (2, 8)
    """
    if value is None:
        return 8
    return max(2, len(f"{value:.10f}".rstrip("0").rpartition(".")[2]))


def _short(value: float) -> float:
    """Return a number in two significant digits."""
    return float(f"{value:.2g}")


def _step(first: float | None) -> float:
    """Return how far one press of plus or minus goes: about a thousandth.

    >>> _step(67012.5), _step(2.0)
    (10.0, 0.1)
    """
    if not first:
        return 0.1
    return max(float(10.0 ** (len(str(int(abs(first)))) - 4)), 0.1) if abs(first) >= 1 else 0.0


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def _meaning(chosen: ConditionChoice) -> str:
    """Say what a threshold is counted in and what it means."""
    kind = KINDS[chosen.type]
    bars = {"window": chosen.window, "timeframe": chosen.timeframe}
    if chosen.condition == "moves":
        return "In %: how far the price is from the lowest or highest of {window} bars of {timeframe}.".format(**bars)
    means = kind.means.format(**bars).replace("newest 1 bars", "newest bar").replace(" 1 bars", " 1 bar")
    if chosen.baseline:
        means = f"{means} Against the mean of the {chosen.baseline} bars before."
    unit = "times the usual" if chosen.baseline else unit_of(chosen.type, chosen.condition, chosen.symbol)
    level = {
        "above": "a level: tells at once where it holds already",
        "below": "a level: tells at once where it holds already",
    }
    more = level.get(chosen.condition, "")
    return f"{f'In {unit}. ' if unit else ''}{means}{f' {more[:1].upper()}{more[1:]}.' if more else ''}"


# ── what is needed less often ─────────────────────────────────────────────────────────────────────────────────────


def _details(fields: Fields, place: int, part: ConditionChoice, frequency: str, *, several: bool) -> ConditionChoice:
    """Draw the settings of a condition that have a good value already."""
    shown = fields_of(part.type, part.condition, frequency)
    of = f" ({place + 1})" if place else ""
    found: dict[str, Any] = {}
    if several and shown & {"hysteresis", "lookback"}:
        st.caption(f"Condition {place + 1}: {KINDS[part.type].label}")
    with st.grid(2, min_column_width=130):
        if "hysteresis" in shown:
            unit = unit_of(part.type, part.condition, part.symbol, part.baseline)
            back = fields.number(
                f"Hysteresis{f' ({unit})' if unit else ''}{of}",
                f"hysteresis{place}_{part.type}",
                0.0,
                step=10.0 ** -max(1, KINDS[part.type].decimals),
                least=0.0,
                format="%g",
                help="How far it must go back behind the threshold before it can fire again.",
            )
            found["hysteresis"] = back or 0.0
        if "lookback" in shown:
            lookback = fields.count(
                f"Lookback (bars){of}",
                f"lookback{place}",
                1440,
                least=3,
                step=60,
                help="Bars that the hedge ratio is fitted on.",
            )
            found["lookback"] = lookback or 1440
    fields.beside("hysteresis", place=place)
    if "method" in shown:
        with st.grid(2, min_column_width=130):
            found["method"] = fields.choose(f"Hedge ratio{of}", f"method{place}", _METHODS)
            found["price_space"] = fields.choose(f"Spread in{of}", f"space{place}", _SPACES)
        fields.beside("method", "price_space", place=place)
    return replace(part, **found)


def _expiry(fields: Fields) -> int | None:
    """Draw until when the alert is to live; None for ever."""
    options = [*_EXPIRIES, _AT]
    word = fields.choose("Expires", "expiry", {one: one for one in options})
    if word != _AT:
        after = _EXPIRIES[str(word)]
        return None if after is None else int((time.time() + after) * 1000)
    tomorrow = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None) + timedelta(days=1)
    moment = fields.moment("Expires at (UTC)", "expires", tomorrow)
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _more_or_fewer(fields: Fields, count: int) -> None:
    """Draw the buttons that add a condition and take the last one away."""
    look: dict[str, Any] = {"type": "tertiary", "on_click": fields.set}
    with st.container(horizontal=True, gap="small"):
        if count < MOST_CONDITIONS:
            words = "The alert then fires when all of several conditions hold, or any of them."
            key = fields.key("add")
            st.button("Add a condition", key, words, icon=":material/add:", args=("count", count + 1), **look)
        if count > 1:
            key = fields.key("fewer")
            st.button("Remove the last", key, icon=":material/remove:", args=("count", count - 1), **look)


def first_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the fields hold at first for a rule that stands."""
    found: dict[str, Any] = {
        "frequency": rule.get("frequency") or "every",
        "cooldown_s": int(rule.get("cooldown_s", 60)),
    }
    found |= {"note": rule.get("note") or "", "message": rule.get("message") or "", "join": rule.get("join") or "and"}
    found["notify"] = "\n".join(str(target) for target in rule.get("notify") or ())
    parts = conditions_of(rule)
    found["count"] = len(parts)
    for place, part in enumerate(parts):
        name = _threshold_name(part.type, part.condition, part.symbol, times=bool(part.baseline), place=place)
        found |= {
            f"type{place}": part.type, f"symbol{place}": part.symbol, f"y{place}": part.y, f"x{place}": part.x,
            f"any{place}": KINDS[part.type].subject == "pair or any" and not part.y,
            f"condition{place}": part.condition, f"timeframe{place}": part.timeframe,
            f"window{place}_{KINDS[part.type].window or 60}": part.window, f"sentinel{place}": part.threshold,
            f"threshold_{name}": part.threshold, f"lower_{name}": part.lower, f"upper_{name}": part.upper,
            f"hysteresis{place}_{part.type}": part.hysteresis, f"baseline{place}": part.baseline,
            f"lookback{place}": part.lookback,
            f"screen{place}": f"{part.timeframe}:{part.lookback}",
            f"method{place}": part.method, f"space{place}": part.price_space,
        }  # fmt: skip
    expires = rule.get("expires")
    if isinstance(expires, int | float):
        found |= {"expiry": _AT, "expires": datetime.fromtimestamp(expires / 1000, UTC).replace(tzinfo=None)}
    return found
