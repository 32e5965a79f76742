"""Replicas that want to be the desk: one at a time over a real Redis, taken up and laid down in order, found by all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pairscope.desk import Desk
from pairscope.errors import StoreUnavailable, Superseded
from pairscope.storage.desk_store import Term
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.leadership import Leadership
from pairscope.storage.redis_cache import RedisCache
from pairscope.storage.redis_client import RedisClient, RedisLife

TTL_S = 30.0
"""Longer than any pause of the machine: no test waits for a lock to lapse."""


class Work:
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.fails: list[Exception] = []
        self.broken = asyncio.Event()
        self.working = False

    async def overhear(self) -> None:
        self.did.append("overhear")

    async def restore(self) -> None:
        if self.fails:
            raise self.fails.pop()
        self.did.append("restore")

    def runs(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {"work": self._run}

    async def _run(self) -> None:
        self.working = True
        try:
            await self.broken.wait()
            raise RuntimeError("the work broke")
        finally:
            self.working = False

    def open(self) -> None:
        self.did.append("open")

    def shut(self) -> None:
        self.did.append("shut")

    async def rest(self) -> None:
        assert not self.working
        self.did.append("rest")


class Client(RedisClient):
    """Of a server that has run for long: behind one that is young a lock is waited for."""

    async def life(self) -> RedisLife:
        return RedisLife((await super().life()).run, 3600.0)


class Replica:
    """One that wants to be the desk."""

    def __init__(self, url: str, store: DuckDBStore, name: str) -> None:
        self.client = Client(url)
        self.cache = RedisCache(self.client)
        self.work, self.term, self.address = Work(), Term(store), f"http://{name}"
        leadership = Leadership(self.client, "desk", ttl_s=TTL_S, poll_s=0.05)
        self.desk = Desk(leadership, self.work, self.term, self.cache, address=self.address)
        self.running = asyncio.create_task(self.desk.run())

    async def close(self) -> None:
        await self.desk.close()
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.cache.close()
        await self.client.close()


async def until(holds: Callable[[], bool]) -> None:
    limit = monotonic() + 60
    while not holds():
        assert monotonic() < limit, "did not come about in time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    store = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    yield store
    await store.close()


@asynccontextmanager
async def two(redis_server: Any, store: DuckDBStore) -> AsyncIterator[tuple[Replica, Replica]]:
    """The desk, and one that waits."""
    one = Replica(redis_server.url, store, "one")
    await until(lambda: one.desk.here)
    other = Replica(redis_server.url, store, "other")
    yield one, other
    for each in (one, other):
        await each.close()


async def test_one_is_the_desk_and_the_other_knows_where_it_is(redis_server: Any, store: DuckDBStore) -> None:
    async with two(redis_server, store) as (one, other):
        assert one.work.did == ["overhear", "restore", "open"]
        assert await one.desk.address() == "http://one"
        while await other.desk.address(fresh=True) != "http://one":
            await asyncio.sleep(0.01)
        assert (one.desk.counters()["leads"], other.desk.counters()["leads"]) == (True, False)
        assert other.work.did == ["overhear"]


async def test_a_desk_that_stops_lays_down_its_work_in_order_and_another_takes_it_up_at_once(
    redis_server: Any, store: DuckDBStore
) -> None:
    async with two(redis_server, store) as (one, other):
        await until(lambda: one.work.working)
        await one.desk.close()
        assert one.work.did == ["overhear", "restore", "open", "shut", "rest"]
        with pytest.raises(Superseded):
            one.term.document()
        await until(lambda: other.desk.here)
        assert other.work.did == ["overhear", "restore", "open"]
        assert await other.term.holds()


async def test_a_desk_that_stops_while_it_takes_up_its_work_never_opens_it(
    redis_server: Any, store: DuckDBStore
) -> None:
    replica, reading, read = Replica(redis_server.url, store, "one"), asyncio.Event(), asyncio.Event()
    work = replica.work

    async def restore() -> None:
        reading.set()
        await read.wait()
        work.did.append("restore")

    async def rest() -> None:
        read.set()
        await until(lambda: "restore" in work.did)
        await asyncio.sleep(0.05)  # as long as jobs and deliveries take to end, and more than an opening takes
        assert not work.working
        work.did.append("rest")

    work.restore, work.rest = restore, rest  # type: ignore[method-assign]
    await reading.wait()
    await replica.close()
    assert work.did == ["overhear", "shut", "restore", "rest"]


async def test_a_desk_whose_lock_is_anothers_ends_and_says_why(redis_server: Any, store: DuckDBStore) -> None:
    """It stood still for too long: its lock lapsed, and the other took it."""
    async with two(redis_server, store) as (one, other):
        await one.client.ask(lambda server: server.delete("lock:desk"))
        await other.client.ask(lambda server: server.set("lock:desk", "another's", px=60_000))
        await until(one.running.done)
        assert one.work.did[-2:] == ["shut", "rest"]
        assert not one.desk.here
        error = one.running.exception()
        assert isinstance(error, ExceptionGroup)
        assert isinstance(error.exceptions[0], Superseded)


async def test_a_desk_that_finds_another_word_in_the_records_judges_nothing_more(
    redis_server: Any, store: DuckDBStore
) -> None:
    async with two(redis_server, store) as (one, _):
        one.desk.superseded()
        assert not one.desk.here
        assert one.work.did[-1] == "shut"
        await until(one.running.done)
        assert one.work.did[-1] == "rest"


async def test_what_breaks_at_the_desk_ends_the_process_with_its_error_and_lets_go_of_the_lock(
    redis_server: Any, store: DuckDBStore
) -> None:
    async with two(redis_server, store) as (one, other):
        await until(lambda: one.work.working)
        one.work.broken.set()
        await until(one.running.done)
        error = one.running.exception()
        assert isinstance(error, ExceptionGroup)
        assert "the work broke" in str(error.exceptions[0])
        await one.desk.close()
        await until(lambda: other.desk.here)


async def test_the_desk_waits_for_a_store_that_is_away_and_is_nobodys_meanwhile(
    redis_server: Any, store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.desk.AGAIN_S", 0.01)
    one = Replica(redis_server.url, store, "one")
    one.work.fails = [StoreUnavailable("away")] * 20
    await until(lambda: len(one.work.fails) < 15)
    assert not one.desk.here
    await until(lambda: one.desk.here)
    await one.close()


async def test_while_redis_is_away_the_desk_stays_the_desk_and_is_found_where_it_was(
    redis_server: Any, store: DuckDBStore
) -> None:
    async with two(redis_server, store) as (one, other):
        while await other.desk.address(fresh=True) != "http://one":
            await asyncio.sleep(0.01)
        redis_server.stop(kill=True)
        unanswered = other.desk.counters()["unanswered_total"]
        await until(lambda: other.desk.counters()["unanswered_total"] > unanswered + 20)
        assert one.desk.here
        assert not other.desk.here
        assert await other.desk.address(fresh=True) == "http://one"
        redis_server.start()
        failed = one.desk.counters()["unanswered_total"]
        await until(lambda: "ok" in str(one.client.status()["status"]))
        await asyncio.sleep(0)
        assert one.desk.here
        assert not other.desk.here
        assert one.desk.counters()["unanswered_total"] >= failed
