"""What an alert is asked for with: the bodies, their bounds, and the query of the history."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from pairscope.api.parameters import MAX_LIMIT, Timeframe, parse_time_ns
from pairscope.errors import InputError
from pairscope.market.pairs import MOST_LOOKBACK
from pairscope.ports_alerts import FiringQuery

__all__ = ["AlertChange", "AlertIn", "AlertsQuery", "PreviewIn", "TriggeredQuery"]

_FIRST_TIME_MS: Final = 100_000_000_000
"""A number below it is no time of a firing (1973), but a ``seq``."""

Kind = Literal[
    "price", "price_change", "volume", "volatility", "funding", "staleness", "zscore", "spread", "correlation",
    "hedge_drift", "half_life", "sentinel", "cointegration",
]  # fmt: skip
Comparison = Literal[
    "above", "below", "crosses_above", "crosses_below", "enters", "leaves", "moves", "found", "lost"
]  # fmt: skip
Symbol = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(strict=True, ge=-1e18, le=1e18, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST_LOOKBACK)]
Target = Annotated[str, Field(max_length=2000)]
Moment = Annotated[
    int,
    BeforeValidator(lambda value: parse_time_ns(value) // 1_000_000),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}]}),
]


class ConditionIn(BaseModel):
    """One comparison of a value that moves."""

    model_config = ConfigDict(extra="forbid")

    type: Kind | None = Field(None, description="Which value is watched.")
    symbol: Symbol | None = Field(None, description="Whose; in any case.")
    y: Symbol | None = Field(None, description="The dependent symbol, where it is a pair's.")
    x: Symbol | None = Field(None, description="The hedging symbol.")
    condition: Comparison | None = Field(None, description="What it is compared with, and how.")
    threshold: Number | None = Field(
        None, description="In the value's own unit; a fraction for what is told in percent: 0.01 is 1 %."
    )
    lower: Number | None = Field(None, description="Of a band.")
    upper: Number | None = Field(None, description="Of a band.")
    timeframe: Timeframe | None = Field(None, description="Of the bars that are looked at; by default 1m.")
    window: Count | None = Field(None, description="How many of them; by default 60, of a volume 1.")
    baseline: Count | None = Field(
        None, description="Of a volume: bars whose mean is the usual; the value is then times the usual."
    )
    lookback: Annotated[int, Field(strict=True, ge=3, le=MOST_LOOKBACK)] | None = Field(
        None, description="Bars that a pair's hedge ratio is fitted on; by default 1440."
    )
    method: Literal["ols", "huber", "kalman"] | None = Field(None, description="Whose hedge ratio; by default ols.")
    price_space: Literal["log", "linear"] | None = Field(None, description="By default log.")
    hysteresis: Number | None = Field(
        None, description="How far a value must come back before the condition can come true again."
    )


class _Rule(ConditionIn):
    """A rule: a condition's fields beside its own, or several conditions."""

    join: Literal["and", "or"] | None = Field(None, description="How several conditions are joined; by default and.")
    conditions: Annotated[list[ConditionIn], Field(max_length=8)] | None = Field(
        None, description="Two to eight conditions, in place of the fields of one."
    )
    frequency: Literal["every", "once", "once_per_bar", "once_per_bar_close"] | None = Field(
        None, description="How often it is told; by default every time that it becomes true."
    )
    once: Annotated[bool, Field(strict=True)] | None = Field(None, description="true: the same as `frequency` once.")
    cooldown_s: Annotated[float, Field(strict=True, ge=0, le=366 * 86_400, allow_inf_nan=False)] | None = Field(
        None, description="Seconds after a firing in which it is not told again; by default 60."
    )
    expires: Moment | None = Field(None, description="From then on it is done.")
    notify: Annotated[list[Target], Field(max_length=8)] | None = Field(
        None, description="Where to tell it: addresses of webhooks and services."
    )
    note: Annotated[str, Field(max_length=500)] | None = Field(None, description="What one wants to remember with it.")
    message: Annotated[str, Field(max_length=500)] | None = Field(
        None,
        description="Words of one's own for a firing, with {symbol} {y} {x} {type} {condition} {value} {threshold} "
        "{time} {note}.",
    )

    def document(self) -> dict[str, Any]:
        """Return what was given."""
        return self.model_dump(exclude_unset=True)


class AlertIn(_Rule):
    """An alert."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "price",
                    "symbol": "BTCUSDT",
                    "condition": "crosses_above",
                    "threshold": 70000,
                    "note": "breakout",
                }
            ]
        }
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Take what is null for what was left out."""
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class PreviewIn(AlertIn):
    """An alert that is only thought of."""

    hours: Annotated[float, Field(gt=0, le=168, allow_inf_nan=False)] = Field(24.0, description="How far to look back.")


class AlertChange(_Rule):
    """What to change of an alert; what is left out stays, what is null goes back to its default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "paused"}, {"threshold": 71000}]})

    status: Literal["active", "paused"] | None = Field(None, description="Pause it, or have it go on.")


class AlertsQuery(BaseModel):
    """Which alerts are asked for."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["active", "paused", "done"] | None = Field(None, description="Only those that stand so.")
    symbol: Symbol | None = Field(None, description="Only those of this symbol, also as a leg; in any case.")


def _since(value: Any) -> str:
    """Return ``seq N`` or ``time NS``: what a page begins behind, or when."""
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{1,12}", text) and int(text) < _FIRST_TIME_MS:
        return f"seq {int(text)}"
    return f"time {parse_time_ns(text)}"


Since = Annotated[
    str,
    BeforeValidator(_since),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}]}),
]


class TriggeredQuery(BaseModel):
    """Which firings are asked for."""

    model_config = ConfigDict(extra="forbid")

    since: Since | None = Field(
        None, description="Only what happened from this time on (ms or ISO 8601), or what has a greater `seq`."
    )
    limit: int = Field(500, ge=1, le=MAX_LIMIT, description="Firings of a page.")
    cursor: str | None = Field(None, max_length=64, description="`next` of the page before.")
    alert_id: Annotated[str, Field(max_length=64)] | None = Field(None, description="Only those of this alert.")
    symbol: Symbol | None = Field(None, description="Only those of this symbol, also as a leg; in any case.")

    def query(self, symbol: str | None) -> FiringQuery:
        """Return the same as the history knows it; ``InputError`` where the cursor is none of ours."""
        if self.cursor is not None and not re.fullmatch(r"[0-9]{1,17}", self.cursor):
            raise InputError("cursor: not one that a page named as its next", loc="cursor")
        kind, _, since = (self.since or "").partition(" ")
        return FiringQuery(
            limit=self.limit,
            before=None if self.cursor is None else int(self.cursor),
            after=int(since) if kind == "seq" else 0,
            since_ns=int(since) if kind == "time" else None,
            alert_id=self.alert_id,
            symbol=symbol,
        )
