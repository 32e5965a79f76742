"""Alerts over HTTP: make rules, see how they stand, change and delete them, and read what they told."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Query
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.alert_bodies import AlertChange, AlertIn, AlertsQuery, PreviewIn, TriggeredQuery
from pairscope.api.catalog import Catalog, clean_symbol
from pairscope.api.legs import resolve_leg
from pairscope.api.watchlist import json_only
from pairscope.errors import UnknownAlert
from pairscope.ports import Services

__all__ = ["add_alerts"]

Id = Annotated[str, Path(max_length=64, description="As the alert's document says.")]

AT_ONCE: Final = 100
"""Alerts that are written before others get a turn."""
_SUBJECTS: Final = ("symbol", "y", "x")


def add_alerts(app: FastAPI, services: Services, catalog: Catalog) -> None:
    """Add the routes of alerts."""
    alerts = services.alerts

    async def known(document: dict[str, Any]) -> dict[str, Any]:
        """Return a body with every symbol as the exchange spells it; ``UnknownSymbol`` where there is no such one."""
        made = await resolved(document, "")
        for i, part in enumerate(made.get("conditions") or ()):
            made["conditions"][i] = await resolved(part, f"conditions[{i}].")
        return made

    async def resolved(part: dict[str, Any], where: str) -> dict[str, Any]:
        names = {name: part[name] for name in _SUBJECTS if part.get(name)}
        return {**part, **{name: await resolve_leg(catalog, text, where + name) for name, text in names.items()}}

    @app.get("/api/alerts", response_model=schemas.AlertsOut, summary="All alerts and how they stand")
    async def many(query: Annotated[AlertsQuery, Query()]) -> Response:
        """The newest first; each with its present values and how far they are from where it fires."""
        symbol = None if query.symbol is None else clean_symbol(query.symbol)
        parts = []
        for i, alert_id in enumerate(alerts.ids()):
            if i % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # ten thousand of them let others through
            view = alerts.view(alert_id)
            if view is not None and query.status in {None, view["status"]} and symbol in {None, *_symbols(view)}:
                parts.append(schemas.encode_alert(dict(view)))
        return _json(b'{"alerts":[%b]}' % b",".join(parts))

    @app.post(
        "/api/alerts",
        response_model=schemas.AlertCreated,
        status_code=201,
        dependencies=[Depends(json_only)],
        summary="Make an alert",
    )
    async def create(body: AlertIn) -> Response:
        """A level (`above`) fires at once where it holds already, a crossing needs a value on the other side first.

        Every target gets a test message, and `delivery` says what came of it.
        """
        made = await alerts.create(await known(body.document()))
        return _json(schemas.plain_json(made), 201, {"Location": f"/api/alerts/{made['id']}"})

    @app.get("/api/alerts/triggered", response_model=schemas.FiringsOut, summary="What alerts told, the newest first")
    async def triggered(query: Annotated[TriggeredQuery, Query()]) -> Response:
        """Pages stay as they are while new firings come; those of deleted alerts are in it too."""
        symbol = None if query.symbol is None else clean_symbol(query.symbol)
        found, before = await alerts.history(query.query(symbol))
        return _json(schemas.plain_json({"alerts": list(found), "next": None if before is None else str(before)}))

    @app.post(
        "/api/alerts/preview",
        response_model=schemas.AlertPreviewOut,
        dependencies=[Depends(json_only)],
        summary="How an alert would stand now, and when it would have fired",
    )
    async def preview(body: PreviewIn) -> Response:
        """The body of an alert; the rules' own machine is run over the stored past."""
        document = body.document()
        hours = document.pop("hours", 24.0)
        return _json(schemas.plain_json(await alerts.preview(await known(document), hours)))

    @app.get("/api/alerts/{id}", response_model=schemas.AlertOut, summary="One alert and how it stands")
    async def one(id: Id) -> Response:  # noqa: A002 - what everybody calls it
        view = alerts.view(id)
        if view is None:
            raise UnknownAlert(id)
        return _json(schemas.plain_json(view))

    @app.patch(
        "/api/alerts/{id}",
        response_model=schemas.AlertCreated,
        dependencies=[Depends(json_only)],
        summary="Change, pause or resume an alert",
    )
    async def change(id: Id, body: AlertChange) -> Response:  # noqa: A002
        """What is left out stays, what is null goes back to its default. What it watches for begins anew when changed.

        `status` paused and active pause and resume it; active also has one go on that is done.
        """
        if alerts.view(id) is None:
            raise UnknownAlert(id)
        return _json(schemas.plain_json(await alerts.change(id, await known(body.document()))))

    @app.delete("/api/alerts/{id}", status_code=204, summary="Delete an alert")
    async def forget(id: Id) -> Response:  # noqa: A002
        """What it told stays in the history."""
        if not await alerts.remove(id):
            raise UnknownAlert(id)
        return Response(status_code=204)

    @app.post(
        "/api/alerts/{id}/test",
        response_model=schemas.AlertTested,
        summary="Fire an alert for a test",
    )
    async def test(id: Id) -> Response:  # noqa: A002
        """Told on the stream and kept as a test, sent to each target; `delivery` says what came of it."""
        return _json(schemas.plain_json(await alerts.test(id)))


def _symbols(view: Any) -> set[str]:
    """Return the symbols that an alert watches."""
    return {part.get(name) for part in (view, *view.get("conditions", ())) for name in _SUBJECTS} - {None}


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
