"""Random lives of a store, against a dictionary: sent twice, out of order, failing, crashing, opened again."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pairscope.market.bars import bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.duckdb_store import DuckDBStore

FOREVER = 2**62
START_NS = 1_722_470_400_000_000_000
S = 1_000_000_000
MINUTE = 60 * S
NAMES = ("AUSDT", "币USDT")


def batch_of(symbols: Symbols, keys: list[tuple[int, int]], watermark_ns: int) -> TickBatch:
    """Trades whose every column follows from symbol and id, seven seconds apart."""
    which, trade_id = (np.array([key[k] for key in keys], np.int64) for k in (0, 1))
    at = START_NS + trade_id * 7 * S + which
    price, size = 100 + trade_id % 13 / 10, (1 + trade_id % 9) / 1000
    return TickBatch(
        symbols, which.astype(np.int32), at, at + 5, trade_id, price, size, trade_id % 2 == 0, watermark_ns
    )


def documents_of(keys: list[tuple[int, int]]) -> list[Document]:
    """What a batch leaves in the records: the newest id of each symbol's sevens, none behind a multiple of five."""
    return [Document("newest", f"{which}/{i % 7}", b"%d" % i if i % 5 else None) for which, i in keys]


class StoreLife(RuleBasedStateMachine):
    """The store's side is real; the model's is one dictionary a symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.home = Path(tempfile.mkdtemp())
        self.lives = 0
        self.symbols = Symbols(NAMES)
        self.stored: list[set[int]] = [set(), set()]
        self.first: list[int | None] = [None, None]
        self.watermark_ns = 0
        self.sent: list[list[tuple[int, int]]] = []
        self.documents: dict[str, bytes | None] = {}

    def run(self, awaitable):
        return self.runner.run(awaitable)

    @initialize()
    def open_first(self):
        self.store = self.run(DuckDBStore.open(self.home / "0" / "s.duckdb"))

    def expect(self, keys):
        new = []
        for which, trade_id in keys:
            if self.first[which] is None:
                self.first[which] = trade_id
            taken = trade_id >= self.first[which] and trade_id not in self.stored[which]
            new.append(taken)
            if taken:
                self.stored[which].add(trade_id)
        return new

    def append(self, keys):
        self.watermark_ns = max([self.watermark_ns, *(START_NS + trade_id * 7 * S for _, trade_id in keys)])
        batch = batch_of(self.symbols, keys, self.watermark_ns)
        documents = documents_of(keys)
        admission = self.run(self.store.append(batch, (), documents))
        assert admission.new.tolist() == self.expect(keys)
        self.sent.append(keys)
        self.documents = {**self.documents, **{document.key: document.body for document in documents}}

    @rule(which=st.integers(0, 1), count=st.integers(1, 12), skip=st.sampled_from([0, 0, 0, 1, 5]), chance=st.randoms())
    def arrive(self, which, count, skip, chance):
        begin = max(self.stored[which], default=100) + 1 + skip
        keys = [(which, begin + k) for k in range(count)]
        if skip:
            chance.shuffle(keys)
        self.append(keys)

    @rule(keys=st.lists(st.tuples(st.integers(0, 1), st.integers(95, 140)), min_size=1, max_size=20))
    def arrive_anyhow(self, keys):
        self.append(keys)

    @precondition(lambda self: self.sent)
    @rule(chance=st.randoms())
    def arrive_again(self, chance):
        self.append(chance.choice(self.sent))

    @rule(which=st.integers(0, 1), count=st.integers(1, 5))
    def fail_to_append(self, which, count):
        """A transaction that breaks at its end leaves nothing behind, in the tables or beside them."""
        begin = max(self.stored[which], default=100) + 3
        batch = batch_of(self.symbols, [(which, begin + k) for k in range(count)], self.watermark_ns)

        def break_down() -> None:
            with self.store._transaction() as writing:
                writing.append(batch, (), documents_of([(which, 0), (which, 5)]))
                raise KeyboardInterrupt

        async def attempt():
            try:
                break_down()
            except KeyboardInterrupt:
                return

        self.run(attempt())

    @rule()
    def close_and_open(self):
        self.run(self.store.close())
        self.store = self.run(DuckDBStore.open(self.home / str(self.lives) / "s.duckdb"))

    @rule()
    def crash_and_open(self):
        """What lies on the disk at any moment is opened as the process that wrote it never ended."""
        was = self.home / str(self.lives)
        self.lives += 1
        shutil.copytree(was, self.home / str(self.lives))
        self.run(self.store.close())
        self.store = self.run(DuckDBStore.open(self.home / str(self.lives) / "s.duckdb"))

    @rule()
    def rebuild(self):
        self.run(self._rebuild())

    async def _rebuild(self):
        closed_ns = self.watermark_ns // MINUTE * MINUTE
        for which, name in enumerate(NAMES):
            await self.store.rebuild_bars(name, 0, FOREVER)
            expected = bars_of(batch_of(self.symbols, [(which, i) for i in sorted(self.stored[which])], 0), "1m")
            expected = expected.take(expected.ts_open_ns < closed_ns)
            got = await self.store.bars(name, "1m", 0, FOREVER, limit=10_000)
            for column in ("ts_open_ns", "open", "close", "volume", "trades", "first_id", "last_id"):
                assert getattr(got, column).tolist() == getattr(expected, column).tolist()

    @invariant()
    def the_same_as_the_dictionary(self):
        if hasattr(self, "store"):
            self.run(self._compare())

    async def _compare(self):
        ledger = await self.store.continuity()
        open_gaps = ledger.open_gaps()
        for which, name in enumerate(NAMES):
            stored = self.stored[which]
            ticks = await self.store.ticks(name, 0, FOREVER, limit=10_000)
            assert ticks.trade_id.tolist() == sorted(stored)
            truth = batch_of(self.symbols, [(which, i) for i in sorted(stored)], 0)
            assert ticks.price.tolist() == truth.price.tolist()
            assert ticks.ts_event_ns.tolist() == truth.ts_event_ns.tolist()
            assert ledger.next_id(name) == (max(stored) + 1 if stored else None)
            missing = {
                i for g, ranges in open_gaps if g.symbol == name for low, high in ranges for i in range(low, high + 1)
            }
            expected = set(range(self.first[which], max(stored))) - stored if stored else set()
            assert missing == expected
            told = sum(gap.missing for gap in await self.store.gaps(name) if gap.status == "open")
            assert told == len(expected)
        assert dict([entry async for entry in self.store.scan("newest")]) == {
            key: body for key, body in self.documents.items() if body is not None
        }
        assert (await self.store.stats()).ticks == sum(len(stored) for stored in self.stored)
        assert await self.store.watermark_ns() == self.watermark_ns

    def teardown(self):
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.home)


TestStoreLife = StoreLife.TestCase
TestStoreLife.settings = settings(
    max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
