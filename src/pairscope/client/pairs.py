"""Pairs through the API: what is said of one, bar by bar, of the whole market, and the watch-list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pairscope.client.asking import PAGE, Ask, Caller, Steps, call, changed, read, segment
from pairscope.client.frames import FrameKind, matrix_of, table_of
from pairscope.client.problems import json_object
from pairscope.errors import ApiRefused

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PairCalls"]

_SCREEN_TRIES: Final = 3
_SCREEN_COLUMNS: Final = (
    "y", "x", "alpha", "beta", "statistic", "pvalue", "qvalue", "lags", "half_life", "zscore", "spread_std",
    "correlation", "discovery",
)  # fmt: skip


class PairCalls(Caller):
    """What is asked of pairs."""

    @call
    def pair(self, /, y: str, x: str, timeframe: str = "1m", **params: Any) -> Steps[dict[str, Any]]:
        """Return all that is said of a pair: hedge ratios, spread, correlation, tests, sentinel, ages, warnings.

        ``lookback``, ``window``, ``method``, ``price_space``, ``recursion`` and ``end`` as the API has them.
        """
        return dict((yield from read("/api/analytics/pair", y=y, x=x, timeframe=timeframe, **params)))

    @call
    def pair_series(
        self, /, y: str, x: str, timeframe: str = "1m", *, frame: FrameKind | None = None, **params: Any
    ) -> Steps[pd.DataFrame]:
        """Return a pair bar by bar, indexed by the bars' open times (UTC); each value as it was known at its bar."""
        given = {"y": y, "x": x, "timeframe": timeframe, **params, "series": True}
        said = yield from read("/api/analytics/pair", **given)
        return table_of(self.kind(frame), said["series"], times=["timestamp"], index="timestamp")

    @call
    def correlation(
        self, /, symbols: Sequence[str], timeframe: str = "1m", *, frame: FrameKind | None = None, **params: Any
    ) -> Steps[pd.DataFrame]:
        """Return the matrix of returns' correlations, by symbol; ``window``, ``kind`` as the API has them."""
        said = yield from read("/api/analytics/correlation", symbols=list(symbols), timeframe=timeframe, **params)
        names = said["symbols"]
        return matrix_of(self.kind(frame), said["matrix"], names, names, (None, None))

    @call
    def screen(
        self,
        /,
        timeframe: str = "1m",
        lookback: int = 1440,
        *,
        limit: int | None = None,
        frame: FrameKind | None = None,
        **params: Any,
    ) -> Steps[pd.DataFrame]:
        """Return the market-wide screen, a row a directed pair, best first; all rows, or the first ``limit``.

        ``fdr``, ``sort``, ``only``, ``symbol`` and the others as the API has them. What was tested and what was left
        out is in ``.attrs``: ``as_of`` (ms), ``universe``, ``tests``, ``discoveries``, ``excluded``, ``family`` …
        """
        kind = self.kind(frame)
        given = {"timeframe": timeframe, "lookback": lookback, "limit": min(limit or PAGE, PAGE), **params}
        for _ in range(_SCREEN_TRIES):
            pages: list[dict[str, Any]] = []
            cursor = None
            while not pages or cursor is not None:
                pages.append((yield from read("/api/analytics/screen", cursor=cursor, **given)))
                cursor = pages[-1].get("next")
                if pages[-1]["screen"] != pages[0]["screen"] or (limit is not None and len(pages) * PAGE >= limit):
                    break
            if pages[-1]["screen"] == pages[0]["screen"]:
                rows = [row for page in pages for row in page["pairs"]]
                about = {name: value for name, value in pages[0].items() if name not in {"pairs", "next"}}
                return table_of(kind, rows[:limit], columns=_SCREEN_COLUMNS, attrs=about)
        raise ApiRefused("a newer screen comes before one is read whole", http_status=409, hint="ask for fewer rows")

    @call
    def discoveries(self, /, **params: Any) -> Steps[dict[str, Any]]:
        """Return the pairs that entered and left the discoveries of the continuous screens, newest first."""
        return dict((yield from read("/api/analytics/screen/discoveries", **params)))

    @call
    def watchlist(self) -> Steps[list[dict[str, Any]]]:
        """Return the pairs that are watched: their settings, and ``live``, what is known of each now."""
        return list((yield from read("/api/watchlist"))["pairs"])

    @call
    def watch(self, /, y: str, x: str, **settings: Any) -> Steps[dict[str, Any]]:
        """Put a pair on the watch-list, or change the settings of one that is there; return its entry."""
        answer = yield from changed(Ask("POST", "/api/watchlist", body={"y": y, "x": x, **settings}))
        return json_object(answer)

    @call
    def unwatch(self, y: str, x: str) -> Steps[None]:
        """Take a pair off the watch-list; ``ApiRefused`` (404) where it is not on it."""
        yield from changed(Ask("DELETE", f"/api/watchlist/{segment(y, x)}"))
