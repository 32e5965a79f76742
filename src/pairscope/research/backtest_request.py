"""What a backtest is asked to do: one value that the API, the command line, a sweep and a paper position share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from numbers import Real
from typing import Any, Final, Literal, get_args

from pairscope.analytics.gates import LEAST_TESTED
from pairscope.analytics.sentinel_table import LEAST_TRAIN
from pairscope.analytics.signals import signal_rule
from pairscope.errors import InputError
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.pairs import MOST_LOOKBACK
from pairscope.market.symbols import normalize_symbol

__all__ = ["REQUEST_FIELDS", "BacktestRequest", "HedgeChoice"]

HedgeChoice = Literal["ols", "huber", "kalman", "fixed"]

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "timeframe": tuple(TIMEFRAMES),
    "method": get_args(HedgeChoice),
    "fill": ("next", "open", "same"),
    "price_space": ("log", "linear"),
    "sizing": ("beta", "dollar"),
    "gate": ("cointegration", "sentinel"),
}
_LATEST_MS: Final = 9_223_372_036_854
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE_BPS: Final = 10_000.0
_MOST_MONEY: Final = 1e12
_MOST_BARS: Final = 10**9
_TIME: Final = "milliseconds since the epoch or ISO 8601, like 2026-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """A pair, a range of time, and the rule and terms by which it is traded; the defaults are a sensible start.

    ``method`` and ``lookback`` say whose hedge ratio and of how many bars, ``beta`` is that of ``fixed``; ``entry``,
    ``exit`` and ``stop`` are z-scores over ``window`` bars; ``max_holding`` and ``cooldown`` bars. ``notional`` is what
    both legs of a position are worth at its fill, ``capital`` what returns are reckoned on (None: the notional).
    ``fee_bps`` and ``slippage_bps`` are each leg's (y, x), one way; ``slippage_range`` a share of the filling bar's
    range that is lost besides. ``funding`` charges what is known of it; ``latency_ms`` fills from ticks instead of
    bars; ``round_steps`` rounds quantities to the exchange's steps where those are known. ``start`` is included,
    ``end`` is not; the bars before ``start`` that a hedge ratio takes are read besides (``warmup_bars``).

    >>> BacktestRequest("ethusdt", "BTCUSDT", window=10, lookback=60).checked().key
    'ETHUSDT:BTCUSDT'
    """

    y: str
    x: str
    timeframe: str = "1m"
    start_ns: int | None = None
    end_ns: int | None = None
    method: HedgeChoice = "ols"
    beta: float | None = None
    lookback: int = 1440
    window: int = 60
    entry: float = 2.0
    exit: float = 0.5
    stop: float | None = None
    max_holding: int | None = None
    cooldown: int = 0
    notional: float = 10_000.0
    fee_bps: tuple[float, float] = (4.0, 4.0)
    slippage_bps: tuple[float, float] = (1.0, 1.0)
    slippage_range: float = 0.0
    funding: bool = False
    fill: Literal["next", "open", "same"] = "next"
    price_space: Literal["log", "linear"] = "log"
    sizing: Literal["beta", "dollar"] = "beta"
    rehedge: float | None = None
    capital: float | None = None
    gate: Literal["cointegration", "sentinel"] | None = None
    latency_ms: int | None = None
    round_steps: bool = True

    @property
    def key(self) -> str:
        """The pair's name on the stream and in the records: ``Y:X``."""
        return f"{self.y}:{self.x}"

    @property
    def hedge(self) -> str | float:
        """The hedge ratio as ``backtest_pair`` takes it: a method, or the number that stands."""
        return self.beta if self.method == "fixed" and self.beta is not None else self.method

    def checked(self) -> BacktestRequest:
        """Return the request with symbols in capitals and numbers of the right kind; ``InputError`` names a field."""
        made = replace(
            self,
            y=_symbol(self.y, "y"),
            x=_symbol(self.x, "x"),
            **{name: _choice(getattr(self, name), name) for name in _CHOICES if name != "gate"},
            gate=None if self.gate is None else _choice(self.gate, "gate"),
            start_ns=_instant(self.start_ns, "start"),
            end_ns=_instant(self.end_ns, "end"),
            beta=_number(self.beta, "beta", -1e6, 1e6, optional=True),
            lookback=_whole(self.lookback, "lookback", 3, MOST_LOOKBACK),
            window=_whole(self.window, "window", 2, MOST_LOOKBACK),
            entry=_number(self.entry, "entry", 0.0, 100.0),
            exit=_number(self.exit, "exit", 0.0, 100.0),
            stop=_number(self.stop, "stop", 0.0, 1000.0, optional=True),
            max_holding=_whole(self.max_holding, "max_holding", 1, _MOST_BARS, optional=True),
            cooldown=_whole(self.cooldown, "cooldown", 0, _MOST_BARS),
            notional=_number(self.notional, "notional", 1e-6, _MOST_MONEY),
            fee_bps=_per_leg(self.fee_bps, "fee_bps"),
            slippage_bps=_per_leg(self.slippage_bps, "slippage_bps"),
            slippage_range=_number(self.slippage_range, "slippage_range", 0.0, 1.0),
            funding=_truth(self.funding, "funding"),
            rehedge=_number(self.rehedge, "rehedge", 1e-6, 1e6, optional=True),
            capital=_number(self.capital, "capital", 1e-6, _MOST_MONEY, optional=True),
            latency_ms=_whole(self.latency_ms, "latency_ms", 0, 3_600_000, optional=True),
            round_steps=_truth(self.round_steps, "round_steps"),
        )
        made._agree()
        return made

    def _agree(self) -> None:
        """Refuse fields that contradict each other."""
        signal_rule(
            entry=self.entry,
            exit=self.exit,
            stop=self.stop,
            max_holding=self.max_holding,
            cooldown=self.cooldown,
        )
        if self.y == self.x:
            raise InputError(f"x: a pair needs two different symbols, both are {self.y}", loc="x")
        if self.start_ns is not None and self.end_ns is not None and self.start_ns >= self.end_ns:
            raise InputError("end: must be later than start", loc="end")
        if self.method == "fixed" and self.beta is None:
            raise InputError("beta: the hedge ratio of the method fixed is missing", loc="beta")
        if self.method != "fixed" and self.beta is not None:
            raise InputError(f"beta: belongs to the method fixed, not to {self.method}", loc="beta")
        if self.method != "fixed" and self.window > self.lookback:
            raise InputError(f"window: must be at most lookback ({self.lookback})", loc="window")
        if self.latency_ms is not None and self.fill != "next":
            raise InputError("latency_ms: fills from ticks; leave fill out beside it", loc="latency_ms")
        least = {"cointegration": LEAST_TESTED, "sentinel": LEAST_TRAIN}.get(self.gate or "", 0)
        if self.lookback < least:
            raise InputError(f"lookback: the gate {self.gate} needs at least {least} bars", loc="lookback")
        if self.rehedge is not None and self.method == "fixed":
            raise InputError("rehedge: a fixed hedge ratio never changes", loc="rehedge")

    def warmup_bars(self) -> int:
        """Return how many bars before ``start`` the first bar's decision takes.

        >>> BacktestRequest("ETHUSDT", "BTCUSDT").warmup_bars()
        1439
        """
        fitted = 0 if self.method == "fixed" and self.gate is None else self.lookback
        return max(fitted, self.window) - 1

    def arguments(self) -> dict[str, Any]:
        """Return the keywords of ``backtest_pair`` that do not come from bars; those at their default are left out."""
        made: dict[str, Any] = {
            "hedge": self.hedge,
            **{name: getattr(self, name) for name in ("lookback", "window", "entry", "exit", "notional")},
        }
        optional = ("stop", "max_holding", "cooldown", "fill", "price_space", "slippage_range", "sizing", "rehedge")
        for name in (*optional, "capital"):
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                made[name] = value
        for name in ("fee_bps", "slippage_bps"):
            y, x = getattr(self, name)
            made[name] = y if y == x else (y, x)
        return made

    def document(self) -> dict[str, Any]:
        """Return the request as the body of ``POST /api/backtest``; ``from_document`` reads it back."""
        made: dict[str, Any] = {name: getattr(self, name) for name in REQUEST_FIELDS if name not in _RENAMED}
        made["start"], made["end"] = (None if t is None else t // 1_000_000 for t in (self.start_ns, self.end_ns))
        fixed = self.method == "fixed"
        made["hedge"] = {"method": "fixed", "beta": self.beta} if fixed else {"method": self.method}
        made["hedge"]["lookback"] = self.lookback
        for name in ("fee_bps", "slippage_bps"):
            y, x = getattr(self, name)
            made[name] = y if y == x else [y, x]
        return {name: made[name] for name in REQUEST_FIELDS}

    @classmethod
    def from_document(cls, document: Any) -> BacktestRequest:
        """Return the checked request of a body; ``InputError`` names a field that is missing, wrong or unknown.

        ``start`` and ``end`` are milliseconds or ISO 8601 (without an offset: UTC); ``hedge`` is an object, a method's
        name, or a number, the hedge ratio that stands. What is null is left at its default.

        >>> made = BacktestRequest.from_document({"y": "ethusdt", "x": "btcusdt", "hedge": 1.5, "start": "2025-05-01"})
        >>> made.y, made.hedge, made.start_ns
        ('ETHUSDT', 1.5, 1746057600000000000)
        """
        if not isinstance(document, Mapping):
            raise InputError("body: must be an object", loc="body")
        for name in document:
            if name not in REQUEST_FIELDS:
                raise InputError(f"{str(name)[:64]}: there is no such field", loc=str(name)[:64])
        given = {name: value for name, value in document.items() if value is not None}
        for name in ("y", "x"):
            if name not in given:
                raise InputError(f"{name}: is missing", loc=name)
        for name in ("start", "end"):
            if name in given:
                given[f"{name}_ns"] = _time_ns(given.pop(name), name)
        return cls(**given | _hedge_of(given.pop("hedge", None))).checked()


_DEFAULTS: Final = {field.name: field.default for field in fields(BacktestRequest)}
_RENAMED: Final = ("start", "end", "hedge")
REQUEST_FIELDS: Final = (
    "y",
    "x",
    "timeframe",
    "start",
    "end",
    "hedge",
    *(
        name
        for name in _DEFAULTS
        if name not in ("y", "x", "timeframe", "start_ns", "end_ns", "method", "beta", "lookback")
    ),
)
"""The fields of the body, in order."""


def _hedge_of(hedge: Any) -> dict[str, Any]:
    """Return the fields that the body's ``hedge`` stands for."""
    if hedge is None:
        return {}
    if isinstance(hedge, str):
        return {"method": hedge}
    if isinstance(hedge, Mapping):
        for name in hedge:
            if name not in ("method", "lookback", "beta"):
                raise InputError(f"hedge.{str(name)[:64]}: there is no such field", loc=f"hedge.{str(name)[:64]}")
        return {name: value for name, value in hedge.items() if value is not None}
    if isinstance(hedge, (int, float)) and not isinstance(hedge, bool):
        return {"method": "fixed", "beta": hedge}
    raise InputError("hedge: must be an object, a method's name or a number", loc="hedge")


def _symbol(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(normalize_symbol(value)) <= 64:
        raise InputError(f"{name}: must be a symbol", loc=name)
    return normalize_symbol(value)


def _choice(value: Any, name: str) -> Any:
    if value not in _CHOICES[name]:
        raise InputError(f"{name}: must be one of {', '.join(_CHOICES[name])}", loc=name)
    return value


def _number(value: Any, name: str, least: float, most: float, *, optional: bool = False) -> Any:
    """Return a number within bounds; None stays where it is ``optional``."""
    if optional and value is None:
        return None
    good = isinstance(value, Real) and not isinstance(value, bool)
    if not good or abs(value) > 1e30 or not isfinite(value) or not least <= value <= most:
        raise InputError(f"{name}: must be a number from {least:g} to {most:g}", loc=name)
    return float(value)


def _whole(value: Any, name: str, least: int, most: int, *, optional: bool = False) -> Any:
    """Return a whole number within bounds; None stays where it is ``optional``."""
    if optional and value is None:
        return None
    good = isinstance(value, Real) and not isinstance(value, bool)
    if not good or not least <= value <= most or int(value) != value:
        raise InputError(f"{name}: must be a whole number from {least} to {most}", loc=name)
    return int(value)


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name}: must be true or false", loc=name)
    return value


def _per_leg(value: Any, name: str) -> tuple[float, float]:
    """Return a cost of each leg, given as one number for both or as (y, x)."""
    legs = value if isinstance(value, (list, tuple)) else (value, value)
    if len(legs) != 2:
        raise InputError(f"{name}: must be a number, or one of y and one of x", loc=name)
    return _number(legs[0], name, 0.0, _WHOLE_BPS), _number(legs[1], name, 0.0, _WHOLE_BPS)


def _instant(value: Any, name: str) -> Any:
    good = value is None or (isinstance(value, int) and not isinstance(value, bool))
    if not good or (value is not None and not 0 <= value <= _LATEST_MS * 1_000_000):
        raise InputError(f"{name}: must lie between 1970-01-01 and 2262-04-11", loc=name)
    return value


def _time_ns(value: Any, name: str) -> int:
    """Return a time that is written as milliseconds or as ISO 8601."""
    text = "" if isinstance(value, bool) else str(value).strip()[:64]
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text) * 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{name}: must be {_TIME}", loc=name) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
