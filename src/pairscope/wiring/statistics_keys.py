"""The rolling statistics of a minute's close as cache entries, one a symbol and window."""

from __future__ import annotations

from typing import Final

from pairscope import schemas
from pairscope.engine.rolling import RollingStats

__all__ = ["STATISTICS_TTL_S", "statistics_entries"]

STATISTICS_TTL_S: Final = 300.0

_FIELDS: Final = ("mean", "std", "min", "max", "zscore", "volatility", "annual_volatility", "vwap")


def statistics_entries(stats: RollingStats) -> dict[str, bytes]:
    """Return ``stats:{symbol}:{window}`` entries of the newest close of each symbol: JSON objects, NaN as null."""
    entries: dict[str, bytes] = {}
    for i, symbol_id in enumerate(stats.symbol_id.tolist()):
        symbol, close_ms = stats.symbols[symbol_id], int(stats.ts_open_ns[i]) // 1_000_000
        for j, window in enumerate(stats.windows):
            values = {name: float(getattr(stats, name)[i, j]) for name in _FIELDS}
            said = {"symbol": symbol, "timeframe": "1m", "window": window, "timestamp": close_ms}
            n = int(stats.n[i, j])
            entries[f"stats:{symbol}:{window}"] = schemas.plain_json({**said, "n": n, **values})
    return entries
