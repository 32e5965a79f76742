"""The documents of the analytics routes as OpenAPI shows them, and the encoders that write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.encoders import number, plain_json
from pairscope.schemas.gaps import TouchedOut

__all__ = [
    "AdfOut",
    "Cointegration",
    "CorrelationMatrix",
    "EngleGranger",
    "HedgeRatio",
    "HedgeRatios",
    "LegOut",
    "PairAnalytics",
    "PairCorrelation",
    "PairSeries",
    "PairSpread",
    "ReturnMoments",
    "SentinelOut",
    "StatisticsTable",
    "SymbolAnalytics",
    "encode_csv",
    "encode_document",
]

Numbers = list[float | None]
_REASON = "Why there is no answer."


class _Document(BaseModel):
    """A document of the API; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class AdfOut(_Document):
    """A test of one series: ADF's null is a unit root, KPSS's that it is stationary."""

    statistic: float | None
    pvalue: float | None
    lags: int | None
    critical_values: dict[str, float] | None = Field(description="By level: `1%`, `5%`, `10%`.")
    stationary: bool | None = Field(description="The verdict at 5 %.")
    null: str | None = Field(None, description="What a small p-value speaks against.")
    reason: str | None = Field(None, description=_REASON)


class ReturnMoments(_Document):
    """Moments of log returns a bar."""

    mean: float | None
    std: float | None = Field(description="Sample standard deviation.")
    skew: float | None
    kurtosis: float | None = Field(description="Excess: 0 for a normal distribution.")


class SymbolAnalytics(_Document):
    """One symbol, of its closed bars: the last `window` for level and z-score, the last `lookback` for the rest."""

    symbol: str
    timeframe: str
    n: int = Field(description="Closed bars of the lookback that there are.")
    window: int
    lookback: int
    as_of: int = Field(description="Open time of the newest closed bar, ms.")
    last: float
    mean: float | None
    std: float | None = Field(description="Sample standard deviation of the closes.")
    min: float | None
    max: float | None
    zscore: float | None = Field(description="The last close less the mean, over the deviation, both of the window.")
    vwap: float | None = Field(description="Of the window.")
    returns: ReturnMoments
    realized_volatility: float | None = Field(description="Annualised, 365 days: 0.6 is 60 %.")
    realized_volatility_bar: float | None = Field(description="The same a bar.")
    indicators: dict[str, float | None]
    adf: AdfOut
    kpss: AdfOut
    half_life: float | None = Field(description="Bars.")
    hurst: float | None
    reasons: dict[str, str] = Field(description="Why a number is null, by its path.")
    gaps: TouchedOut
    warnings: list[str] = Field(description="What to know before trusting the numbers.")


class HedgeRatio(_Document):
    """A hedge ratio: y = alpha + beta x, logs unless `price_space` is linear."""

    alpha: float | None
    beta: float | None
    stderr: float | None = Field(description="Of beta.")
    interval: Numbers | None = Field(None, description="Of beta, at 95 %.")
    reason: str | None = Field(None, description=_REASON)


class HedgeRatios(_Document):
    """The same pair by each method."""

    ols: HedgeRatio
    huber: HedgeRatio
    kalman: HedgeRatio
    tls: HedgeRatio
    theil_sen: HedgeRatio


class PairSpread(_Document):
    """The spread under the newest hedge ratio of `method`; mean, deviation and z-score of the last `window` bars."""

    method: str
    last: float | None
    mean: float | None
    std: float | None
    zscore: float | None
    half_life: float | None = Field(description="Bars.")
    hurst: float | None
    reason: str | None = Field(None, description=_REASON)


class PairCorrelation(_Document):
    """Correlations of the legs' returns: over the lookback, and over the last `window` returns (`rolling`)."""

    pearson: float | None
    spearman: float | None
    rolling: float | None
    window: int


class EngleGranger(_Document):
    """One direction of Engle and Granger's test; its null is no cointegration."""

    statistic: float | None
    pvalue: float | None
    lags: int | None
    critical_values: dict[str, float] | None
    cointegrated: bool | None = Field(None, description="The verdict at 5 %.")
    reason: str | None = Field(None, description=_REASON)


class Cointegration(_Document):
    """Whether anything ties the legs together."""

    engle_granger: dict[str, EngleGranger] = Field(description="`y_on_x` and `x_on_y`.")
    johansen: dict[str, Any]


class SentinelOut(_Document):
    """Whether the pair is still the one that it was in the bars before `since`: as the `pair` topic says it."""

    status: str = Field(description="`training`, `ok`, `warning`, `broken` or `no verdict`.")
    statistic: float | None
    threshold: float | None
    warn_threshold: float | None
    n: int = Field(description="Bars that it has watched.")
    since: int | None = Field(description="Since when it watches, ms.")
    tripped: int | None = Field(description="Open time of the bar at which it found the pair broken, ms.")
    rate: float = Field(description="Of pairs that hold, the share that it calls broken while it watches.")
    train: int = Field(description="Bars before `since` that it was trained on.")
    reason: str | None = Field(None, description=_REASON)


