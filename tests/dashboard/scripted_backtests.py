"""Backtests of the scripted market: jobs that move when they are told to, and the runs that they leave."""

from __future__ import annotations

import functools
import itertools
import json
import math
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import pair_bars_from_closes

FIRST_MS = 1_700_000_040_000
GRID = ("entry", "exit", "stop", "window", "max_holding", "cooldown", "rehedge")


@functools.cache
def judged(entry: float) -> str:
    """The document of a real backtest, of a pair that reverts, as JSON: computed once for all tests."""
    dice = np.random.default_rng(7)
    n = 900
    x = 100.0 * np.exp(np.cumsum(dice.normal(0.0, 0.0005, n)))
    away = np.zeros(n)
    for t in range(1, n):
        away[t] = 0.9 * away[t - 1] + dice.normal(0.0, 0.001)
    times = (FIRST_MS + 60_000 * np.arange(n)) * 1_000_000
    bars = pair_bars_from_closes(times, 2.0 * x * np.exp(away), x, timeframe="1m", y="ETHUSDT", x="BTCUSDT")
    request = BacktestRequest("ETHUSDT", "BTCUSDT", lookback=120, window=60, entry=entry, stop=4.0)
    made = judge_backtest(request.checked(), bars, nulls=19).document()
    return json.dumps(made, default=lambda value: value.tolist()).replace("NaN", "null")


