"""The exchange's REST side over a small synthetic market, without a socket, and what it was asked."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import httpx2

from pairscope.feed.replay_rest import RestApi
from pairscope.feed.replay_source import SyntheticSource
from pairscope.feed.replay_weight import WeightPool
from pairscope.feed.rest import ExchangeRest
from pairscope.feed.synthetic import SyntheticMarket

MINUTE_MS = 60_000
NOON_MS = 1_790_510_400_000


class ReplayedExchange:
    """Answers at one moment, 12.345 s into a minute; ``asked`` holds the requests by their endpoint."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS + 12_345
        self.source = SyntheticSource(SyntheticMarket(seed=7, symbols=5, ticks_per_second=20.0))
        self.asked: dict[str, list[dict[str, str]]] = {}
        self._api = RestApi(self.source, lambda: self.now_ms, weights=WeightPool(lambda: NOON_MS, limit=10**9))

    def rest(self) -> ExchangeRest:
        return ExchangeRest("http://exchange", clock=self.clock, transport=httpx2.MockTransport(self._answer))

    def clock(self) -> int:
        return self.now_ms * 10**6

    def pages(self, endpoint: str) -> list[dict[str, str]]:
        """The requests for more than a single row."""
        return [query for query in self.asked.get(endpoint, []) if query.get("limit") != "1"]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        parts = urlsplit(str(request.url))
        name = parts.path.removeprefix("/fapi/v1/")
        self.asked.setdefault(name, []).append(dict(parse_qsl(parts.query)))
        answer = self._api.answer("GET", f"{parts.path}?{parts.query}")
        return httpx2.Response(answer.status, content=answer.body, headers=answer.headers)
