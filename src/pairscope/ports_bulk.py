"""The interface of bulk history: long ranges that are fetched or read from files, beside the live feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pairscope.ports_research import JobView

__all__ = ["BulkHistory", "BulkRequest", "Kind"]

Kind = Literal["bars", "trades"]
"""Which rows are fetched: one-minute bars, or trades."""


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """What is to be fetched from the exchange: of which symbols, of which time [since_ns, until_ns), and which rows.

    In place of ``symbols`` the ``top`` busiest by 24 h quote volume may be meant, or all that are traded
    (``every``). Without ``until_ns`` it is all up to now.
    """

    symbols: tuple[str, ...]
    since_ns: int
    until_ns: int | None = None
    kind: Kind = "bars"
    top: int | None = None
    every: bool = False


class BulkHistory(Protocol):
    """Back-fills and the exchange's archive files, as jobs. Documents have the API's field names."""

    def backfill(self, request: BulkRequest) -> JobView:
        """Begin to fetch what is not stored of a range; ``InputError`` of what cannot be asked."""
        ...

    async def take_file(self, name: str, pieces: AsyncIterator[bytes], *, symbol: str | None = None) -> JobView:
        """Take in a file of the exchange's archive, or of trades that an export wrote, and begin to read it.

        ``ForeignFile`` where it is neither, by its name or else by what is in it.
        """
        ...

    async def result(self, id: str) -> Mapping[str, Any]:  # noqa: A002 - what everybody calls it
        """Return what a job came to; waits for it. ``UnknownJob`` where it is not known, or none of these."""
        ...

    def counters(self) -> Mapping[str, Any]:
        """What was fetched and read, for ``/api/stats``."""
        ...
