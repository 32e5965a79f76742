"""The documents of the screen as OpenAPI shows them, and the encoder that writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.gaps import TouchedOut

__all__ = ["DiscoveriesOut", "PairHistory", "ScreenOut", "encode_screen"]


class _Part(BaseModel):
    """A part of a document; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class ScreenedPair(_Part):
    """One directed test: y on x, spread = log y − (alpha + beta log x)."""

    y: str
    x: str
    alpha: float
    beta: float = Field(description="The hedge ratio.")
    statistic: float = Field(description="Engle and Granger's; the null is no cointegration.")
    pvalue: float
    qvalue: float = Field(description="The false-discovery rate at which this row is just a discovery.")
    lags: int
    half_life: float | None = Field(description="Bars; null where nothing comes back, or the sign changes each bar.")
    zscore: float = Field(description="The last residual over `spread_std`.")
    spread_std: float = Field(description="Sample standard deviation of the residuals, whole lookback.")
    correlation: float | None = Field(description="Of log returns.")
    discovery: bool = Field(description="Whether the q-value is at most `fdr`.")
    false_expected: float | None = Field(
        None, description="Tests of a surrogate market with so small a p-value, on average; where `null` is known."
    )
    zscores: list[float] | None = Field(None, description="The last 60 z-scores, with `sparkline=true`.")
    gap: Literal[True] | None = Field(
        None, description="true: bars of a leg lack trades, `gaps` says how many; left out where none do."
    )
    examination: dict[str, Any] | None = Field(
        None, description="A second look at a discovery, with `examine=true`: Hurst, Johansen, edge, stability."
    )


class ScreenNull(_Part):
    """How many false discoveries theory promises, and how many surrogates of this market, without a pair, offer."""

    surrogates: int = Field(description="Markets in which each symbol moves by itself.")
    as_of: int = Field(description="Open time of the newest bar that they were made of, ms.")
    tests: int = Field(description="Of one of them.")
    pvalue: float = Field(description="The largest p-value of a discovery, at which both are counted.")
    discoveries: int
    fdr_promised: float
    false_promised: float = Field(description="`fdr_promised` times `discoveries`: what theory lets be false at most.")
    fdr_empirical: float | None = Field(description="`false_expected` over `discoveries`; null without any.")
    false_expected: float = Field(description="Tests of a surrogate market with so small a p-value, on average …")
    false_least: float = Field(description="… in the one with the fewest …")
    false_most: float = Field(description="… and in the one with the most.")


class ScreenOut(_Part):
    """Every pair of the market tested, the rows that were asked for, and what was left out."""

    as_of: int = Field(description="Open time of the newest bar in it, ms.")
    timeframe: str
    lookback: int
    bars: int = Field(description="Bars that every tested symbol has, at most `lookback`.")
    universe: int = Field(description="How many symbols were tested; `symbols` names them.")
    tests: int = Field(description="Directed tests, the family of the q-values.")
    elapsed_ms: float = Field(description="What the tests took.")
    continuous: bool = Field(description="Whether this screen is kept up to date.")
    screen: int = Field(description="Another number: another screen.")
    family: str = Field(description="What the q-values count, in words.")
    control: Literal["bh", "by"]
    fdr: float
    discoveries: int = Field(description="Rows of the whole screen whose q-value is at most `fdr`.")
    matching: int = Field(description="Rows that the filters let through.")
    null: ScreenNull | None = Field(None, description="The market's own null; null before it is known.")
    symbols: list[str]
    excluded: dict[str, str] = Field(description="Symbols that were left out, with the reason.")
    pairs: list[ScreenedPair]
    gaps: TouchedOut
    warnings: list[str]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class Discovery(_Part):
    """A pair that entered the discoveries of a continuous screen, or left them; its test then."""

    timestamp: int = Field(description="Open time of the newest bar of that screen, ms.")
    event: Literal["entered", "left"]
    timeframe: str
    lookback: int
    y: str
    x: str
    qvalue: float | None
    pvalue: float | None
    half_life: float | None
    zscore: float | None
    beta: float | None
    correlation: float | None
    reason: str | None = Field(None, description="Why it left.")


class DiscoveriesOut(_Part):
    """Who entered and who left, newest first; `screens` says where each continuous screen stands."""

    discoveries: list[Discovery]
    screens: list[dict[str, Any]]
    next: str | None


class PairHistory(_Part):
    """One direction of a pair over the continuous screens."""

    y: str
    x: str
    timeframe: str
    lookback: int
    fdr: float
    timestamp: list[int] = Field(description="Of each screen, ms.")
    qvalue: list[float | None] = Field(description="Null where it was not tested.")
    discovered: bool
    since: int | None = Field(description="Since when it is discovered, ms.")
    now: dict[str, Any] | None = Field(description="Its row in the newest screen.")
    reason: str | None = Field(None, description="Why there is no history.")


def encode_screen(document: Mapping[str, Any]) -> bytes:
    """Return a document of the screen as JSON; what is not a finite number is null.

    >>> encode_screen({"pairs": [{"half_life": float("inf"), "qvalue": 0.25}]})
    b'{"pairs":[{"half_life":null,"qvalue":0.25}]}'
    """
    return orjson.dumps(document)
