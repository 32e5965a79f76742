"""The OpenAPI document, and the page at ``/docs``: the same for people, whole in itself, asking no other server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

__all__ = ["add_docs", "page_of"]

_STYLE = """
:root{color-scheme:dark light;--line:#2b3139;--soft:#929aa5;--mark:#f0b90b;--page:#0b0e11;--ink:#eaecef}
@media(prefers-color-scheme:light){:root{--line:#d8dce1;--soft:#5e6673;--mark:#8a6700;--page:#fff;--ink:#1e2329}}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{background:var(--page);color:var(--ink)}
h1{font-size:1.6rem}h2{font-size:1.05rem;margin:0}a,.verb{color:var(--mark)}.soft{color:var(--soft)}
section{border:1px solid var(--line);border-radius:.5rem;margin:1rem 0;padding:1rem}
code,pre{font:13px/1.45 ui-monospace,monospace}
pre{overflow:auto;border-top:1px solid var(--line);padding-top:.6rem;margin-bottom:0}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
td{border-top:1px solid var(--line);padding:.25rem .6rem .25rem 0;vertical-align:top}
"""
_ASKING: Mapping[str, str] = {
    "/api/indicators/{symbol}": "?indicators=sma:20,ema:20",
    "/api/analytics/symbol": "?symbol=BTCUSDT",
    "/api/analytics/statistics": "?symbol=BTCUSDT",
}
_OF_A_PAIR = ("/api/analytics/pair", "/api/analytics/correlation", "/api/analytics/screen/history")
"""Which symbols there are besides is not known here: these have no link."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


def add_docs(app: FastAPI) -> None:
    """Add both routes; what they answer is written when it is first asked for, beside the event loop: it takes long."""
    written: list[bytes] = []
    turn = asyncio.Lock()

    def write() -> None:
        document = app.openapi()
        written.extend((page_of(document).encode(), orjson.dumps(document)))

    async def both() -> list[bytes]:
        async with turn:
            if not written:
                await asyncio.to_thread(write)
        return written

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse((await both())[0], headers={"Content-Security-Policy": _POLICY})

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return Response((await both())[1], media_type="application/json")


def page_of(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as a page."""
    title = f"{document['info']['title']} {document['info']['version']}"
    body = "".join(_paragraphs(document["info"]["description"]))
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            body += _section(path, verb, operation)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} API</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>{body}<p class="soft">For programs: <a href="/openapi.json">/openapi.json</a>'
        "</p></body></html>"
    )


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.strip().split("\n\n"):
        yield f"<p>{_words(part)}</p>"


def _words(text: str) -> str:
    """Return words as HTML, what stands between back-ticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _section(path: str, verb: str, operation: dict[str, Any]) -> str:
    shown = f'<span class="verb">{verb.upper()}</span> <code>{escape(path)}</code>'
    example = path.replace("{symbol}", "BTCUSDT") + _ASKING.get(path, "")
    alone = verb == "get" and path not in _OF_A_PAIR and "{" not in path.replace("{symbol}", "")
    link = f' <a href="{escape(example)}">try</a>' if alone else ""
    rows = "".join(_row(parameter) for parameter in operation.get("parameters", ()))
    table = f"<table>{rows}</table>" if rows else ""
    answers = ", ".join(f"{status} {_words(r['description'])}" for status, r in sorted(operation["responses"].items()))
    summary, said = _words(operation.get("summary", "")), _words(operation.get("description", ""))
    return (
        f"<section><h2>{shown}{link}</h2><div>{summary}</div><div>{said}</div>{table}"
        f'<div class="soft">{answers}</div>{_example(operation)}</section>'
    )


def _row(parameter: dict[str, Any]) -> str:
    shape = parameter.get("schema", {})
    kinds = [shape.get("type"), *(part.get("type") for part in shape.get("anyOf", ()))]
    kind = " or ".join(dict.fromkeys(k for k in kinds if k and k != "null"))
    choices = f": {', '.join(map(str, shape['enum']))}" if "enum" in shape else ""
    default = f", default {shape['default']}" if "default" in shape else ""
    example = f", like <code>{escape(str(parameter['example']))}</code>" if "example" in parameter else ""
    told = _words(parameter.get("description", ""))
    about = f"{told}<div class='soft'>{escape(kind + choices + default)}{example}</div>"
    return f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{about}</td></tr>"


def _example(operation: dict[str, Any]) -> str:
    for status in ("200", "201"):
        for content in operation["responses"].get(status, {}).get("content", {}).values():
            if "example" in content:
                example = content["example"]
                text = example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
                return f"<pre>{escape(text)}</pre>"
    return ""
