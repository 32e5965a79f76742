"""``pairscope verify``: stored ticks through a fresh engine; every bar, statistic, pair value and alert is compared."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pairscope.api.parameters import parse_time_ns
from pairscope.config import Settings
from pairscope.engine.rerun import Difference, Rerun
from pairscope.errors import InputError, UnknownSymbol
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.symbols import normalize_symbol
from pairscope.market_closes import store_to_read
from pairscope.research.closes import iso
from pairscope.research.recorded import Recorded
from pairscope.research.verify_bars import BarsVerified, verify_bars
from pairscope.research.verify_journal import verify_journal
from pairscope.schemas.journal import unpack_entries
from pairscope.storage.journal import COLLECTION
from pairscope.supervisor import already_running
from pairscope.terminal import Meter, spoken

__all__ = ["SHOWN", "Asked", "Verdict", "verify", "verify_source"]

Say = Callable[[str], None]

SHOWN: Final = 20
"""Differences that are told one by one; the others are counted."""
_FOREVER: Final = 1 << 62
_MS: Final = 1_000_000
_NICE: Final = 10
_SETTLE_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks to have verified; see ``pairscope verify --help``."""

    symbols: str | None = None
    since: str | None = None
    until: str | None = None
    json: bool = False


@dataclass(slots=True)
class Verdict:
    """What was compared, by kind, what cannot be worked out again, and what differs: the first in full, all counted."""

    compared: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)
    ticks: int = 0

    def differs(self, difference: Difference) -> None:
        """Count a difference, and keep it where it is one of the first."""
        self.differing[difference.kind] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(difference)

    @property
    def differences(self) -> int:
        """How many differences there are."""
        return sum(self.differing.values())

    def document(self) -> dict[str, Any]:
        """Return the answer of ``--json``."""
        return {
            "ticks": self.ticks,
            "compared": dict(self.compared),
            "not_replayable": dict(self.foreign),
            "differences": self.differences,
            "by_kind": dict(self.differing),
            "examples": [
                {**d._asdict(), "timestamp": d.time_ns // _MS, "words": words(d)} | {"time_ns": str(d.time_ns)}
                for d in self.examples
            ],
        }


def verify(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Verify what a store has, or a running instance; return the exit code, 1 where anything differs."""
    since_ns, until_ns = _range(asked)
    symbols = frozenset(normalize_symbol(word) for word in (asked.symbols or "").split(",") if word.strip())
    with suppress(OSError):
        os.nice(_NICE)  # who runs beside goes first
    meter = Meter()
    try:
        verdict = asyncio.run(
            _verified(settings, symbols=symbols, since_ns=since_ns, until_ns=until_ns, say=say, meter=meter)
        )
    finally:
        meter.clear()
    if asked.json:
        show(orjson.dumps(verdict.document()).decode())
    else:
        for line in lines(verdict):
            show(line)
    return 1 if verdict.differences else 0


async def _verified(
    settings: Settings, *, symbols: frozenset[str], since_ns: int, until_ns: int, say: Say, meter: Meter
) -> Verdict:
    running = already_running(settings.data_dir)
    if running is not None:
        from pairscope.research.recorded_api import RecordedApi

        say(f"reading from the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
        async with RecordedApi(str(running["api"]), settings.dashboard_key) as api:
            return await verify_source(api, symbols=symbols, since_ns=since_ns, until_ns=until_ns, meter=meter)
    from pairscope.storage.tick_storage import open_store

    url = store_to_read(settings.data_dir, settings.database_url)
    say(f"reading from the store {spoken(url)}")
    store = await open_store(url)
    try:
        return await verify_source(store, symbols=symbols, since_ns=since_ns, until_ns=until_ns, meter=meter)
    finally:
        await store.close()


async def verify_source(
    source: Recorded,
    *,
    symbols: frozenset[str] = frozenset(),
    since_ns: int = 0,
    until_ns: int = _FOREVER,
    meter: Meter | None = None,
) -> Verdict:
    """Verify stored bars against their ticks and, where no symbols are named, the journal against the engine run again.

    Statistics, pairs and positions follow from the whole market's time, so that they are not run for some symbols.
    """
    known = await source.symbols()
    for name in sorted(symbols):
        if name not in {summary.symbol for summary in known}:
            error = UnknownSymbol(name)
            error.loc = "--symbols"
            raise error
    until_ns = min(until_ns, await source.watermark_ns())
    first_ns = max(since_ns, min((summary.first_ns for summary in known if summary.tick_count), default=until_ns))
    verdict = Verdict()

    def told(what: str) -> Callable[[int], None]:
        shown = (meter or Meter()).of(what)
        return lambda at_ns: shown(max(at_ns - first_ns, 0) // 10**9, max(until_ns - first_ns, 1) // 10**9)

    bars: BarsVerified = await verify_bars(
        source,
        symbols=symbols,
        since_ns=since_ns,
        until_ns=until_ns,
        on_difference=verdict.differs,
        progress=told("bars: seconds of the market"),
    )
    verdict.ticks = bars.ticks
    verdict.compared.update({f"{timeframe} bars": bars.compared[timeframe] for timeframe in TIMEFRAMES})
    verdict.foreign.update({f"{timeframe} bars": bars.foreign[timeframe] for timeframe in TIMEFRAMES})
    if not symbols:
        again: Rerun = await verify_journal(
            source,
            read=unpack_entries,
            collection=COLLECTION,
            since_ns=since_ns,
            until_ns=until_ns,
            on_difference=verdict.differs,
            progress=told("what was told live: seconds of the market"),
        )
        verdict.compared.update(again.compared)
        verdict.foreign.update(again.unknown)
    verdict.foreign = +verdict.foreign
    return verdict


def lines(verdict: Verdict) -> list[str]:
    """Return the verdict for people: what was compared, what could not be, and every difference."""
    told = [f"{verdict.ticks:,} ticks were replayed"]
    width = max(map(len, verdict.compared), default=0)
    told += [f"  {kind:<{width}} {count:>12,} compared" for kind, count in verdict.compared.items() if count]
    told += [
        f"  {kind:<{width}} {count:>12,} not made of stored ticks, so not replayable"
        for kind, count in verdict.foreign.items()
    ]
    told += [f"  {words(difference)}" for difference in verdict.examples]
    if verdict.differences > len(verdict.examples):
        told.append(f"  and {verdict.differences - len(verdict.examples):,} more")
    count = verdict.differences
    told.append(f"{count:,} difference{'' if count == 1 else 's'}")
    return told


def words(difference: Difference) -> str:
    """Say a difference in one line."""
    d = difference
    when = iso(d.time_ns) if d.time_ns else ""
    where = " ".join(part for part in (d.kind, d.key, d.timeframe, when) if part)
    if d.what:
        return f"{where}: {d.what}"
    recorded, replayed = (f"{value:.12g}" if value is not None else "nothing" for value in (d.recorded, d.replayed))
    if recorded == replayed:
        return f"{where}: the number shown is the same ({recorded}), others beside it differ"
    return f"{where}: {recorded} recorded, {replayed} replayed"


def _range(asked: Asked) -> tuple[int, int]:
    """Return the range that is asked for, in ns."""
    found = []
    for name, text, default in (("--since", asked.since, 0), ("--until", asked.until, _FOREVER)):
        try:
            found.append(default if text is None else parse_time_ns(text))
        except ValueError as error:
            raise InputError(f"{text!r} is no time", loc=name, hint="ISO 8601, or ms since the epoch") from error
    if found[0] >= found[1]:
        raise InputError("the range is empty", loc="--until")
    return found[0], found[1]
