"""The alert desk: makes, changes and keeps rules, and tells and keeps what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, Final, NamedTuple, Protocol

import orjson
import structlog

from pairscope.alerts.announcing import TOPIC, Announcer
from pairscope.alerts.feeding import AlertFeeding, Funding
from pairscope.alerts.history import FiringHistory
from pairscope.alerts.kept import KeptAlert, changed, check_expiry, made, state_after, state_of
from pairscope.alerts.shared_firings import SharedFirings
from pairscope.alerts.telling import PriceDecimals, cache_key, firing_document, trial_document
from pairscope.delivery import OUTBOX, Courier, masked, statuses, waiting
from pairscope.engine.alerts import AlertBook
from pairscope.errors import InputError, StorageError, StoreUnavailable, UnknownAlert
from pairscope.market.alert_rules import AlertFiring, AlertRule, AlertState
from pairscope.ports import Bus, Cache, Clock, Document, LiveView, PairWatch, Records, TickStore
from pairscope.ports_alerts import FiringQuery
from pairscope.ports_research import MarketScreen

__all__ = ["MOST_ALERTS", "RULES", "STATES", "TOPIC", "AlertDesk", "Taken"]

RULES: Final = "alerts"
STATES: Final = "alert_states"
MOST_ALERTS: Final = 10_000
KEPT_WITHIN_S: Final = 10.0
"""So long is waited for a change to be durable."""
LOOK_S: Final = 0.5
FORGET_NS: Final = 3_600_000_000_000
FORGOTTEN_AT_ONCE: Final = 500
_MS: Final = 1_000_000

_log = structlog.get_logger(__name__)


class Preview(Protocol):
    """Looks at the past for a rule."""

    async def of(self, rule: AlertRule, *, hours: float) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class Taken(NamedTuple):
    """What came of a batch for the records: to be stored with it, at once where somebody is to be told."""

    documents: tuple[Document, ...]
    hurry: bool


_NOTHING: Final = Taken((), False)


class AlertDesk:
    """``Alerts`` over a book of rules, records and a courier.

    The pipeline calls ``take`` when the book has seen a batch, hands the documents to the store's writer with the
    batch, and then awaits ``tell``. ``records`` have to keep the order: what is put into them goes behind what was
    handed to the writer before. ``note`` hears, in the words of the journal, which rules are followed. With ``shared``
    this is one desk of several that may come to be, and firings are told when ``kept`` hears that they are stored.
    """

    def __init__(
        self,
        book: AlertBook,
        *,
        store: TickStore,
        records: Records,
        cache: Cache,
        bus: Bus,
        live: LiveView,
        pairs: PairWatch,
        screens: MarketScreen,
        courier: Courier,
        preview: Preview,
        funding: Funding,
        clock: Clock,
        note: Callable[..., None] = lambda *_: None,
        shared: SharedFirings | None = None,
    ) -> None:
        self._book = book
        self._shared = shared
        self.on_ticks = book.on_ticks if shared is None else shared.seeing(book.on_ticks)
        self.on_updates, self.revise = book.on_updates, book.revise
        self._records = records
        self._bus = bus
        self._live = live
        self._pairs = pairs
        self._courier = courier
        self._preview = preview
        self._feeding = AlertFeeding(
            book, store=store, records=records, live=live, screens=screens, funding=funding, clock=clock, note=note
        )
        self._clock, self._note = clock, note
        self._decimals = PriceDecimals(live)
        self._kept: dict[str, KeptAlert] = {}
        self._history = FiringHistory(records)
        self._announcer = Announcer(cache, bus, clock, shared)
        self._numbers = count(1)
        self._woken = asyncio.Event()
        self._forget_due_ns = 0

    async def restore(self) -> None:
        """Take up rules, how each stood, and the history; what stood of rules that are gone is removed."""
        if self._shared is not None:
            await self._shared.restore(self._records)
        await self._history.restore()
        await self._feeding.restore()
        self._bus.resume(TOPIC, self._history.seq)
        states = {key: body async for key, body in self._records.scan(STATES)}
        async for key, body in self._records.scan(RULES):
            try:
                kept = KeptAlert.from_document(key, body)
                state = state_of(kept, states.pop(key, None))
            except (InputError, TypeError, ValueError, KeyError) as error:
                _log.warning("an alert cannot be read", alert=key, error=str(error))
                states.pop(key, None)
                continue
            await self._feeding.ready()
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
        check_expiry(kept.rule, self._now_ns())
        await asyncio.gather(*map(self._courier.check, kept.notify))
        await self._feeding.ready()
        if len(self._kept) >= MOST_ALERTS:
            full = f"type: at most {MOST_ALERTS:,} alerts are kept at once"
            raise InputError(full, loc="type", hint="delete one first")
        self._kept[alert_id] = kept
        self._follow(kept, None)
        try:
            await self._keep_now([Document(RULES, alert_id, kept.document()), self._state_document(kept)])
        except StorageError:
            with suppress(StorageError):  # what waits for the store is taken back behind it
                await self.remove(alert_id)
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
        await asyncio.gather(*map(self._courier.check, new))
        before = self._found(alert_id)
        after = changed(before, fields, self._pairs.entries())
        if after.rule.expires_ns != before.rule.expires_ns:
            check_expiry(after.rule, self._now_ns())
        stood = self._book.state(alert_id)
        state = state_after(before, after, stood, status)
        if after.revision != before.revision:
            after = replace(after, fired=stood.fired, last_ns=max(stood.last_ns, before.last_ns))
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
        await self._keep_now(_gone(alert_id))
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
        firing = self._trial(kept, "Test")
        seq, body, document = self._history.add(firing)
        self._announcer.wait(seq, self._clock(), cache_key(firing), body)
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
        sent = {firing["seq"]: firing["targets"] for firing in firings if firing["targets"] and not firing["test"]}
        deliveries = await statuses(self._records, sent) if sent else {}
        return [{**firing, "deliveries": deliveries.get(firing["seq"], [])} for firing in firings], before

    def missed(self, after: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield (``seq``, document) of every firing that is kept with a ``seq`` above ``after``, oldest first."""
        if self._shared is not None and not self._shared.is_desk:
            return self._history.kept_behind(after)
        return self._history.missed(after)

    async def overhear(self) -> None:
        """Know how far the firings of another desk have come, for those who listen here."""
        self._bus.resume(TOPIC, await self._history.last_kept())

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of rules, firings and messages, for ``/api/stats``."""
        return {
            **self._book.counters(),
            "rules": len(self._kept),
            "seq": self._history.seq,
            "refused_reads": self._feeding.refused,
            "told_after": self._announcer.view(),
        }

    # -- beside the feed -----------------------------------------------------------------------------------------------

    def take(self) -> Taken:
        """Return what the book's newest batch brought for the records: firings, states, and what is to be sent."""
        firings, moved, documents = self._book.firings(), self._book.changed(), self._feeding.marks()
        if not (firings or moved or documents or self._shared):
            return _NOTHING
        for firing in firings:
            documents += self._fired(firing)
        for alert_id in dict.fromkeys([*moved, *(firing.rule_id for firing in firings)]):
            kept = self._kept.get(alert_id)
            if kept is not None and self._book.knows(alert_id):
                documents.append(self._state_document(kept))
        if self._shared is not None:
            documents += self._shared.beside(documents)
        return Taken(tuple(documents), bool(firings))

    async def tell(self) -> None:
        """Tell who listens of the firings that were taken, in order."""
        await self._announcer.tell()

    async def kept(self, documents: Sequence[Document]) -> None:
        """Hear that documents are stored: tell the firings among them that waited for it, and send their messages."""
        await self._announcer.kept(documents)
        self._courier.kept(documents)

    def refused(self, seqs: Sequence[int]) -> None:
        """Hear that another desk had told some firings before: they are none of this one's."""
        self._history.forget(seqs)
        self._announcer.refused(seqs)

    def reload(self, symbols: Iterable[str]) -> None:
        """Have the bars of symbols read again: the store has others now."""
        self._feeding.reload(symbols)
        self._woken.set()

    async def run(self) -> None:
        """Read the bars that rules lack, hand on what happened elsewhere, and forget what is old, until cancelled."""
        while True:
            try:
                await self.look()
            except StorageError as error:
                _log.warning("alerts wait for the store", error=str(error))
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()

    def close(self) -> None:
        """Look back no longer."""
        self._preview.close()

    async def look(self) -> None:
        """Do once what ``run`` does again and again."""
        await self._feeding.catch_up()
        self._feeding.hear()
        conditions = (one for kept in self._kept.values() for one in kept.rule.conditions)
        await self._feeding.ask_funding(sorted({one.symbol for one in conditions if one.type == "funding"}))
        if self._clock() >= self._forget_due_ns:
            self._forget_due_ns = self._clock() + FORGET_NS
            await self.forget()

    async def forget(self) -> None:
        """Let go of firings that are older than is kept, of what became of their messages, and of old claims."""
        while gone := await self._history.outdated(FORGOTTEN_AT_ONCE):
            await self._keep_now(gone)
            await self._courier.forget(self._history.oldest)
        claims = [] if self._shared is None else await self._shared.outdated(self._records, self._clock() // _MS)
        for start in range(0, len(claims), FORGOTTEN_AT_ONCE):
            await self._keep_now(claims[start : start + FORGOTTEN_AT_ONCE])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        """Return what time it is in the market: rules expire by it."""
        return self._live.watermark_ns() or self._clock()

    def _found(self, alert_id: str) -> KeptAlert:
        kept = self._kept.get(alert_id)
        if kept is None:
            raise UnknownAlert(alert_id)
        return kept

    def _follow(self, kept: KeptAlert, state: AlertState | None) -> None:
        self._book.put(kept.rule, state)
        told = {"id": kept.id, "rule": kept.rule.document(), "state": None if state is None else state.document()}
        self._note("alert", orjson.dumps(told).decode())
        self._feeding.rules_changed()
        self._woken.set()

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
        self._announcer.wait(seq, firing.recv_ns, cache_key(told), body)
        sent, now_ms = {**told, "seq": seq}, self._clock() // _MS
        outgoing = [waiting(seq, index, sent, target, now_ms) for index, target in enumerate(kept.notify)]
        claims = [] if self._shared is None else [self._shared.claim(firing, seq, now_ms)]
        return [document, *(Document(OUTBOX, *item) for item in outgoing), *claims]

    async def _keep_now(self, documents: Sequence[Document]) -> None:
        """Have documents kept behind all that was handed on before, and wait until they are durable."""
        try:
            async with asyncio.timeout(KEPT_WITHIN_S):
                await self._records.put_many(documents)
        except TimeoutError:
            raise StoreUnavailable("what was changed is not stored yet: the store does not answer") from None

    async def _try_targets(self, kept: KeptAlert, targets: Sequence[str]) -> list[dict[str, Any]]:
        """Send a message to targets that are new; return what came of each."""
        if not targets:
            return []
        return await self._send(targets, self._trial(kept, "This alert is set"))

    async def _send(self, targets: Sequence[str], firing: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = await asyncio.gather(*(self._courier.test(target, dict(firing)) for target in targets))
        return [{name: one[name] for name in ("target", "ok", "error")} for one in found]

    def _trial(self, kept: KeptAlert, said: str) -> dict[str, Any]:
        stands = self._book.view(kept.id)
        values = [] if stands is None else list(stands["values"])
        return trial_document(kept, next(self._numbers), values, self._clock(), self._decimals, said=said)

    def _view(self, kept: KeptAlert) -> dict[str, Any]:
        self._found(kept.id)  # somebody may have deleted it while its targets were tried
        state, stands = self._book.state(kept.id), self._book.view(kept.id) or {}
        last_ns = max(state.last_ns, kept.last_ns)
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
            "last_fired": last_ns // _MS if last_ns >= 0 else None,
            "suppressed": state.suppressed,
            "values": stands["values"],
            "distance": stands["distance"],
            "holds": stands["holds"],
        }


def _gone(alert_id: str) -> list[Document]:
    return [Document(RULES, alert_id, None), Document(STATES, alert_id, None)]
