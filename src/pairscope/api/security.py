"""Who may call: hosts, origins, keys, WebSocket tickets and rate limits, all before anything else is looked at."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from limits import parse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairscope.api.options import ApiOptions
from pairscope.api.passes import HANDED_ON, Passes
from pairscope.api.problems import problem
from pairscope.api.shared_counts import SharedCounts
from pairscope.errors import ConfigError
from pairscope.ports import Clock

__all__ = ["FREE_PATHS", "BodyLimit", "Gate", "Keys", "Origins", "RateLimit", "SecurityHeaders", "Tickets"]

FREE_PATHS = frozenset({"/api/health", "/api/health/live", "/api/health/ready"})
"""Asked for no key, counted against no limit."""

TICKET_S = 30
SUBPROTOCOL = "pairscope.v1"
TICKET_PREFIX = "ticket."
_MAX_WELCOME = 64
_HEX = 64


class Keys:
    """The keys that are accepted, known by their SHA-256 only."""

    def __init__(self, options: ApiOptions) -> None:
        self._digests = tuple(_digest(key) for key in options.api_keys)
        self._dashboard = _digest(options.dashboard_key) if options.dashboard_key else ""

    @property
    def required(self) -> bool:
        """Whether a call without a key is refused."""
        return bool(self._digests)

    def holder(self, key: str) -> str | None:
        """Return a name for who holds a key (``dashboard``, or the start of its digest); None where nobody does."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        if self._dashboard and hmac.compare_digest(digest, self._dashboard):
            return "dashboard"
        known = [hmac.compare_digest(digest, other) for other in self._digests]
        return digest[:16] if any(known) else None


class Tickets:
    """Short-lived JWTs for browsers, which cannot send a key on a WebSocket.

    A ticket opens one WebSocket, and serves as a bearer for reads while it lives. ``counts`` know which are spent:
    in every replica where they are shared.
    """

    def __init__(self, secret: str, clock: Clock, counts: SharedCounts | None = None) -> None:
        # Hashed, so that any secret makes a key of full length.
        self._secret = hashlib.sha256((secret or secrets.token_urlsafe(32)).encode()).digest()
        self._clock = clock
        self._counts = counts or SharedCounts()

    def issue(self, holder: str) -> str:
        """Return a ticket for the holder of a key."""
        from joserfc import jwt

        now_s = self._clock() // 1_000_000_000
        claims = {"sub": holder, "iat": now_s, "exp": now_s + TICKET_S, "jti": secrets.token_urlsafe(12)}
        return jwt.encode({"alg": "HS256"}, claims, self._key())

    async def holder(self, ticket: str, *, spend: bool) -> str | None:
        """Return whose ticket it is; None where it is forged, too old or, where it is to be spent, spent already."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            claims = jwt.decode(ticket, self._key(), algorithms=["HS256"]).claims
        except (JoseError, ValueError):
            return None
        now_s = self._clock() // 1_000_000_000
        number, until_s = str(claims.get("jti", "")), int(claims.get("exp", 0))
        if until_s < now_s:
            return None
        if spend and not await self._counts.first(f"ticket/{number}", 2 * TICKET_S):
            return None
        return str(claims.get("sub", ""))

    def _key(self) -> Any:
        from joserfc.jwk import OctKey

        return OctKey.import_key(self._secret)


class RateLimit:
    """So many calls a period for each key, else for each address; ``ConfigError`` where that cannot be read."""

    @classmethod
    def of(cls, options: ApiOptions, counts: SharedCounts) -> RateLimit | None:
        """Return the limit that is asked for."""
        return cls(options.rate_limit, counts) if options.rate_limit else None

    def __init__(self, limit: str, counts: SharedCounts) -> None:
        self._counts = counts
        try:
            self._item = parse(limit)
        except ValueError:
            raise ConfigError(
                f"RATE_LIMIT: {limit!r} is no rate limit", loc="PAIRSCOPE_RATE_LIMIT", hint="write it like 600/minute"
            ) from None

    async def refusal(self, who: str) -> Response | None:
        """Count a call; return the 429 where it is one too many."""
        reset_s = await self._counts.hit(self._item, who)
        if reset_s is None:
            return None
        wait_s = max(1, ceil(reset_s - time.time()))
        detail = f"more than {self._item.amount} calls in {self._item.get_expiry()} s; ask again in {wait_s} s"
        return problem(429, detail, headers={"Retry-After": str(wait_s)})


class Gate:
    """Turns away, in this order: foreign hosts and origins, callers without a key, callers that call too often.

    What another replica hands on under a pass went through its gate, and is let in.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: ApiOptions,
        keys: Keys,
        tickets: Tickets,
        counts: SharedCounts | None = None,
        passes: Passes | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._tickets = tickets
        self._hosts = frozenset(host.lower() for host in options.hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in options.cors_origins)
        self._passes = passes
        self._limit = RateLimit.of(options, counts or SharedCounts())
        self._open = not self._keys.required and self._limit is None
        self._welcome: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        free = kind == "http" and ((self._open and self._welcomed(scope)) or scope["path"] in FREE_PATHS)
        if free or kind not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send)
        elif kind == "http":
            await refusal(scope, receive, send)
        else:
            await _deny(refusal, scope, send)

    def _welcomed(self, scope: Scope) -> bool:
        """Whether a request names one host, and that was let in before."""
        said = [value for name, value in scope["headers"] if name == b"host"]
        return not self._hosts or (len(said) == 1 and said[0] in self._welcome)

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        handed_by = self._handed_by(scope, headers)
        if handed_by is not None:
            scope["state"] = {**scope.get("state", {}), "holder": handed_by}
            return None
        host = headers.get("host", "")
        if self._hosts and not self._hosts.issuperset(map(_host_name, headers.getlist("host") or [""])):
            return problem(403, "this host name is not served here", hint="set PAIRSCOPE_PUBLIC_API_URL")
        if len(self._welcome) < _MAX_WELCOME:
            self._welcome.add(host.encode("latin-1"))
        if scope["type"] == "websocket" and not self._same_or_allowed(headers.get("origin"), host):
            return problem(403, "pages of this origin may not connect", hint="name it in PAIRSCOPE_CORS_ORIGINS")
        holder = await self._holder(scope, headers)
        address = f"address:{scope['client'][0] if scope.get('client') else ''}"
        if self._limit is not None and holder != "dashboard":
            refusal = await self._limit.refusal(f"key:{holder}" if holder else address)
            if refusal is not None:
                return refusal
        if holder is None and self._keys.required:
            return problem(
                401,
                "a key is asked for: send it as X-API-Key or as Authorization: Bearer",
                headers={"WWW-Authenticate": 'Bearer realm="pairscope"'},
            )
        scope["state"] = {**scope.get("state", {}), "holder": holder or ""}
        return None

    def _same_or_allowed(self, origin: str | None, host: str) -> bool:
        """Whether a WebSocket may be opened: by a program, by a page of this very host, or by an origin named."""
        if origin is None:
            return True
        return origin.lower() in self._origins or origin.lower().partition("://")[2] == host.lower()

    def _handed_by(self, scope: Scope, headers: Headers) -> str | None:
        """Return the holder whose request another replica hands on; None of every other request."""
        handed = headers.get(HANDED_ON)
        if handed is None or self._passes is None or scope["type"] != "http":
            return None
        return self._passes.holder(handed, scope["method"], scope["path"])

    async def _holder(self, scope: Scope, headers: Headers) -> str | None:
        """Return who calls, by key or by ticket; None where neither holds."""
        presented = headers.get("x-api-key", "")
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        bearer = bearer.strip() if kind.lower() == "bearer" else ""
        for key in filter(None, (presented, bearer)):
            holder = self._keys.holder(key)
            if holder is not None:
                return holder
        if scope["type"] == "websocket":
            offered = [p.removeprefix(TICKET_PREFIX) for p in scope.get("subprotocols", ()) if TICKET_PREFIX in p]
            return await self._tickets.holder(offered[0], spend=True) if offered else None
        if bearer.count(".") == 2 and scope["method"] in {"GET", "HEAD"}:
            return await self._tickets.holder(bearer, spend=False)
        return None


