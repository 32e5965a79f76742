"""What goes into the store together, and who takes it there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pairscope.market.bars import BarBatch, concat_bars
from pairscope.market.continuity import Gap
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.ports import Document
from pairscope.storage.rebuilds import Rebuild

__all__ = ["BatchWriter", "Parcel", "joined", "last_of_each"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes into the store together: ticks, bars and documents, then verdicts on gaps, then ranges to rebuild."""

    batch: TickBatch
    bars: tuple[BarBatch, ...] = ()
    rebuild: tuple[Rebuild, ...] = ()
    verdicts: tuple[Gap, ...] = ()
    documents: tuple[Document, ...] = ()


class BatchWriter(Protocol):
    """Who takes a batch, and what came of it, on its way to the store."""

    async def put(
        self,
        batch: TickBatch,
        bars: Sequence[BarBatch] = (),
        rebuild: Sequence[Rebuild] = (),
        *,
        documents: Sequence[Document] = (),
        hurry: bool = False,
    ) -> None:
        """Queue a batch, the base bars it closed or revised, what came of it for records and ranges to rebuild."""
        ...


def joined(parcels: Sequence[Parcel]) -> Parcel:
    """Return several parcels of one feed as one, bars joined by timeframe in order, the last document of each key."""
    if len(parcels) == 1:
        return parcels[0]
    alike: dict[tuple[str, int], list[BarBatch]] = {}
    for parcel in parcels:
        for bars in parcel.bars:
            alike.setdefault((bars.timeframe, id(bars.symbols)), []).append(bars)
    return Parcel(
        concat_ticks([parcel.batch for parcel in parcels]),
        tuple(concat_bars(batches) for batches in alike.values()),
        tuple(dict.fromkeys(range_ for parcel in parcels for range_ in parcel.rebuild)),
        tuple(gap for parcel in parcels for gap in parcel.verdicts),
        last_of_each(document for parcel in parcels for document in parcel.documents),
    )


def last_of_each(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return the last document of each key, in the order in which the keys came first.

    >>> last_of_each([Document("c", "k", b"1"), Document("c", "m", b"2"), Document("c", "k", None)])
    (Document(collection='c', key='k', body=None), Document(collection='c', key='m', body=b'2'))
    """
    return tuple({(document.collection, document.key): document for document in documents}.values())
