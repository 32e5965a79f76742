"""The continuous screen: it moves with every close, begins anew where history changed, and outlives what goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pairscope.engine.data_processor import DataProcessor
from pairscope.errors import Busy, ConfigError, InputError, JobCancelled, NotEnoughData, StoreUnavailable
from pairscope.market.bars import BASE_TIMEFRAMES, BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports_research import JobView, ScreenView
from pairscope.research.asked_screens import MOST_SYMBOLS
from pairscope.research.discoveries import Discoveries
from pairscope.research.jobs import JobBoard
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_line import settings_of
from pairscope.research.screen_records import COLLECTION
from pairscope.schemas import encode_screen
from pairscope.screener import Screener
from pairscope.storage.duckdb_store import DuckDBStore
from pairscope.storage.memory_cache import MemoryBus

MINUTE = 60_000_000_000
NOW = 1_760_000_040_000_000_000 // (60 * MINUTE) * 60 * MINUTE
NAMES = ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT")
LOOKBACK = 120
WHOLE = ScreenView(limit=10_000)


def walks(seed: int = 0, n: int = 400) -> np.ndarray:
    """Three walks and one that is tied to the first."""
    rng = np.random.default_rng(seed)
    table = np.cumsum(rng.standard_normal((n, len(NAMES))), axis=0) * 0.002 + 4.0
    table[:, 3] = 0.7 * table[:, 0] + 0.002 * rng.standard_normal(n)
    return np.exp(table).round(6)


def minutes(symbols: Symbols, symbol: str, close: np.ndarray, end_ns: int = NOW) -> BarBatch:
    n = close.size
    one, none = np.ones(n), np.full(n, -1)
    return BarBatch(
        symbols,
        "1m",
        np.full(n, symbols.id_of(symbol), np.int32),
        end_ns - MINUTE * np.arange(n, 0, -1),
        *(close,) * 4,
        volume=one,
        quote_volume=close,
        buy_volume=one / 2,
        trades=np.full(n, 3),
        first_id=none,
        last_id=none,
        revision=np.zeros(n, np.int32),
        origin=np.full(n, Origin.EXCHANGE, np.int8),
    )


async def nothing() -> None:
    """The kernels are compiled already, or will be here."""


class House:
    """A screener over a real store and engine; ``close`` lets a minute pass in which every symbol trades once."""

    def __init__(
        self, store: DuckDBStore, settings: list[tuple[str, int]] | None = None, *, surrogates: int = 0
    ) -> None:
        self.store = store
        self.symbols = Symbols(NAMES)
        self.engine = DataProcessor(self.symbols)
        self.engine.on_batch(TickBatch.empty(self.symbols, NOW))
        self.bus = MemoryBus()
        self.jobs = JobBoard(self.bus, clock=lambda: NOW)
        self.surrogates = surrogates
        self.settings = [("1m", LOOKBACK)] if settings is None else settings
        self.screener = self.over(store)
        self.at_ns = NOW
        self.id = 1
        self.prices = walks()
        self.running: asyncio.Task[None] | None = None

    def over(self, store: Any) -> Screener:
        return Screener(
            self.settings,
            store=store,
            records=self.store,
            bus=self.bus,
            live=self.engine,
            jobs=self.jobs,
            surrogates=self.surrogates,
            prepare=nothing,
        )

    async def history(self, names: tuple[str, ...] = NAMES, n: int = 300) -> None:
        for name in names:
            bars = minutes(self.symbols, name, self.prices[300 - n : 300, NAMES.index(name)])
            await self.store.put_bars(bars)
            self.engine.adopt_history(bars)
            self.screener.bars_came(bars)

    async def close(self, *, stored: bool = True) -> None:
        row = self.prices[300 + (self.at_ns - NOW) // MINUTE]
        ids = np.array([self.symbols.id_of(name) for name in NAMES], np.int32)
        ts = np.full(ids.size, self.at_ns + MINUTE // 2)
        trades = np.arange(self.id, self.id + ids.size)
        price = row.copy()
        self.at_ns += MINUTE
        self.id += ids.size
        ticks = TickBatch(
            self.symbols, ids, ts, ts, trades, price, np.ones(ids.size), np.zeros(ids.size, np.bool_), self.at_ns
        )
        await self.feed(ticks, stored=stored)

    async def correct(self, price: float) -> None:
        """Let a tick of the first symbol come late, the last of the minute that has just closed."""
        at = np.array([self.at_ns - 1])
        self.id += 1
        ids, trades, flag = np.zeros(1, np.int32), np.array([self.id]), np.zeros(1, np.bool_)
        await self.feed(TickBatch(self.symbols, ids, at, at, trades, np.array([price]), np.ones(1), flag, self.at_ns))

    async def feed(self, ticks: TickBatch, *, stored: bool = True) -> None:
        updates = self.engine.on_batch(ticks)
        self.screener.take(updates)
        closed = [bars for bars in (*updates.closed, *updates.revised) if bars.timeframe in BASE_TIMEFRAMES]
        if stored:
            await self.store.append(ticks, closed)

    def start(self) -> None:
        self.running = asyncio.create_task(self.screener.run())

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(240):
            while not condition():
                assert self.running is None or not self.running.done()
                await asyncio.sleep(0.005)

    def counted(self, name: str, of: str = f"1m:{LOOKBACK}") -> float:
        return float(self.screener.counters()[of][name])

    def as_of(self) -> int | None:
        return self.screener.discoveries()["screens"][0]["as_of"]

    async def page(self, timeframe: str = "1m", lookback: int = LOOKBACK, view: ScreenView = WHOLE) -> dict[str, Any]:
        return dict((await self.screener.table(timeframe, lookback)).page(view))

    async def direct(self, bars: int = LOOKBACK) -> dict[tuple[str, str], dict[str, Any]]:
        """The screen of what the store holds, by the function for notebooks."""
        columns = [(await self.store.bars(name, "1m", 0, 1 << 62, limit=bars, newest=True)).close for name in NAMES]
        return {(row.y, row.x): row._asdict() for row in screen_pairs(np.column_stack(columns), NAMES)}


@pytest.fixture
async def house(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setattr("pairscope.screener.SETTLE_S", 0.01)
    monkeypatch.setattr("pairscope.screener.COMPILED_S", 300.0)  # of a slow machine whose kernels are still to be made
    monkeypatch.setattr("pairscope.research.screen_reading.READ_REST_S", 0.01)
    store = await DuckDBStore.open(tmp_path / "screen.duckdb", threads=1)
    house = House(store, getattr(request, "param", None))
    yield house
    if house.running is not None:
        house.running.cancel()
        await asyncio.gather(house.running, return_exceptions=True)
    house.screener.close()
    await house.jobs.close()
    await store.close()


def same(said: dict[str, Any], direct: dict[tuple[str, str], dict[str, Any]]) -> None:
    rows = {(row["y"], row["x"]): row for row in said["pairs"]}
    assert rows.keys() == direct.keys()
    for key, row in direct.items():
        for name, value in list(row.items())[2:]:
            assert rows[key][name] == pytest.approx(value, rel=1e-8, abs=1e-12, nan_ok=True), (key, name)


async def test_a_close_moves_the_screen_and_it_equals_a_fresh_one_of_the_stored_bars(house: House) -> None:
    await house.history()
    house.start()
    await house.until(lambda: house.as_of() == (NOW - MINUTE) // 1_000_000)
    same(await house.page(), await house.direct())
    for _ in range(3):
        await house.close()
        await house.until(lambda: house.as_of() == (house.at_ns - MINUTE) // 1_000_000)
        said = await house.page()
        assert said["continuous"]
        assert (said["universe"], said["tests"], said["bars"]) == (4, 12, LOOKBACK)
        same(said, await house.direct())
    assert (house.counted("rebuilds"), house.counted("slides")) == (1, 3)


async def test_a_close_that_comes_while_a_screen_runs_is_skipped_for_the_newest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.history()
    house.start()
    await house.until(lambda: house.counted("screens") == 1)
    let_go, real = threading.Event(), house.screener._lines["1m", LOOKBACK].moving.screen
    running: list[int] = []

    def slow(*args: Any, **kwargs: Any) -> Any:
        running.append(1)
        let_go.wait(30)
        return real(*args, **kwargs)

    monkeypatch.setattr(house.screener._lines["1m", LOOKBACK].moving, "screen", slow)
    await house.close()
    await house.until(lambda: running)
    for _ in range(3):
        await house.close()
    let_go.set()
    await house.until(lambda: house.as_of() == (house.at_ns - MINUTE) // 1_000_000)
    assert (house.counted("skipped"), len(running), house.counted("screens")) == (2, 2, 3)
    same(await house.page(), await house.direct())


async def test_history_that_comes_later_and_a_corrected_bar_rebuild_the_screen(house: House) -> None:
    await house.history(NAMES[:3])
    house.start()
    await house.until(lambda: house.counted("screens") == 1)
    assert (await house.page())["universe"] == 3
    await house.history(NAMES[3:])
    await house.until(lambda: house.counted("screens") == 2)
    same(await house.page(), await house.direct())
    await house.close()
    await house.until(lambda: house.counted("slides") == 1)
    assert house.counted("rebuilds") == 2
    await house.correct(70.0)
    await house.until(lambda: house.counted("screens") == 4)
    assert house.counted("rebuilds") == 3
    same(await house.page(), await house.direct())


async def test_symbols_with_holes_late_listing_or_no_movement_are_left_out_with_the_reason(house: House) -> None:
    house.prices[:, 1] = 5.0
    await house.history(("AAAUSDT", "BBBUSDT", "DDDUSDT"))
    house.symbols.id_of("LATEUSDT")
    late = minutes(house.symbols, "LATEUSDT", house.prices[:50, 2])
    await house.store.put_bars(late)
    house.engine.adopt_history(late)
    house.screener.history_came(["LATEUSDT"])
    holed = minutes(house.symbols, "CCCUSDT", house.prices[:300, 2])
    holed = holed.take(np.arange(300) % 40 != 0)
    await house.store.put_bars(holed)
    house.engine.adopt_history(holed)
    house.screener.history_came(["CCCUSDT"])
    house.start()
    await house.until(house.as_of)
    said = await house.page()
    assert said["symbols"] == ["AAAUSDT", "DDDUSDT"]
    assert set(said["excluded"]) == {"BBBUSDT", "CCCUSDT", "LATEUSDT"}
    assert said["excluded"]["BBBUSDT"].startswith("does not move")
    assert said["excluded"]["CCCUSDT"].startswith("lacks 3 of the last 120 bars")
    assert said["excluded"]["LATEUSDT"].startswith("begins only at")


async def test_a_screen_that_raises_is_logged_and_counted_and_the_next_one_is_right(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.screener.RETRY_S", 0.01)
    logged: list[str] = []
    monkeypatch.setattr("pairscope.screener._log.exception", lambda event, **_: logged.append(event))
    await house.history()
    moving = house.screener._lines["1m", LOOKBACK].moving
    real, calls = moving.take, []

    def broken(bars: Any) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("lost")
        real(bars)

    monkeypatch.setattr(moving, "take", broken)
    house.start()
    await house.until(lambda: house.counted("screens") == 1)
    assert (house.counted("failed"), logged) == (2, ["a screen failed"] * 2)
    same(await house.page(), await house.direct())


async def test_a_part_that_dies_begins_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairscope.screener.RETRY_S", 0.01)
    real, calls = house.screener._prepare, []

    async def dying() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no child")
        await real()

    monkeypatch.setattr(house.screener, "_prepare", dying)
    await house.history()
    house.start()
    await house.until(house.as_of)
    assert house.screener.counters()["restarted"] == 1


async def test_who_asks_while_kernels_are_compiled_is_told_to_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairscope.screener.COMPILED_S", 0.01)
    compiled = asyncio.Event()
    monkeypatch.setattr(house.screener, "_prepare", compiled.wait)
    await house.history()
    with pytest.raises(Busy, match="still being compiled"):
        await house.page()
    compiled.set()
    monkeypatch.setattr("pairscope.screener.COMPILED_S", 30)
    same(await house.page(), await house.direct())


async def test_a_store_that_refuses_delays_a_screen_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairscope.research.screen_reading.AGAIN_S", 0.0)

    class Refusing:
        refused = 0

        async def symbols(self) -> Any:
            return await house.store.symbols()

        async def base_bars(self, *args: Any) -> BarBatch:
            if self.refused < 5:
                self.refused += 1
                raise StoreUnavailable("not now")
            return await house.store.base_bars(*args)

    house.screener = house.over(Refusing())
    await house.history()
    house.start()
    await house.until(house.as_of)
    assert house.screener.counters()["refused"] >= 2
    same(await house.page(), await house.direct())


async def test_bars_that_close_while_history_is_read_lie_over_it(house: House) -> None:
    """A read that began before a close and a correction must not bring the older bar back."""
    let_go, reading = asyncio.Event(), asyncio.Event()

    class Slow:
        async def symbols(self) -> Any:
            return await house.store.symbols()

        async def base_bars(self, *args: Any) -> BarBatch:
            found = await house.store.base_bars(*args)
            reading.set()
            await let_go.wait()
            return found

    house.screener = house.over(Slow())
    await house.history()
    await house.close()
    house.start()
    await house.until(reading.is_set)
    await house.correct(70.0)
    await house.close()
    let_go.set()
    await house.until(lambda: house.as_of() == (house.at_ns - MINUTE) // 1_000_000)
    same(await house.page(), await house.direct())


@pytest.mark.parametrize("house", [[("1m", LOOKBACK), ("5m", 40)]], indirect=True)
async def test_several_timeframes_go_on_side_by_side(house: House) -> None:
    await house.history()
    house.start()
    await house.until(lambda: house.counted("screens") and house.counted("screens", "5m:40"))
    for _ in range(5):
        await house.close()
    await house.until(lambda: [s["as_of"] for s in house.screener.discoveries()["screens"]] == [
        (house.at_ns - MINUTE) // 1_000_000,
        (house.at_ns - 5 * MINUTE) // 1_000_000,
    ])  # fmt: skip
    said = await house.page("5m", 40)
    columns = [(await house.store.bars(n, "5m", 0, 1 << 62, limit=40, newest=True)).close for n in NAMES]
    direct = screen_pairs(np.column_stack(columns), NAMES)
    same(said, {(row.y, row.x): row._asdict() for row in direct})


async def test_any_other_setting_is_computed_from_the_store_and_kept_until_a_bar_closes(house: House) -> None:
    await house.history()
    first = await house.screener.table("1m", 200)
    assert await house.screener.table("1m", 200) is first
    said = dict(first.page(WHOLE))
    assert (said["lookback"], said["bars"], said["continuous"]) == (200, 200, False)
    same(said, await house.direct(200))
    await house.close()
    again = await house.screener.table("1m", 200)
    assert again is not first
    assert again.as_of_ms == (house.at_ns - MINUTE) // 1_000_000


async def test_a_screen_on_demand_has_bars_that_are_not_stored_yet(house: House) -> None:
    await house.history()
    for _ in range(3):
        await house.close(stored=False)
    said = await house.page("1m", 200)
    assert said["as_of"] == (house.at_ns - MINUTE) // 1_000_000
    assert said["bars"] == 200


async def test_who_asks_for_the_same_at_once_shares_one_screen_and_too_many_others_are_told_so(house: House) -> None:
    await house.history()
    asked = [asyncio.create_task(house.screener.table("1m", lookback)) for lookback in (100, 100, 101, 102, 103, 104)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[0] is found[1]
    assert [isinstance(one, Busy) for one in found] == [False] * 5 + [True]


async def test_what_is_too_much_or_too_little_to_test_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotEnoughData, match="a screen needs two symbols with 30 bars"):
        await house.screener.table("1m", 100)
    await house.history(NAMES[:1])
    with pytest.raises(NotEnoughData, match="1 of 1 symbols"):
        await house.screener.table("1m", 100)
    await house.history()
    monkeypatch.setattr("pairscope.research.asked_screens._MOST_WORK", 1200)
    with pytest.raises(InputError, match="more than one question may test") as told:
        await house.screener.table("1m", 101)
    assert (told.value.loc, told.value.hint) == ("lookback", "at most 100 bars")


async def test_discoveries_are_told_kept_and_the_same_after_a_restart(house: House) -> None:
    listener = house.bus.subscribe()
    listener.add(["discoveries"])
    await house.history()
    house.start()
    await house.until(house.as_of)
    await house.close()
    await house.until(lambda: len(house.screener._lines["1m", LOOKBACK].keys) == 2)
    told = house.screener.discoveries()
    [event] = [e for e in told["discoveries"] if {e["y"], e["x"]} == {"AAAUSDT", "DDDUSDT"}]
    assert event["event"] == "entered" and event["qvalue"] <= 0.05
    message = (await listener.next())[-1]
    assert orjson.loads(message.value) == orjson.loads(orjson.dumps(told))
    kept = house.screener.history("DDDUSDT", "AAAUSDT", "1m", LOOKBACK)
    assert len(kept["qvalue"]) == 2
    assert kept["now"]["qvalue"] == pytest.approx(kept["qvalue"][-1], rel=1e-5)
    house.running.cancel()
    again = House(house.store)
    await again.screener.restore()
    assert again.screener.discoveries()["discoveries"] == told["discoveries"]
    assert again.screener.history("DDDUSDT", "AAAUSDT", "1m", LOOKBACK)["qvalue"] == pytest.approx(
        kept["qvalue"], rel=1e-5
    )
    again.screener.close()


async def test_what_is_kept_is_bounded_and_what_cannot_be_read_costs_nothing_else(house: House) -> None:
    await house.store.put(COLLECTION, f"1m:{LOOKBACK}:000", b"not json")
    line = house.screener._lines["1m", LOOKBACK]
    line.discoveries = Discoveries(kept=2)
    await house.history()
    house.start()
    await house.until(house.as_of)
    for _ in range(3):
        count = house.counted("screens")
        await house.close()
        await house.until(lambda: house.counted("screens") == count + 1)  # noqa: B023
    await house.until(lambda: len(line.keys) == 2 and line.keys[-1].endswith(str(house.as_of())))
    assert [key async for key, _ in house.store.scan(COLLECTION)] == list(line.keys)


async def test_surrogates_of_a_continuous_screen_are_made_once_a_day_and_stand_beside_it(house: House) -> None:
    house.surrogates = 2
    house.screener = house.over(house.store)
    await house.history()
    house.start()
    await house.until(lambda: house.screener.counters()["nulls"] == 1)
    null = (await house.page())["null"]
    assert (null["surrogates"], null["tests"]) == (2, 12)
    count = house.counted("screens")
    await house.close()
    await house.until(lambda: house.counted("screens") > count)
    assert (await house.page())["null"]["as_of"] == null["as_of"]
    assert [job.kind for job in house.jobs.views()] == ["null"]
    again = house.over(house.store)
    await again.restore()
    assert again.counters()["nulls"] == 1
    again.close()


async def test_a_screen_that_is_cancelled_tells_who_waits_and_can_be_asked_for_again(house: House) -> None:
    await house.history()
    compiled = asyncio.Event()
    house.screener._prepare = compiled.wait  # type: ignore[method-assign, assignment]
    job = await house.screener.ask("1m", 100)
    assert isinstance(job, JobView)
    waiting = asyncio.create_task(house.screener.answer(job.id))
    await house.until(lambda: house.jobs.counters()["running"])
    house.jobs.cancel(job.id)
    with pytest.raises(JobCancelled):
        await waiting
    compiled.set()
    same(dict((await house.screener.table("1m", 100)).page(WHOLE)), await house.direct(100))


async def test_closing_in_the_middle_of_a_screen_does_not_wait_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.history()
    begun, cancelled = threading.Event(), threading.Event()

    def endless(*_: Any, cancelled: Callable[[], bool] = lambda: True, **__: Any) -> None:
        begun.set()
        while not cancelled():
            threading.Event().wait(0.005)
        seen.set()

    seen = cancelled
    monkeypatch.setattr(house.screener._lines["1m", LOOKBACK].moving, "screen", endless)
    house.start()
    await house.until(begun.is_set)
    async with asyncio.timeout(120):
        house.running.cancel()
        await asyncio.gather(house.running, return_exceptions=True)
        house.screener.close()
    house.running = None
    assert await asyncio.to_thread(seen.wait, 120)


@pytest.mark.parametrize("house", [[]], indirect=True)
async def test_without_a_setting_nothing_runs_and_any_screen_is_computed_when_asked_for(house: House) -> None:
    await house.history()
    await house.screener.run()
    assert house.screener.discoveries() == {"discoveries": [], "screens": [], "next": None}
    with pytest.raises(InputError, match="no history is kept") as told:
        house.screener.history("AAAUSDT", "BBBUSDT", "1m", LOOKBACK)
    assert told.value.loc == "lookback"
    same(await house.page(), await house.direct())


async def test_the_same_bars_give_the_same_bits(tmp_path: Path) -> None:
    said = []
    for run in ("a", "b"):
        store = await DuckDBStore.open(tmp_path / f"{run}.duckdb", threads=1)
        house = House(store)
        await house.history()
        house.start()
        await house.until(house.as_of)
        for _ in range(4):
            await house.close()
            await house.until(lambda: house.as_of() == (house.at_ns - MINUTE) // 1_000_000)  # noqa: B023
        said.append(await house.page())
        house.running.cancel()
        house.screener.close()
        await store.close()
    assert encode_screen(said[0]["pairs"]) == encode_screen(said[1]["pairs"])


def test_of_too_many_symbols_those_in_which_most_is_traded_are_screened() -> None:
    from pairscope.research.asked_screens import chosen_symbols

    class Live:
        def symbols(self) -> list[str]:
            return [f"S{i:04d}" for i in range(MOST_SYMBOLS + 2)]

        def price(self, symbol: str) -> Any:
            return None if symbol == "S0005" else {"price": 2.0, "volume_24h": float(symbol[1:])}

    names, left_out = chosen_symbols(Live())
    assert len(names) == MOST_SYMBOLS and names[0] == f"S{MOST_SYMBOLS + 1:04d}"
    assert set(left_out) == {"S0000", "S0005"}


@pytest.mark.parametrize("text", ["1m", "1m:", "2m:100", "1m:29", "1m:10001", "1m:-5", "1m:1e3"])
def test_a_setting_that_cannot_be_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="is no timeframe with 30 to 10000 bars") as told:
        settings_of([text])
    assert told.value.loc == "PAIRSCOPE_SCREEN"


def test_a_setting_that_stands_there_twice_is_screened_once() -> None:
    assert settings_of(["1m:100", "1m:100", "1h:50"]) == [("1m", 100), ("1h", 50)]
