"""At which value of its statistic the break sentinel alarms: what ``scripts/calibrate_sentinel.py`` found.

By the rate of false alarms, the bars trained on, and the reversion that training found.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pairscope.errors import InputError

__all__ = [
    "LEAST_REVERSION",
    "LEAST_TRAIN",
    "MOST_TRAIN",
    "PLACES",
    "RATES",
    "THRESHOLDS",
    "TRAINS",
    "alarm_threshold",
    "knots",
]

LEAST_REVERSION: Final = 10.0
"""Reversion over the bars of training below which there is no verdict."""
LEAST_TRAIN: Final = 50
"""Fewest bars of training that thresholds are known for."""
MOST_TRAIN: Final = 10_000
"""Most bars of training that thresholds are known for."""

RATES: Final = (0.1, 0.05, 0.02, 0.01, 0.005)
"""Shares of unbroken pairs that alarm within the horizon."""
TRAINS: Final = (50, 100, 250, 1000, 3000, 10_000)
"""Bars trained on, and watched."""
PLACES: Final = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Where the knots of reversion lie, from the least to that of a spread without memory, on a logarithmic scale."""

THRESHOLDS: Final = (
    (  # 10.0%
        (10.650, 7.718, 5.595, 4.059, 2.548, 1.774, 1.386, 1.115),
        (7.608, 5.422, 3.865, 2.772, 1.796, 1.428, 1.335, 1.126),
        (6.208, 4.303, 2.990, 2.150, 1.590, 1.420, 1.420, 1.253),
        (6.548, 3.950, 2.434, 1.788, 1.642, 1.639, 1.673, 1.530),
        (7.480, 3.791, 2.127, 1.729, 1.761, 1.821, 1.947, 1.744),
        (5.207, 3.190, 2.088, 1.737, 1.893, 2.023, 2.211, 2.006),
    ),
    (  # 5.0%
        (31.101, 20.800, 13.911, 9.303, 5.088, 2.879, 1.805, 1.333),
        (22.527, 13.736, 8.373, 5.101, 2.589, 1.771, 1.574, 1.309),
        (11.024, 7.315, 4.855, 3.240, 2.001, 1.654, 1.636, 1.421),
        (13.053, 6.755, 3.525, 2.257, 1.896, 1.833, 1.858, 1.682),
        (12.042, 5.789, 2.873, 2.084, 2.017, 1.995, 2.149, 1.889),
        (9.553, 5.088, 2.880, 2.073, 2.103, 2.235, 2.374, 2.144),
    ),
    (  # 2.0%
        (94.004, 60.948, 39.516, 25.620, 13.375, 6.989, 3.028, 1.582),
        (82.984, 44.347, 23.699, 12.665, 4.948, 2.284, 1.912, 1.553),
        (23.910, 14.563, 8.870, 5.402, 2.655, 1.948, 1.926, 1.668),
        (30.271, 13.770, 6.261, 3.099, 2.202, 2.119, 2.081, 1.875),
        (37.695, 13.249, 4.657, 2.583, 2.369, 2.221, 2.377, 2.072),
        (18.842, 8.643, 4.049, 2.363, 2.296, 2.507, 2.581, 2.370),
    ),
    (  # 1.0%
        (546.529, 310.942, 176.907, 100.649, 43.192, 18.535, 5.999, 1.839),
        (177.306, 90.188, 45.874, 23.334, 8.465, 3.074, 2.160, 1.769),
        (47.125, 26.217, 14.586, 8.114, 3.433, 2.218, 2.095, 1.871),
        (65.794, 25.370, 9.785, 3.869, 2.485, 2.301, 2.258, 2.070),
        (67.900, 21.444, 6.773, 3.003, 2.571, 2.389, 2.536, 2.226),
        (40.772, 16.628, 5.132, 2.637, 2.592, 2.756, 2.750, 2.546),
    ),
    (  # 0.5%
        (11233.668, 11233.668, 11233.668, 6156.259, 1323.810, 262.489, 26.992, 2.124),
        (460.100, 212.387, 98.040, 45.257, 14.194, 4.452, 2.299, 1.944),
        (72.763, 39.787, 21.756, 11.896, 4.677, 2.464, 2.255, 1.991),
        (116.017, 39.059, 13.932, 5.066, 2.826, 2.482, 2.459, 2.235),
        (128.133, 37.733, 11.105, 3.496, 2.810, 2.644, 2.627, 2.436),
        (113.264, 31.976, 9.029, 2.959, 2.794, 2.821, 3.123, 2.785),
    ),
)
"""``[rate][bars trained on][reversion]``."""


def knots(train: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the reversions that the thresholds of so many bars of training are known for. O(1).

    >>> knots(100).round(1).tolist()
    [10.0, 12.6, 15.8, 20.0, 28.2, 39.8, 63.1, 100.0]
    """
    return np.asarray(LEAST_REVERSION * (train / LEAST_REVERSION) ** np.array(PLACES))


def alarm_threshold(reversion: float, train: int, rate: float) -> float:
    """Return the statistic above which a sentinel alarms, so that ``rate`` of the unbroken pairs do in the horizon.

    Straight lines between what was simulated: in the logarithms of ``rate``, of ``train`` and of ``reversion``, the
    last on its way from the least to that of a spread without memory. ``rate`` out of 0.005 to 0.1 raises
    ``ValueError``. O(1).

    >>> alarm_threshold(50.0, 200, 0.01) > alarm_threshold(50.0, 200, 0.05)
    True
    """
    if not RATES[-1] <= rate <= RATES[0]:
        raise InputError(f"rate: must be {RATES[-1]} to {RATES[0]}", loc="rate")
    place = np.log(max(reversion, LEAST_REVERSION) / LEAST_REVERSION) / np.log(train / LEAST_REVERSION)
    sizes = np.log(TRAINS)
    by_rate = [
        float(np.interp(np.log(train), sizes, [np.interp(place, PLACES, row) for row in block])) for block in THRESHOLDS
    ]
    return float(np.interp(-np.log(rate), -np.log(RATES), by_rate))
