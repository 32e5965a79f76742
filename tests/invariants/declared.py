"""How each public function of ``market`` and ``analytics`` is shown not to look ahead: one declaration a name.

A function that is not declared here fails the test. ``PerBar`` and ``Closed`` are checked by cutting the series off;
``Whole`` says why there is nothing to cut: no value of it stands at a time. The pair kernels' declarations stand in a
file a module.
"""

from __future__ import annotations

from collections.abc import Mapping

from pairscope.analytics import indicators, moments, price_stats
from pairscope.market import align, bars, holes
from pairscope.market.continuity import Gap

from .declared_backtest import BACKTEST
from .declared_correlation import CORRELATION
from .declared_mean_reversion import MEAN_REVERSION
from .declared_regression import REGRESSION
from .declared_reports import REPORTS
from .declared_sentinel import SENTINEL
from .declared_statistical_tests import STATISTICAL_TESTS
from .declared_sweep import SWEEP
from .declaring import MINUTE, Closed, Declaration, PerBar, Series, Whole

_EVERY_KIND = ["sma:5", "ema:5", "bb:5:2", "vwap", "rsi:5", "macd:3:6:4", "atr:5", "rv:5"]


def _moments_resumed(s: Series, k: int) -> list[moments.Moments]:
    state = moments.moments(s.x[:k])
    past = [moments.moments(s.x[:i]) for i in range(1, k + 1)]
    return [*past, *(moments.extend(state, s.x[k:i]) for i in range(k + 1, s.x.size + 1))]


_STATE = Whole("a state or a reading of one, of exactly the observations given")
_CELLS = Whole("works on cells of one time; what is made of them is checked as bars")
_HOLES = holes.holes_of(
    Gap("BTCUSDT", k, k, "open", 1, after_ns=at, before_ns=at + k * MINUTE)
    for k, at in enumerate(range(1_722_470_400_000_000_000, 1_722_484_800_000_000_000, 7 * MINUTE))
)
_COLUMNS = Whole("moves columns, computes nothing")

DECLARED: Mapping[str, Declaration] = {
    "pairscope.analytics.price_stats.simple_returns": PerBar(lambda s: price_stats.simple_returns(s.x)),
    "pairscope.analytics.price_stats.log_returns": PerBar(lambda s: price_stats.log_returns(s.x)),
    "pairscope.analytics.price_stats.rolling_stats": PerBar(lambda s: price_stats.rolling_stats(s.x, 7), 7),
    "pairscope.analytics.price_stats.rolling_sum": PerBar(lambda s: price_stats.rolling_sum(s.x, 7), 7),
    "pairscope.analytics.price_stats.realized_volatility": PerBar(
        lambda s: price_stats.realized_volatility(s.x, 7, periods_per_year=525_600), 8
    ),
    "pairscope.analytics.price_stats.vwap": PerBar(lambda s: price_stats.vwap(s.x, s.volume, 7), 7),
    "pairscope.analytics.price_stats.is_number": Whole("looks at one value"),
    "pairscope.analytics.price_stats.checked": PerBar(lambda s: price_stats.checked(s.x, "x")),
    "pairscope.analytics.indicators.indicators": PerBar(
        lambda s: list(indicators.indicators(s.bars, _EVERY_KIND).values())
    ),
    "pairscope.analytics.indicators.parse_indicators": Whole("reads names"),
    "pairscope.analytics.moments.moments": PerBar(
        lambda s: [moments.moments(s.x[:k]) for k in range(1, s.x.size + 1)], resumed=_moments_resumed
    ),
    "pairscope.analytics.moments.pair_moments": PerBar(
        lambda s: [moments.pair_moments(s.x[:k], s.y[:k]) for k in range(1, s.x.size + 1)]
    ),
    **{
        f"pairscope.analytics.moments.{name}": _STATE
        for name in (
            "correlation_of",
            "covariance_of",
            "extend",
            "extend_pair",
            "mean_of",
            "merge",
            "merge_pair",
            "slope_of",
            "std_of",
            "variance_of",
        )
    },
    **BACKTEST,
    **CORRELATION,
    **MEAN_REVERSION,
    **REGRESSION,
    **REPORTS,
    **SENTINEL,
    **STATISTICAL_TESTS,
    **SWEEP,
    "pairscope.analytics.volume.day_volume": Whole("one day's volume as of a time that is given"),
    "pairscope.analytics.volume.volume_profile": Whole("volume by price, without a time"),
    "pairscope.market.bars.bars_of": Closed(lambda s: bars.bars_of(s.ticks, "1m")),
    "pairscope.market.bars.resample": Closed(lambda s: bars.resample(s.bars, "1h")),
    "pairscope.market.bars.merge_bars": Closed(
        lambda s: bars.merge_bars(*(bars.bars_of(s.ticks.take(slice(k, None, 2)), "1m") for k in (0, 1)))
    ),
    **{
        f"pairscope.market.bars.{name}": _COLUMNS
        for name in ("bars_from_cells", "cells_from_bars", "check_ticks", "concat_bars", "timeframe_ns")
    },
    **{
        f"pairscope.market.bar_cells.{name}": _CELLS
        for name in ("absorb", "build", "cell_values", "find_closed", "fold", "fold_spans", "last_day", "scale")
    },
    **{f"pairscope.market.exact.{name}": Whole("one number") for name in ("plus", "quote_of", "units_of", "value_of")},
    **{
        f"pairscope.market.alert_{name}": Whole("words of a rule, without values")
        for name in (
            "conditions.refuse_unknown",
            "terms.conditions_of",
            "terms.default_window",
            "terms.plain_count",
            "terms.plain_number",
            "terms.plain_symbol",
            "terms.plain_time_ns",
            "terms.plain_timeframe",
            "terms.plain_word",
        )
    },
    "pairscope.market.align.common_bars": _COLUMNS,
    "pairscope.market.holes.touches": PerBar(lambda s: [holes.touches(_HOLES, s.bars.ts_open_ns, MINUTE)]),
    **{
        f"pairscope.market.holes.{name}": Whole("works on holes, which have ends of their own")
        for name in ("days_of", "holes_of", "missing_in", "reaching", "span_of")
    },
    **{
        f"pairscope.market.anchors.{name}": Whole("follows from a name, a lookback and a slot")
        for name in ("anchor_of", "epoch_of", "even_slots", "offset_of")
    },
    **{
        f"pairscope.market.id_ranges.{name}": Whole("works on ids, without a time")
        for name in ("clipped", "count", "inside", "less", "runs_of")
    },
    **{
        f"pairscope.market.older_ids.{name}": Whole("takes what came out of order on purpose")
        for name in ("by_file", "filled", "take_older")
    },
    "pairscope.market.pairs.span_in_words": Whole("words for one number"),
    "pairscope.market.align.last_known": PerBar(
        lambda s: list(align.last_known(s.ticks.ts_event_ns[::3], s.x[::3], s.ticks.ts_event_ns))
    ),
    "pairscope.market.kernel.kernel": Whole("compiles"),
    "pairscope.market.symbols.normalize_symbol": Whole("one name"),
    "pairscope.market.ticks.concat_ticks": _COLUMNS,
}
