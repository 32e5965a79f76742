"""What is kept where, and what moving, deleting, compacting and checking would do or did, as OpenAPI shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ArchiveTotals", "KeptDayOut", "PlanOut", "PlanRow", "RetentionOut", "StorageOut"]


class _Document(BaseModel):
    """A document of the API; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class ArchiveTotals(_Document):
    """The archive as a whole."""

    url: str = Field(description="Where new files go: a directory, or what fsspec reaches.")
    files: int
    bytes: int
    ticks: int
    bars: int


class RetentionOut(_Document):
    """What is kept at all; 0 keeps everything."""

    days: int
    gb: float


class KeptDayOut(_Document):
    """One UTC day of a symbol."""

    date: str
    symbol: str
    ticks: int
    bars_1s: int
    bars_1m: int
    bytes: int = Field(description="Of its archived files, and by estimate its share of the store's file.")
    where: Literal["store", "archive", "both"]


class StorageOut(_Document):
    """What is kept, and where."""

    kind: str
    location: str
    bytes: int = Field(description="Of the store's file and its log on disk …")
    used_bytes: int = Field(
        description="… of which so many hold something; the rest is used again, or goes by compaction."
    )
    free_bytes: int | None = Field(description="Free on that disk; null where a server does not say.")
    ticks: int = Field(description="Stored and archived.")
    bars: int = Field(description="Base bars, stored and archived.")
    archive: ArchiveTotals
    retention: RetentionOut
    archive_after_days: int = Field(description="From what age days are archived by themselves; 0: never.")
    days: list[KeptDayOut] = Field(description="By (date, symbol).")


class PlanRow(_Document):
    """A day of a symbol that would be moved or deleted."""

    date: str
    symbol: str
    ticks: int
    bytes: int


class PlanOut(_Document):
    """What would be moved or deleted; nothing was."""

    days: int
    ticks: int
    bars: int
    bytes: int = Field(description="By estimate, where they are in the store.")
    rows: list[PlanRow] = Field(description="The first hundred, by (date, symbol).")
