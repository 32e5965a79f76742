"""A pair's recursions over whole series, begun where live pairs begin theirs: the Kalman filter and the break sentinel.

Their rows have slots, from which follows where a recursion starts (``market.anchors``, ADR 0021). What is computed here
has the bits of a live pair that has seen the same bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.kalman import (
    KALMAN_ALPHA,
    KALMAN_BETA,
    KALMAN_COUNT,
    KALMAN_INNOVATION,
    KALMAN_INNOVATION_STD,
    KALMAN_VARIANCE,
    kalman_state,
    kalman_step,
)
from pairscope.analytics.pair_window import checked_pair
from pairscope.analytics.sentinel import SentinelStatus, break_sentinel, sentinel_train
from pairscope.errors import InputError, NotEnoughData, NumericalError
from pairscope.market.anchors import anchor_of, epoch_of
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = [
    "AnchoredKalman",
    "AnchoredSentinel",
    "anchored_kalman",
    "anchored_sentinel",
    "sentinel_verdict",
    "why_untrained",
]

_SAYS: Final[Mapping[int, str]] = {
    SentinelStatus.TRAINING: "training",
    SentinelStatus.WATCHING: "ok",
    SentinelStatus.WARNED: "warning",
    SentinelStatus.TRIPPED: "broken",
    SentinelStatus.NO_VERDICT: "no verdict",
    SentinelStatus.EXPIRED: "no verdict",
}
_WHY: Final[Mapping[int, str]] = {
    SentinelStatus.NO_VERDICT: "its spread hardly reverted in training: it was not a pair",
    SentinelStatus.EXPIRED: "more bars have come than it was trained on",
}

_epoch_of = kernel(epoch_of)


class AnchoredKalman(NamedTuple):
    """The filter in use at each row: what it says, how many rows it has seen (``n``), and from which slot on.

    ``innovations`` are y less what the rows before said of it, ``innovation_stds`` how large they were to be expected.
    """

    alphas: F8
    betas: F8
    stderrs: F8
    innovations: F8
    innovation_stds: F8
    n: I8
    since: I8


class AnchoredSentinel(NamedTuple):
    """The sentinel as of the last row: its verdict by names, how many rows it was trained on, the slots of its alarms.

    ``since`` is the anchor from which on it watches, None where it could not be trained; ``tripped`` the slot of the
    row at which it alarmed, None where it has not.
    """

    verdict: Mapping[str, Any]
    train: int
    since: int | None
    tripped: int | None


@kernel
def _follow(
    fresh: F8, y: F8, x: F8, slots: I8, lookback: int, offset: int, out: NDArray[np.float64], seen: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """Step the filter in use and the one that warms up, and write what the first says at each row."""
    state, warming = fresh.copy(), fresh.copy()
    epoch = since = since_next = 0
    for t in range(x.size):
        now = _epoch_of(slots[t], lookback, offset)
        if t == 0 or now > epoch + 1:
            state[:] = fresh
            warming[:] = fresh
            since = since_next = slots[t]
        elif now > epoch:
            state[:] = warming
            warming[:] = fresh
            since, since_next = since_next, slots[t]
        epoch = now
        kalman_step(state, y[t], x[t])
        kalman_step(warming, y[t], x[t])
        out[0, t] = state[KALMAN_ALPHA]
        out[1, t] = state[KALMAN_BETA]
        out[2, t] = np.sqrt(state[KALMAN_VARIANCE])
        out[3, t] = state[KALMAN_INNOVATION]
        out[4, t] = state[KALMAN_INNOVATION_STD]
        seen[0, t] = int(state[KALMAN_COUNT])
        seen[1, t] = since


def anchored_kalman(y: F8, x: F8, slots: I8, *, lookback: int, offset: int, least: int = 1) -> AnchoredKalman:
    r"""Return what the Kalman filter of a live pair says at each row (``kalman_hedge`` says which filter).

    .. math:: \text{from the first row on with } s \ge (e - 1) L + o, \qquad e = \lfloor (s_t - o) / L \rfloor

    with slots s, lookback L and offset o: at an anchor a filter takes over that has warmed up since the one before, so
    that a row's values follow from the last 2 L slots and do not move when older rows are there or not. Assumes what
    ``kalman_hedge`` assumes. NaN until the filter in use has seen ``least`` rows. NaN in y or x, infinities, a constant
    series, unequal lengths and fewer than 3 rows raise ``ValueError`` naming the argument; so do slots that do not
    ascend. O(n), about 0.8 µs a row. Reference: see ``kalman_hedge``; Harvey (1989), *Forecasting, Structural Time
    Series Models and the Kalman Filter*, ch. 3, on starting values.

    >>> x = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 7.0])
    >>> found = anchored_kalman(1.0 + 2.0 * x, x, np.arange(6), lookback=2, offset=0, least=2)
    >>> found.betas.round(9).tolist(), found.since.tolist(), found.n.tolist()
    ([nan, 2.0, 2.0, 2.0, 2.0, 2.0], [0, 0, 0, 0, 2, 2], [1, 2, 3, 4, 3, 4])
    """
    ys, xs = checked_pair(y, x)
    at = _checked_slots(slots, ys.size)
    out, seen = np.full((5, ys.size), np.nan), np.zeros((2, ys.size), np.int64)
    _follow(kalman_state(), ys, xs, at, lookback, offset, out, seen)
    out[:, seen[0] < least] = np.nan
    return AnchoredKalman(out[0], out[1], out[2], out[3], out[4], seen[0], seen[1])


def anchored_sentinel(y: F8, x: F8, slots: I8, *, lookback: int, offset: int) -> AnchoredSentinel:
    """Return what the break sentinel of a live pair says at the last row (``break_sentinel`` says which test).

    It was trained on the rows of the epoch before and watches since the newest anchor; null hypothesis and rates are
    those of ``break_sentinel``. Rows that it cannot be trained on (too few, constant, without noise) are no error: the
    verdict says ``training`` and why. NaN in y or x, infinities, a constant series, unequal lengths and fewer than 3
    rows raise ``ValueError`` naming the argument; so do slots that do not ascend. O(lookback). Reference: Page (1954),
    *Continuous Inspection Schemes*.

    >>> steps = np.random.default_rng(1).standard_normal((2, 400))
    >>> x = np.cumsum(steps[0])
    >>> broken = np.concatenate([steps[1, :300], np.cumsum(steps[1, 300:])])
    >>> found = anchored_sentinel(0.5 * x + broken, x, np.arange(400), lookback=200, offset=0)
    >>> found.verdict["status"], found.train, found.since, found.tripped
    ('broken', 200, 200, 304)
    """
    ys, xs = checked_pair(y, x)
    at = _checked_slots(slots, ys.size)
    epoch = int(epoch_of(int(at[-1]), lookback, offset))
    start, anchor = (int(np.searchsorted(at, anchor_of(e, lookback, offset))) for e in (epoch - 1, epoch))
    train = anchor - start
    try:
        sentinel_train(ys[start:anchor].copy(), xs[start:anchor].copy())
        found = break_sentinel(ys[start:].copy(), xs[start:].copy(), train=train)
    except (InputError, NumericalError) as error:
        return AnchoredSentinel(sentinel_verdict(None, reason=why_untrained(error)), train, None, None)
    readings = (found.status, found.statistic, found.threshold, found.warn_threshold)
    verdict = sentinel_verdict([float(column[-1]) for column in readings], n=at.size - anchor)
    tripped = None if found.tripped_at is None else int(at[start + found.tripped_at])
    return AnchoredSentinel(verdict, train, anchor_of(epoch, lookback, offset), tripped)


def sentinel_verdict(readings: Sequence[float] | None, *, n: int = 0, reason: str | None = None) -> Mapping[str, Any]:
    """Return a sentinel's status, statistic, threshold and the warning's as named values, None in place of NaN. O(1).

    ``readings`` are status, statistic, threshold and threshold of the warning; None, with the ``reason``, where it was
    not trained. ``n`` bars have been watched.

    >>> sentinel_verdict((1.0, 0.5, 6.0, 4.0), n=3)
    {'status': 'ok', 'statistic': 0.5, 'threshold': 6.0, 'warn_threshold': 4.0, 'n': 3}
    >>> sentinel_verdict(None, reason="no bars")["reason"]
    'no bars'
    """
    if readings is None:
        none = dict.fromkeys(("statistic", "threshold", "warn_threshold"))
        return {"status": "training", **none, "n": 0, "reason": reason}
    status = int(readings[0])
    numbers = (float(value) if np.isfinite(value) else None for value in readings[1:])
    said = dict(zip(("statistic", "threshold", "warn_threshold"), numbers, strict=True))
    why = {"reason": _WHY[status]} if status in _WHY else {}
    return {"status": _SAYS[status], **said, "n": n, **why}


def why_untrained(error: Exception) -> str:
    """Return why a sentinel could not be trained, as a person reads it.

    >>> why_untrained(NotEnoughData("y:", need=50, have=3))
    'needs 50 bars to be trained on, has 3'
    """
    if isinstance(error, NotEnoughData):
        return f"needs {error.need} bars to be trained on, has {error.have}"
    return str(error)


def _checked_slots(slots: I8, size: int) -> I8:
    at = np.ascontiguousarray(slots, dtype=np.int64)
    if at.shape != (size,):
        raise InputError(f"slots: has {at.size} values, y has {size}", loc="slots")
    if (np.diff(at) <= 0).any():
        raise InputError("slots: must ascend", loc="slots")
    return at
