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
        (12.216, 9.031, 6.676, 4.936, 3.150, 2.104, 1.449, 1.098),
        (6.675, 4.924, 3.634, 2.705, 1.829, 1.473, 1.392, 1.124),
        (4.445, 3.386, 2.580, 1.998, 1.569, 1.420, 1.442, 1.245),
        (4.746, 3.105, 2.112, 1.717, 1.648, 1.634, 1.681, 1.526),
        (4.611, 2.890, 1.990, 1.725, 1.746, 1.820, 1.951, 1.743),
        (3.760, 2.712, 2.012, 1.727, 1.895, 2.032, 2.206, 2.004),
    ),
    (  # 5.0%
        (79.578, 51.044, 32.742, 21.002, 10.789, 5.555, 2.389, 1.295),
        (18.979, 12.481, 8.208, 5.398, 2.921, 1.907, 1.664, 1.312),
        (7.522, 5.492, 4.014, 2.965, 2.013, 1.644, 1.677, 1.421),
        (8.800, 5.234, 3.130, 2.147, 1.912, 1.828, 1.869, 1.676),
        (9.723, 4.911, 2.606, 2.055, 1.990, 2.005, 2.147, 1.888),
        (6.227, 4.036, 2.711, 2.073, 2.095, 2.242, 2.377, 2.143),
    ),
    (  # 2.0%
        (2323.095, 4874.718, 3276.857, 1433.552, 400.761, 106.211, 16.428, 1.650),
        (80.735, 46.308, 26.562, 15.235, 6.618, 3.002, 2.098, 1.544),
        (12.542, 9.297, 6.892, 5.051, 2.872, 1.972, 1.946, 1.666),
        (24.412, 11.254, 5.188, 2.868, 2.208, 2.116, 2.091, 1.873),
        (25.635, 10.158, 4.025, 2.522, 2.382, 2.220, 2.377, 2.073),
        (20.063, 8.946, 3.989, 2.344, 2.287, 2.498, 2.581, 2.374),
    ),
    (  # 1.0%
        (8742.347, 8742.347, 8742.347, 7809.142, 1758.474, 358.480, 46.221, 2.018),
        (80.735, 46.308, 26.562, 16.667, 9.736, 5.690, 2.927, 1.714),
        (23.515, 16.137, 11.080, 7.620, 3.860, 2.283, 2.120, 1.870),
        (40.291, 17.661, 7.741, 3.645, 2.507, 2.287, 2.292, 2.061),
        (38.588, 14.994, 5.826, 3.002, 2.617, 2.384, 2.538, 2.237),
        (20.063, 9.909, 4.932, 2.660, 2.579, 2.741, 2.801, 2.551),
    ),
    (  # 0.5%
        (10970.188, 10970.188, 10970.188, 10970.188, 2561.659, 470.360, 46.221, 2.440),
        (586.136, 326.601, 181.969, 101.360, 42.105, 17.464, 5.385, 1.882),
        (44.767, 27.524, 16.922, 10.404, 5.041, 2.646, 2.341, 2.033),
        (70.496, 29.396, 11.411, 4.666, 2.840, 2.476, 2.464, 2.243),
        (72.249, 25.266, 8.836, 3.527, 2.831, 2.665, 2.625, 2.443),
        (44.306, 18.819, 7.993, 3.172, 2.579, 3.334, 3.182, 2.785),
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
