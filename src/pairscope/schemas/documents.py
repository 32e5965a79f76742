"""The documents of the API as OpenAPI shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Bar",
    "Bars",
    "Check",
    "Fitness",
    "GapOut",
    "Health",
    "HourVolume",
    "IndicatorSeries",
    "Price",
    "Problem",
    "ProblemItem",
    "Stats",
    "SymbolOut",
    "Tick",
    "Ticks",
    "TimeOfDay",
    "Volume",
    "VolumeBin",
    "WsTicket",
]


class _Model(BaseModel):
    """A document of the API; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class ProblemItem(_Model):
    """One thing that is wrong, and where."""

    loc: list[str | int] = Field(description="Where: `query`, `path`, `body` or `header`, then the parameter's name.")
    msg: str


class Problem(_Model):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemItem] = []
    hint: str | None = Field(None, description="The next step, for a person.")
    instance: str | None = Field(None, description="Names the request, as its log lines do.")


class Check(_Model):
    """The state of one part."""

    status: Literal["ok", "degraded", "down"]


class Health(_Model):
    """Whether Pairscope works, by part."""

    status: Literal["ok", "degraded", "down"]
    source: str = Field(description="`live`, `replay` or `synthetic`.")
    checks: dict[str, Check]
    version: str
    uptime_s: float


class Fitness(_Model):
    """What a supervisor asks: whether the process turns, or whether requests may be sent to it."""

    status: Literal["ok", "down"]
    reason: str | None = Field(None, description="What it waits for, where that is anything.")


class SymbolOut(_Model):
    """A symbol that is followed or stored."""

    symbol: str
    status: Literal["live", "quiet", "stored"] = Field(
        description="live: traded within a minute; quiet: followed, no trade lately; stored: not followed now."
    )
    last_timestamp: int | None = Field(description="Event time of the newest trade, ms.")
    tick_count: int = Field(description="Ticks in the store.")
    uploaded: bool = Field(description="Whether it has bars that were uploaded.")


class Price(_Model):
    """The last trade of a symbol, and its day."""

    symbol: str
    price: float | None
    size: float | None
    timestamp: int | None = Field(description="Event time of the trade, ms.")
    age_ms: int | None = Field(description="Since our socket saw the trade; since its event time where it was stored.")
    received: int | None = Field(description="When our socket saw the trade, ms.")
    change_24h: float | None = Field(description="Relative: 0.012 is 1.2 %.")
    volume_24h: float | None = Field(description="Base units.")
    source: str = Field(description="`live`, `replay` or `synthetic`; `upload`: the close of an uploaded bar.")


class Bar(_Model):
    """A bar, stamped with its open time."""

    timestamp: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None = Field(description="Base units.")
    trades: int = Field(description="Stored trades in it.")
    vwap: float | None
    quote_volume: float | None
    buy_volume: float | None = Field(description="Base units that the aggressor bought.")
    closed: bool = Field(description="false: the bar is still open, its values provisional.")
    origin: Literal["own", "exchange", "upload"] = Field(
        description="Whose bar it is: made of stored trades, the exchange's own (history), or uploaded."
    )
    gap: Literal[True] | None = Field(
        None, description="true: trades of it are missing, and nothing has filled the hole; left out where none are."
    )


class Bars(_Model):
    """A page of bars, oldest first."""

    symbol: str
    timeframe: str
    bars: list[Bar]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class Tick(_Model):
    """One trade, as the exchange aggregated it."""

    id: int
    timestamp: int
    price: float
    size: float
    buyer_is_maker: bool = Field(description="true: the seller was the aggressor.")


class Ticks(_Model):
    """A page of ticks, by (event time, id)."""

    symbol: str
    ticks: list[Tick]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class IndicatorSeries(_Model):
    """Indicators as columns, one value a bar; null where an indicator is still warming up."""

    symbol: str
    timeframe: str
    timestamp: list[int]
    closed: list[bool]
    values: dict[str, list[float | None]]
    next: str | None = Field(description="The `cursor` of the following page; null at the end.")


class VolumeBin(_Model):
    """What was traded between two prices; the upper end belongs to the next bin, save in the last."""

    low: float
    high: float
    volume: float
    buy_volume: float


class HourVolume(_Model):
    """Volume of one hour of the day, UTC."""

    hour: int
    today: float | None = Field(description="null: the hour has not begun.")
    mean: float | None = Field(description="Mean of the earlier days.")


class TimeOfDay(_Model):
    """Volume since midnight UTC against earlier days up to the same time of day, in base units."""

    today: float
    mean: float | None = Field(description="Mean of the earlier days up to the same time of day.")
    ratio: float | None = Field(description="today / mean.")
    days: int = Field(description="Earlier days that are in the mean.")
    hours: list[HourVolume]
    reason: str | None = Field(None, description="Why there is no mean.")


class Volume(_Model):
    """How much was traded, by whom, at which prices, and how usual that is; base units but for `quote_volume`."""

    symbol: str
    start: int
    end: int
    resolution: str = Field(description="Timeframe of the bars that it is computed from.")
    volume: float
    quote_volume: float
    buy_volume: float = Field(description="The aggressor bought.")
    sell_volume: float
    buy_share: float | None = Field(description="buy_volume / volume.")
    trades: int
    profile: list[VolumeBin] = Field(description="Each bar's volume is counted at its VWAP.")
    time_of_day: TimeOfDay


class GapOut(_Model):
    """A hole in the trade ids of a symbol, both ends inclusive."""

    symbol: str
    from_id: int
    to_id: int
    status: Literal["open", "repaired", "unrepairable"]
    missing: int


class Stats(_Model):
    """The counters of the running parts."""

    ticks: int = Field(description="Ticks in the store.")
    symbols: int
    uptime_s: float
    source: str
    rates: dict[str, Any]
    store: dict[str, Any]
    queues: dict[str, Any]
    reconnects: int
    gaps: list[GapOut]


class WsTicket(_Model):
    """A ticket for one WebSocket connection."""

    ticket: str
    expires_in_s: int
