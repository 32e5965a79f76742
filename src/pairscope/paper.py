"""Paper positions: rules followed live, kept with all they did, compared with a backtest of the same stretch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import numpy as np
import orjson
import structlog

from pairscope.engine.paper import PaperBook
from pairscope.engine.paper_kernels import METHODS, warm_up
from pairscope.engine.paper_rules import Kept, PaperEvent, PaperRule, begin_of, rule_of_text, rule_text
from pairscope.errors import InputError, StorageError
from pairscope.market.bars import timeframe_ns
from pairscope.ports import Bus, Clock, LiveView, Records, TickStore
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.pair_bars import pair_bars
from pairscope.research.paper_check import paper_check, paper_request, paper_terms

__all__ = ["EVENTS", "MOST_RULES", "RULES", "STATES", "PaperTrader"]

_log = structlog.get_logger(__name__)

RULES: Final = "paper"
EVENTS: Final = "paper_events"
STATES: Final = "paper_states"
MOST_RULES: Final = 1000
MOST_TRADES: Final = 5000
"""Trades of a rule that are held for answers; its older ones stay in the records."""
KEEP_EVERY: Final = 60
"""Bars after which a rule's state is kept although it did nothing."""
LOOK_S: Final = 0.5
_MS: Final = 1_000_000
_FOREVER: Final = 1 << 62
_MOST_BARS: Final = 200_000

Document = dict[str, Any]


@dataclass(slots=True)
class _Followed:
    """A rule with what it did so far: its request, closed trades, and the newest event of each kind."""

    rule: PaperRule
    request: BacktestRequest
    created_ms: int
    trades: list[Document] = field(default_factory=list)
    events: int = 0
    last: Document | None = None
    kept_ns: int = 0
    told_ns: int = 0


