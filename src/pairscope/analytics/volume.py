"""Volume: at which prices it was traded, and how it compares with the same time of earlier days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DayVolume", "VolumeProfile", "day_volume", "volume_profile"]

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS


@dataclass(frozen=True, slots=True, eq=False)
class VolumeProfile:
    """Volume by price: bin i covers [edges[i], edges[i + 1]), the last one its upper edge too."""

    edges: F8
    volume: F8
    buy_volume: F8


@dataclass(frozen=True, slots=True, eq=False)
class DayVolume:
    """The volume of a day so far, against the mean of earlier days up to the same time of day.

    ``hours`` and ``mean_hours`` are the same by hour of the day, NaN for hours that have not begun and where no
    earlier day is known. ``days`` is how many earlier days are in the means.
    """

    today: float
    mean: float
    days: int
    hours: F8
    mean_hours: F8


def volume_profile(price: F8, volume: F8, buy_volume: F8, low: float, high: float, bins: int) -> VolumeProfile:
    """Return volume by price in equal bins from ``low`` to ``high``.

    Each volume counts at its own price; one outside the range counts in the nearest bin, so that the bins add up to
    the whole. Where ``low`` equals ``high`` there is one bin. NaN policy: rows whose price is NaN are left out.
    Raises ``ValueError`` where ``bins`` < 1 or ``high`` < ``low``. O(rows + bins).

    Source: the usual market profile (Steidlmayer 1984), by volume in place of time.

    >>> import numpy as np
    >>> p = volume_profile(np.array([1.0, 1.4, 2.0]), np.array([5.0, 1.0, 2.0]), np.array([5.0, 0.0, 1.0]), 1.0, 2.0, 2)
    >>> p.edges.tolist(), p.volume.tolist(), p.buy_volume.tolist()
    ([1.0, 1.5, 2.0], [6.0, 2.0], [5.0, 1.0])
    """
    if bins < 1:
        raise ValueError("bins: needs at least one")
    if not low <= high:
        raise ValueError("high: must not be below low")
    if low == high:
        bins = 1
    edges = np.linspace(low, high, bins + 1)
    known = ~np.isnan(price)
    at = np.clip(np.searchsorted(edges, price[known], side="right") - 1, 0, bins - 1)
    return VolumeProfile(edges, _summed(at, volume[known], bins), _summed(at, buy_volume[known], bins))


def day_volume(ts_open_ns: I8, volume: F8, now_ns: int) -> DayVolume:
    """Return the volume since midnight UTC against earlier days up to the same time of day.

    Bars must be in order of time and no longer than an hour; only those that open before ``now_ns`` count, and each
    counts by its open. A day is in the mean if the first bar given opens at its midnight or earlier. NaN policy: bars
    of NaN volume count as nothing; ``mean`` is NaN where there is no earlier day. O(bars).

    >>> import numpy as np
    >>> hour = 3_600_000_000_000
    >>> d = day_volume(np.arange(30) * hour, np.ones(30), 30 * hour)
    >>> d.today, d.mean, d.days
    (6.0, 6.0, 1)
    """
    midnight_ns = now_ns // _DAY_NS * _DAY_NS
    before = ts_open_ns < now_ns
    opens, traded = ts_open_ns[before], np.nan_to_num(volume[before], nan=0.0)
    today = midnight_ns // _DAY_NS
    first = -(-int(opens[0]) // _DAY_NS) if opens.size else today
    days = max(0, today - first)
    kept = opens >= min(first, today) * _DAY_NS
    opens, traded = opens[kept], traded[kept]
    hour = ((opens % _DAY_NS) // _HOUR_NS).astype(np.int64)
    of_today = opens >= midnight_ns
    so_far = opens % _DAY_NS < now_ns - midnight_ns
    hours = _summed(hour[of_today], traded[of_today], 24)
    hours[np.arange(24) * _HOUR_NS >= now_ns - midnight_ns] = np.nan
    mean, mean_hours = np.nan, np.full(24, np.nan)
    if days:
        mean = float(traded[~of_today & so_far].sum()) / days
        mean_hours = _summed(hour[~of_today], traded[~of_today], 24) / days
    return DayVolume(float(traded[of_today].sum()), mean, days, hours, mean_hours)


def _summed(at: NDArray[np.intp] | I8, weights: F8, bins: int) -> F8:
    return np.bincount(at, weights, bins).astype(np.float64)
