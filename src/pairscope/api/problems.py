"""Every error leaves as ``application/problem+json`` (RFC 9457), whatever raised it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.request_log import request_id
from pairscope.errors import PairscopeError

__all__ = ["MEDIA_TYPE", "CatchAll", "install", "problem"]

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_ECHO = 100
_MOST = 20
_BRANCH = re.compile(r"^(float|int|str|bool|none)$|^(constrained|function|lax-or-strict)-|^\w+\[.*\]$")
"""What pydantic calls one way among several to read a value: no part of what was sent."""

_log = structlog.get_logger(__name__)


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    title: str = "",
    errors: Sequence[Mapping[str, Any]] = (),
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as a response; ``kind`` is the last part of its ``type``, by default the status's phrase."""
    phrase = HTTPStatus(status).phrase
    document: dict[str, Any] = {
        "type": f"urn:pairscope:problem:{kind or phrase.lower().replace(' ', '-')}",
        "title": title or phrase,
        "status": status,
        "detail": detail,
        "errors": list(errors),
    }
    if hint:
        document["hint"] = hint
    if name := request_id():
        document["instance"] = f"urn:pairscope:request:{name}"
    extra = {"Cache-Control": "no-store", **(headers or {})}
    if status == 503:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(orjson.dumps(document), status, extra, MEDIA_TYPE)


class CatchAll:
    """Answers what nobody foresaw with a 500 that tells nothing of the inside, and logs it in full."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            _log.exception("request failed", path=scope["path"], method=scope["method"])
            if started:
                raise
            response = _of_pairscope(error, scope) if isinstance(error, PairscopeError) else _unexpected()
            await response(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make an application answer every foreseen error as a problem."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(PairscopeError, _on_pairscope)


def _unexpected() -> Response:
    return problem(500, "an unexpected error; it was logged", hint="the log of the API tells what happened")


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 405:
        allow = ", ".join(_methods(request))
        return problem(405, "this path does not answer that method", headers={"Allow": allow} if allow else None)
    if error.status_code == 400:  # FastAPI's, of a body that is not even text
        errors = [{"loc": ["body"], "msg": "not JSON"}]
        return problem(422, "body: not JSON", kind="bad-parameter", title="Bad parameter", errors=errors)
    phrase = HTTPStatus(error.status_code).phrase
    detail = "there is nothing at this path" if error.status_code == 404 else str(error.detail)
    return problem(error.status_code, detail, title=phrase, headers=error.headers)


def _methods(request: Request) -> list[str]:
    """Return every method that the request's path answers, HEAD with GET; Starlette names the first route's only."""
    found: set[str] = set()
    for route in request.app.router.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found | {"HEAD"} if "GET" in found else found)


async def _on_validation(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    items = [_item(fault) for fault in error.errors()[:_MOST]]
    detail = "; ".join(f"{_named(item['loc'])}: {item['msg']}" for item in items[:5])
    return problem(422, detail, kind="bad-parameter", title="Bad parameter", errors=items)


def _item(fault: Mapping[str, Any]) -> dict[str, Any]:
    """Turn one of pydantic's findings into ours: where and what, without what was sent."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "json_invalid":
        return {"loc": ["body"], "msg": f"not JSON, at character {fault['loc'][-1]}"}
    loc = [part if isinstance(part, int) else str(part)[:_ECHO] for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return {"loc": loc, "msg": "there is no such parameter"}
    sent = [part for part in loc if isinstance(part, int) or not _BRANCH.search(part)]
    return {"loc": sent, "msg": message[: 4 * _ECHO]}


def _named(loc: Sequence[str | int]) -> str:
    """Return a parameter's name, with the place in its list where one is meant: ``entry[1]``."""
    last = max((place for place, part in enumerate(loc) if isinstance(part, str)), default=-1)
    return "request" if last < 0 else str(loc[last]) + "".join(f"[{part}]" for part in loc[last + 1 :])


async def _on_pairscope(request: Request, error: Exception) -> Response:
    if not isinstance(error, PairscopeError):
        raise error
    return _of_pairscope(error, request.scope)


def _of_pairscope(error: PairscopeError, scope: Scope) -> Response:
    """Turn an error of the tree into a problem; its class gives type, title and status."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
    errors = [{"loc": _where(error.loc, scope), "msg": str(error)}] if error.loc else []
    headers = {}
    after = getattr(error, "retry_after_s", None)
    if error.retry and error.status in {502, 503}:
        headers["Retry-After"] = str(max(1, round(after)) if after is not None else RETRY_AFTER_S)
    if error.status >= 500:
        _log.warning("request refused", path=scope["path"], error=type(error).__name__, reason=str(error))
    return problem(
        error.status,
        str(error),
        kind=words.replace(" ", "-"),
        title=words.capitalize(),
        errors=errors,
        hint=error.hint,
        headers=headers,
    )


def _where(loc: str, scope: Scope) -> list[str | int]:
    """Say in which part of the request a parameter stands: ``conditions[1].symbol`` in the second of a list."""
    if loc in scope.get("path_params", {}):
        return ["path", loc]
    parts = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", loc)]
    return ["query" if scope.get("method") == "GET" else "body", *parts]
