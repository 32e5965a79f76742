"""Paper positions over HTTP: follow a rule live, see how it stands, and whether a backtest would have done the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.backtest_bodies import BacktestIn
from pairscope.api.catalog import Catalog
from pairscope.api.legs import resolve_leg
from pairscope.api.watchlist import json_only
from pairscope.errors import UnknownRule
from pairscope.ports import Services

__all__ = ["PAPER_EXAMPLES", "add_paper"]

Id = Annotated[str, Path(max_length=64, description="As the rule's document says.")]
Check = Annotated[bool, Query(description="Compare with a backtest over the stored bars.")]

_STANDS: Mapping[str, Any] = MappingProxyType(
    {
        "id": "19b77400000-1",
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "timeframe": "1m",
        "created": 1767225600123,
        "since": 1767225600000,
        "request": {"y": "ETHUSDT", "x": "BTCUSDT", "hedge": {"method": "ols", "lookback": 1440}},
        "trades_closed": 1,
        "events": 6,
        "timestamp": 1767232800000,
        "waiting": False,
        "zscore": -2.31,
        "beta": 0.71,
        "equity": 10012.5,
        "position": {"side": "long", "since": 1767232740000, "quantity_y": 1.9, "quantity_x": -0.06, "pnl": -3.2},
        "order": None,
        "last_event": {"timestamp": 1767232740000, "kind": "fill", "order": "enter"},
    }
)
PAPER_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "/api/paper": {"positions": [dict(_STANDS)]},
        "POST /api/paper": dict(_STANDS),
        "/api/paper/{id}": {
            **_STANDS,
            "trades": [
                {"side": "short", "entry_timestamp": 1767229200000, "exit_timestamp": 1767231000000, "pnl": 15.7}
            ],
            "check": {"bars": 120, "trades": 1, "equal": True, "differences": []},
        },
    }
)


class PaperPosition(BaseModel):
    """A rule that is followed live, and how it stands after the newest closed bar that both legs have."""

    model_config = ConfigDict(extra="allow")

    id: str
    y: str
    x: str
    timeframe: str
    created: int = Field(description="When it was asked for, ms.")
    since: int = Field(description="Open time of the first bar that it decides on, ms.")
    request: dict[str, Any] = Field(description="The rule, as the body of a backtest.")
    trades_closed: int
    timestamp: int | None = Field(None, description="Open time of the last bar decided on, ms; null before the first.")
    zscore: float | None = None
    beta: float | None = None
    equity: float | None = Field(None, description="As if all were closed at that bar.")
    position: dict[str, Any] | None = Field(None, description="What is held; null: nothing.")
    order: str | None = Field(None, description="Decided at that bar, filled in the next one.")


class PaperOut(PaperPosition):
    """One rule with its closed trades, and whether a backtest over the same bars makes the same."""

    trades: list[dict[str, Any]]
    check: dict[str, Any] | None = Field(None, description="`equal` true, or the `differences` in words.")


class PaperList(BaseModel):
    """Every rule that is followed, the newest first."""

    positions: list[PaperPosition]


def add_paper(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes of paper positions."""
    paper = services.paper

    @app.get("/api/paper", response_model=PaperList, summary="The rules that are followed on paper")
    async def many() -> Response:
        """Each also as the topic `paper:ID` of the stream."""
        return _json(schemas.plain_json({"positions": list(paper.views())}))

    @app.post(
        "/api/paper",
        response_model=PaperPosition,
        status_code=201,
        dependencies=[Depends(json_only)],
        summary="Follow a rule on paper",
    )
    async def create(body: BacktestIn) -> Response:
        """The body of a backtest without a range: it begins with the bar that is open now and goes on until deleted.

        Decided at each bar's close and filled in the next one, as the backtest does it. `fill` next or open; without
        `gate`, `funding` and `latency_ms`.
        """
        document = body.document()
        for leg in ("y", "x"):
            document[leg] = await resolve_leg(catalog, document[leg], leg)
        return _json(schemas.plain_json(await paper.create(document)), 201)

    @app.get("/api/paper/{id}", response_model=PaperOut, summary="One rule: position, equity, trades, the check")
    async def one(id: Id, *, check: Check = True) -> Response:  # noqa: A002 - what everybody calls it
        """The check runs a backtest of the rule over the bars that are stored now; it can differ only where a bar was
        corrected after it had been decided on.
        """  # noqa: D205
        stands = paper.view(id)
        if stands is None:
            raise UnknownRule(id)
        checked = await paper.check(id) if check else None
        return _json(schemas.plain_json({**stands, "check": checked}))

    @app.delete("/api/paper/{id}", status_code=204, summary="Follow a rule no longer, and forget what it did")
    async def forget(id: Id) -> Response:  # noqa: A002
        if not await paper.delete(id):
            raise UnknownRule(id)
        return Response(status_code=204)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")