class BodyLimit:
    """Refuses a body that is too large: at once where its length is said, else when what is read passes the limit.

    JSON, which is read whole and parsed, has a limit of its own, and so have the paths of ``files``, which go to disk.
    """

    def __init__(
        self, app: ASGIApp, *, most: int, most_json: int, files: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._app = app
        self._most = most
        self._most_json = min(most, most_json)
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        json = "json" in headers.get("content-type", "").lower()
        most = self._most_json if json else self._files.get(scope["path"], self._most)
        detail = f"a body{' of JSON' if json else ''} has at most {most} bytes"
        said = headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > most:
            await problem(413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        had = 0

        async def counted() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > most:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)


class Origins(CORSMiddleware):
    """CORS that costs a request without an origin next to nothing: all it needs to hear is that answers vary by it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return

        async def varying(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"vary", b"Origin")]
            await send(message)

        await self.app(scope, receive, varying)


class SecurityHeaders:
    """Tells browsers to take an answer for what it says it is, to frame nothing and to load nothing."""

    _FIXED: Mapping[str, str] = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._raw = [(name.lower().encode(), value.encode()) for name, value in self._FIXED.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = any(name.lower() == b"content-security-policy" for name, _ in message["headers"])
                message["headers"] = [*message["headers"], *(self._raw[:-1] if own else self._raw)]
            await send(message)

        await self._app(scope, receive, with_headers)


def _host_name(host: str) -> str:
    """Return a host header's name without its port; an empty one where it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _deny(response: Response, scope: Scope, send: Send) -> None:
    """Refuse a WebSocket before it is accepted, with the whole response where the server can send one."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        return
    start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})


def _digest(key: str) -> str:
    """Read ``sha256:<hex>``."""
    kind, _, digest = key.strip().lower().partition(":")
    if kind != "sha256" or len(digest) != _HEX or set(digest) - set("0123456789abcdef"):
        raise ConfigError(
            "API_KEYS: a key is not written as sha256:<64 hex digits>",
            loc="PAIRSCOPE_API_KEYS",
            hint="printf %s KEY | sha256sum",
        )
    return digest
