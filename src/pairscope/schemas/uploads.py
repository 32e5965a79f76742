"""The documents of uploads as OpenAPI shows them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.documents import Problem

__all__ = ["RejectedRow", "RemovedOut", "UploadOut", "UploadProblem", "UploadedBar", "UploadedOut"]


class _Document(BaseModel):
    """A document of the API; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class RejectedRow(_Document):
    """One thing that is wrong with a file; a row may have several."""

    row: int | None = Field(
        description="Data row, from 1: a line of names and blank lines do not count. null: the whole file."
    )
    column: str | None = Field(description="As the file calls it; null: the whole row.")
    reason: str


class UploadedBar(_Document):
    """A bar as it was read."""

    symbol: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = Field(description="null where the file does not tell it.")
    buy_volume: float | None


class UploadOut(_Document):
    """What came of a file, or with `preview` what would."""

    inserted: int
    updated: int = Field(description="Bars that replaced others.")
    unchanged: int = Field(description="Bars that were there already, just so.")
    rejected: list[RejectedRow] = Field(description="The first 1,000, by row.")
    rejected_total: int
    rejected_rows: int
    accepted: bool = Field(description="Whether it is, or with `preview` would be, stored as asked.")
    stored: bool
    symbols: list[str]
    timeframe: str
    rows: int = Field(description="Data rows of the file.")
    first_timestamp: int | None = Field(description="Open time of the oldest good bar.")
    last_timestamp: int | None
    columns: dict[str, str] = Field(description="Which of the file's columns was taken for what.")
    time_unit: str = Field(description="How the file writes times: ISO 8601, s, ms, µs, ns or date.")
    preview: list[UploadedBar] = Field([], description="With `preview`: the first ten good rows.")


class UploadProblem(Problem):
    """Why nothing was stored."""

    rejected: list[RejectedRow]
    rejected_total: int
    rejected_rows: int


class UploadedOut(_Document):
    """The uploaded bars of a symbol in one timeframe."""

    symbol: str
    timeframe: str
    rows: int
    first_timestamp: int
    last_timestamp: int
    uploaded_at: int | None = Field(description="When the last file of it came, ms.")
    filename: str | None = Field(description="The name of that file.")


class RemovedOut(_Document):
    """What was deleted."""

    symbol: str
    timeframe: str | None
    removed: int = Field(description="Bars that are gone.")
