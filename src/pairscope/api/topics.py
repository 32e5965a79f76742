"""What can be listened to on the stream, and each topic's current value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fastapi import FastAPI
from starlette.responses import Response

from pairscope import schemas
from pairscope.api.bars import live_bars
from pairscope.api.catalog import Catalog
from pairscope.api.desk_link import DeskLink
from pairscope.api.forwarding import TOPIC_PATH
from pairscope.api.indicators import current_indicators, read_names
from pairscope.api.prices import current_price
from pairscope.api.system import StatsView
from pairscope.errors import DeskAway, InputError, UnknownJob, UnknownRule
from pairscope.gap_flags import gap_flags
from pairscope.market.bars import TIMEFRAMES
from pairscope.ports import Services

__all__ = ["MOST_COMPUTED", "SEQ_HEADER", "Standing", "Topic", "Topics", "add_topic"]

SEQ_HEADER = "X-Topic-Seq"
_DESKS = frozenset({"discoveries", "job", "jobs", "paper"})
"""Kinds of topics whose value the desk alone knows."""

MOST_COMPUTED = 256
"""Indicator topics that may be listened to at once: each is worked out five times a second while its symbol trades."""

_KINDS = (
    "price:SYMBOL, bar:SYMBOL:TIMEFRAME, indicators:SYMBOL:TIMEFRAME:NAMES, pair:Y:X, paper:ID, discoveries, jobs, "
    "job:ID, alerts, stats"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that was understood; ``name`` is how the bus spells it."""

    name: str
    kind: str
    symbol: str = ""
    timeframe: str = ""
    names: tuple[str, ...] = ()
    pair: tuple[str, str] = ("", "")
    job: str = ""


class Standing(NamedTuple):
    """A topic's current value, None where it has none yet, and the ``seq`` behind which the bus goes on."""

    seq: int
    value: bytes | None


