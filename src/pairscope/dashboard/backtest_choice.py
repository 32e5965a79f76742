"""What is to be backtested and by which rule, under the API's names: what it asks for, and what makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pairscope.dashboard.pair_words import base_of, number

__all__ = ["FILLS", "GATES", "HEDGES", "RANGES", "SIZINGS", "BacktestChoice", "rule_words", "same_rule", "told"]

HEDGES: Final[Mapping[str, str]] = {"OLS": "ols", "Huber": "huber", "Kalman": "kalman", "Fixed": "fixed"}
FILLS: Final[Mapping[str, str]] = {"Next close": "next", "Next open": "open", "Same close": "same"}
GATES: Final[Mapping[str, str | None]] = {
    "None": None, "Cointegrated": "cointegration", "Sentinel quiet": "sentinel",
}  # fmt: skip
SIZINGS: Final[Mapping[str, str]] = {"Beta-neutral": "beta", "Dollar-neutral": "dollar"}

_DAY_MS: Final = 86_400_000
RANGES: Final[Mapping[str, int | None]] = {
    "All that is stored": None,
    "Last day": _DAY_MS,
    "Last 3 days": 3 * _DAY_MS,
    "Last week": 7 * _DAY_MS,
    "Last 30 days": 30 * _DAY_MS,
    "From … to …": None,
}
"""Words of the choice -> milliseconds back from now."""


@dataclass(frozen=True, slots=True)
class BacktestChoice:
    """A pair, its bars and the rule; costs are one way and of each leg, ``start`` and ``end`` in milliseconds."""

    y: str
    x: str
    timeframe: str = "1m"
    start: int | None = None
    end: int | None = None
    method: str = "ols"
    beta: float = 1.0
    lookback: int = 240
    window: int = 60
    entry: float = 2.0
    exit: float = 0.5
    stop: float | None = None
    max_holding: int | None = None
    cooldown: int = 0
    gate: str | None = None
    notional: float = 10_000.0
    capital: float | None = None
    fee_bps: float = 4.0
    fee_bps_x: float | None = None
    slippage_bps: float = 1.0
    slippage_range: float = 0.0
    funding: bool = True
    fill: str = "next"
    price_space: str = "log"
    sizing: str = "beta"
    rehedge: float | None = None
    latency_ms: int | None = None
    round_steps: bool = True

    def body(self) -> dict[str, Any]:
        """Return what is asked of the API: the rule's names, without what is not set.

        >>> BacktestChoice("ETHUSDT", "BTCUSDT").body()["hedge"]
        {'method': 'ols', 'lookback': 240}
        """
        fee: float | list[float] = self.fee_bps if self.fee_bps_x is None else [self.fee_bps, self.fee_bps_x]
        hedge: dict[str, Any] = {"method": self.method, "lookback": self.lookback}
        if self.method == "fixed":
            hedge["beta"] = self.beta
        plain = (
            "y", "x", "timeframe", "start", "end", "window", "entry", "exit", "stop", "max_holding", "cooldown", "gate",
            "notional", "capital", "slippage_bps", "slippage_range", "funding", "fill", "price_space", "sizing",
            "rehedge", "latency_ms", "round_steps",
        )  # fmt: skip
        found = {name: getattr(self, name) for name in plain}
        return {name: value for name, value in found.items() if value is not None} | {"hedge": hedge, "fee_bps": fee}

    def problem(self) -> str:
        """Say what cannot be computed and what to do; empty where all is well.

        >>> BacktestChoice("ETHUSDT", "BTCUSDT", entry=1.0, exit=1.5).problem()
        'The exit (z 1.5) must be below the entry (z 1): a trade would end where it begins.'
        """
        if self.y == self.x:
            return f"Both legs are {self.y}: choose two different symbols."
        if self.window > self.lookback and self.method != "fixed":
            return (
                f"The window ({self.window} bars) is longer than the lookback ({self.lookback} bars): "
                "make it shorter, or the lookback longer."
            )
        if self.exit >= self.entry:
            return (
                f"The exit (z {self.exit:g}) must be below the entry (z {self.entry:g}): a trade would end where it "
                "begins."
            )
        if self.stop is not None and self.stop <= self.entry:
            return f"The stop (z {self.stop:g}) must be above the entry (z {self.entry:g}), or empty for none."
        if self.start is not None and self.end is not None and self.start >= self.end:
            return "The range ends before it begins: let it end later."
        return ""


def told(request: Mapping[str, Any], name: str) -> Any:
    """Return a field of a request as the API writes it; of the hedge, ``method``, ``lookback`` and ``beta``.

    >>> told({"entry": 2, "hedge": {"method": "ols"}}, "method"), told({"entry": 2}, "stop")
    ('ols', None)
    """
    if name in {"method", "lookback", "beta"}:
        hedge = request.get("hedge")
        return hedge.get(name) if isinstance(hedge, Mapping) else request.get(name)
    return request.get(name)


def rule_words(request: Mapping[str, Any]) -> str:
    """Say in one line which pair was traded by which rule.

    >>> rule_words({"y": "ETHUSDT", "x": "BTCUSDT", "timeframe": "1m", "hedge": {"method": "ols", "lookback": 240},
    ...             "window": 60, "entry": 2.0, "exit": 0.5, "stop": 4, "fee_bps": [4, 4], "slippage_bps": 1})
    'ETH on BTC, 1m: OLS over 240 bars, z over 60, in at 2, out at 0.5, stop at 4; fee 4 + slippage 1 bps a fill'
    """
    method = str(told(request, "method") or "ols")
    name = next((word for word, code in HEDGES.items() if code == method), method)
    over = (
        f"{name} beta {number(told(request, 'beta'))}"
        if method == "fixed"
        else f"{name} over {_of(request, 'lookback')} bars"
    )
    stop, longest, gate = told(request, "stop"), told(request, "max_holding"), told(request, "gate")
    parts = [
        over,
        f"z over {_of(request, 'window')}",
        f"in at {_of(request, 'entry')}",
        f"out at {_of(request, 'exit')}",
        "no stop" if stop is None else f"stop at {_of(request, 'stop')}",
        "" if longest is None else f"at most {longest} bars",
        ""
        if gate is None
        else f"only while {'the pair is cointegrated' if gate == 'cointegration' else 'the sentinel is quiet'}",
    ]
    costs = f"fee {_legs(told(request, 'fee_bps'))} + slippage {_legs(told(request, 'slippage_bps'))} bps a fill"
    pair = f"{base_of(str(request.get('y', '')))} on {base_of(str(request.get('x', '')))}"
    return f"{pair}, {request.get('timeframe', '')}: {', '.join(part for part in parts if part)}; {costs}"


def _of(request: Mapping[str, Any], name: str) -> str:
    value = told(request, name)
    return number(float(value), 6) if isinstance(value, int | float) else str(value)


def _legs(value: Any) -> str:
    """Write a cost of both legs once where they are alike."""
    both = list(value) if isinstance(value, list | tuple) else [value or 0.0]
    texts = [number(float(one)) for one in both]
    return texts[0] if len(set(texts)) == 1 else " and ".join(texts)


def same_rule(body: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether a form asks for the rule of a run; the range of time apart, which moves on by itself.

    >>> asked = BacktestChoice("A", "B").body()
    >>> same_rule(asked, {**asked, "fee_bps": [4, 4], "start": 5}), same_rule(asked, {**asked, "entry": 2.5})
    (True, False)
    """
    names = [name for name in body if name not in {"start", "end", "hedge"} and name in request]
    hedge = [name for name in ("method", "lookback", "beta") if told(request, name) is not None]
    return (
        all(_plain(body[name]) == _plain(request[name]) for name in names)
        and all(_plain(told(body, name)) == _plain(told(request, name)) for name in hedge)
        and all(request.get(name) is None or name in body for name in ("stop", "max_holding", "gate", "rehedge"))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return float(value[0]) if len(set(value)) == 1 else [float(one) for one in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
