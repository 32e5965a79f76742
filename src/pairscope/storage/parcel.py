"""What goes into the store together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pairscope.market.bars import BarBatch, concat_bars
from pairscope.market.continuity import Gap
from pairscope.market.ticks import TickBatch, concat_ticks
from pairscope.storage.rebuilds import Rebuild

__all__ = ["Parcel", "joined"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes into the store together: ticks and bars, then verdicts on gaps, then ranges to rebuild."""

    batch: TickBatch
    bars: tuple[BarBatch, ...] = ()
    rebuild: tuple[Rebuild, ...] = ()
    verdicts: tuple[Gap, ...] = ()


def joined(parcels: Sequence[Parcel]) -> Parcel:
    """Return several parcels of one feed as one, bars joined by timeframe in order."""
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
    )
