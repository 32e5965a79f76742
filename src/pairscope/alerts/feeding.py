"""What alert rules are given beside ticks: bars from the store, what the screen says, funding rates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson
import structlog

from pairscope.engine.alerts import AlertBook, warm_up
from pairscope.engine.pairs import Wanted
from pairscope.errors import FeedError
from pairscope.lacking_history import LackingHistory
from pairscope.ports import Clock, Document, LiveView, Records, TickStore
from pairscope.ports_research import MarketScreen

__all__ = ["MARKS", "AlertFeeding", "Funding"]

MARKS: Final = "alert_marks"
"""How far the screen's events were heard, by screen."""
EVENTS: Final = 500
"""Newest events of the screen that are looked through."""
FUNDING_NS: Final = 60_000_000_000
FUNDING_AT_ONCE: Final = 50
"""Symbols whose funding rate is asked for in a minute; where rules name more, they take turns."""
FUNDING_BACK_NS: Final = 24 * 3_600_000_000_000
_MS: Final = 1_000_000
_SAID: Mapping[str, str] = MappingProxyType({"entered": "found", "left": "lost"})

_log = structlog.get_logger(__name__)

Funding = Callable[[str, int, int], Awaitable[Sequence[tuple[str, int, float]]]]
"""(symbol, time in ms, rate) of each funding of a symbol in a range of ns, oldest first."""


class AlertFeeding:
    """Reads what gauges lack and hands on what happened elsewhere, each once over restarts; ``note`` tells the journal.

    ``marks`` is what has to be stored with whatever the events brought about.
    """

    def __init__(
        self,
        book: AlertBook,
        *,
        store: TickStore,
        records: Records,
        live: LiveView,
        screens: MarketScreen,
        funding: Funding,
        clock: Clock,
        note: Callable[..., None],
    ) -> None:
        self._book = book
        self._records = records
        self._screens = screens
        self._funding = funding
        self._clock = clock
        self._note = note
        self._heard: dict[str, tuple[int, list[str]]] | None = None
        self._marks: dict[str, Document] = {}
        self._funded: dict[str, tuple[int, float]] = {}
        self._turn = 0
        self._funding_due_ns = 0
        self._warm = False
        self._warming = asyncio.Lock()
        self._history = LackingHistory(
            book, store=store, live=live, reload=self.reload, filled=self._was_read, whose="alerts"
        )

    async def restore(self) -> None:
        """Take up how far the screen's events were heard."""
        heard = {key: orjson.loads(body) async for key, body in self._records.scan(MARKS)}
        self._heard = {key: (as_of, list(names)) for key, (as_of, names) in heard.items()}

    @property
    def refused(self) -> int:
        """How often the store refused to be read."""
        return self._history.refused

    def marks(self) -> list[Document]:
        """Return what is to be stored of how far events were heard, once."""
        marks, self._marks = self._marks, {}
        return list(marks.values())

    def rules_changed(self) -> None:
        """Have funding rates asked for at the next turn: a rule may want one that nobody wanted."""
        self._funded.clear()
        self._funding_due_ns = 0

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the bars of symbols read again: the store has others now."""
        for symbol in symbols:
            self._book.reload([symbol])
            self._note("alert_reload", symbol)

    async def ready(self) -> None:
        """Compile the kernels before there is a first rule; where there are none, nobody pays for them."""
        async with self._warming:
            if not self._warm:
                await asyncio.to_thread(warm_up)
                self._warm = True

    async def catch_up(self) -> None:
        """Read the bars that gauges lack, once."""
        await self._history.read()

    def _was_read(self, wanted: Wanted) -> None:
        self._note("alert_filled", wanted.symbol, wanted.timeframe)

    def hear(self) -> None:
        """Hand on what the screens found and lost since they were last heard, oldest first."""
        if self._heard is None:
            return
        fresh: dict[str, list[Mapping[str, Any]]] = {}
        for event in reversed(self._screens.discoveries(EVENTS)["discoveries"]):
            fresh.setdefault(f"{event['timeframe']}:{event['lookback']}", []).append(event)
        for screen, events in fresh.items():
            as_of, names = self._heard.get(screen, (0, []))
            for event in events:
                at, name = int(event["timestamp"]), f"{event['event']} {event['y']}:{event['x']}"
                if at < as_of or (at == as_of and name in names):
                    continue
                as_of, names = (at, [*names, name]) if at == as_of else (at, [name])
                self._happened(event)
            if self._heard.get(screen) != (as_of, names):
                self._heard[screen] = as_of, names
                self._marks[screen] = Document(MARKS, screen, orjson.dumps([as_of, names]))

    async def ask_funding(self, symbols: Sequence[str]) -> None:
        """Hand on the newest funding rates of symbols, about once a minute, where they have changed."""
        now_ns = self._clock()
        if not symbols or now_ns < self._funding_due_ns:
            return
        self._funding_due_ns = now_ns + FUNDING_NS
        first = self._turn % len(symbols)
        turn = [*symbols[first:], *symbols[:first]][:FUNDING_AT_ONCE]
        self._turn = first + len(turn)
        for symbol in turn:
            try:
                rates = await self._funding(symbol, now_ns - FUNDING_BACK_NS, now_ns)
            except FeedError as error:
                _log.warning("the exchange does not tell a funding rate", symbol=symbol, error=str(error))
                return
            if rates and self._funded.get(symbol) != rates[-1][1:]:
                _, at_ms, rate = rates[-1]
                self._funded[symbol] = at_ms, rate
                self._tell("funding", symbol, rate, at_ms * _MS)

    def _happened(self, event: Mapping[str, Any]) -> None:
        kind = _SAID.get(event["event"])
        if kind is not None:
            value = 1.0 if event.get("qvalue") is None else float(event["qvalue"])  # not tested: nothing speaks for it
            name, at_ns = f"{event['y']}:{event['x']}", int(event["timestamp"]) * _MS
            self._tell(kind, name, value, at_ns, event["timeframe"], int(event["lookback"]))

    def _tell(self, kind: str, name: str, value: float, time_ns: int, timeframe: str = "", lookback: int = 0) -> None:
        """Hand an event on to the rules, and write it down for a replay."""
        told = {"kind": kind, "name": name, "value": value, "timeframe": timeframe, "lookback": lookback}
        self._note("alert_event", orjson.dumps(told).decode(), "", time_ns)
        self._book.on_event(kind, name, value, time_ns, timeframe, lookback)
