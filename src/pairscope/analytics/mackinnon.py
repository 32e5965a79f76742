"""MacKinnon's response surfaces: from a unit root or cointegration statistic to its p-value and critical values.

The distribution of a Dickey-Fuller t-ratio has no formula. MacKinnon simulated it and fitted polynomials: of the
statistic, whose normal probability is the p-value (1994), and of the inverse sample size, for critical values (2010).
``series`` counts the integrated series: 1 is the Dickey-Fuller test, 2 the Engle-Granger test of a pair.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["MOST_SERIES", "TRENDS", "Trend", "mackinnon_critical_values", "mackinnon_pvalues", "normal_cdf"]

Trend = Literal["n", "c", "ct", "ctt"]
"""Deterministic part of a regression: none, a constant, with a linear trend, with a quadratic trend as well."""

TRENDS: Final[tuple[Trend, ...]] = ("n", "c", "ct", "ctt")

MOST_SERIES: Final = 6
"""Integrated series that the tables go up to."""

# One row a trend, one column a number of series. Left of the first bound p is 0, right of the last it is 1; up to the
# middle one the polynomial of the left tail holds, beyond it that of the rest.
_LOWEST: Final = np.array(
    [
        [-19.04, -19.62, -21.21, -23.25, -21.63, -25.74],
        [-18.83, -18.86, -23.48, -28.07, -25.96, -23.27],
        [-16.18, -21.15, -25.37, -26.63, -26.53, -26.18],
        [-17.17, -21.10, -24.33, -24.03, -24.33, -28.22],
    ]
)
_TAIL_END: Final = np.array(
    [
        [-1.04, -1.53, -2.68, -3.09, -3.07, -3.77],
        [-1.61, -2.62, -3.13, -3.47, -3.78, -3.93],
        [-2.89, -3.19, -3.50, -3.65, -3.80, -4.36],
        [-3.21, -3.51, -3.81, -3.83, -4.12, -4.63],
    ]
)
_HIGHEST: Final = np.array(
    [
        [np.inf, 1.51, 0.86, 0.88, 1.05, 1.24],
        [2.74, 0.92, 0.55, 0.61, 0.79, 1.00],
        [0.70, 0.63, 0.71, 0.93, 1.19, 1.42],
        [0.54, 0.79, 1.08, 1.43, 3.49, 1.92],
    ]
)

# Coefficients of 1, t, t² as printed (the last in hundredths), MacKinnon (1994), table 3.
_TAIL: Final = np.array(
    [
        [
            [0.6344, 1.2378, 3.2496],
            [1.9129, 1.3857, 3.5322],
            [2.7648, 1.4502, 3.4186],
            [3.4336, 1.4835, 3.1900],
            [4.0999, 1.5533, 3.5900],
            [4.5388, 1.5344, 2.9807],
        ],
        [
            [2.1659, 1.4412, 3.8269],
            [2.9200, 1.5012, 3.9796],
            [3.4699, 1.4856, 3.1640],
            [3.9673, 1.4777, 2.6315],
            [4.5509, 1.5338, 2.9545],
            [5.1399, 1.6036, 3.4445],
        ],
        [
            [3.2512, 1.6047, 4.9588],
            [3.6646, 1.5419, 3.6448],
            [4.0983, 1.5173, 2.9898],
            [4.5844, 1.5338, 2.8796],
            [5.0722, 1.5634, 2.9472],
            [5.5300, 1.5914, 3.0392],
        ],
        [
            [4.0003, 1.6580, 4.8288],
            [4.3534, 1.6016, 3.7947],
            [4.7343, 1.5768, 3.2396],
            [5.2140, 1.6077, 3.3449],
            [5.6481, 1.6274, 3.3455],
            [5.9296, 1.5929, 2.8223],
        ],
    ]
) * np.array([1.0, 1.0, 1e-2])

# Coefficients of 1, t, t², t³ as printed (in units, tenths, tenths, hundredths), MacKinnon (1994), table 4.
_REST: Final = np.array(
    [
        [
            [0.4797, 9.3557, -0.6999, 3.3066],
            [1.5578, 8.5580, -2.0830, -3.3549],
            [2.2268, 6.8093, -3.2362, -5.4448],
            [2.7654, 6.4502, -3.0811, -4.4946],
            [3.2684, 6.8051, -2.6778, -3.4972],
            [3.7268, 7.1670, -2.3648, -2.8288],
        ],
        [
            [1.7339, 9.3202, -1.2745, -1.0368],
            [2.1945, 6.4695, -2.9198, -4.2377],
            [2.5893, 4.5168, -3.6529, -5.0074],
            [3.0387, 4.5452, -3.3666, -4.1921],
            [3.5049, 5.2098, -2.9158, -3.3468],
            [3.9489, 5.8933, -2.5359, -2.7210],
        ],
        [
            [2.5261, 6.1654, -3.7956, -6.0285],
            [2.8500, 5.2720, -3.6622, -5.1695],
            [3.2210, 5.2550, -3.2685, -4.1501],
            [3.6520, 5.9758, -2.7483, -3.2081],
            [4.0712, 6.6428, -2.3464, -2.5460],
            [4.4735, 7.1757, -2.0681, -2.1196],
        ],
        [
            [3.0778, 4.9529, -4.1477, -5.9359],
            [3.4713, 5.9670, -3.2507, -4.2286],
            [3.8637, 6.7852, -2.6286, -3.1381],
            [4.2736, 7.6199, -2.1534, -2.4026],
            [4.6679, 8.2618, -1.8220, -1.9147],
            [5.0009, 8.3735, -1.6994, -1.6928],
        ],
    ]
) * np.array([1.0, 1e-1, 1e-1, 1e-2])

# Coefficients of 1, 1/T, 1/T², 1/T³ at 1, 5 and 10 %, MacKinnon (2010), tables 2 to 4; without a constant there is
# one series only (MacKinnon 1996, table 1).
_CRITICAL: Final = {
    ("n", 1): ((-2.56574, -2.2358, -3.627, 0.0), (-1.941, -0.2686, -3.365, 31.223), (-1.61682, 0.2656, -2.714, 25.364)),
    ("c", 1): ((-3.43035, -6.5393, -16.786, -79.433), (-2.86154, -2.8903, -4.234, -40.04), (-2.56677, -1.5384, -2.809)),
    ("c", 2): ((-3.89644, -10.9519, -33.527), (-3.33613, -6.1101, -6.823), (-3.04445, -4.2412, -2.72)),
    ("c", 3): (
        (-4.29374, -14.4354, -33.195, 47.433),
        (-3.74066, -8.5632, -10.852, 27.982),
        (-3.45218, -6.2143, -3.718),
    ),
    ("c", 4): ((-4.64332, -18.1031, -37.972), (-4.096, -11.2349, -11.175), (-3.8102, -8.3931, -4.137)),
    ("c", 5): ((-4.95756, -21.8883, -45.142), (-4.41519, -14.0405, -12.575), (-4.13157, -10.7417, -3.784)),
    ("c", 6): (
        (-5.24568, -25.6688, -57.737, 88.639),
        (-4.70693, -16.9178, -17.492, 60.007),
        (-4.42501, -13.1875, -5.104, 27.877),
    ),
    ("ct", 1): (
        (-3.95877, -9.0531, -28.428, -134.155),
        (-3.41049, -4.3904, -9.036, -45.374),
        (-3.12705, -2.5856, -3.925, -22.38),
    ),
    ("ct", 2): ((-4.32762, -15.4387, -35.679), (-3.78057, -9.5106, -12.074), (-3.49631, -7.0815, -7.538, 21.892)),
    ("ct", 3): (
        (-4.66305, -18.7688, -49.793, 104.244),
        (-4.1189, -11.8922, -19.031, 77.332),
        (-3.83511, -9.0723, -8.504, 35.403),
    ),
    ("ct", 4): (
        (-4.9694, -22.4694, -52.599, 51.314),
        (-4.42871, -14.5876, -18.228, 39.647),
        (-4.14633, -11.25, -9.873, 54.109),
    ),
    ("ct", 5): (
        (-5.25276, -26.2183, -59.631, 50.646),
        (-4.71537, -17.3569, -22.66, 91.359),
        (-4.43422, -13.6078, -10.238, 76.781),
    ),
    ("ct", 6): (
        (-5.51727, -29.976, -75.222, 202.253),
        (-4.98228, -20.305, -25.224, 132.03),
        (-4.70233, -16.1253, -9.836, 94.272),
    ),
    ("ctt", 1): (
        (-4.37113, -11.5882, -35.819, -334.047),
        (-3.83239, -5.9057, -12.49, -118.284),
        (-3.55326, -3.6596, -5.293, -63.559),
    ),
    ("ctt", 2): (
        (-4.69276, -20.2284, -64.919, 88.884),
        (-4.15387, -13.3114, -28.402, 72.741),
        (-3.87346, -10.4637, -17.408, 66.313),
    ),
    ("ctt", 3): (
        (-4.99071, -23.5873, -76.924, 184.782),
        (-4.45311, -15.7732, -32.316, 122.705),
        (-4.1728, -12.4909, -17.912, 83.285),
    ),
    ("ctt", 4): (
        (-5.2678, -27.2836, -78.971, 137.871),
        (-4.73244, -18.4833, -31.875, 111.817),
        (-4.45268, -14.7199, -17.969, 101.92),
    ),
    ("ctt", 5): (
        (-5.52826, -30.9051, -92.49, 248.096),
        (-4.99491, -21.236, -37.685, 194.208),
        (-4.71587, -17.082, -18.631, 136.672),
    ),
    ("ctt", 6): (
        (-5.77379, -34.701, -105.937, 393.991),
        (-5.24217, -24.2177, -39.153, 232.528),
        (-4.96397, -19.6064, -18.858, 174.919),
    ),
}


@kernel
def _normal(x: F8, out: F8) -> None:  # pragma: no cover - compiled
    """Write the standard normal probability up to each value."""
    for i in range(x.size):
        out[i] = 0.5 * math.erfc(-x[i] * 0.7071067811865476)


def normal_cdf(x: F8) -> F8:
    r"""Return the probability of a standard normal variable up to each value.

    .. math:: \Phi(x) = \tfrac12 \operatorname{erfc}(-x / \sqrt 2)

    Right to 1e-12 of itself down to where float64 ends (x = -37), and 0 below. NaN gives NaN. O(n).

    >>> normal_cdf(np.array([0.0, -1.959963984540054])).round(12).tolist()
    [0.5, 0.025]
    """
    values = np.array(x, np.float64)
    out = np.empty(values.size)
    _normal(values.ravel(), out)
    return out.reshape(values.shape)


def mackinnon_pvalues(statistics: F8, trend: Trend = "c", *, series: int = 1) -> F8:
    r"""Return the asymptotic p-values of Dickey-Fuller t-ratios under a unit root (``series`` 1) or no cointegration.

    .. math:: p = \Phi(\gamma_0 + \gamma_1 t + \gamma_2 t^2 [+ \gamma_3 t^3])

    the cubic right of the tail's end, 0 and 1 beyond the tables. ``trend`` is that of the (cointegrating) regression.
    NaN gives NaN. O(n).
    Reference: MacKinnon (1994), *Approximate Asymptotic Distribution Functions for Unit-Root and Cointegration Tests*,
    Journal of Business & Economic Statistics 12, tables 3 and 4 in their later re-estimation.

    >>> mackinnon_pvalues(np.array([-3.5, -2.0]), "c", series=1).round(4).tolist()
    [0.008, 0.2866]
    """
    row, column = _place(trend, series)
    t = np.array(statistics, np.float64)
    inside = np.clip(t, _LOWEST[row, column], min(float(_HIGHEST[row, column]), 100.0))
    tail = _polynomial(_TAIL[row, column], inside)
    rest = _polynomial(_REST[row, column], inside)
    out = normal_cdf(np.where(inside <= _TAIL_END[row, column], tail, rest))
    out[t < _LOWEST[row, column]] = 0.0
    out[t > _HIGHEST[row, column]] = 1.0
    return out


def mackinnon_critical_values(trend: Trend = "c", *, series: int = 1, nobs: float = math.inf) -> dict[str, float]:
    r"""Return the values that a Dickey-Fuller t-ratio must fall below to reject at 1, 5 and 10 %.

    .. math:: c = \beta_0 + \beta_1 / T + \beta_2 / T^2 + \beta_3 / T^3

    with :math:`T` = ``nobs`` observations. O(1), nothing to do with NaN. Without a constant one series only.
    Reference: MacKinnon (2010), *Critical Values for Cointegration Tests*, Queen's Economics Department 1227, tables
    2 to 4.

    >>> {level: round(value, 4) for level, value in mackinnon_critical_values("c", series=2, nobs=384).items()}
    {'1%': -3.9252, '5%': -3.3521, '10%': -3.0555}
    """
    _place(trend, series)
    if not nobs > 0:
        raise InputError("nobs: must be positive", loc="nobs")
    surfaces = _CRITICAL.get((trend, series))
    if surfaces is None:
        raise InputError("series: without a constant there are critical values for one series only", loc="series")
    levels = zip(("1%", "5%", "10%"), surfaces, strict=True)
    return {level: float(_polynomial(np.array(surface), np.array(1.0 / nobs))) for level, surface in levels}


def _place(trend: Trend, series: int) -> tuple[int, int]:
    """Return row and column of the tables; ``InputError`` where they have none."""
    if trend not in TRENDS:
        raise InputError(f"trend: must be one of {', '.join(TRENDS)}", loc="trend")
    if series not in range(1, MOST_SERIES + 1):
        raise InputError(f"series: must be 1 to {MOST_SERIES}", loc="series")
    return TRENDS.index(trend), series - 1


def _polynomial(coefficients: F8, t: NDArray[np.float64]) -> F8:
    """Evaluate a polynomial, its constant first, by Horner's rule."""
    out = np.zeros(t.shape)
    for coefficient in coefficients[::-1]:
        out = out * t + coefficient
    return out