class LegOut(_Document):
    """One leg now."""

    symbol: str
    last: float = Field(description="Close of the newest bar used.")
    age_ms: int | None = Field(description="Since its last trade.")


class PairSeries(_Document):
    """A column a figure, a row a closed bar, each value as it was known at its bar; null where it was not."""

    timestamp: list[int]
    spread: Numbers
    zscore: Numbers
    beta_kalman: Numbers
    correlation: Numbers
    spread_now: Numbers = Field(description="The same bars under the newest hedge ratio: hindsight.")


class PairAnalytics(_Document):
    """One pair, of the newest `lookback` closed bars that both legs have."""

    y: str
    x: str
    timeframe: str
    lookback: int
    window: int
    price_space: str
    n: int = Field(description="Bars that both legs have, at most `lookback`.")
    as_of: int = Field(description="Open time of the newest bar used, ms.")
    hedge_ratio: HedgeRatios
    spread: PairSpread
    correlation: PairCorrelation
    adf: AdfOut = Field(description="Of the spread; its p-value is too low for a fitted hedge ratio.")
    kpss: AdfOut
    cointegration: Cointegration
    sentinel: SentinelOut
    reasons: dict[str, str] = Field(description="Why a number is null, by its path.")
    legs: dict[str, LegOut] = Field(description="`y` and `x`.")
    stale: bool
    gaps: TouchedOut
    warnings: list[str] = Field(description="What to know before trusting the numbers.")
    series: PairSeries | None = None


class CorrelationMatrix(_Document):
    """Correlations of log returns, each pair over its own common bars."""

    symbols: list[str]
    matrix: list[Numbers]
    n: int | None = Field(description="Returns behind the least supported number of the matrix.")
    counts: list[list[int]] = Field(description="Returns behind each number.")
    order: list[int] = Field(description="Rows ordered so that what moves together stands together.")
    as_of: int | None = Field(description="Open time of the newest bar used, ms.")
    reasons: dict[str, str]
    gaps: TouchedOut
    warnings: list[str]


class StatisticsTable(_Document):
    """A symbol or a pair bar by bar, as columns; without suffix the symbol's or y's, with `_x` those of x."""

    timeframe: str
    window: int
    series: dict[str, Numbers]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")
    gaps: TouchedOut
    warnings: list[str]


def encode_document(
    document: Mapping[str, Any],
    series: Mapping[str, NDArray[Any]] | None = None,
    *,
    positional: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a document as JSON, with ``series`` as columns: NaN is null, the ``positional`` ones have no exponent.

    ``more`` are fields behind the series.

    >>> encode_document({"n": 2}, {"price": np.array([1e-7, np.nan])}, positional=("price",), more={"next": None})
    b'{"n":2,"series":{"price":[0.0000001,null]},"next":null}'
    """
    parts = [plain_json(document)[1:-1]]
    if series is not None:
        columns = (
            b"%b:%b" % (orjson.dumps(name), _column(column, positional=name in positional))
            for name, column in series.items()
        )
        parts.append(b'"series":{%b}' % b",".join(columns))
    if more:
        parts.append(plain_json(more)[1:-1])
    return b"{%b}" % b",".join(part for part in parts if part)


def encode_csv(columns: Mapping[str, NDArray[Any]]) -> bytes:
    r"""Return columns as CSV with a heading; ``timestamp`` (ms) in ISO 8601 with Z, numbers plain, NaN an empty cell.

    >>> encode_csv({"timestamp": np.array([0]), "price": np.array([1e-7]), "zscore": np.array([np.nan])})
    b'timestamp,price,zscore\r\n1970-01-01T00:00:00.000Z,0.0000001,\r\n'
    """
    lines = [",".join(columns).encode()]
    cells = [_cells(name, column) for name, column in columns.items()]
    lines += [b",".join(row) for row in zip(*cells, strict=True)]
    return b"\r\n".join([*lines, b""])


def _column(column: NDArray[Any], *, positional: bool) -> bytes:
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    if positional and b"e" in text:
        return b"[%b]" % b",".join(number(x) for x in column.tolist())
    return text


def _cells(name: str, column: NDArray[Any]) -> list[bytes]:
    if name == "timestamp":
        times = np.datetime_as_string(column.astype("datetime64[ms]"), unit="ms")
        return [b"%bZ" % time.encode() for time in times.tolist()]
    text = _column(column, positional=True)[1:-1]
    return [b"" if cell == b"null" else cell for cell in text.split(b",")] if text else []
