"""The alert desk: makes, changes and keeps rules, and tells and keeps what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import orjson
import structlog

from pairscope.alerts.history import FiringHistory
from pairscope.alerts.kept import KeptAlert, changed, made
from pairscope.alerts.telling import PriceDecimals, firing_document, trial_document
from pairscope.delivery import OUTBOX, Courier, masked, waiting
from pairscope.errors import InputError, StorageError, StoreUnavailable, UnknownAlert
from pairscope.market.alert_rules import AlertFiring, AlertRule, AlertState
from pairscope.ports import Bus, Cache, Clock, Document, LiveView, PairWatch, Records
from pairscope.ports_alerts import FiringQuery

if TYPE_CHECKING:
    from pairscope.engine.alerts import AlertBook

__all__ = ["MOST_ALERTS", "RULES", "STATES", "TOPIC", "AlertDesk", "Taken"]

RULES: Final = "alerts"
STATES: Final = "alert_states"
TOPIC: Final = "alerts"
MOST_ALERTS: Final = 10_000
CACHED_S: Final = 86_400.0
KEPT_WITHIN_S: Final = 10.0
"""So long is waited for a change to be durable."""
_MS: Final = 1_000_000
_BY_HAND: Final = "paused by hand"

_log = structlog.get_logger(__name__)

Keep = Callable[[Sequence[Document]], Awaitable[None]]


class Preview(Protocol):
    """Looks at the past for a rule."""

    async def of(self, rule: AlertRule, *, hours: float) -> Mapping[str, Any]: ...


class Taken(NamedTuple):
    """What came of a batch for the records: to be stored with it, at once where somebody is to be told."""

    documents: tuple[Document, ...]
    hurry: bool


_NOTHING: Final = Taken((), False)


class AlertDesk:
    """``Alerts`` over a book of rules, records and a courier.

    The pipeline calls ``take`` when the book has seen a batch, hands the documents to the store's writer with the
    batch, and then awaits ``tell``. ``keep`` hands on documents that no batch brought, behind all that was handed on
    before; the writer says by ``kept`` which documents are durable. Without it they go straight into the records.
    ``note`` hears, in the words of the journal, which rules are followed.
    """

    def __init__(
        self,
        book: AlertBook,
        *,
        records: Records,
        cache: Cache,
        bus: Bus,
        live: LiveView,
        pairs: PairWatch,
        courier: Courier,
        preview: Preview,
        clock: Clock,
        keep: Keep | None = None,
        note: Callable[..., None] = lambda *_: None,
    ) -> None:
        self._book = book
        self._records = records
        self._cache = cache
        self._bus = bus
        self._pairs = pairs
        self._courier = courier
        self._preview = preview
        self._clock = clock
        self._keep = keep
        self._note = note
        self._decimals = PriceDecimals(live)
        self._kept: dict[str, KeptAlert] = {}
        self._history = FiringHistory(records)
        self._untold: list[tuple[int, str, bytes]] = []
        self._awaited: dict[tuple[str, str], list[tuple[bytes | None, asyncio.Event]]] = {}
        self._numbers = count(1)

    async def restore(self) -> None:
        """Take up rules, how each stood, and the history; what stood of rules that are gone is removed."""
        await self._history.restore()
        self._bus.resume(TOPIC, self._history.seq)
        states = {key: body async for key, body in self._records.scan(STATES)}
        async for key, body in self._records.scan(RULES):
            try:
                kept = KeptAlert.from_document(key, body)
                state = _state_of(kept, states.pop(key, None))
            except (InputError, TypeError, ValueError, KeyError) as error:
                _log.warning("an alert cannot be read", alert=key, error=str(error))
                states.pop(key, None)
                continue
            self._kept[key] = kept
            self._follow(kept, state)
        for key in states:
            await self._records.delete(STATES, key)

    # -- Alerts --------------------------------------------------------------------------------------------------------

    async def create(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a rule of a body whose symbols are known, and tell its targets; ``InputError`` names what cannot be."""
        now_ns = self._clock()
        alert_id = f"{now_ns // _MS:x}-{next(self._numbers)}"
        kept = made(alert_id, document, now_ns // _MS, self._pairs.entries())
        await self._check(kept.notify)
        if len(self._kept) >= MOST_ALERTS:
            raise InputError(
                f"type: at most {MOST_ALERTS:,} alerts are kept at once", loc="type", hint="delete one first"
            )
        self._kept[alert_id] = kept
        self._follow(kept, None)
        try:
            await self._keep_now([Document(RULES, alert_id, kept.document()), self._state_document(kept)])
        except StorageError:
            self._drop(alert_id)
            raise
        delivery = await self._try_targets(kept, kept.notify)
        return {**self._view(kept), "delivery": delivery}

    async def change(self, alert_id: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change fields of a rule, None for a field's default; ``UnknownAlert`` where there is none."""
        status = changes.get("status")
        if status not in {None, "active", "paused"}:
            raise InputError("status: must be active or paused", loc="status")
        fields = {name: value for name, value in changes.items() if name != "status"}
        held = self._found(alert_id).notify
        new = [t for t in changed(self._found(alert_id), fields, self._pairs.entries()).notify if t not in held]
        await self._check(new)
        before = self._found(alert_id)
        after = changed(before, fields, self._pairs.entries())
        stood = self._book.state(alert_id)
        state = _state_after(before, after, stood, status)
        if after.revision != before.revision:
            after = replace(after, fired=stood.fired)
        self._kept[alert_id] = after
        documents = [Document(RULES, alert_id, after.document())]
        if after.rule != before.rule or state != stood:
            self._follow(after, state)
            documents.append(self._state_document(after))
        await self._keep_now(documents)
        delivery = await self._try_targets(after, new)
        return {**self._view(after), "delivery": delivery}

    async def remove(self, alert_id: str) -> bool:
        """Delete a rule; its firings stay. False where there is none."""
        if alert_id not in self._kept:
            return False
        self._drop(alert_id)
        await self._keep_now([Document(RULES, alert_id, None), Document(STATES, alert_id, None)])
        return True

    def ids(self) -> Sequence[str]:
        """Return the ids of all rules, the newest first."""
        return [kept.id for kept in sorted(self._kept.values(), key=lambda kept: (-kept.created_ms, kept.id))]

    def view(self, alert_id: str) -> Mapping[str, Any] | None:
        """Return one rule and how it stands; None where there is none."""
        kept = self._kept.get(alert_id)
        return None if kept is None else self._view(kept)

    async def test(self, alert_id: str) -> Mapping[str, Any]:
        """Fire a rule for a test: told and kept as such, and sent to each target at once; says what came of it."""
        kept = self._found(alert_id)
        values = self._book.view(alert_id)["values"]
        firing = trial_document(kept, values, self._clock(), self._decimals, said="Test")
        seq, body, document = self._history.add(firing)
        self._untold.append((seq, _cache_key(firing), body))
        await self.tell()
        await self._keep_now([document])
        return {**firing, "seq": seq, "delivery": await self._send(kept.notify, {**firing, "seq": seq})}

    async def preview(self, document: Mapping[str, Any], hours: float) -> Mapping[str, Any]:
        """Return how a rule would stand now, and when it would have fired in the hours before."""
        kept = made("preview", document, 0, self._pairs.entries())
        return await self._preview.of(kept.rule, hours=hours)

    async def history(self, query: FiringQuery) -> tuple[Sequence[Mapping[str, Any]], int | None]:
        """Return a page of firings, the newest first, with what came of their delivery."""
        firings, before = await self._history.page(query)
        for firing in firings:
            targets = 0 if firing["test"] else firing["targets"]
            firing["deliveries"] = await self._courier.deliveries(firing["seq"], targets) if targets else []
        return firings, before

    def missed(self, after: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield (``seq``, document) of every firing that is kept with a ``seq`` above ``after``, oldest first."""
        return self._history.missed(after)

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of rules, firings and messages, for ``/api/stats``."""
        return {
            **self._book.counters(),
            "rules": len(self._kept),
            "seq": self._history.seq,
        }

    # -- beside the feed -----------------------------------------------------------------------------------------------

    def take(self) -> Taken:
        """Return what the book's newest batch brought for the records: firings, states, and what is to be sent."""
        firings, moved = self._book.firings(), self._book.changed()
        if not firings and not moved:
            return _NOTHING
        documents: list[Document] = []
        for firing in firings:
            documents += self._fired(firing)
        for alert_id in dict.fromkeys([*moved, *(firing.rule_id for firing in firings)]):
            kept = self._kept.get(alert_id)
            if kept is not None and self._book.knows(alert_id):
                documents.append(self._state_document(kept))
        return Taken(tuple(documents), bool(firings))

    async def tell(self) -> None:
        """Tell who listens of the firings that were taken, in order."""
        untold, self._untold = self._untold, []
        if untold:
            await self._cache.put_many({key: body for _, key, body in untold}, CACHED_S)
            for _, _, body in untold:
                self._bus.publish(TOPIC, body)

    def kept(self, documents: Iterable[Document]) -> None:
        """Hear which documents are durable: who waits for them goes on, and messages leave."""
        documents = list(documents)
        for collection, key, body in documents:
            awaited = self._awaited.get((collection, key), ())
            ours = max((i for i, (sent, _) in enumerate(awaited) if sent == body), default=-1)
            for _, durable in awaited[: ours + 1]:  # of several versions only the last is written
                durable.set()
        self._courier.kept(documents)

    async def forget(self) -> None:
        """Let go of firings that are older than is kept."""
        gone = await self._history.forget()
        if gone:
            await self._courier.forget(self._history.oldest)
            _log.info("old firings were let go of", firings=gone)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _found(self, alert_id: str) -> KeptAlert:
        kept = self._kept.get(alert_id)
        if kept is None:
            raise UnknownAlert(alert_id)
        return kept

    def _follow(self, kept: KeptAlert, state: AlertState | None) -> None:
        self._book.put(kept.rule, state)
        told = {"id": kept.id, "rule": kept.rule.document(), "state": None if state is None else state.document()}
        self._note("alert", orjson.dumps(told).decode())

    def _drop(self, alert_id: str) -> None:
        del self._kept[alert_id]
        self._book.remove(alert_id)
        self._note("unalert", alert_id)

    def _state_document(self, kept: KeptAlert) -> Document:
        state = self._book.state(kept.id).document()
        return Document(STATES, kept.id, orjson.dumps({"revision": kept.revision, "state": state}))

    def _fired(self, firing: AlertFiring) -> list[Document]:
        """Number a firing; return the documents that keep it and what is to be sent of it."""
        kept = self._kept.get(firing.rule_id)
        if kept is None:
            return []
        told = firing_document(kept, firing, self._decimals)
        seq, body, document = self._history.add(told)
        self._untold.append((seq, _cache_key(told), body))
        sent = {**told, "seq": seq}
        now_ms = self._clock() // _MS
        outgoing = [waiting(seq, index, sent, target, now_ms) for index, target in enumerate(kept.notify)]
        return [document, *(Document(OUTBOX, *item) for item in outgoing)]

    async def _keep_now(self, documents: Sequence[Document]) -> None:
        """Have documents kept behind all that was handed on before, and wait until they are durable."""
        if self._keep is None:
            for collection, key, body in documents:
                if body is None:
                    await self._records.delete(collection, key)
                else:
                    await self._records.put(collection, key, body)
            self.kept(documents)
            return
        collection, key, body = documents[-1]
        durable = asyncio.Event()
        awaited = self._awaited.setdefault((collection, key), [])
        awaited.append((body, durable))
        try:
            async with asyncio.timeout(KEPT_WITHIN_S):
                await self._keep(documents)
                await durable.wait()
        except TimeoutError:
            raise StoreUnavailable("what was changed is not stored yet: the store does not answer") from None
        finally:
            awaited.remove((body, durable))
            if not awaited:
                self._awaited.pop((collection, key), None)

    async def _check(self, targets: Iterable[str]) -> None:
        """Refuse targets that may not be called."""
        await asyncio.gather(*(self._courier.check(target) for target in targets))

    async def _try_targets(self, kept: KeptAlert, targets: Sequence[str]) -> list[dict[str, Any]]:
        """Send a message to targets that are new; return what came of each."""
        if not targets:
            return []
        values = self._book.view(kept.id)["values"] if self._book.knows(kept.id) else []
        firing = trial_document(kept, values, self._clock(), self._decimals, said="This alert is set")
        return await self._send(targets, firing)

    async def _send(self, targets: Sequence[str], firing: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = await asyncio.gather(*(self._courier.test(target, dict(firing)) for target in targets))
        return [{name: one[name] for name in ("target", "ok", "error")} for one in found]

    def _view(self, kept: KeptAlert) -> dict[str, Any]:
        state, stands = self._book.state(kept.id), self._book.view(kept.id)
        return {
            "id": kept.id,
            **kept.rule.document(),
            "notify": [masked(target) for target in kept.notify],
            "note": kept.note,
            "message": kept.message,
            "status": state.status,
            "reason": state.reason or stands["reason"],
            "created": kept.created_ms,
            "fired": state.fired,
            "last_fired": state.last_ns // _MS if state.last_ns >= 0 else None,
            "suppressed": state.suppressed,
            "values": stands["values"],
            "distance": stands["distance"],
            "holds": stands["holds"],
        }


def _state_of(kept: KeptAlert, body: bytes | None) -> AlertState:
    """Return how a rule stood; where only an earlier revision's state is kept, it begins anew."""
    found = None if body is None else orjson.loads(body)
    if found is None or found["revision"] != kept.revision:
        return AlertState(fired=kept.fired)
    return AlertState.from_document(found["state"])


def _state_after(before: KeptAlert, after: KeptAlert, state: AlertState, status: str | None) -> AlertState:
    """Return how a rule stands after a change: it begins anew where it watches for something else.

    A rule that is done goes on where what ended it is no more: its expiry moved, it is not for once any longer.
    """
    if after.revision != before.revision:
        new = AlertState(fired=state.fired, suppressed=state.suppressed)
        held = status == "paused" or (status is None and state.status == "paused")
        return new.paused(state.reason if state.status == "paused" else _BY_HAND) if held else new
    if status == "paused":
        return state if state.status == "paused" else state.paused(_BY_HAND)
    lifted = state.status == "done" and (
        after.rule.expires_ns != before.rule.expires_ns or after.rule.frequency != before.rule.frequency
    )
    return state.resumed() if lifted or (status == "active" and state.status != "active") else state


def _cache_key(firing: Mapping[str, Any]) -> str:
    return f"alert:{firing.get('symbol') or '{y}:{x}'.format(**firing)}:{firing['id']}"
