"""No look-ahead: the declarations of the kernels of spread, half-life, Hurst and Ornstein-Uhlenbeck."""

from __future__ import annotations

from collections.abc import Mapping

from pairscope.analytics import mean_reversion

from .declaring import Declaration, PerBar, Whole

_FIT = Whole("one estimate over the whole series given")
_LAW = Whole("a law in its parameters, no series")

MEAN_REVERSION: Mapping[str, Declaration] = {
    "pairscope.analytics.mean_reversion.spread": PerBar(
        lambda s: [
            mean_reversion.spread(s.y, s.x, alpha=1.0, beta=0.5),
            mean_reversion.spread(s.y, s.x, alpha=s.volume, beta=s.volume),
        ]
    ),
    "pairscope.analytics.mean_reversion.zscore": PerBar(lambda s: mean_reversion.zscore(s.x, 7), 7),
    "pairscope.analytics.mean_reversion.half_life": _FIT,
    "pairscope.analytics.mean_reversion.half_life_interval": _FIT,
    "pairscope.analytics.mean_reversion.half_life_of": _LAW,
    "pairscope.analytics.mean_reversion.hurst_exponent": _FIT,
    "pairscope.analytics.mean_reversion.variance_ratio": _FIT,
    "pairscope.analytics.autoregression.ar1_fit": _FIT,
    "pairscope.analytics.autoregression.centred": Whole("changes the unit of a series for the estimates"),
    "pairscope.analytics.autoregression.coefficient_cdf": _LAW,
    "pairscope.analytics.autoregression.coefficient_interval": _LAW,
    "pairscope.analytics.autoregression.coefficient_median": _LAW,
    "pairscope.analytics.hurst.hurst_exponent": _FIT,
    "pairscope.analytics.ornstein_uhlenbeck.ou_fit": _FIT,
    "pairscope.analytics.variance_ratio.variance_ratio": _FIT,
}
