"""What back-fills and the exchange's archive files came to, as OpenAPI shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BackfillOut", "ExchangeFileOut", "TooOld"]


class TooOld(BaseModel):
    """What the exchange no longer answers for over REST: what is older than ``until``, and the files that hold it."""

    until: int
    files: list[str]


class BackfillOut(BaseModel):
    """A back-fill that has ended."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["bars", "trades"]
    symbols: list[str]
    since: int
    until: int
    stored: int = Field(description="Rows that were not there before.")
    requests: int = Field(description="How often the exchange was asked.")
    failed: dict[str, str] = Field(description="Symbols that the exchange gave nothing for, and what it said.")
    too_old: TooOld | None = Field(description="Trades older than 48 hours, which only files have.")


class ExchangeFileOut(BaseModel):
    """A file of the exchange's archive that was read."""

    model_config = ConfigDict(extra="allow")

    file: str
    symbol: str
    kind: Literal["bars", "trades"]
    timeframe: str | None
    rows: int
    stored: int = Field(description="Rows that were not there before.")
    repeats: int = Field(description="Rows that were.")
    healed: int = Field(description="Ids of holes that were known before and are filled now.")
    bars: int = Field(description="Bars that trades made or corrected.")
    rejected: int = Field(description="Rows that could not be used.")
    void: int = Field(description="Of these, trades without a size or price: their ids are no hole.")
    without_trades: int = Field(description="Bars of an interval in which nobody traded, which are not kept.")
    reasons: dict[str, int] = Field(description="Rejected rows by the column at fault.")
    examples: list[dict[str, Any]] = Field(description="The first rejected rows: row, column, reason.")
    notes: list[str]
    first_timestamp: int | None
    last_timestamp: int | None
