"""No look-ahead: the declarations of the kernels of correlation and lead-lag."""

from __future__ import annotations

from collections.abc import Mapping

from pairscope.analytics import correlation

from .declaring import Declaration, PerBar, Whole

_SPAN = Whole("one estimate over the whole span given")
_TREE = Whole("orders symbols, not times")

CORRELATION: Mapping[str, Declaration] = {
    "pairscope.analytics.correlation.rolling_correlation": PerBar(
        lambda s: [correlation.rolling_correlation(s.y, s.x, 7, kind=kind) for kind in ("pearson", "spearman")], 7
    ),
    "pairscope.analytics.correlation.correlation_matrix": _SPAN,
    **{
        f"pairscope.analytics.{module}.{name}": why
        for name, home, why in (
            ("average_linkage", "clustering", _TREE),
            ("cluster_order", "clustering", _TREE),
            ("hayashi_yoshida", "hayashi_yoshida", _SPAN),
            ("lead_lag", "lead_lag", _SPAN),
        )
        for module in ("correlation", home)
    },
}
