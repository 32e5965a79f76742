"""The watch-list: pairs kept in the records, their history read from the store, and what each says now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from time import monotonic
from typing import Any, Final

import orjson
import structlog

from pairscope.engine.journal import pair_key
from pairscope.engine.pairs import PairBook, Wanted, warm_up
from pairscope.errors import InputError, StorageError
from pairscope.lacking_history import LackingHistory
from pairscope.market.pairs import PairSettings
from pairscope.ports import Bus, LiveView, Records, TickStore

__all__ = ["COLLECTION", "MOST_DEMANDED", "MOST_PAIRS", "Watchlist"]

COLLECTION: Final = "watchlist"
MOST_PAIRS: Final = 2000
"""Pairs that may stand on the list."""
MOST_DEMANDED: Final = 256
"""Pairs that are not on the list and may be listened to at once."""
UNHEARD_S: Final = 60.0
"""A pair that is not on the list is let go when nobody has listened to it for so long."""
LOOK_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Watchlist:
    """``PairWatch`` over a book of live pairs, records and a store; ``run`` reads what the pairs lack, for ever.

    ``note`` hears which pairs are taken up and let go, and whose history was read, in the words of the journal. Where
    other processes keep the same list, ``told`` hears each key that changed here, and ``changed`` is to be called for
    what they change; with ``read_again_s`` the list is also read so often, in case a word was lost.
    """

    def __init__(
        self,
        book: PairBook,
        *,
        store: TickStore,
        records: Records,
        bus: Bus,
        live: LiveView,
        now_s: Callable[[], float] = monotonic,
        note: Callable[..., None] = lambda *_: None,
        told: Callable[[str], None] = lambda _: None,
        read_again_s: float | None = None,
    ) -> None:
        self._told = told
        self._read_again_s = read_again_s
        self._read_s = now_s()
        self._stale = False
        self._changes = 0
        self._changing = asyncio.Lock()
        self._book = book
        self._records = records
        self._bus = bus
        self._now_s = now_s
        self._note = note
        self._heard: dict[tuple[str, str], float] = {}
        self._woken = asyncio.Event()
        self._history = LackingHistory(
            book, store=store, live=live, reload=book.reload, filled=self._was_read, whose="live pairs"
        )
        self._warm = False

    async def restore(self, pairs: Iterable[str] = ()) -> None:
        """Take up the list as it was kept, and put ``Y:X`` of the settings on it where they are not there yet."""
        async for key, document in self._records.scan(COLLECTION):
            try:
                self._take_up(PairSettings(**orjson.loads(document)))
            except (InputError, TypeError, ValueError) as error:
                _log.warning("a pair of the watch-list cannot be read", pair=key, error=str(error))
        for pair in pairs:
            y, _, x = (part.strip() for part in pair.partition(":"))
            if not self._book.listed(y, x):
                await self.put(PairSettings(y, x))

    # -- PairWatch -----------------------------------------------------------------------------------------------------

    def entries(self) -> list[PairSettings]:
        """Return every pair of the watch-list, by name."""
        return list(self._book.all())

    async def put(self, settings: PairSettings) -> bool:
        """Put a pair on the list or change how it is computed; True if it was new. ``InputError`` where it is full."""
        async with self._changing:  # what is looked at first still holds when it is done
            new = not self._book.listed(settings.y, settings.x)
            if new and len(self._book.all()) >= MOST_PAIRS:
                raise InputError(
                    f"the watch-list holds at most {MOST_PAIRS} pairs", loc="y", hint="take one off the list first"
                )
            self._changes += 1
            await self._records.put(COLLECTION, settings.key, orjson.dumps(asdict(settings)))
            self._changes += 1
            self._take_up(settings)
        self._woken.set()
        self._told(settings.key)
        return new

    async def remove(self, y: str, x: str) -> bool:
        """Take a pair off the list; False where it was not on it. Who listens to it goes on hearing it."""
        async with self._changing:
            if not self._book.listed(y, x):
                return False
            self._changes += 1
            await self._records.delete(COLLECTION, f"{y}:{x}")
            self._changes += 1
            self._unlist(y, x)
        self._told(f"{y}:{x}")
        return True

    def current(self, y: str, x: str) -> Mapping[str, Any] | None:
        """Return what a pair says now; None for one that is neither on the list nor listened to."""
        return self._book.view(y, x)

    def demand(self, y: str, x: str) -> None:
        """Have a pair computed by the default settings while somebody listens to it; nothing to do for a listed one."""
        if self._book.settings(y, x) is None:
            if len(self._book.unlisted()) >= MOST_DEMANDED:
                raise InputError(f"at most {MOST_DEMANDED} pairs that are not on the watch-list are computed at once")
            self._take_up(PairSettings(y, x), listed=False)
            self._woken.set()
        self._heard[y, x] = self._now_s()

    def counters(self) -> Mapping[str, Any]:
        """Return the numbers of the live pairs, for ``/api/stats``."""
        return {**self._book.counters(), "refused_reads": self._history.refused}

    # -- other processes -----------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Hear that another process has changed the list: it is read again, soon."""
        self._stale = True
        self._woken.set()

    async def read_again(self) -> None:
        """Bring the list to what the records hold."""
        self._stale, self._read_s = False, self._now_s()
        changes, known = self._changes, {settings.key: settings for settings in self._book.all()}
        kept: dict[str, PairSettings] = {}
        try:
            async for key, document in self._records.scan(COLLECTION):
                kept[key] = PairSettings(**orjson.loads(document))
        except (InputError, TypeError, ValueError) as error:
            _log.warning("the watch-list cannot be read again", error=str(error))
            return
        except StorageError:
            self._stale = True
            return
        if changes != self._changes:
            self._stale = True  # it was changed here meanwhile
            return
        for key, settings in known.items():
            if key not in kept:
                self._unlist(settings.y, settings.x)
        for key, settings in kept.items():
            if known.get(key) != settings:
                self._take_up(settings)

    # -- history -------------------------------------------------------------------------------------------------------

    def history_came(self, symbols: Iterable[str]) -> None:
        """Have the bars of symbols read again: the store has others now, of which the engine told nothing."""
        self._book.reload(symbols)
        self._woken.set()

    async def run(self) -> None:
        """Read what pairs lack and let go of those that nobody listens to, until cancelled."""
        while True:
            if not self._warm and self._book.lacking():
                await asyncio.to_thread(warm_up)  # where there are no pairs, nobody pays for them
                self._warm = True
            due = self._read_again_s is not None and self._now_s() - self._read_s >= self._read_again_s
            if self._stale or due:
                await self.read_again()
            await self.catch_up()
            self.let_go()
            self._woken.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def catch_up(self) -> None:
        """Read the history that pairs lack, once, and compute anew what waits for it, a few pairs at a time."""
        await self._history.read(meanwhile=self._book.settle)
        waits = self._book.settle()
        while waits:
            await asyncio.sleep(0)
            waits = self._book.settle()

    def _was_read(self, wanted: Wanted) -> None:
        self._note("filled", wanted.symbol, wanted.timeframe)

    def _take_up(self, settings: PairSettings, *, listed: bool = True) -> None:
        self._book.put(settings, listed=listed)
        self._note("pair", pair_key(settings))

    def _unlist(self, y: str, x: str) -> None:
        """Let a pair go that is not on the list any more; who listens to it goes on hearing it."""
        self._let_go_of(y, x)
        if f"pair:{y}:{x}" in self._bus.wanted():
            self.demand(y, x)

    def _let_go_of(self, y: str, x: str) -> None:
        self._book.remove(y, x)
        self._note("unpaired", f"{y}:{x}")

    def let_go(self) -> None:
        """Forget pairs that are not on the list and have not been listened to for a minute."""
        now_s, wanted = self._now_s(), self._bus.wanted()
        for y, x in self._book.unlisted():
            if f"pair:{y}:{x}" in wanted:
                self._heard[y, x] = now_s
            elif now_s - self._heard.get((y, x), now_s - UNHEARD_S) >= UNHEARD_S:
                self._let_go_of(y, x)
        self._heard = {key: at for key, at in self._heard.items() if self._book.settings(*key) is not None}
