"""Alerts of the scripted market: rules that are kept, and firings that come when they are told to."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

FIELDS = {
    "type", "symbol", "y", "x", "condition", "threshold", "lower", "upper", "timeframe", "window", "baseline",
    "lookback", "method", "price_space", "hysteresis", "frequency", "cooldown_s", "expires", "notify", "note",
    "message", "conditions", "join", "status",
}  # fmt: skip


class ScriptedAlerts:
    """The alerts' side of a scripted market; ``refusal`` refuses what is asked next, by field and sentence."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.numbers = itertools.count(1)
        self.seq = 0  # goes on over resets: browsers remember what they have seen
        self.reset()

    def reset(self) -> None:
        """Forget everything that was asked and kept."""
        self.rules: dict[str, dict[str, Any]] = {}
        self.firings: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.previewed: list[dict[str, Any]] = []
        self.refusal: tuple[str, str] | None = None
        self.fired = 3
        self.slow_s = 0.0

    # ── what the tests make happen ────────────────────────────────────────────────────────────────────────────────

    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep a rule as if it had been asked for."""
        rule_id = f"rule{next(self.numbers):04d}"
        usual = {"frequency": "every", "cooldown_s": 60, "note": "", "message": "", "notify": []}
        self.rules[rule_id] = usual | body | {"id": rule_id, "status": "active", "reason": ""}
        self.rules[rule_id] |= {"created": int(time.time() * 1000), "fired": 0, "suppressed": 0, "last_fired": None}
        return self.rules[rule_id]

    def fire(self, rule_id: str, *, ago_s: float = 0.0, **more: Any) -> dict[str, Any]:
        """Let a rule fire; who listens hears of it."""
        rule = self.rules[rule_id]
        part = (rule.get("conditions") or [rule])[0]
        rule["fired"] += 1
        self.seq += 1
        at = int((time.time() - ago_s) * 1000)
        rule["last_fired"] = at
        value = self.value_of(part)
        named = {name: part[name] for name in ("symbol", "y", "x") if part.get(name)}
        subject = part.get("symbol") or f"{part.get('y')} on {part.get('x')}"
        firing = {
            "id": f"{rule_id}-{rule['fired']}", "alert_id": rule_id, "seq": self.seq, "timestamp": at,
            "received": at + 40, "type": part["type"], "condition": part["condition"], **named, "value": value,
            "threshold": part.get("threshold"), "values": [value], "note": rule["note"], "late": False,
            "storm": False, "test": False,
            "message": f"{subject}: {part['type']} is {part['condition'].replace('_', ' ')} {part.get('threshold')}",
        } | more  # fmt: skip
        self.firings.append(firing)
        return firing

    def deliver(self, seq: int, status: str = "delivered", error: str = "") -> None:
        """Say what came of a firing's delivery."""
        firing = next(one for one in self.firings if one["seq"] == seq)
        firing["deliveries"] = [
            {"target": "https://hooks.example/***", "status": status, "attempts": 2, "at": None, "error": error}
        ]

    def value_of(self, part: dict[str, Any]) -> float | None:
        """Where a condition's value stands."""
        if part["type"] == "price":
            return float(self.market.symbols[part["symbol"]].price)
        if part["type"] == "zscore":
            found: float | None = self.market.pairs.live(part["y"], part["x"])["spread"]["zscore"]
            return found
        return {"volatility": 0.42, "staleness": 0.3, "funding": 0.0001, "correlation": 0.71}.get(part["type"], 0.004)

    # ── what the API answers ──────────────────────────────────────────────────────────────────────────────────────

    def view(self, rule: dict[str, Any]) -> dict[str, Any]:
        """A rule with where it stands now."""
        parts = rule.get("conditions") or [rule]
        values = [self.value_of(part) for part in parts]
        levels = [part.get("threshold", part.get("lower")) for part in parts]
        far = [None if v is None or t is None else abs(t - v) for v, t in zip(values, levels, strict=True)]
        holds = [
            bool(v is not None and t is not None and {"above": v > t, "below": v < t}.get(part["condition"]))
            for v, t, part in zip(values, levels, parts, strict=True)
        ]
        return rule | {"values": values, "distance": far, "holds": holds}

    def refused(self, loc: str, detail: str, status: int = 422) -> Response:
        errors = [{"loc": ["body", *loc.split(".")], "msg": detail}]
        document = {"title": "Bad parameter", "status": status, "detail": f"{loc}: {detail}", "errors": errors}
        return JSONResponse(document, status, media_type="application/problem+json")

    def problem_of(self, body: dict[str, Any]) -> Response | None:
        if self.refusal is not None:
            return self.refused(*self.refusal)
        for name in body.keys() - FIELDS:
            return self.refused(name, "there is no such parameter")
        for target in body.get("notify") or []:
            if "127.0.0.1" in target:
                return self.refused("notify", "a target on a private address is not allowed")
        for i, part in enumerate(body.get("conditions") or [body]):
            where = f"conditions.{i}." if "conditions" in body else ""
            if part["condition"] in {"enters", "leaves"}:
                if part.get("lower") is None or part.get("upper") is None or part["lower"] >= part["upper"]:
                    return self.refused(f"{where}lower", "must be below upper")
            elif part["condition"] not in {"found", "lost"} and part.get("threshold") is None:
                return self.refused(f"{where}threshold", "a number is needed")
            if part.get("y") and part.get("y") == part.get("x"):
                return self.refused(f"{where}x", f"a pair needs two different symbols, both are {part['y']}")
        return None

    def install(self, app: FastAPI) -> None:
        @app.post("/api/alerts/preview")
        async def preview(request: Request) -> Response:
            body = json.loads(await request.body())
            hours = body.pop("hours", 24.0)
            self.previewed.append(body)
            await asyncio.sleep(self.slow_s)
            problem = self.problem_of(body)
            if problem is not None:
                return problem
            now = int(time.time() * 1000)
            seen = self.view(body)
            return JSONResponse(
                {
                    "values": seen["values"], "distance": seen["distance"], "holds": seen["holds"], "reason": "",
                    "fired": self.fired, "suppressed": 2, "paused": None, "times": [now - 60_000] * self.fired,
                    "marks": [], "from": now - int(hours * 3_600_000), "to": now, "complete": True,
                    "basis": "from one-minute bars",
                }
            )  # fmt: skip

        @app.get("/api/alerts/triggered")
        async def triggered(limit: int = 500, cursor: str | None = None, since: int | None = None) -> Response:
            newest = [one for one in reversed(self.firings) if cursor is None or one["seq"] < int(cursor)]
            newest = [one for one in newest if since is None or one["seq"] > since]
            page = [{"deliveries": [], **one} for one in newest[:limit]]
            more = str(page[-1]["seq"]) if len(newest) > limit else None
            return JSONResponse({"alerts": page, "next": more})

        @app.get("/api/alerts")
        async def listed() -> Response:
            return JSONResponse({"alerts": [self.view(rule) for rule in self.rules.values()]})

        @app.post("/api/alerts")
        async def create(request: Request) -> Response:
            body = json.loads(await request.body())
            self.asked.append(("create", body))
            problem = self.problem_of(body)
            if problem is not None:
                return problem
            delivery = [
                {"target": f"{t[:8]}***", "ok": "bad" not in t, "error": "no answer"} for t in body.get("notify", [])
            ]
            return JSONResponse(self.view(self.keep(body)) | {"delivery": delivery}, 201)

        @app.api_route("/api/alerts/{rule_id}", methods=["GET", "PATCH", "DELETE"])
        async def one(rule_id: str, request: Request) -> Response:
            if rule_id not in self.rules:
                return self.refused("id", f"there is no alert {rule_id!r}", 404)
            if request.method == "DELETE":
                self.asked.append(("delete", {"id": rule_id}))
                del self.rules[rule_id]
                return Response(status_code=204)
            if request.method == "PATCH":
                body = json.loads(await request.body())
                self.asked.append(("change", body))
                if self.refusal is not None:
                    return self.refused(*self.refusal)
                merged = self.rules[rule_id] | body
                self.rules[rule_id] = {name: value for name, value in merged.items() if value is not None}
                self.rules[rule_id].setdefault("last_fired", None)
            return JSONResponse(self.view(self.rules[rule_id]))

        @app.post("/api/alerts/{rule_id}/test")
        async def test(rule_id: str) -> Response:
            self.asked.append(("test", {"id": rule_id}))
            return JSONResponse(
                {"delivery": [{"target": t, "ok": True, "error": ""} for t in self.rules[rule_id]["notify"]]}
            )
