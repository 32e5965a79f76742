"""Where a pair's recursions begin: at anchors, slots that follow from the pair's name and its lookback alone.

A slot is a bar's open time divided by the timeframe. Whoever holds the bars since an anchor finds the same filter and
the same break sentinel, whenever he began to listen (ADR 0021). Of epoch e, the bars from anchor e up to the next:

- the filter in use began at the first bar from anchor e - 1 on;
- the sentinel was trained on the bars from anchor e - 1 up to anchor e, and watches those from anchor e on.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from pairscope.market.ticks import I8

__all__ = ["anchor_of", "epoch_of", "even_slots", "offset_of"]


def offset_of(key: str, lookback: int) -> int:
    """Return the remainder by ``lookback`` of a pair's anchors: not all pairs train their sentinels at one bar.

    >>> offset_of("ETHUSDT:BTCUSDT", 1440)
    256
    """
    return crc32(key.encode()) % lookback


# Also a function that an @kernel may call: it is compiled there, and this text is watched as theirs is.
def epoch_of(slot: Any, lookback: Any, offset: Any) -> Any:
    """Return which anchor a slot lies behind; of one pair and slot, or of each in arrays.

    >>> epoch_of(256 + 1439, 1440, 256), epoch_of(256 + 1440, 1440, 256)
    (0, 1)
    """
    return (slot - offset) // lookback


def anchor_of(epoch: int, lookback: int, offset: int) -> int:
    """Return the slot that an epoch begins with.

    >>> anchor_of(1, 1440, 256)
    1696
    """
    return epoch * lookback + offset


def even_slots(size: int, lookback: int, offset: int) -> I8:
    """Return slots without a hole for rows that have no times: the last of them ends an epoch.

    So the newest ``lookback`` rows are those that a sentinel watches which was trained on the ones before.

    >>> slots = even_slots(5, 2, 1)
    >>> slots.tolist(), epoch_of(slots, 2, 1).tolist()
    ([4, 5, 6, 7, 8], [1, 2, 2, 3, 3])
    """
    last = anchor_of(-(-size // lookback) + 1, lookback, offset) - 1
    slots: I8 = np.arange(last + 1 - size, last + 1, dtype=np.int64)
    return slots
