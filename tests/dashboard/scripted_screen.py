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
    """The screen's side of a scripted market; ``found``, ``excluded``, ``refusal``, ``changes`` are what it tells.

    With ``on_demand`` a screen is computed by a job of ``jobs``, which goes on when the test says so.
    """

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
        self.on_demand = False
        self.jobs: list[dict[str, Any]] = []
        self.null: dict[str, Any] | None = {
            "surrogates": 20,
            "as_of": FIRST_MS,
            "tests": 30,
            "pvalue": 0.0015,
            "discoveries": 4,
            "fdr_promised": 0.05,
            "false_promised": 0.2,
            "fdr_empirical": 0.3,
            "false_expected": 1.2,
            "false_least": 0.0,
            "false_most": 4.0,
        }
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
            examine: bool = False,
            pair: str | None = None,
            wait: bool = True,
            job: str | None = None,
            empirical_null: int | None = None,
        ) -> Any:
            if empirical_null is not None:
                return JSONResponse(self.start("null", f"lookback={lookback}&empirical_null=20", timeframe), 202)
            if self.on_demand and job is None and not wait:
                last = next((one for one in reversed(self.jobs) if one["kind"] == "screen"), None)
                if last is None or last["status"] != "done":
                    running = last is not None and last["ended_ms"] is None
                    return JSONResponse(
                        last if running else self.start("screen", f"lookback={lookback}", timeframe), 202
                    )
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
            if pair is not None:
                kept = [row for row in every if {row["y"], row["x"]} == set(pair.split(":"))]
            if examine:
                for row in kept:
                    row["examination"] = {
                        "hurst": 0.31,
                        "johansen_trace": 25.3,
                        "johansen_rank": 1,
                        "spread_bps": 5.0,
                        "cost_bps": 24.0,
                        "edge_bps": -3.0,
                        "beta_stable": 0.75,
                        "rejects": 0.5,
                    }
                    row["false_expected"] = 1.2
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
                "null": self.null,
                "excluded": self.excluded,
                "pairs": [{k: v for k, v in row.items() if k not in dropped} for row in kept[:limit]],
                "next": None,
            }

        @app.get("/api/analytics/screen/discoveries")
        async def discoveries(timeframe: str = "1m", lookback: int = 1440, limit: int = 500) -> Any:
            return {"discoveries": self.events[:limit], "next": None}

        @app.get("/api/analytics/screen/history")
        async def history(y: str, x: str, timeframe: str = "1m", lookback: int = 1440) -> Any:
            head = {"y": y, "x": x, "timeframe": timeframe, "lookback": lookback, "fdr": 0.05, "now": None}
            if (y, x) not in self.found:
                told = {"timestamp": [], "qvalue": [], "discovered": False, "since": None}
                return head | told | {"reason": "it was no discovery at 0.05 in the last 720 screens"}
            q = [0.2, 0.08, 0.04, None, self.found[y, x]]
            times = [FIRST_MS + (i - len(q) + 1) * MINUTE_MS for i in range(len(q))]
            return head | {"timestamp": times, "qvalue": q, "discovered": True, "since": times[2]}

        @app.get("/api/jobs")
        async def jobs(kind: str | None = None) -> Any:
            return {"jobs": [job for job in reversed(self.jobs) if kind in {None, job["kind"]}]}

        @app.get("/api/jobs/scan-{number}")
        async def job_of(number: int) -> Any:
            return self.jobs[number]

        @app.delete("/api/jobs/scan-{number}")
        async def cancel(number: int) -> Any:
            self.jobs[number] |= {"status": "cancelled", "ended_ms": FIRST_MS}
            return self.jobs[number]

    def start(self, kind: str, query: str, timeframe: str) -> dict[str, Any]:
        """Begin a job of four steps, one of which is done."""
        job = {
            "id": f"scan-{len(self.jobs)}",
            "kind": kind,
            "title": "every pair",
            "status": "running",
            "done": 1,
            "total": 4,
            "created_ms": FIRST_MS,
            "started_ms": FIRST_MS,
            "ended_ms": None,
            "error": None,
            "result": f"/api/analytics/screen?timeframe={timeframe}&{query}",
        }
        self.jobs.append(job)
        return job