class Topics:
    """Reads topics as clients write them, and knows where the current value of each stands.

    ``link`` is the way to the desk where that may be another replica: it is asked for what it alone knows.
    """

    def __init__(self, services: Services, catalog: Catalog, stats: StatsView, link: DeskLink | None = None) -> None:
        self._link = link
        self._services = services
        self._catalog = catalog
        self._stats = stats

    async def read(self, text: object) -> Topic:
        """Return a topic; ``InputError`` or ``UnknownSymbol`` says what is wrong with it."""
        if not isinstance(text, str):
            raise InputError("a topic is a string")
        kind, *rest = text.strip().split(":", 3 if text.strip().startswith("indicators:") else -1)
        match kind, len(rest):
            case ("alerts" | "discoveries" | "jobs" | "stats", 0):
                return Topic(kind, kind)
            case ("job", 1):
                name = f"job:{rest[0]}"
                if self._elsewhere():
                    return Topic(name, kind, job=rest[0])
                if self._services.jobs.view(rest[0]) is None and name not in self._services.bus.wanted():
                    raise UnknownJob(rest[0])
                return Topic(name, kind, job=rest[0])
            case ("paper", 1):
                if not self._elsewhere() and self._services.paper.view(rest[0]) is None:
                    raise UnknownRule(rest[0])
                return Topic(f"paper:{rest[0]}", kind, job=rest[0])
            case ("price", 1):
                symbol = await self._catalog.resolve(rest[0])
                return Topic(f"price:{symbol}", kind, symbol)
            case ("bar", 2):
                symbol = await self._catalog.resolve(rest[0])
                timeframe = _timeframe(rest[1])
                return Topic(f"bar:{symbol}:{timeframe}", kind, symbol, timeframe)
            case ("indicators", 3):
                symbol = await self._catalog.resolve(rest[0])
                timeframe = _timeframe(rest[1])
                names, _ = read_names(rest[2])
                name = f"indicators:{symbol}:{timeframe}:{','.join(names)}"
                self._demand_room(name)
                return Topic(name, kind, symbol, timeframe, names)
            case ("pair", 2):
                y, x = [await self._catalog.resolve(symbol) for symbol in rest]
                if y == x:
                    raise InputError(f"a pair needs two different symbols, both are {y}")
                self._services.pairs.demand(y, x)
                return Topic(f"pair:{y}:{x}", kind, pair=(y, x))
        raise InputError(f"no such topic: {text[:80]!r}; there are {_KINDS}")

    async def standing(self, topic: Topic, seq: int) -> Standing:
        """Return a topic's current value and its ``seq``, here or, where only the desk knows them, there.

        ``UnknownJob`` and ``UnknownRule`` are the desk's word; while there is no desk, a topic has no value yet.
        """
        if self._link is None or self._link.here or topic.kind not in _DESKS:
            return Standing(seq, await self.current(topic))
        try:
            answer = await self._link.ask(TOPIC_PATH, {"name": topic.name})
        except DeskAway:
            return Standing(seq, None)
        if answer.status_code == 404:
            raise UnknownJob(topic.job) if topic.kind == "job" else UnknownRule(topic.job)
        if answer.status_code != 200:
            return Standing(seq, None)
        seq = int(answer.headers.get(SEQ_HEADER, "0"))
        self._services.bus.resume(topic.name, seq)
        return Standing(seq, answer.content or None)

    def seq(self, topic: Topic) -> int:
        """Return the last ``seq`` that the bus gave a topic."""
        return self._services.bus.seq(topic.name)

    async def current(self, topic: Topic) -> bytes | None:
        """Return a topic's current value; None where it has none yet."""
        if topic.kind == "price":
            return await current_price(self._services, topic.symbol)
        if topic.kind == "stats":
            return await self._stats.encoded()
        if topic.kind == "discoveries":
            return schemas.encode_screen(self._services.screens.discoveries())
        if topic.kind == "jobs":
            return schemas.encode_jobs(self._services.jobs.views())
        if topic.kind == "job":
            job = self._services.jobs.view(topic.job)
            return None if job is None else schemas.encode_job(job)
        if topic.kind == "paper":
            stands = next((v for v in self._services.paper.views() if v["id"] == topic.job), None)
            return None if stands is None else schemas.plain_json(stands)
        if topic.kind == "bar":
            page = await live_bars(self._services, topic.symbol, topic.timeframe, 1)
            if not len(page.bars):
                return None
            newest = page.bars.take(slice(-1, None))
            gap = bool((await gap_flags(self._services.store, topic.symbol, newest))[0])
            return schemas.encode_bar(newest, 0, closed=bool(page.closed[-1]), gap=gap)
        if topic.kind == "indicators":
            return await current_indicators(self._services, topic.symbol, topic.timeframe, topic.names)
        if topic.kind == "pair":
            view = self._services.pairs.current(*topic.pair)
            return None if view is None else schemas.encode_pair(view)
        return None

    def _elsewhere(self) -> bool:
        return self._link is not None and not self._link.here

    def _demand_room(self, name: str) -> None:
        """Raise ``InputError`` where one more computed topic would be too many for all clients together."""
        wanted = self._services.bus.wanted()
        if name not in wanted and sum(topic.startswith("indicators:") for topic in wanted) >= MOST_COMPUTED:
            raise InputError(f"at most {MOST_COMPUTED} different sets of indicators are computed at once")


def add_topic(app: FastAPI, topics: Topics) -> None:
    """Add the route at which other replicas ask the desk where a topic stands."""

    @app.get(TOPIC_PATH, include_in_schema=False)
    async def one(name: str) -> Response:
        """An empty body is a topic that has no value yet."""
        topic = await topics.read(name)
        seq, value = await topics.standing(topic, topics.seq(topic))
        headers = {"Cache-Control": "no-store", SEQ_HEADER: str(seq)}
        return Response(value or b"", 200, headers, "application/json")


def _timeframe(text: str) -> str:
    if text not in TIMEFRAMES:
        raise InputError(f"no such timeframe: {text[:20]!r}; there are {', '.join(TIMEFRAMES)}")
    return text