class PaperTrader:
    """``PaperPositions`` over a book, a store and records; ``run`` reads what rules lack and writes what they did.

    ``note`` hears, in the words of the journal, which rules are followed and whose history was read.
    """

    def __init__(
        self,
        book: PaperBook,
        *,
        store: TickStore,
        records: Records,
        bus: Bus,
        live: LiveView,
        clock: Clock,
        note: Callable[..., None] = lambda *_: None,
    ) -> None:
        self._book = book
        self._store = store
        self._records = records
        self._bus = bus
        self._live = live
        self._clock = clock
        self._note = note
        self._followed: dict[str, _Followed] = {}
        self._woken = asyncio.Event()
        self._numbers = count(1)
        self._unwritten: list[PaperEvent] = []
        self._making = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._warm = False

    async def restore(self) -> None:
        """Take up the rules as they were kept, each from its last recorded bar on."""
        async for key, document in self._records.scan(RULES):
            try:
                made = orjson.loads(document)
                rule, _ = rule_of_text(made["rule"])
                request = BacktestRequest.from_document(made["request"])
            except (InputError, TypeError, ValueError, KeyError) as error:
                _log.warning("a paper rule cannot be read", rule=key, error=str(error))
                continue
            followed = self._followed[rule.id] = _Followed(rule, request, made["created"])
            state = await self._records.get(STATES, rule.id)
            kept = None if state is None else _kept_of(orjson.loads(state))
            async for name, event in self._records.scan(EVENTS, f"{rule.id}:"):
                if not name.startswith(f"{rule.id}:"):
                    break
                said = orjson.loads(event)
                self._remember(followed, said)
                if kept is None or said["kept"]["next_ns"] >= kept.next_ns:
                    kept = _kept_of(said["kept"])
            self._follow(rule, kept)

    # -- PaperPositions ------------------------------------------------------------------------------------------------

    async def create(self, document: Any) -> Mapping[str, Any]:
        """Follow a rule from the next bar on; ``InputError`` names the field that cannot be."""
        request = paper_request(document)
        async with self._making:  # one after the other: each counts those before it
            return await self._create(request)

    async def _create(self, request: BacktestRequest) -> Mapping[str, Any]:
        if len(self._followed) >= MOST_RULES:
            raise InputError(f"at most {MOST_RULES} rules are followed at once", loc="y", hint="delete one first")
        step_ns = timeframe_ns(request.timeframe)
        since_ns = (self._live.watermark_ns() or self._clock()) // step_ns * step_ns  # the bar that is open now
        rule, terms = paper_terms(request)
        span = max(request.lookback if request.method != "fixed" else 2, request.window)
        made = PaperRule(
            f"{self._clock() // _MS:x}-{next(self._numbers)}",
            request.y,
            request.x,
            request.timeframe,
            METHODS[METHODS.index(request.method)],
            0.0 if request.beta is None else request.beta,
            request.lookback,
            request.window,
            rule,
            terms,
            begin_of(request.key, request.timeframe, span, since_ns),
            since_ns,
        )
        created_ms = self._clock() // _MS
        kept = {"rule": rule_text(made), "request": request.document(), "created": created_ms}
        await self._records.put(RULES, made.id, orjson.dumps(kept))
        self._followed[made.id] = _Followed(made, request, created_ms)
        self._follow(made, None)
        self._woken.set()
        return self.view(made.id) or {}

    async def delete(self, rule_id: str) -> bool:
        """Follow a rule no longer and forget what it did; False where there is none."""
        if self._followed.pop(rule_id, None) is None:
            return False
        self._book.remove(rule_id)
        self._note("unpaper", rule_id)
        async with self._writing:
            names = [name async for name, _ in self._records.scan(EVENTS, f"{rule_id}:") if name.startswith(rule_id)]
            for name in names:
                await self._records.delete(EVENTS, name)
            await self._records.delete(STATES, rule_id)
            await self._records.delete(RULES, rule_id)
        return True

    def views(self) -> Sequence[Mapping[str, Any]]:
        """Return how every rule stands, the newest first, without trades."""
        found = sorted(self._followed.values(), key=lambda one: (-one.created_ms, one.rule.id))
        return [self._view(followed) for followed in found]

    def view(self, rule_id: str) -> Mapping[str, Any] | None:
        """Return how a rule stands, with its trades; None where there is none."""
        followed = self._followed.get(rule_id)
        return None if followed is None else self._view(followed) | {"trades": [_shown(t) for t in followed.trades]}

    async def check(self, rule_id: str) -> Mapping[str, Any] | None:
        """Return how a rule agrees with a backtest over the stored bars; None where there is no such rule."""
        followed = self._followed.get(rule_id)
        stands = self._book.view(rule_id)
        if followed is None or stands is None:
            return None
        rule, trades, end_ns = followed.rule, list(followed.trades), stands["next_ns"]
        opened_ns = stands["entry_ns"] if stands["open"] else None
        legs = [
            await self._store.bars(leg, rule.timeframe, rule.begin_ns, end_ns, limit=_MOST_BARS)
            for leg in (rule.y, rule.x)
        ]
        bars = pair_bars(*legs)
        return await asyncio.to_thread(
            lambda: paper_check(
                followed.request,
                bars,
                since_ns=rule.since_ns,
                trades=trades,
                equity=stands["equity"],
                opened_ns=opened_ns,
            )
        )

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of the rules, for ``/api/stats``."""
        return {
            "rules": len(self._followed),
            "loading": len(self._book.lacking()),
            "trades": sum(len(followed.trades) for followed in self._followed.values()),
            "unwritten": len(self._unwritten),
        }

    # -- beside the feed -----------------------------------------------------------------------------------------------

    def history_came(self, symbols: Sequence[str]) -> None:
        """Have the bars of symbols read again: the store has others now."""
        self._book.reload(symbols)
        self._woken.set()

    async def run(self) -> None:
        """Read what rules lack and write what they did, until cancelled."""
        while True:
            try:
                await self.catch_up()
            except StorageError as error:
                _log.warning("paper positions wait for the store", error=str(error))
            self.tell()
            self._woken.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def catch_up(self) -> None:
        """Read what rules lack, and write what they did."""
        lacking = self._book.lacking()
        if lacking and not self._warm:
            await asyncio.to_thread(warm_up)  # where there are no rules, nobody pays for them
            self._warm = True
        for rule in lacking:
            self._book.begin(rule.id)
            try:
                legs = [
                    await self._store.bars(leg, rule.timeframe, rule.begin_ns, _FOREVER, limit=_MOST_BARS)
                    for leg in (rule.y, rule.x)
                ]
            except StorageError:
                self._book.reload([rule.y])
                raise
            self._book.fill(rule.id, *legs)
            self._note("paper_filled", rule.id)
        await self.write()

    async def close(self) -> None:
        """Write what has been done and is not written yet."""
        try:
            await self.write()
        except StorageError as error:
            _log.warning("what paper positions did last is lost: the store refuses it", error=str(error))

    async def write(self) -> None:
        """Write what rules did, in order, and where they stand now and then."""
        async with self._writing:
            self._unwritten += self._book.events()
            while self._unwritten:
                await self._record(self._unwritten[0])
                del self._unwritten[0]
            for followed in list(self._followed.values()):  # rules come and go meanwhile
                kept = self._book.kept(followed.rule.id)
                step_ns = timeframe_ns(followed.rule.timeframe)
                if kept is not None and kept.next_ns >= followed.kept_ns + KEEP_EVERY * step_ns:
                    await self._records.put(STATES, followed.rule.id, orjson.dumps(_kept_document(kept)))
                    followed.kept_ns = kept.next_ns

    # -- inside --------------------------------------------------------------------------------------------------------

    def _follow(self, rule: PaperRule, kept: Kept | None) -> None:
        self._book.put(rule, kept)
        self._note("paper", rule_text(rule, kept))

    async def _record(self, event: PaperEvent) -> None:
        """Record an event where it is not there yet: what was decided live stays as it was."""
        followed = self._followed.get(event.id)
        if followed is None:
            return
        key = f"{event.id}:{event.time_ns:020d}:{event.number}"
        fields = {name: _plain(value) for name, value in event.fields.items()}
        said = {
            "id": event.id,
            "time_ns": event.time_ns,
            "number": event.number,
            "kind": event.kind,
            "order": event.order,
            "fields": fields,
            "kept": _kept_document(event.kept),
        }
        if await self._records.put(EVENTS, key, orjson.dumps(said), replace=False):
            self._remember(followed, said)

    def _remember(self, followed: _Followed, said: Document) -> None:
        """Hold an event for answers."""
        followed.events += 1
        followed.last = {name: said[name] for name in ("time_ns", "kind", "order", "fields")}
        fields = said["fields"]
        if said["kind"] == "fill" and "exit_value" in fields:
            trade = {**fields, "reason": said["order"], "entry_timestamp": fields["entry_ns"]}
            followed.trades.append({**trade, "exit_timestamp": said["time_ns"]})
            del followed.trades[:-MOST_TRADES]

    def tell(self) -> None:
        """Tell who listens of rules that have decided on a bar."""
        wanted = self._bus.wanted()
        for rule_id, followed in self._followed.items():
            topic = f"paper:{rule_id}"
            stands = self._book.view(rule_id) if topic in wanted else None
            if stands is not None and stands["next_ns"] > followed.told_ns:
                followed.told_ns = stands["next_ns"]
                self._bus.publish(topic, orjson.dumps(self._view(followed)))

    def _view(self, followed: _Followed) -> Document:
        rule = followed.rule
        stands = self._book.view(rule.id)
        made: Document = {
            "id": rule.id,
            "y": rule.y,
            "x": rule.x,
            "timeframe": rule.timeframe,
            "created": followed.created_ms,
            "since": rule.since_ns // _MS,
            "request": followed.request.document(),
            "trades_closed": len(followed.trades),
            "events": followed.events,
        }
        if stands is None:
            return made
        row = stands["row"]
        position = None
        if stands["open"]:
            position = {
                "side": "long" if row["side"] > 0 else "short",
                "since": stands["entry_ns"] // _MS,
                "quantity_y": _plain(row["quantity_y"]),
                "quantity_x": _plain(row["exit_quantity_x"]),
                "entry_price_y": _plain(row["entry_price_y"]),
                "entry_price_x": _plain(row["entry_price_x"]),
                "entry_zscore": _plain(row["entry_zscore"]),
                "beta": _plain(row["beta"]),
                "pnl": _plain(row["pnl"]),
            }
        last_ns = stands["next_ns"] - timeframe_ns(rule.timeframe)
        return made | {
            "timestamp": last_ns // _MS if last_ns >= rule.since_ns else None,
            "waiting": stands["waiting"],
            "zscore": _plain(stands["zscore"]),
            "beta": _plain(stands["beta"]),
            "equity": _plain(stands["equity"]),
            "position": position,
            "order": stands["order"],
            "last_event": None if followed.last is None else _event(followed.last),
        }


def _plain(value: Any) -> Any:
    """Return a number as JSON has it: None for one that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(trade: Mapping[str, Any]) -> Document:
    """Return a trade as it is told: times in ms, its side in words."""
    left_out = {"entry_bar", "exit_bar", "entry_decided", "exit_decided", "entry_ns"}
    made = {name: _plain(value) for name, value in trade.items() if name not in left_out}
    made |= {name: int(trade[name]) // _MS for name in ("entry_timestamp", "exit_timestamp")}
    return made | {"side": "long" if trade["side"] > 0 else "short"}


def _event(said: Mapping[str, Any]) -> Document:
    return {"timestamp": said["time_ns"] // _MS, "kind": said["kind"], "order": said["order"]}


def _kept_document(kept: Kept) -> Document:
    return {"next_ns": kept.next_ns, "entry_ns": kept.entry_ns, "state": kept.state.astype("<f8").tobytes().hex()}


def _kept_of(document: Mapping[str, Any]) -> Kept:
    state = np.frombuffer(bytes.fromhex(document["state"]), "<f8").copy()
    return Kept(int(document["next_ns"]), int(document["entry_ns"]), state)
