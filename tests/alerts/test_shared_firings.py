"""Several desks over one store, one after the other or two for a moment: each firing is kept, told and sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest

from pairscope.alerts.history import COLLECTION
from pairscope.alerts.shared_firings import CLAIMED_MS
from pairscope.delivery import OUTBOX
from pairscope.errors import StoreUnavailable, Superseded
from pairscope.pipeline import warm_start
from pairscope.storage.desk_store import CLAIMS
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.postgres_store import PostgresStore

from .house import House, above

HOOK = "https://hooks.example.com/secret-path"


async def until(holds: Callable[[], bool]) -> None:
    limit = monotonic() + 60
    while not holds():
        assert monotonic() < limit, "did not come about in time"
        await asyncio.sleep(0.005)


class Shared:
    """A store that several processes have, each through a door of its own where it has such doors."""

    def __init__(self, opens: Callable[[], Awaitable[Any]]) -> None:
        self._opens = opens
        self.opened: list[Any] = []

    async def open(self) -> Any:
        self.opened.append(await self._opens())
        return self.opened[-1]


@pytest.fixture(params=["duckdb", "postgres"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    if request.param == "duckdb":
        one = await DuckDBStore.open(tmp_path / "shared.duckdb", threads=1)

        async def opens() -> Any:
            return one
    else:
        url = request.getfixturevalue("postgres_url")

        async def opens() -> Any:
            return await PostgresStore.open(url, pool=4)

    home = Shared(opens)
    yield home
    for store in home.opened:
        await store.close()


@pytest.fixture
async def store(shared: Shared) -> Any:
    """The store as a test looks at it."""
    return await shared.open()


@asynccontextmanager
async def replica(shared: Shared, folder: Path, *, desk: bool = True) -> AsyncIterator[House]:
    """A replica over the store; a desk from now on, or one that has still to become it."""
    store = await shared.open()
    house = House(store, folder, shared=True)
    await house.writer.start()
    await warm_start(house.engine, store)
    if desk:
        await promote(house)
    yield house
    await house.courier.close()
    await house.writer.close()


async def promote(house: House) -> None:
    await house.term.begin()
    await house.courier.restore()
    await house.desk.restore()


async def stored(house: House) -> None:
    """Wait until what a desk handed to its writer has taken its way."""
    await until(lambda: not house.writer.documents())


async def keys(store: Any, collection: str) -> list[str]:
    return [key async for key, _ in store.scan(collection)]


async def test_a_firing_is_told_and_sent_once_the_store_has_it_and_not_before(
    store: Any, shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(shared, tmp_path) as house:
        await house.desk.create(above(101, notify=[HOOK]))
        mine, away = house.store, True
        put_firsts = mine.put_firsts

        async def refuses(*given: Any, **named: Any) -> Any:
            if away:
                raise StoreUnavailable("away")
            return await put_firsts(*given, **named)

        monkeypatch.setattr(mine, "put_firsts", refuses)
        await house.trade(102.0, at_s=1)
        await until(lambda: house.writer.status()["status"] != "ok")
        assert house.told() == []
        assert house.courier.counters()["waiting"] == 0
        away = False
        await until(lambda: house.bus.seq("alerts") == 1)
        [firing] = house.told()
        assert firing["value"] == 102.0
        assert house.courier.counters()["waiting"] == 1
        assert len(await keys(store, COLLECTION)) == len(await keys(store, OUTBOX)) == 1


async def test_who_is_the_desk_no_longer_writes_tells_and_sends_nothing(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    """Both see the same market; the first has stood still and does not know that the second is the desk by now."""
    async with replica(shared, tmp_path / "a") as first:
        made = await first.desk.create(above(101, notify=[HOOK]))
        async with replica(shared, tmp_path / "b") as second:
            await asyncio.gather(first.trade(102.0, at_s=1), second.trade(102.0, at_s=1))
            await asyncio.gather(stored(first), stored(second))
            await until(lambda: first.superseded)
            assert second.ids() == [f"{made['id']}-1"]
            assert first.told() == []
            assert first.courier.counters()["waiting"] == 0
            assert second.courier.counters()["waiting"] == 1
            assert len(await keys(store, COLLECTION)) == len(await keys(store, OUTBOX)) == 1
            assert not await first.term.holds()
            assert await second.term.holds()
            assert not second.superseded


async def test_a_firing_that_the_desk_before_has_told_is_refused_and_leaves_no_hole(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    """The second desk judges again what the first had judged: its rule begins anew, as if no state were kept."""
    async with replica(shared, tmp_path / "a") as first:
        made = await first.desk.create(above(101, notify=[HOOK]))
        await first.trade(102.0, at_s=1)
        await stored(first)
        assert first.ids() == [f"{made['id']}-1"]
    await store.delete("alert_states", made["id"])
    async with replica(shared, tmp_path / "b") as second:
        await second.trade(102.0, at_s=1)
        await stored(second)
        assert second.told() == []
        assert len(await keys(store, COLLECTION)) == len(await keys(store, OUTBOX)) == len(await keys(store, CLAIMS))
        await second.trade(100.0, at_s=2)
        await second.trade(103.0, at_s=3)
        await stored(second)
        assert [firing["seq"] for firing in second.told()] == [2]
        seqs = [seq async for seq, _ in second.desk.missed(0)]
        assert seqs == [1, 2]


async def test_the_next_desk_goes_on_where_the_one_before_had_judged(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    async with replica(shared, tmp_path / "a") as first, replica(shared, tmp_path / "b", desk=False) as second:
        made = await first.desk.create(above(101))
        await first.trade(100.0, at_s=1)
        await first.trade(102.0, at_s=2)
        judged_ns = first.now_ns
        await stored(first)
        await promote(second)
        assert second.shared is not None
        assert second.shared.judged_ns == judged_ns
        await second.trade(103.0, at_s=3)
        await second.trade(100.0, at_s=4)
        await second.trade(104.0, at_s=5)
        await stored(second)
        assert (second.ids(), second.bus.seq("alerts")) == ([f"{made['id']}-2"], 2)


async def test_a_replica_that_is_not_the_desk_says_what_was_missed_as_the_records_have_it(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    async with replica(shared, tmp_path / "a") as desk, replica(shared, tmp_path / "b", desk=False) as other:
        await desk.desk.create(above(101))
        for at_s in range(1, 7):
            await desk.trade(100.0 + at_s % 2 * 5, at_s=at_s)
        await stored(desk)
        told = desk.told()
        assert len(told) == 3
        await other.desk.overhear()
        assert other.bus.seq("alerts") == 3
        assert [seq async for seq, _ in other.desk.missed(0)] == [1, 2, 3]
        assert [seq async for seq, _ in other.desk.missed(1)] == [2, 3]
        assert [seq async for seq, _ in other.desk.missed(3)] == []


async def test_a_claim_is_forgotten_a_day_behind_its_firing_and_the_firing_is_not(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    async with replica(shared, tmp_path) as house:
        await house.desk.create(above(101))
        await house.trade(102.0, at_s=1)
        await stored(house)
        house.now_ns += (CLAIMED_MS + 1) * 1_000_000
        await house.trade(100.0, at_s=2)
        await house.trade(103.0, at_s=3)
        await stored(house)
        assert len(await keys(store, CLAIMS)) == 2
        await house.desk.forget()
        [claim] = await keys(store, CLAIMS)
        assert claim.endswith("/3001")
        assert len(await keys(store, COLLECTION)) == 2


async def test_who_is_not_the_desk_makes_no_rule(store: Any, shared: Shared, tmp_path: Path) -> None:
    async with replica(shared, tmp_path, desk=False) as house:
        with pytest.raises(Superseded):
            await house.desk.create(above(101))
        assert house.desk.ids() == []
        assert await keys(store, "alerts") == []


async def test_a_desk_that_does_not_know_yet_that_another_is_it_promises_nothing_that_is_let_go(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    async with replica(shared, tmp_path / "a") as first:
        made = await first.desk.create(above(101))
        async with replica(shared, tmp_path / "b"):
            with pytest.raises(Superseded):
                await first.desk.create(above(102))
            with pytest.raises(Superseded):
                await first.desk.remove(made["id"])
            assert await keys(store, "alerts") == [made["id"]]


async def test_the_newest_firings_are_a_list_in_the_cache_the_newest_first(
    store: Any, shared: Shared, tmp_path: Path
) -> None:
    async with replica(shared, tmp_path) as house:
        await house.desk.create(above(101))
        for at_s in range(1, 5):
            await house.trade(100.0 + at_s % 2 * 5, at_s=at_s)
        await stored(house)
        assert [firing["seq"] for firing in house.told()] == [1, 2]
        assert [orjson.loads(body)["seq"] for body in house.cache.listed("alerts:triggered")] == [2, 1]
