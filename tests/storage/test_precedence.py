"""Which bar stays, case by case."""

from __future__ import annotations

import numpy as np
import pytest

from pairscope.market.bars import Origin
from pairscope.storage.precedence import supersedes

OWN, THEIRS, UPLOAD = Origin.OWN, Origin.EXCHANGE, Origin.UPLOAD


@pytest.mark.parametrize(
    ("new", "old", "covered", "rebuilt", "wins"),
    [
        # (origin, trades, revision, volume)
        ((OWN, 5, 0, 1.0), (OWN, 4, 0, 0.9), True, False, True),
        ((OWN, 5, 0, 1.0), (OWN, 4, 3, 0.9), False, False, True),
        ((OWN, 4, 9, 0.9), (OWN, 5, 0, 1.0), True, False, False),
        ((OWN, 5, 1, 1.0), (OWN, 5, 0, 1.0), True, False, True),
        ((OWN, 5, 0, 1.0), (OWN, 5, 0, 1.0), True, False, False),
        ((OWN, 5, 0, 1.0), (OWN, 5, 1, 1.0), True, False, False),
        ((OWN, 5, 0, 1.1), (OWN, 5, 1, 1.0), True, True, True),
        ((OWN, 5, 0, 1.0), (OWN, 5, 1, 1.0), True, True, False),
        ((OWN, 4, 0, 0.9), (OWN, 5, 1, 1.0), True, True, False),
        ((OWN, 5, 0, 1.0), (THEIRS, 9, 0, 1.5), True, False, True),
        ((OWN, 5, 0, 1.0), (THEIRS, 9, 0, 1.5), False, False, False),
        ((OWN, 5, 0, 1.5), (THEIRS, 9, 0, 1.5), False, False, True),
        ((OWN, 5, 0, 1.0), (UPLOAD, 0, 0, 1.5), True, False, True),
        ((THEIRS, 9, 0, 1.5), (OWN, 5, 0, 1.0), False, False, True),
        ((THEIRS, 9, 0, 1.5), (OWN, 5, 0, 1.0), True, False, False),
        ((THEIRS, 9, 0, 1.5), (OWN, 5, 0, 1.5), False, False, False),
        ((THEIRS, 9, 0, 1.5), (THEIRS, 8, 0, 1.4), False, False, True),
        ((THEIRS, 9, 0, 1.5), (THEIRS, 9, 0, 1.5), False, False, False),
        ((THEIRS, 9, 0, 1.5), (UPLOAD, 8, 0, 1.4), False, False, False),
        ((UPLOAD, 0, 0, 1.5), (THEIRS, 9, 0, 1.4), False, False, True),
        ((UPLOAD, 0, 0, 1.5), (OWN, 9, 0, 1.4), True, False, False),
    ],
)
def test_the_better_bar_stays(new, old, covered, rebuilt, wins):
    kinds = (np.int8, np.int64, np.int32, np.float64)
    columns = [[np.array([value], kind) for value, kind in zip(bar, kinds, strict=True)] for bar in (new, old)]
    (n_origin, n_trades, n_revision, n_volume), (o_origin, o_trades, o_revision, o_volume) = columns
    assert supersedes(
        new_origin=n_origin,
        new_trades=n_trades,
        new_revision=n_revision,
        new_volume=n_volume,
        old_origin=o_origin,
        old_trades=o_trades,
        old_revision=o_revision,
        old_volume=o_volume,
        covered=np.array([covered]),
        differs=n_volume != o_volume,
        rebuilt=rebuilt,
    ).tolist() == [wins]
