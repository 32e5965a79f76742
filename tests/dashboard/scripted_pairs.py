"""Pairs of the scripted market: the documents of the pair routes and topics over its bars, with a verdict to order."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

CRITICAL = {"1%": -3.91, "5%": -3.34, "10%": -3.05}
LENGTHS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DEFAULTS = {
    "timeframe": "1m",
    "lookback": 1440,
    "window": 60,
    "method": "ols",
    "price_space": "log",
    "entry": 2.0,
    "exit": 0.5,
}


class ScriptedPairs:
    """The pair side of a scripted market; ``p_values``, ``sentinel``, ``stale`` and ``warnings`` are what it tells."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.asked: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Make everything well: a pair that holds, two watched ones."""
        self.p_values = (0.002, 0.004)
        self.sentinel: dict[str, Any] = {"status": "ok", "statistic": 0.4, "threshold": 1.1, "since": None}
        self.stale: str | None = None
        self.ended = False
        self.warnings: list[str] = []
        self.changes: dict[str, Any] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        for y, x in (("ETHUSDT", "BTCUSDT"), ("SOLUSDT", "ETHUSDT")):
            self.entries[f"{y}:{x}"] = {"y": y, "x": x, **DEFAULTS}

    # ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def columns(self, y: str, x: str, timeframe: str, rows: int, *, closed: bool) -> dict[str, np.ndarray]:
        """Both legs' closes over common bars, and a spread that swings: x times a steady beta, plus a made wave."""
        now = time.time()
        since = now - (rows + 5) * seconds_of(timeframe)
        legs = []
        for name in (y, x):
            bars = self.market.symbols[name].bars(timeframe, now, since)
            legs.append({bar["timestamp"]: bar["close"] for bar in bars if bar["closed"] or not closed})
        common = sorted(legs[0].keys() & legs[1].keys())[-rows:]
        stamp = np.array(common, np.int64)
        prices = {leg: np.array([held[t] for t in common]) for leg, held in zip("yx", legs, strict=True)}
        slots = stamp / (1000 * seconds_of(timeframe))
        wave = 0.002 * np.sin(slots / 23.0) + 0.0012 * np.sin(slots / 7.0) + 0.0004 * np.sin(slots * 1.7)
        if not closed and len(common) > 1:
            wave[-1] += 0.2 * math.log(prices["y"][-1] / prices["y"][-2])  # moves with each trade
        return {"timestamp": stamp, "spread": wave, **prices}

    def values(self, columns: Mapping[str, np.ndarray], window: int) -> dict[str, list[float | None]]:
        spread = columns["spread"]
        out: dict[str, list[float | None]] = {name: [] for name in ("mean", "std", "zscore", "correlation")}
        for t in range(len(spread)):
            part = spread[max(0, t + 1 - window) : t + 1]
            known = len(part) == window
            mean, std = float(part.mean()), float(part.std(ddof=1)) if len(part) > 1 else 0.0
            out["mean"].append(mean if known else None)
            out["std"].append(std if known else None)
            out["zscore"].append((float(spread[t]) - mean) / std if known and std else None)
            out["correlation"].append(0.8 + 0.1 * math.sin(t / 40) if known else None)
        return out

    def live(self, y: str, x: str, *, closed: bool = False) -> dict[str, Any]:
        settings = self.entries.get(f"{y}:{x}", {"y": y, "x": x, **DEFAULTS})
        window = settings["window"]
        columns = self.columns(y, x, settings["timeframe"], window + 5, closed=closed)
        values = {name: column[-1] for name, column in self.values(columns, window).items()}
        now = time.time()
        ages = {leg: int((now - self.market.symbols[name].last_s) * 1000) for leg, name in (("y", y), ("x", x))}
        if self.stale:
            ages[self.stale] = 900_000
        drift = 0.01 * math.sin(now / 300)
        if self.ended:
            values = dict.fromkeys(values)
            columns["spread"] = np.array([np.nan])
        return {
            **settings,
            "timestamp": None if self.ended else int(columns["timestamp"][-1]),
            "closed": closed,
            "n": settings["lookback"],
            "hedge_ratio": {
                "ols": {"alpha": 0.1, "beta": 0.8, "stderr": 0.004, "r_squared": 0.97},
                "huber": {"alpha": 0.1, "beta": 0.79, "stderr": 0.004},
                "kalman": {"alpha": 0.1, "beta": 0.81 + drift, "stderr": 0.02, "since": 0},
            },
            "spread": {
                "method": settings["method"],
                "last": None if self.ended else float(columns["spread"][-1]),
                **_but(values, "correlation"),
            },
            "correlation": {"rolling": values["correlation"], "window": window},
            "prices": {"y": self.market.symbols[y].price, "x": self.market.symbols[x].price},
            "ages_ms": ages,
            "age_ms": max(ages.values()),
            "stale": self.stale is not None,
            "stale_leg": self.stale,
            "sentinel": self.sentinel,
            "on_watchlist": f"{y}:{x}" in self.entries,
            "reason": None,
        }

    def report(self, y: str, x: str, asked: Mapping[str, Any], *, series: bool) -> dict[str, Any]:
        lookback, window = int(asked["lookback"]), int(asked["window"])
        columns = self.columns(y, x, asked["timeframe"], lookback, closed=True)
        values = self.values(columns, window)
        n = len(columns["spread"])
        last = {name: column[-1] for name, column in values.items()}
        names = ("y_on_x", "x_on_y")
        tests = {name: _test(-5.0, p, critical=CRITICAL) for name, p in zip(names, self.p_values, strict=True)}
        document = {
            "y": y,
            "x": x,
            **{name: asked[name] for name in ("timeframe", "lookback", "window", "price_space")},
            "n": n,
            "as_of": int(columns["timestamp"][-1]),
            "hedge_ratio": {
                "ols": {
                    "alpha": 0.1,
                    "beta": 0.8,
                    "stderr": 0.004,
                    "r_squared": 0.97,
                    "interval": [0.776, 0.824],
                    "newey_west": {"stderr": 0.012, "lags": 7},
                },
                "huber": {"alpha": 0.1, "beta": 0.79, "stderr": 0.004, "interval": [0.782, 0.798]},
                "kalman": {"alpha": 0.1, "beta": 0.81, "stderr": 0.02, "interval": [0.77, 0.85], "since": 0},
                "tls": {"alpha": None, "beta": None, "stderr": None, "reason": "needs 100 bars, has 12"},
                "theil_sen": {"alpha": 0.1, "beta": 0.795, "stderr": None, "interval": [0.78, 0.81]},
            },
            "spread": {
                "method": asked["method"],
                "last": float(columns["spread"][-1]),
                **_but(last, "correlation"),
                "half_life": 42.0,
                "half_life_interval": {"low": 30.0, "high": 65.0, "level": 0.95, "unbounded": False},
                "hurst": 0.31,
                "variance_ratio": {"ratio": 0.74, "statistic": -3.3, "pvalue": 0.001, "lags": [2, 4, 8, 16]},
            },
            "correlation": {"pearson": 0.85, "spearman": 0.82, "rolling": last["correlation"], "window": window},
            "adf": {**_test(-4.8, 0.0004, critical=CRITICAL), "stationary": True},
            "kpss": {**_test(0.2, 0.1, critical={"10%": 0.347, "5%": 0.463, "1%": 0.739}), "is_bound": True},
            "cointegration": {
                "engle_granger": tests,
                "johansen": {
                    "trace": [{"statistic": 31.2, "critical_values": {"10%": 13.4, "5%": 15.5, "1%": 19.9}}],
                    "max_eigenvalue": [{"statistic": 29.0, "critical_values": {"10%": 12.3, "5%": 14.3, "1%": 18.5}}],
                    "rank": 1,
                    "lags": 1,
                },
            },
            "sentinel": self.sentinel,
            "reasons": {},
            "legs": {
                leg: {"symbol": name, "last": self.market.symbols[name].price, "age_ms": 300}
                for leg, name in (("y", y), ("x", x))
            },
            "stale": self.stale is not None,
            "warnings": self.warnings,
        }
        if series:
            steady: list[float | None] = [0.8 + 0.004 * math.sin(i / 90) for i in range(n)]
            moving: list[float | None] = [0.81 + 0.02 * math.sin(i / 60) for i in range(n)]
            document["series"] = {
                "timestamp": columns["timestamp"].tolist(),
                "spread": columns["spread"].tolist(),
                **values,
                "beta_ols": steady,
                "beta_kalman": moving,
                "price_y": columns["y"].tolist(),
                "price_x": columns["x"].tolist(),
            }
        merged: dict[str, Any] = _merged(document, self.changes)
        return merged

    # ── routes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def install(self, app: FastAPI) -> None:
        @app.get("/api/analytics/pair")
        async def pair(
            y: str,
            x: str,
            timeframe: str = "1m",
            lookback: int = 1440,
            window: int = 60,
            method: str = "ols",
            price_space: str = "log",
            series: bool = False,
            recursion: str = "lookback",
        ) -> Any:
            asked = {"timeframe": timeframe, "lookback": lookback, "window": window, "method": method}
            self.asked.append({"y": y, "x": x, **asked, "price_space": price_space, "recursion": recursion})
            for name in (y, x):
                if name not in self.market.symbols:
                    return _problem(404, f"unknown symbol {name!r}; did you mean BTCUSDT?", "symbol")
            if lookback < 30:
                return _problem(422, f"lookback: common bars needs 30, has {lookback}", "lookback")
            return self.report(y, x, {**asked, "price_space": price_space}, series=series)

        @app.get("/api/analytics/correlation")
        async def correlation(symbols: str, timeframe: str = "1m", window: int = 60) -> Any:
            names = symbols.split(",")
            matrix = [
                [1.0 if a == b else round(0.9 - 0.25 * abs(i - j), 3) for j, b in enumerate(names)]
                for i, a in enumerate(names)
            ]
            order = list(reversed(range(len(names))))
            return {"symbols": names, "matrix": matrix, "n": window, "as_of": 0, "order": order, "reasons": {}}

        @app.get("/api/analytics/statistics")
        async def statistics(
            timeframe: str = "1m",
            window: int = 60,
            limit: int = 500,
            y: str = "",
            x: str = "",
            symbol: str = "",
            method: str = "",
            price_space: str = "",
        ) -> Any:
            self.tables.append({"y": y, "x": x, "symbol": symbol, "method": method, "price_space": price_space})
            name = y or symbol
            columns = self.columns(name, x or name, timeframe, limit, closed=True)
            n = len(columns["y"])
            series: dict[str, Any] = {
                "timestamp": columns["timestamp"].tolist(),
                "price": columns["y"].tolist(),
                "return": [None, *np.diff(np.log(columns["y"])).tolist()],
                "volume": [12.5] * n,
                "volatility": [0.6] * n,
            }
            if x:
                values = self.values(columns, window)
                series |= {
                    "spread": columns["spread"].tolist(),
                    "zscore": values["zscore"],
                    "correlation": values["correlation"],
                }
            return {"timeframe": timeframe, "window": window, "series": series, "next": None}

        @app.get("/api/watchlist")
        async def watchlist() -> Any:
            return {"pairs": [{**entry, "live": self.live(entry["y"], entry["x"])} for entry in self.entries.values()]}

        @app.post("/api/watchlist")
        async def watch(request: Request) -> Any:
            body = await request.json()
            key = f"{body['y']}:{body['x']}"
            fresh = key not in self.entries
            self.entries[key] = {**DEFAULTS, **body}
            return JSONResponse(self.entries[key], 201 if fresh else 200)

        @app.delete("/api/watchlist/{y}/{x}")
        async def unwatch(y: str, x: str) -> Any:
            if self.entries.pop(f"{y}:{x}", None) is None:
                return _problem(404, f"{y}:{x} is not on the watch-list", "y")
            return Response(status_code=204)


def seconds_of(timeframe: str) -> int:
    return int(timeframe[:-1]) * LENGTHS[timeframe[-1]]


def _test(statistic: float, pvalue: float, *, critical: Mapping[str, float]) -> dict[str, Any]:
    return {"statistic": statistic, "pvalue": pvalue, "lags": 3, "nobs": 1400, "critical_values": critical}


def _problem(status: int, detail: str, loc: str) -> JSONResponse:
    body = {"title": "Refused", "status": status, "detail": detail, "errors": [{"loc": ["query", loc], "msg": detail}]}
    return JSONResponse(body, status, media_type="application/problem+json")


def _but(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _merged(document: Any, changes: Any) -> Any:
    if not (isinstance(document, dict) and isinstance(changes, Mapping)):
        return changes
    return {**document, **{name: _merged(document.get(name), change) for name, change in changes.items()}}
