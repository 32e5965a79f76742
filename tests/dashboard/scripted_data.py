"""Stored data of the scripted market: exports, uploads, back-fills, gaps and the store's days, and what was asked."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

FIRST_MS = 1_700_000_040_000
BYTES_A_ROW = 64


class ScriptedData:
    """The stored data's side of a scripted market; jobs move when a test says so."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.numbers = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was asked, uploaded and begun."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.jobs: list[dict[str, Any]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.uploads: dict[tuple[str, str], dict[str, Any]] = {}
        self.refusal = ""
        self.rows = 1440
        self.gap_days: list[dict[str, Any]] = []
        self.gaps: list[dict[str, Any]] = []
        self.days = [
            {
                "date": day(back), "symbol": symbol, "ticks": 1000 * (back + 1), "bars_1s": 600, "bars_1m": 60,
                "bytes": 1_000_000 * (back + 1) * weight, "where": "archive" if back > 2 else "store",
            }
            for back in range(5)
            for symbol, weight in (("BTCUSDT", 3), ("ETHUSDT", 1))
        ]  # fmt: skip

    # ── what the tests make happen ────────────────────────────────────────────────────────────────────────────────

    def begin(self, kind: str, title: str, result: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin a job, as if somebody had asked for it."""
        name = f"data{next(self.numbers):04d}"
        job = {
            "id": name, "kind": kind, "title": title, "status": "running", "done": 0, "total": 0,
            "created_ms": FIRST_MS, "started_ms": FIRST_MS, "ended_ms": None, "error": None,
            "result": f"/api/bulk/{name}",
        }  # fmt: skip
        self.jobs.insert(0, job)
        self.results[name] = result or {}
        return job

    def end(self, job: dict[str, Any], status: str = "done", error: str | None = None) -> None:
        """Let a job end."""
        job |= {"status": status, "error": error, "ended_ms": FIRST_MS + 60_000}

    def upload(self, symbol: str, timeframe: str = "1m", rows: int = 60, filename: str = "bars.csv") -> None:
        """Keep uploaded bars, as if somebody had sent them."""
        self.uploads[symbol, timeframe] = {
            "symbol": symbol, "timeframe": timeframe, "rows": rows, "first_timestamp": FIRST_MS,
            "last_timestamp": FIRST_MS + 60_000 * (rows - 1), "uploaded_at": FIRST_MS, "filename": filename,
        }  # fmt: skip

    def lose(self, symbol: str, back: int, *, missing: int = 120, status: str = "unrepairable") -> None:
        """Let trades of a day be missing, or have been."""
        row = {"date": day(back), "symbol": symbol, "missing": missing if status != "repaired" else 0, "open": 0}
        self.gap_days.append(row | {"unrepairable": 0, "repaired": 0, "seconds": 90.0} | {status: 1})
        self.gaps.append(
            {
                "symbol": symbol, "from_id": 100, "to_id": 99 + missing, "status": status, "missing": missing,
                "after": FIRST_MS, "before": FIRST_MS + 90_000, "seen": FIRST_MS + 91_000, "ended": None,
            }
        )  # fmt: skip

    # ── what the API answers ──────────────────────────────────────────────────────────────────────────────────────

    def storage(self) -> dict[str, Any]:
        return {
            "kind": "duckdb", "location": "/data/pairscope.duckdb", "bytes": 40_000_000, "free_bytes": 80_000_000_000,
            "ticks": 30_000, "bars": 6_600,
            "archive": {"url": "/data/archive", "files": 12, "bytes": 9_000_000, "ticks": 18_000},
            "retention": {"days": 0, "gb": 0.0}, "archive_after_days": 3, "days": self.days,
        }  # fmt: skip

    def judged(self, content: bytes, symbol: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Read a CSV of timestamp, open, high, low, close and volume: its good bars, and its faults."""
        names, *lines = (line.split(",") for line in content.decode().splitlines())
        bars, faults = [], []
        for number, line in enumerate(lines, 1):
            cells = dict(zip(names, line, strict=True))
            if float(cells["high"]) < float(cells["low"]):
                faults.append({"row": number, "column": "high", "reason": f"{cells['high']} is below low"})
                continue
            values = {name: float(cells[name]) for name in ("open", "high", "low", "close", "volume")}
            bars.append({"symbol": symbol, "timestamp": int(cells["timestamp"]), **values})
        return bars, faults

    def answer_upload(self, content: bytes, fields: dict[str, Any]) -> Response:
        symbol = str(fields.get("symbol") or "").upper()
        if not symbol:
            return refused("symbol", "is missing: name it, or give the file a column symbol")
        bars, faults = self.judged(content, symbol)
        stored = {
            "rejected": faults, "rejected_total": len(faults), "rejected_rows": len(faults),
            "symbols": [symbol], "timeframe": fields.get("timeframe"), "rows": len(bars) + len(faults),
            "first_timestamp": bars[0]["timestamp"], "last_timestamp": bars[-1]["timestamp"],
            "columns": {"timestamp": "timestamp", "open": "open"}, "time_unit": "ms", "unchanged": 0, "updated": 0,
        }  # fmt: skip
        if fields.get("preview"):
            return JSONResponse(stored | {"inserted": len(bars), "preview": bars[:10], "accepted": not faults})
        if faults and not fields.get("partial"):
            return refused("file", f"{len(faults)} of {stored['rows']} rows are not good", **stored)
        self.upload(symbol, str(fields.get("timeframe")), len(bars))
        return JSONResponse(stored | {"inserted": len(bars), "preview": []})

    def tried(self, which: list[dict[str, Any]]) -> dict[str, Any]:
        days = {row["date"] for row in which}
        sums = {name: sum(row[name] for row in which) for name in ("ticks", "bars_1m", "bytes")}
        return {
            "days": len(days), "ticks": sums["ticks"], "bars": sums["bars_1m"], "bytes": sums["bytes"], "rows": which,
        }  # fmt: skip

    def install(self, app: FastAPI) -> None:
        """Add the routes."""

        def note(path: str, body: dict[str, Any]) -> None:
            self.asked.append((path, body))

        @app.get("/api/export/{name}/estimate")
        async def estimate(name: str, request: Request) -> Any:
            note("estimate", {"name": name, **request.query_params})
            return {"rows": self.rows, "bytes": self.rows * BYTES_A_ROW, "first_timestamp": FIRST_MS,
                    "last_timestamp": FIRST_MS + 60_000 * self.rows, "filename": f"{name}.csv"}  # fmt: skip

        @app.get("/api/export/{path:path}")
        async def export(path: str, request: Request) -> Any:
            sent = {
                name: request.headers[name] for name in ("range", "if-range", "x-api-key") if name in request.headers
            }
            note("export", {"path": path, **request.query_params, **sent})
            if self.refusal:
                return refused("start", self.refusal)
            lines = [f"2023-11-14T22:14:{i % 60:02d}.000Z,0.00001234" for i in range(self.rows)]
            body = "\n".join(["timestamp,close", *lines, ""])
            headers = {"Content-Disposition": 'attachment; filename="as-the-api-names-it.csv"', "ETag": '"1"'}
            if "range" in sent:
                first = int(sent["range"].removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
                return Response(body[first:], 206, media_type="text/csv", headers=headers)
            return Response(body, media_type="text/csv", headers=headers)

        @app.post("/api/upload/ohlc")
        async def upload(request: Request) -> Any:
            form = await request.form()
            file: Any = form["file"]
            fields = {name: value for name, value in form.items() if name != "file"}
            note("upload", fields | {"filename": file.filename})
            return self.answer_upload(await file.read(), fields)

        @app.post("/api/upload/exchange", status_code=202)
        async def exchange(request: Request) -> Any:
            form = await request.form()
            file: Any = form["file"]
            note("exchange", {"filename": file.filename})
            return self.begin("exchange", f"reading {file.filename}")

        @app.get("/api/uploads")
        async def uploads() -> Any:
            return list(self.uploads.values())

        @app.delete("/api/uploads/{symbol}")
        async def remove(symbol: str, timeframe: str) -> Any:
            note("remove", {"symbol": symbol, "timeframe": timeframe})
            del self.uploads[symbol, timeframe]
            return {"symbol": symbol, "timeframe": timeframe, "removed": 60}

        @app.post("/api/backfill", status_code=202)
        async def backfill(body: dict[str, Any]) -> Any:
            note("backfill", body)
            if self.refusal:
                return refused("since", self.refusal)
            return self.begin("backfill", f"back-fill of {len(body['symbols'])} symbols")

        @app.get("/api/bulk/{name}")
        async def result(name: str) -> Any:
            return self.results[name]

        @app.get("/api/storage")
        async def storage(request: Request) -> Any:
            note("storage", dict(request.query_params))
            return self.storage()

        @app.post("/api/storage/{what}")
        async def keep(what: str, body: dict[str, Any]) -> Any:
            note(what, body)
            if body.get("dry_run"):
                in_store = [row for row in self.days if row["where"] == "store"]
                return self.tried(in_store if what == "archive" else self.days[-2:])
            return JSONResponse(self.begin(what, what), 202)

        @app.get("/api/gaps/calendar")
        async def calendar(request: Request) -> Any:
            note("calendar", dict(request.query_params))
            return {"days": self.gap_days}

        @app.get("/api/gaps")
        async def gaps() -> Any:
            return {"gaps": self.gaps, "next": None}

        @app.get("/api/jobs")
        async def jobs(kind: str | None = None) -> Any:
            every = [*self.jobs, *reversed(self.market.screen.jobs)]
            return {"jobs": [job for job in every if kind in {None, job["kind"]}]}

        @app.delete("/api/jobs/data{number}")
        async def cancel(number: str) -> Any:
            job = next(job for job in self.jobs if job["id"] == f"data{number}")
            self.end(job, "cancelled")
            return job


def day(back: int) -> str:
    """The date of so many days ago."""
    return (datetime.now(UTC) - timedelta(days=back)).date().isoformat()


def refused(loc: str, detail: str, **more: Any) -> Response:
    """A problem, as the API writes one."""
    problem = {"title": "Bad parameter", "status": 422, "detail": f"{loc}: {detail}",
               "errors": [{"loc": ["body", loc], "msg": detail}], **more}  # fmt: skip
    return JSONResponse(problem, 422, media_type="application/problem+json")
