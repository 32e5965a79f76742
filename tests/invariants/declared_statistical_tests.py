"""No look-ahead: the declarations of the kernels of unit root and cointegration tests."""

from __future__ import annotations

from collections.abc import Mapping

from pairscope.analytics import mackinnon

from .declaring import Declaration, PerBar, Whole

_VERDICT = Whole("one verdict on the whole sample, as of its last row")
_TABLE = Whole("looks a number up in a table")

STATISTICAL_TESTS: Mapping[str, Declaration] = {
    "pairscope.analytics.mackinnon.normal_cdf": PerBar(lambda s: mackinnon.normal_cdf(s.y - 50.0)),
    "pairscope.analytics.mackinnon.mackinnon_pvalues": PerBar(
        lambda s: mackinnon.mackinnon_pvalues(s.volume * -9.0, "ct", series=2)
    ),
    "pairscope.analytics.mackinnon.mackinnon_critical_values": _TABLE,
    "pairscope.analytics.johansen_tables.johansen_critical_values": _TABLE,
    "pairscope.analytics.dickey_fuller.even_scale": Whole("one scale for a whole sample"),
    "pairscope.analytics.dickey_fuller.longest_lag": Whole("a number of lags from a number of values"),
    "pairscope.analytics.dickey_fuller.trend_columns": Whole("the time of a sample of a known length, no value of it"),
    **{
        f"pairscope.analytics.{name}": _VERDICT
        for name in (
            "householder.least_squares",
            "householder.triangle",
            "dickey_fuller.dickey_fuller",
            "unit_root.adf_test",
            "unit_root.kpss_test",
            "cointegration.engle_granger",
            "johansen.johansen",
            "false_discovery.benjamini_hochberg",
            "false_discovery.benjamini_yekutieli",
            "statistical_tests.adf_test",
            "statistical_tests.kpss_test",
            "statistical_tests.engle_granger",
            "statistical_tests.johansen",
            "statistical_tests.benjamini_hochberg",
            "statistical_tests.benjamini_yekutieli",
        )
    },
}
