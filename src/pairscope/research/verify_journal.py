"""What was told live against the same engine run again: stored ticks by their arrival, cut as they were live.

The journal says at each entry how far ticks and time had come, and what else the engine was given; see ADR 0024.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from pairscope.engine.journal import pair_of_key
from pairscope.engine.paper_rules import rule_of_text
from pairscope.engine.rerun import Difference, Rerun
from pairscope.market.alert_rules import AlertRule, AlertState
from pairscope.market.bars import BarBatch, Origin, bars_of, concat_bars, timeframe_ns
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import B1, TickBatch, concat_ticks
from pairscope.research.recorded import Recorded, ended
from pairscope.research.verify_firings import Covered, verify_firings
from pairscope.schemas.journal import Entry, Note

__all__ = ["verify_journal"]

_MINUTE_NS: Final = 60_000_000_000
_RING_NS: Final = 1500 * _MINUTE_NS
_SECONDS_NS: Final = 600 * 1_000_000_000
_AHEAD_NS: Final = 600 * 1_000_000_000
_REPAIRS_NS: Final = 3600 * 1_000_000_000
"""For how long after a moment ticks are looked for that are from before it and had not come yet."""
_FOREVER: Final = 1 << 62
_MOST_BARS: Final = 100_000

Ids = set[tuple[str, int]]


class Arrivals:
    """Stored ticks in the order in which they were received, handed out up to a time; some may be kept back.

    Those received at one of the times ``aside`` came beside the stream, and are handed out never.
    """

    def __init__(self, source: Recorded, start_ns: int, aside: Iterable[int] = ()) -> None:
        self._portions = source.ticks_received(start_ns, _FOREVER)
        self._aside = np.array(sorted(aside), np.int64)
        self._read = TickBatch.empty(Symbols(), 0)
        self._ended = False
        self._kept: list[TickBatch] = []

    async def close(self) -> None:
        """Read no more."""
        async with ended(self._portions):
            self._ended = True

    async def until(self, recv_ns: int, *, keep: Ids, release: Ids) -> TickBatch:
        """Return what was received up to a time and not handed out yet, without ``keep``, and with ``release``."""
        parts = [self._read]
        while not self._ended and not (len(parts[-1]) and int(parts[-1].ts_recv_ns[-1]) > recv_ns):
            portion = await anext(self._portions, None)
            self._ended = portion is None
            if portion is not None:
                parts.append(portion.take(~np.isin(portion.ts_recv_ns, self._aside)))
        read = concat_ticks([part for part in parts if len(part)]) if any(map(len, parts)) else parts[0]
        cut = int(np.searchsorted(read.ts_recv_ns, recv_ns, side="right"))
        due, self._read = read.take(slice(cut)), read.take(slice(cut, None))
        if keep:
            held = _among(due, keep)
            if held.any():
                self._kept.append(due.take(held))
                due = due.take(~held)
        if release and self._kept:
            kept = concat_ticks(self._kept)
            free = _among(kept, release)
            self._kept = [kept.take(~free)] if not free.all() else []
            due = concat_ticks([due, kept.take(free)]) if len(due) else kept.take(free)
        return due


def _among(ticks: TickBatch, ids: Ids) -> Any:
    """Return which ticks have one of some (symbol, trade id)."""
    found = np.zeros(len(ticks), np.bool_)
    for name, trade_id in ids:
        symbol_id = ticks.symbols.find(name)
        if symbol_id is not None:
            found |= (ticks.trade_id == trade_id) & (ticks.symbol_id == symbol_id)
    return found


class _Playing:
    """One pass over a journal."""

    def __init__(self, source: Recorded, rerun: Rerun, arrivals: Arrivals, to_come: Iterable[Note]) -> None:
        self.source = source
        self.rerun = rerun
        self.arrivals = arrivals
        self.to_come: dict[str, list[Note]] = {}
        self.came: dict[str, list[Note]] = {}
        self.began_ns = 0
        self.rules_since: dict[str, int] = {}
        for note in to_come:
            self.to_come.setdefault(note.name, []).append(note)

    async def apply(self, note: Note, keep: Ids) -> None:
        """Give the engine, or its pairs, what they were given live between two batches."""
        engine, book = self.rerun.engine, self.rerun.book
        if note.kind == "start":
            await self.arrivals.until(note.end_ns, keep=keep, release=set())
            self.rerun.restart()
            self.began_ns = note.end_ns
            if note.start_ns:
                await self.restore(note.start_ns, note.end_ns)
        elif note.kind == "history":
            if note in self.to_come.get(note.name, ()):
                self.to_come[note.name].remove(note)
            self.came.setdefault(note.name, []).append(note)
            bars = await self._bars(note.name, "1m", note.start_ns, note.end_ns)
            engine.adopt_history(bars.take(bars.origin == Origin.EXCHANGE))
        elif note.kind == "rebuilt":
            taken = engine.adopt_bars(await self._rebuilt(note))
            book.revise(taken)
            self.rerun.paper.revise(taken)
            self.rerun.alerts.revise(taken)
        elif note.kind == "pair":
            book.put(pair_of_key(note.name))
        elif note.kind == "unpaired":
            book.remove(*note.name.split(":"))
        elif note.kind == "filled":
            book.reload([note.name])
            await self.fill({note.name})
        elif note.kind == "paper":
            self.rerun.paper.put(*rule_of_text(note.name))
        elif note.kind == "unpaper":
            self.rerun.paper.remove(note.name)
        elif note.kind == "paper_filled":
            await self.fill_paper(note.name)
        elif note.kind.startswith(("alert", "unalert")):
            await self.apply_alert(note)

    async def apply_alert(self, note: Note) -> None:
        """Give the book of alerts what it was given live: a rule with how it stood, an event, bars that were read."""
        alerts = self.rerun.alerts
        if note.kind == "alert":
            told = msgspec.json.decode(note.name)
            state = told.get("state")
            rule = AlertRule.from_document(told["id"], told["rule"])
            self.rules_since.setdefault(rule.id, max(note.recv_ns, self.began_ns))
            alerts.put(rule, None if state is None else AlertState.from_document(state))
        elif note.kind == "unalert":
            alerts.remove(note.name)
        elif note.kind == "alert_event":
            told = msgspec.json.decode(note.name)
            what = told["kind"], told["name"], told["value"], note.start_ns
            alerts.on_event(*what, told.get("timeframe", ""), told.get("lookback", 0))
        elif note.kind == "alert_reload":
            alerts.reload([note.name])
        elif note.kind == "alert_filled":
            for wanted in alerts.lacking():
                mine = (wanted.symbol, wanted.timeframe) == (note.name, note.timeframe)
                asked = alerts.begin(wanted) if mine else None
                if asked is not None:
                    bars = await self._as_it_stands(wanted.symbol, wanted.timeframe, asked[0])
                    alerts.fill(wanted, asked[1], bars)

    async def restore(self, watermark_ns: int, recv_ns: int) -> None:
        """Bring a fresh engine to where the stored ticks stood when so much had been received."""
        source, minute_ns = self.source, watermark_ns // _MINUTE_NS * _MINUTE_NS
        minutes = await source.base_bars("1m", minute_ns - _RING_NS, minute_ns)
        seconds = await source.base_bars("1s", minute_ns - _SECONDS_NS, minute_ns)
        changed, theirs = Ids(), Ids()
        for symbol_id in np.unique(minutes.symbol_id).tolist():
            name, mine = minutes.symbols[symbol_id], minutes.take(minutes.symbol_id == symbol_id)
            stood = self._known(name, mine)
            changed |= {(name, at) for at in np.setdiff1d(mine.ts_open_ns, stood.ts_open_ns).tolist()}
            theirs |= {(name, at) for at in stood.ts_open_ns[stood.origin == Origin.EXCHANGE].tolist()}
        async with ended(source.ticks_received(recv_ns + 1, recv_ns + _REPAIRS_NS)) as repairs:
            async for batch in repairs:
                late = batch.take(batch.ts_event_ns < minute_ns)
                starts = (late.ts_event_ns // _MINUTE_NS * _MINUTE_NS).tolist()
                changed |= {(late.symbols[i], at) for i, at in zip(late.symbol_id.tolist(), starts, strict=True)}
        for name, start_ns in changed:
            ticks = await source.ticks(name, start_ns, start_ns + _MINUTE_NS, limit=_FOREVER)
            ticks = ticks.take(ticks.ts_recv_ns <= recv_ns)
            seconds = _replaced(seconds, name, start_ns, ticks)
            minutes = minutes if (name, start_ns) in theirs else _replaced(minutes, name, start_ns, ticks)
        second_ns = watermark_ns // 10**9 * 10**9
        open_ticks = []
        async with ended(source.ticks_since(minute_ns)) as batches:
            async for batch in batches:
                open_ticks.append(batch.take(batch.ts_recv_ns <= recv_ns))
                closed = bars_of(open_ticks[-1].take(open_ticks[-1].ts_event_ns < second_ns), "1s")
                seconds = concat_bars([seconds, _under(closed, seconds.symbols)])
                if int(batch.ts_event_ns.min(initial=_FOREVER)) > watermark_ns + _AHEAD_NS:
                    break
        known = [s for s in await source.symbols() if s.tick_count and s.first_ns < watermark_ns]
        first_own_ns = {s.symbol: s.first_ns for s in known}
        traded = {batch.symbols[i] for batch in open_ticks for i in np.unique(batch.symbol_id).tolist()}
        last_ticks = await self._last_ticks(minutes, traded, recv_ns)
        self.rerun.engine.restore(
            minutes, seconds, open_ticks, watermark_ns=watermark_ns, first_own_ns=first_own_ns, last_ticks=last_ticks
        )

    async def _last_ticks(self, minutes: BarBatch, traded: set[str], recv_ns: int) -> list[TickBatch]:
        """Return the newest tick that had come of each symbol that has not traded in the open minute."""
        found = []
        for symbol_id in np.unique(minutes.symbol_id[minutes.origin == Origin.OWN]).tolist():
            name = minutes.symbols[symbol_id]
            if name in traded:
                continue
            mine = minutes.take((minutes.symbol_id == symbol_id) & (minutes.origin == Origin.OWN))
            last_ns = int(mine.ts_open_ns.max())
            ticks = await self.source.ticks(name, last_ns, last_ns + _MINUTE_NS, limit=_FOREVER)
            found.append(ticks.take(ticks.ts_recv_ns <= recv_ns).take(slice(-1, None)))
        return [batch for batch in found if len(batch)]

    async def fill(self, names: set[str]) -> None:
        """Read the history that pairs lack of some symbols, as it stands now."""
        book = self.rerun.book
        for wanted in book.lacking():
            asked = book.begin(wanted) if wanted.symbol in names else None
            if asked is not None:
                book.fill(wanted, asked[1], await self._as_it_stands(wanted.symbol, wanted.timeframe, asked[0]))

    async def fill_paper(self, rule_id: str) -> None:
        """Read the history of a paper position, as it stands now."""
        paper = self.rerun.paper
        rule = next((rule for rule in paper.rules() if rule.id == rule_id), None)
        if rule is not None and paper.begin(rule_id):
            legs = [await self._as_it_stands(leg, rule.timeframe, rule.begin_ns) for leg in (rule.y, rule.x)]
            paper.fill(rule_id, *legs)

    async def _rebuilt(self, note: Note) -> BarBatch:
        """Return bars as the store had made them anew: of the ticks that had come, where it did not keep another's."""
        ticks = await self.source.ticks(note.name, note.start_ns, note.end_ns, limit=_FOREVER)
        stored = self._known(note.name, await self._bars(note.name, note.timeframe, note.start_ns, note.end_ns))
        table = Symbols([note.name])
        kept = _alone(stored.take(stored.origin != Origin.OWN), table)
        made = _alone(bars_of(ticks.take(ticks.ts_recv_ns <= note.recv_ns), note.timeframe), table)
        return concat_bars([kept, made.take(~np.isin(made.ts_open_ns, kept.ts_open_ns))])

    async def _as_it_stands(self, symbol: str, timeframe: str, start_ns: int) -> BarBatch:
        """Return a symbol's bars from a time on: the engine's own, before them those that were stored by now."""
        engine, step_ns = self.rerun.engine, timeframe_ns(timeframe)
        own = engine.recent_bars(symbol, timeframe, _MOST_BARS)
        kept_ns = _RING_NS if step_ns >= _MINUTE_NS else _SECONDS_NS
        own_from_ns = max(start_ns, -(-(engine.watermark_ns() - kept_ns) // step_ns) * step_ns + step_ns)
        older = self._known(symbol, await self._bars(symbol, timeframe, start_ns, own_from_ns))
        table = Symbols([symbol])
        own = own.take(own.ts_open_ns >= own_from_ns)
        return concat_bars([_alone(older, table), _alone(own, table)])

    def _known(self, symbol: str, bars: BarBatch) -> BarBatch:
        """Return stored bars without those of the exchange that came later than now."""

        def inside(notes: Mapping[str, list[Note]]) -> B1:
            found = np.zeros(len(bars), np.bool_)
            for note in notes.get(symbol, ()):
                found |= (bars.ts_open_ns >= note.start_ns) & (bars.ts_open_ns < note.end_ns)
            return found

        return bars.take((bars.origin != Origin.EXCHANGE) | inside(self.came) | ~inside(self.to_come))

    async def take_up(self, entry: Entry) -> None:
        """Take up pairs that an entry tells of and whose beginning the journal does not have any more."""
        unseen = self.rerun.unseen(entry)
        for settings in unseen:
            self.rerun.book.put(settings)
        if unseen:
            await self.fill({leg for settings in unseen for leg in (settings.y, settings.x)})

    async def compare(self, entry: Entry, keep: Ids, on_difference: Callable[[Difference], None]) -> None:
        """Run an entry again and report what is not as it says."""
        for note in entry.notes:
            await self.apply(note, keep)
        ticks = await self.arrivals.until(entry.recv_ns, keep=keep, release=set(entry.stragglers))
        broken = any(note.kind == "hole" for note in entry.notes)
        if len(ticks) != entry.ticks and not broken:
            what = f"{entry.ticks:,} came live, {len(ticks):,} are stored"
            on_difference(Difference("ticks", "", "", entry.watermark_ns, entry.ticks, len(ticks), what))
        updates = self.rerun.step(ticks, entry)
        if broken:
            return
        await self.take_up(entry)
        for difference in self.rerun.compare(entry, updates):
            on_difference(difference)

    async def _bars(self, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> BarBatch:
        if end_ns <= start_ns:
            return BarBatch.empty(Symbols([symbol]), timeframe)
        return await self.source.bars(symbol, timeframe, start_ns, end_ns, limit=_MOST_BARS)


async def verify_journal(
    source: Recorded,
    *,
    read: Callable[[bytes], list[Entry]],
    collection: str,
    since_ns: int,
    until_ns: int,
    on_difference: Callable[[Difference], None],
    progress: Callable[[int], None] = lambda _: None,
) -> Rerun:
    """Run what a journal tells again, report each difference, and return the engine that did, with its counts.

    ``progress`` is told up to which time it has come. Memory: the rings of the engine, and a portion of ticks.
    """
    rerun = Rerun()
    playing: _Playing | None = None
    before: Entry | None = None
    covered = Covered()
    async with AsyncExitStack() as stack:
        entries = await stack.enter_async_context(ended(_looking_ahead(source, read, collection)))
        async for entry, keep in entries:
            if entry.watermark_ns >= until_ns:
                break
            if playing is None:
                known = before is not None or any(note.kind == "start" for note in entry.notes)
                if entry.watermark_ns < since_ns or not known:
                    before = entry  # where the journal's beginning was forgotten, its first entry is where we begin
                    continue
                to_come, aside = await _notes_ahead(source, read, collection, entry.watermark_ns)
                arrivals = Arrivals(source, 0 if before is None else before.recv_ns + 1, aside)
                playing = _Playing(source, rerun, arrivals, to_come)
                if before is not None:
                    await playing.restore(before.watermark_ns, before.recv_ns)
                stack.push_async_callback(arrivals.close)
            await playing.compare(entry, keep, on_difference)
            covered.add(entry)
            progress(entry.watermark_ns)
    if playing is not None:
        compared = await verify_firings(source, rerun.fired, covered, playing.rules_since, on_difference)
        rerun.compared["firings kept"] += compared
    return rerun


async def _looking_ahead(
    source: Recorded, read: Callable[[bytes], list[Entry]], collection: str
) -> AsyncIterator[tuple[Entry, Ids]]:
    """Yield entries, each with the ids that belong to a later one although they were received by now.

    A tick that the feed has kept back for a while is named by an entry at most a few seconds on: two chunks are held.
    """
    chunks: deque[list[Entry]] = deque()
    later: Ids = set()
    async with ended(source.scan(collection)) as documents:
        more = True
        while chunks or more:
            while len(chunks) < 2 and more:
                found = await anext(documents, None)
                more = found is not None
                if found is not None:
                    chunks.append(read(found[1]))
                    later.update(one for entry in chunks[-1] for one in entry.stragglers)
            for entry in chunks.popleft() if chunks else ():
                later.difference_update(entry.stragglers)
                yield entry, later


async def _notes_ahead(
    source: Recorded, read: Callable[[bytes], list[Entry]], collection: str, from_ns: int
) -> tuple[list[Note], list[int]]:
    """Return which of the exchange's bars came from some time on: they are stored now, and were not known before.

    And under which times of receipt trades are stored that came beside the stream.
    """
    history, aside = [], []
    async with ended(source.scan(collection)) as documents:
        async for _, document in documents:
            for entry in read(document):
                aside += [note.start_ns for note in entry.notes if note.kind == "aside"]
                if entry.watermark_ns >= from_ns:
                    history += [note for note in entry.notes if note.kind == "history"]
    return history, aside


def _alone(bars: BarBatch, table: Symbols) -> BarBatch:
    """Return bars of one symbol under a table that has no other."""
    return replace(bars, symbols=table, symbol_id=np.zeros(len(bars), np.int32))


def _replaced(bars: BarBatch, name: str, start_ns: int, ticks: TickBatch) -> BarBatch:
    """Return bars with those of a symbol in a minute made anew of some ticks."""
    symbol_id = bars.symbols.find(name)
    if symbol_id is None:
        return bars
    mine = (bars.symbol_id == symbol_id) & (bars.ts_open_ns >= start_ns) & (bars.ts_open_ns < start_ns + _MINUTE_NS)
    if not mine.any():
        return bars
    return concat_bars([bars.take(~mine), _under(bars_of(ticks, bars.timeframe), bars.symbols)])


def _under(bars: BarBatch, symbols: Symbols) -> BarBatch:
    """Return bars under a table of symbols."""
    ids = np.array([symbols.id_of(name) for name in bars.symbols], np.int32)
    return replace(bars, symbols=symbols, symbol_id=ids[bars.symbol_id] if len(bars) else bars.symbol_id)
