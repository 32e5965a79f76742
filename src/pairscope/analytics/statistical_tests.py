"""The statistical tests under one roof: unit root, stationarity, cointegration, and many of them at once."""

from __future__ import annotations

from pairscope.analytics.cointegration import EngleGrangerResult, engle_granger
from pairscope.analytics.false_discovery import benjamini_hochberg, benjamini_yekutieli
from pairscope.analytics.johansen import JohansenResult, johansen
from pairscope.analytics.unit_root import AdfResult, KpssResult, adf_test, kpss_test

__all__ = [
    "AdfResult",
    "EngleGrangerResult",
    "JohansenResult",
    "KpssResult",
    "adf_test",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "engle_granger",
    "johansen",
    "kpss_test",
]
