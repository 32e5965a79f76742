"""The dashboard as an ASGI application: the page, the files that its live charts load, and the downloads it offers."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from pairscope.dashboard.data_download import DOWNLOADS
from pairscope.dashboard.live_chart.assets import ASSETS, PREFIX

__all__ = ["app"]

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


async def asset(request: Request) -> Response:
    """Serve a script of the live charts; its address holds a hash of all of them, so that it may be kept for ever."""
    path = ASSETS.get(request.path_params["name"])
    if path is None or not path.is_file():
        return Response("no such file", 404, media_type="text/plain")
    return FileResponse(path, media_type="text/javascript", headers=_FOREVER)


app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[Route(f"/{PREFIX}/{{version}}/{{name}}", asset, methods=["GET"]), DOWNLOADS],
)
