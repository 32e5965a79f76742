"""Downloads of any size: the page's own origin streams an export through, so that no key is in a browser's hands."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx2
import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pairscope.dashboard.live_chart import LiveApi, live_view

__all__ = ["DOWNLOADS", "ApiDoor", "Download", "Downloads", "show_download"]

FOLDER: Final = "pairscope-download"
"""First part of the path that the dashboard hands files out under."""

_FIXED: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MOST: Final = 1000
_PATIENCE: Final = httpx2.Timeout(10.0, read=120.0)
_ASKED: Final = ("range", "if-range", "if-none-match")
_TOLD: Final = (
    "content-type",
    "content-length",
    "content-range",
    "content-disposition",
    "content-encoding",
    "accept-ranges",
    "etag",
    "last-modified",
)


@dataclass(frozen=True, slots=True)
class ApiDoor:
    """How this process reaches the API: where it is, and the key that it shows there, empty for none."""

    address: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a viewer may ask for: a path of the API with its parameters, and the name to keep it under."""

    door: ApiDoor
    path: str
    params: tuple[tuple[str, str], ...]
    name: str


class Downloads:
    """The files that pages have offered, by tokens nobody can guess; the newest thousand, the oldest go first."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._offered: OrderedDict[str, Download] = OrderedDict()
        self._lock = threading.Lock()

    def offer(self, download: Download) -> str:
        """Return the address, relative to the page, under which a file can be had; the same file has the same one."""
        token = hmac.new(self._secret, repr(download).encode(), hashlib.sha256).hexdigest()[:32]
        with self._lock:
            self._offered[token] = download
            self._offered.move_to_end(token)
            while len(self._offered) > _MOST:
                self._offered.popitem(last=False)
        return f"{FOLDER}/{token}/{quote(download.name, safe='')}"

    def find(self, token: str) -> Download | None:
        """Return what was offered under a token; None where that was long ago, or never."""
        with self._lock:
            return self._offered.get(token)


def _new() -> Downloads:
    return Downloads()


downloads = st.cache_resource(show_spinner=False)(_new)  # one for all viewers: the route finds what a page has offered


def show_download(
    api: LiveApi, door: ApiDoor, label: str, path: str, params: Mapping[str, Any], *, name: str, key: str
) -> None:
    """Draw a button that has the browser download a file of the API, however large it is."""
    given = tuple((field, str(value)) for field, value in params.items() if value is not None)
    href = downloads().offer(Download(door, path, given, name))
    live_view("download", api=api, key=key, label=label, href=href, name=name)


async def _hand_out(request: Request) -> Response:
    """Stream a file from the API; to a HEAD say only whether there is one. What the API refuses is told in words."""
    download = downloads().find(request.path_params["token"])
    if download is None:
        return _refusal(404, "This link is old: load the page anew and press the button again.")
    http = httpx2.AsyncClient(base_url=download.door.address, timeout=_PATIENCE, trust_env=False)
    asked = {name: request.headers[name] for name in _ASKED if name in request.headers}
    headers = {**asked, "Accept-Encoding": "identity", "User-Agent": "pairscope-dashboard"}
    if download.door.key:
        headers["X-API-Key"] = download.door.key
    try:
        question = http.build_request("GET", download.path, params=dict(download.params), headers=headers)
        answer = await http.send(question, stream=True)
    except httpx2.TransportError:
        await http.aclose()
        return _refusal(503, "The API does not answer: try again in a moment.")
    told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
    told.setdefault("content-disposition", f'attachment; filename="{quote(download.name)}"')
    if answer.is_error or request.method == "HEAD":
        refused = _reason(await answer.aread()) if answer.is_error else ""
        await answer.aclose()
        await http.aclose()
        named = {"content-disposition": told["content-disposition"]}
        return _refusal(answer.status_code, refused) if refused else Response(headers=named | _FIXED)
    return _Passed(http, answer, told | _FIXED)


class _Passed(StreamingResponse):
    """An answer of the API, passed on piece by piece; a viewer who leaves ends the API's work too."""

    def __init__(self, http: httpx2.AsyncClient, answer: httpx2.Response, headers: Mapping[str, str]) -> None:
        super().__init__(answer.aiter_raw(), answer.status_code, headers)
        self._closes = (answer, http)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for one in self._closes:
                await one.aclose()


def _refusal(status: int, words: str) -> Response:
    """Return why there is no file, also where only the head of an answer is read."""
    return PlainTextResponse(words, status, {"X-Reason": quote(words), **_FIXED})


def _reason(body: bytes) -> str:
    """Return the API's words about what it refused.

    >>> _reason(b'{"detail": "start: not a time"}'), _reason(b"?")
    ('start: not a time', 'The API refused it without a reason.')
    """
    nothing = "The API refused it without a reason."
    try:
        problem = json.loads(body)
    except ValueError:
        return nothing
    return str(problem.get("detail") or problem.get("title") or nothing) if isinstance(problem, dict) else nothing


DOWNLOADS: Final = Route(f"/{FOLDER}/{{token}}/{{name}}", _hand_out, methods=["GET", "HEAD"])
"""The route under which the dashboard serves them."""
