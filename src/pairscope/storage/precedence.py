"""Which of two bars of one symbol and time a store keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pairscope.market.bars import Origin
from pairscope.market.ticks import B1, F8, I4, I8

__all__ = ["supersedes"]


def supersedes(
    *,
    new_origin: NDArray[np.int8],
    new_trades: I8,
    new_revision: I4,
    new_volume: F8,
    old_origin: NDArray[np.int8],
    old_trades: I8,
    old_revision: I4,
    old_volume: F8,
    covered: B1,
    differs: B1,
    rebuilt: bool,
) -> B1:
    """Return which new bars replace the old ones beside them.

    Own over own: the one made of more ticks, since ticks are only ever added; of two made of as many, the higher
    revision, or the one just rebuilt from the stored ticks where the two differ. Own over foreign: only where own ticks
    cover the bar wholly. Foreign over own: only where they do not. Volumes that are equal prove that the own ticks are
    all there are, whatever else is known. Foreign over foreign: the later word, but the exchange's never over an
    upload. ``covered`` and ``differs`` are stated row by row. O(rows).
    """
    new_own, old_own = new_origin == Origin.OWN, old_origin == Origin.OWN
    level = new_trades == old_trades
    own_own = (new_trades > old_trades) | (level & ((differs if rebuilt else False) | (new_revision > old_revision)))
    foreign = differs & ~((new_origin == Origin.EXCHANGE) & (old_origin == Origin.UPLOAD))
    whole = covered | (new_volume == old_volume)
    wins: B1 = np.where(new_own, np.where(old_own, own_own, whole), np.where(old_own, ~whole, foreign)).astype(np.bool_)
    return wins
