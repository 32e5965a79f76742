"""The screen of the scripted market: every pair tested by a script, a new screen when told, and its discoveries."""

from __future__ import annotations

import itertools
import math
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

MINUTE_MS = 60_000
FIRST_MS = 1_700_000_040_000


class ScriptedScreen:
    """The screen's side of a scripted market; ``found``, ``excluded``, ``refusal`` and ``moves`` are what it tells."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.asked: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Make everything well: a screen with four discoveries, one of them one way round only."""
        self.asked.clear()
        self.screens = 0
        self.lacking = 0
        self.continuous = True
        self.found = {
            ("ETHUSDT", "BTCUSDT"): 0.0002,
            ("BTCUSDT", "ETHUSDT"): 0.004,
            ("SOLUSDT", "ETHUSDT"): 0.012,
            ("XRPUSDT", "BNBUSDT"): 0.03,
        }
        self.excluded = {"DOGEUSDT": "did not move in the last 1,440 bars"}
        self.refusal: tuple[int, str] | None = None
        self.changes: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = [
            self.event("entered", "SOLUSDT", "ETHUSDT", FIRST_MS),
            self.event("left", "BNBUSDT", "ETHUSDT", FIRST_MS - 9 * MINUTE_MS),
        ]

    def close(self) -> None:
        """Screen again, a minute later."""
        self.screens += 1

    @staticmethod
    def event(what: str, y: str, x: str, timestamp: int) -> dict[str, Any]:
        return {"timestamp": timestamp, "event": what, "y": y, "x": x, "qvalue": 0.012, "zscore": -2.1}

    def tests(self) -> list[dict[str, Any]]:
        """Every directed pair: what is found has its q-value, the rest nothing to show; z swings with each screen."""
        rows = []
        for i, (y, x) in enumerate(itertools.permutations(self.market.symbols, 2)):
            q = self.found.get((y, x), min(0.99, 0.3 + 0.02 * i))
            path = [2.6 * math.sin(k / 9 + i) for k in range(self.screens, self.screens + 60)]
            row = {
                "y": y,
                "x": x,
                "alpha": 0.5,
                "beta": 0.8 + 0.01 * i,
                "statistic": -4.0,
                "pvalue": q / 20,
                "qvalue": q,
                "lags": i % 4,
                "half_life": None if i == 7 else 12.0 + 3.0 * i,
                "zscore": path[-1],
                "spread_std": 0.0005 * (i + 1),
                "correlation": 0.9 - 0.02 * i,
                "zscores": path,
            }
            rows.append({**row, **self.changes.get((y, x), {})})
        return rows

    def install(self, app: FastAPI) -> None:
        @app.get("/api/analytics/screen")
        async def screen(
            timeframe: str = "1m",
            lookback: int = 1440,
            fdr: float = 0.05,
            control: str = "bh",
            limit: int = 500,
            sort: str = "qvalue",
            symbol: str | None = None,
            min_half_life: float | None = None,
            max_half_life: float | None = None,
            min_correlation: float | None = None,
            only: str = "all",
            direction: str = "both",
            sparkline: bool = False,
        ) -> Any:
            given = {"timeframe": timeframe, "lookback": lookback, "fdr": fdr, "control": control, "limit": limit}
            filters = {"symbol": symbol, "min_half_life": min_half_life, "max_half_life": max_half_life}
            self.asked.append(
                {
                    **given,
                    **filters,
                    "min_correlation": min_correlation,
                    "only": only,
                    "direction": direction,
                    "sort": sort,
                }
            )
            if self.refusal is not None:
                status, detail = self.refusal
                body = {"title": "Refused", "status": status, "detail": detail, "errors": []}
                return JSONResponse(body, status, media_type="application/problem+json")
            every = sorted(self.tests(), key=lambda row: float(row["qvalue"]))
            for row in every:
                row["discovery"] = row["qvalue"] <= fdr
            kept = [
                row
                for row in every
                if (symbol is None or symbol in {row["y"], row["x"]})
                and (min_half_life is None or (row["half_life"] or 0) >= min_half_life)
                and (max_half_life is None or (row["half_life"] or math.inf) <= max_half_life)
                and (min_correlation is None or row["correlation"] >= min_correlation)
                and (only == "all" or row["discovery"])
                and (direction == "both" or row["y"] < row["x"])
            ]
            dropped = () if sparkline else ("zscores",)
            return {
                "as_of": FIRST_MS + self.screens * MINUTE_MS,
                "timeframe": timeframe,
                "lookback": lookback,
                "bars": lookback - self.lacking,
                "continuous": self.continuous,
                "screen": self.screens,
                "universe": len(self.market.symbols),
                "symbols": list(self.market.symbols),
                "tests": len(every),
                "elapsed_ms": 12.4,
                "family": f"all {len(every)} directed tests of this screen",
                "fdr": fdr,
                "control": control,
                "matching": len(kept),
                "discoveries": sum(row["discovery"] for row in every),
                "excluded": self.excluded,
                "pairs": [{k: v for k, v in row.items() if k not in dropped} for row in kept[:limit]],
                "next": None,
            }

        @app.get("/api/analytics/screen/discoveries")
        async def discoveries(timeframe: str = "1m", lookback: int = 1440, limit: int = 500) -> Any:
            return {"discoveries": self.events[:limit], "next": None}
