"""An alert desk on a real pipeline over a real store, with a clock and a market to move by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pairscope.alerts import AlertDesk, SharedFirings, number_of
from pairscope.delivery import Courier
from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.engine.pairs import PairBook
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.pipeline import Pipeline, Publisher, warm_start
from pairscope.ports import Document, Message
from pairscope.storage.buffered_records import BufferedRecords
from pairscope.storage.desk_store import DeskRecords, DeskStore, Term
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus, MemoryCache
from pairscope.storage.spool import Spool
from pairscope.storage.tick_storage import StoreWriter
from pairscope.watchlist import Watchlist

S = 1_000_000_000
START = 1_760_000_040 * S // (60 * S) * (60 * S)
NAMES = ("BTCUSDT", "ETHUSDT")


async def no_address(host: str, port: int) -> Sequence[str]:
    """Stands for a resolver that knows no name: nothing is sent anywhere."""
    raise OSError(f"{host} is not known")


class NoPast:
    """Stands for what looks at the past."""

    async def of(self, rule: Any, *, hours: float) -> dict[str, Any]:
        return {"values": [None], "rule": rule.document(), "hours": hours}

    def close(self) -> None:
        return


class Screens:
    """Stands for the screens: what they say is put here."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def discoveries(self, limit: int = 20, **_: Any) -> dict[str, Any]:
        return {"discoveries": self.events[::-1][:limit]}


class NoFeed:
    """Stands where the feed stands: batches are put in by hand."""


class House:
    """A process's parts around the desk; ``open`` begins one over what a folder holds."""

    def __init__(self, store: Any, folder: Path, *, shared: bool = False) -> None:
        self.store = store
        self.superseded = False
        self.term = Term(store)
        self.shared = SharedFirings(self.term.document) if shared else None
        self.now_ns = START
        self.symbols = Symbols(NAMES)
        self.engine = DataProcessor(self.symbols)
        self.cache, self.bus = MemoryCache(), MemoryBus()
        self.notes: list[tuple[Any, ...]] = []
        self.screens = Screens()
        self.rates: dict[str, list[tuple[str, int, float]]] = {}
        self.book = AlertBook(self.symbols, self.engine)
        pairs = PairBook(self.symbols, self.engine)
        face = DeskStore(store, kept=self.kept, refused=self.refused, superseded=self.supersede, belongs=number_of)
        self.writer = StoreWriter(
            face if shared else store,  # type: ignore[arg-type]  # it has what the writer asks a store for
            spool=Spool(folder / "spool", max_bytes=1 << 24),
            flush_seconds=3600.0,
            on_kept=None if shared else lambda documents: self.courier.kept(documents),  # noqa: PLW0108 - made behind it
        )
        buffered = BufferedRecords(store, self.writer)
        self.records: Any = DeskRecords(buffered, self.term) if shared else buffered
        self.courier = Courier(
            self.records,
            self.clock,
            secret="whsec_" + "c2Vj" * 8,
            may_send=self.term.holds if shared else None,
            resolve=no_address,
        )
        self.watchlist = Watchlist(pairs, store=store, records=store, bus=self.bus, live=self.engine)
        self.desk = AlertDesk(
            self.book,
            store=store,
            records=self.records,
            cache=self.cache,
            bus=self.bus,
            live=self.engine,
            pairs=self.watchlist,
            screens=self.screens,  # type: ignore[arg-type]  # of the port the desk asks for this alone
            courier=self.courier,
            preview=NoPast(),
            funding=self.funding,
            clock=self.clock,
            note=lambda *note: self.notes.append(note),
            shared=self.shared,
        )
        publisher = Publisher(self.engine, self.cache, self.bus, pairs, alerts=self.desk)
        feed: Any = NoFeed()
        self.pipeline = Pipeline(feed, self.engine, self.writer, publisher, pairs, clock=self.clock, alerts=self.desk)
        self.listener = self.bus.subscribe()
        self.listener.add(["alerts"])

    @classmethod
    async def open(cls, folder: Path) -> House:
        house = cls(await DuckDBStore.open(folder / "house.duckdb", threads=1), folder)
        await house.writer.start()
        await warm_start(house.engine, house.store)
        await house.courier.restore()
        await house.desk.restore()
        return house

    async def kept(self, documents: Sequence[Document]) -> None:
        """Where several may be the desk: documents are in the store."""
        await self.desk.kept(documents)

    def refused(self, seqs: Sequence[int]) -> None:
        self.desk.refused(seqs)

    def supersede(self) -> None:
        self.term.end()
        self.superseded = True

    async def close(self) -> None:
        """End in order."""
        await self.courier.close()
        await self.writer.close()
        await self.store.close()

    async def die(self) -> None:
        """End without writing what waits."""
        if self.writer._task is not None:
            self.writer._task.cancel()
        await self.store.close()

    def clock(self) -> int:
        return self.now_ns

    async def funding(self, symbol: str, start_ns: int, end_ns: int) -> list[tuple[str, int, float]]:
        return self.rates.get(symbol, [])

    async def trade(self, *prices: float, at_s: float, symbol: str = "BTCUSDT", first_id: int | None = None) -> None:
        """One batch: trades of a symbol at one time, whose ids are the milliseconds unless said otherwise."""
        n, at_ns = len(prices), START + int(at_s * S)
        ids = np.arange(n) + (int(at_s * 1000) + 1 if first_id is None else first_id)
        ts = np.full(n, at_ns, np.int64)
        self.now_ns = max(self.now_ns, at_ns + S)
        await self.pipeline.step(
            TickBatch(
                self.symbols,
                np.full(n, self.symbols.id_of(symbol), np.int32),
                ts,
                np.full(n, self.now_ns, np.int64) + np.arange(n),
                ids.astype(np.int64),
                np.array(prices, np.float64),
                np.ones(n),
                np.zeros(n, np.bool_),
                at_ns,
            )
        )

    async def time(self, at_s: float) -> None:
        """A batch without a trade: time goes on."""
        self.now_ns = max(self.now_ns, START + int(at_s * S))
        await self.pipeline.step(TickBatch.empty(self.symbols, START + int(at_s * S)))

    def told(self) -> list[dict[str, Any]]:
        """What listeners have heard since this was last asked."""
        messages: list[Message] = list(self.listener._waiting.values())
        self.listener._waiting.clear()
        self.listener._alerts = 0
        found = [orjson.loads(message.value) for message in messages]
        assert [one["seq"] for one in found] == [message.seq for message in messages]
        return found

    def ids(self) -> list[str]:
        return [firing["id"] for firing in self.told()]

    async def stored(self, collection: str) -> dict[str, Any]:
        """What the store itself holds of a collection."""
        return {key: orjson.loads(body) async for key, body in self.store.scan(collection)}


def above(threshold: float, **fields: Any) -> dict[str, Any]:
    """A level on the price of BTCUSDT, told however soon it comes again."""
    return {
        "type": "price",
        "symbol": "BTCUSDT",
        "condition": "above",
        "threshold": threshold,
        "cooldown_s": 0,
        **fields,
    }