class ScriptedBacktests:
    """The backtests' side of a scripted market; ``instant`` ends a job as it starts, ``refusal`` refuses it."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.numbers = itertools.count()  # never the same id twice: what is kept is read once and for all
        self.reset()

    def reset(self) -> None:
        """Forget everything that was asked and kept; jobs end as they start."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.instant = True
        self.refusal: tuple[int, str] | None = None

    def move(self, done: int) -> None:
        """Let the newest job be so far; at its end it is done."""
        job = next(reversed(self.jobs.values()))
        job["done"] = done
        if done >= job["total"]:
            self.finish(job)

    def finish(self, job: dict[str, Any]) -> None:
        job |= {"status": "done", "done": job["total"], "ended_ms": FIRST_MS + 9000}
        kind, body = self.asked[list(self.jobs).index(job["id"])]
        self.keep(kind, body, job["id"])

    def keep(self, kind: str, body: dict[str, Any], run_id: str) -> dict[str, Any]:
        """Keep what such a run comes to."""
        made: dict[str, Any] = {"backtest": self.backtest, "sweep": self.sweep, "walk_forward": self.walk}[kind](body)
        head = {
            "id": run_id,
            "kind": kind,
            "created": FIRST_MS + 60_000 * len(self.runs),
            "source": "synthetic",
            "gaps": 0,
        }
        self.runs[run_id] = head | {"request": body} | made
        return self.runs[run_id]

    def backtest(self, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(judged(1.5 if float(body.get("entry", 2.0)) < 2.0 else 2.0))
        found["request"] = {**found["request"], **body}
        return found

    def sweep(self, body: dict[str, Any]) -> dict[str, Any]:
        """Every combination, the Sharpe ratio a hill over entry and exit."""
        grid = {name: body[name] for name in GRID if isinstance(body.get(name), list)}
        grid |= {name: value for name, value in body["hedge"].items() if isinstance(value, list)}
        rows, skipped = [], 0
        for values in itertools.product(*grid.values()):
            rule = dict(zip(grid, values, strict=True))
            entry, leave = rule.get("entry", 2.0), rule.get("exit", 0.5)
            if leave >= entry:
                skipped += 1
                continue
            sharpe = 3.0 - 4.0 * (entry - 2.25) ** 2 - 2.0 * (leave - 0.25) ** 2
            figures = {
                "total_return": sharpe / 200,
                "sharpe": sharpe,
                "max_drawdown": -0.02,
                "trades": 20,
                "win_rate": 0.6,
            }
            rows.append({**rule, **figures, "sortino": None, "calmar": sharpe * 2, "profit_factor": 1.2})
        best = max(rows, key=lambda row: float(row["sharpe"])) if rows else None
        honest = {"deflated_sharpe": 0.62, "pbo": 0.31, "trials": len(rows) + skipped}
        return {"rows": rows, "grid": grid, "best": best, "skipped": skipped, "combinations": len(rows), **honest}

    def walk(self, body: dict[str, Any]) -> dict[str, Any]:
        whole = json.loads(judged(2.0))
        minute = 60_000
        folds = [
            {
                "train_start": FIRST_MS + i * 100 * minute,
                "train_end": FIRST_MS + (i * 100 + 200) * minute,
                "test_start": FIRST_MS + (i * 100 + 260) * minute,
                "test_end": FIRST_MS + (i * 100 + 360) * minute,
                "entry": 2.0 + 0.25 * i,
                "exit": 0.5,
                "in_sample": {"sharpe": 4.0 - i, "total_return": 0.02},
                "out_of_sample": {"sharpe": 1.0 - i, "total_return": 0.01 * (1 - i), "trades": 3 + i},
            }
            for i in range(int(body["folds"]))
        ]
        return {
            "folds": folds,
            "metric": body["metric"],
            "metrics": whole["metrics"],
            "equity": whole["equity"],
            "trades": [],
        }

    def line(self, run: dict[str, Any]) -> dict[str, Any]:
        """A run's line in the list."""
        names = ("id", "kind", "created", "source", "request", "gaps", "metrics", "verdict", "best", "combinations")
        told = {name: run[name] for name in names if name in run}
        return told | {name: run["request"].get(name, "1m") for name in ("y", "x", "timeframe")}

    def _start(self, kind: str, body: dict[str, Any]) -> Response:
        if self.refusal is not None:
            status, detail = self.refusal
            problem = {
                "title": "Refused",
                "status": status,
                "detail": detail,
                "errors": [{"loc": ["body"], "msg": detail}],
            }
            return JSONResponse(problem, status, media_type="application/problem+json")
        self.asked.append((kind, body))
        hedge = body.get("hedge", {})
        sizes = [len(value) for value in [*body.values(), *hedge.values()] if isinstance(value, list)]
        job_id = f"{FIRST_MS}-{next(self.numbers):04d}"
        job = self.jobs[job_id] = {
            "id": job_id, "kind": kind, "title": f"{kind} of a pair", "status": "running", "done": 0,
            "total": math.prod(sizes), "created_ms": FIRST_MS, "started_ms": FIRST_MS, "ended_ms": None, "error": None,
            "result": f"/api/backtests/{job_id}",
        }  # fmt: skip
        if self.instant:
            self.finish(job)
        return JSONResponse(job, 202, headers={"Location": f"/api/jobs/{job_id}"})

    def install(self, app: FastAPI) -> None:
        @app.post("/api/backtest")
        async def backtest(request: Request) -> Any:
            return self._start("backtest", await request.json())

        @app.post("/api/backtest/sweep")
        async def sweep(request: Request) -> Any:
            return self._start("sweep", await request.json())

        @app.post("/api/backtest/walk_forward")
        async def walk_forward(request: Request) -> Any:
            return self._start("walk_forward", await request.json())

        @app.get("/api/jobs/{job_id}")
        async def job(job_id: str) -> Any:
            return self.jobs.get(job_id) or _missing("there is no such job")

        @app.delete("/api/jobs/{job_id}")
        async def cancel(job_id: str) -> Any:
            found = self.jobs.get(job_id)
            if found is None:
                return _missing("there is no such job")
            found["status"] = "cancelled"
            return found

        @app.get("/api/backtests")
        async def runs(limit: int = 100) -> Any:
            return {"backtests": [self.line(run) for run in reversed(self.runs.values())][:limit], "next": None}

        @app.get("/api/backtests/{run_id}")
        async def run(run_id: str) -> Any:
            return self.runs.get(run_id) or _missing("this run is not kept")

        @app.delete("/api/backtests/{run_id}", status_code=204, response_model=None)
        async def delete(run_id: str) -> Any:
            return Response(status_code=204) if self.runs.pop(run_id, None) else _missing("this run is not kept")


def _missing(detail: str) -> JSONResponse:
    body = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": detail, "errors": []}
    return JSONResponse(body, 404, media_type="application/problem+json")
