"""The service of backtests: what it reads of store, engine and exchange, what it says of what it could not have."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pytest

from pairscope.backtester import Backtester
from pairscope.errors import Busy, ConnectionLost, InputError, NotEnoughData, StoreUnavailable
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research import pair_reading
from pairscope.research.jobs import JobBoard
from pairscope.storage.memory_cache import MemoryBus

from .api.market import Notebook, nothing

MS = 1_000_000
MINUTE_NS = 60_000 * MS
START_NS = 1_700_000_040_000 * MS
ROWS = 500
DEADLINE_S = 240.0  # kernels may have to be compiled first
RULE = {"y": "AUSDT", "x": "BUSDT", "hedge": {"lookback": 60}, "window": 20, "entry": 1.0, "exit": 0.0}


def made_up(seed: int, rows: int) -> np.ndarray[Any, Any]:
    walk = np.cumsum(np.random.default_rng(seed).standard_normal(rows)) * 1e-3
    return 100.0 * np.exp(walk)


def bars_of(name: str, times: np.ndarray[Any, Any], close: np.ndarray[Any, Any]) -> BarBatch:
    empty = BarBatch.empty(Symbols([name]), "1m")
    zeros = np.zeros(times.size)
    return replace(
        empty,
        symbol_id=np.zeros(times.size, np.int32),
        ts_open_ns=times,
        open=close * 0.9999,
        high=close * 1.001,
        low=close * 0.999,
        close=close,
        volume=zeros + 1.0,
        quote_volume=close,
        buy_volume=zeros,
        trades=np.ones(times.size, np.int64),
        first_id=np.full(times.size, -1, np.int64),
        last_id=np.full(times.size, -1, np.int64),
        revision=np.zeros(times.size, np.asarray(empty.revision).dtype),
        origin=np.full(times.size, Origin.EXCHANGE, np.int8),
    )


@dataclass
class Shop:
    """A store, an engine and an exchange of two symbols, made of columns; ``stored`` bars are in the store."""

    stored: int = ROWS
    gaps_of_a: Sequence[Gap] = ()
    rates: Mapping[str, float] | Exception = field(default_factory=lambda: {"AUSDT": 0.001, "BUSDT": -0.002})
    ticks_from: int = 0
    thin: bool = False

    def __post_init__(self) -> None:
        times = START_NS + np.arange(ROWS, dtype=np.int64) * MINUTE_NS
        x = made_up(1, ROWS)
        y = 2.0 * x**0.5 * np.exp(0.004 * np.sin(np.arange(ROWS) / 7.0))
        self.bars_by_name = {"AUSDT": bars_of("AUSDT", times, y), "BUSDT": bars_of("BUSDT", times, x)}
        if self.thin:
            self.bars_by_name["BUSDT"] = self.bars_by_name["BUSDT"].take(slice(None, None, 3))

    # -- the store -----------------------------------------------------------------------------------------------------

    async def bars(
        self, symbol: str, timeframe: str, start_ns: int, end_ns: int, *, limit: int, newest: bool = False
    ) -> BarBatch:
        all_of_it = self.bars_by_name[symbol].take(slice(self.stored))
        found = all_of_it.take((all_of_it.ts_open_ns >= start_ns) & (all_of_it.ts_open_ns < end_ns))
        return found.take(slice(max(0, len(found) - limit), None) if newest else slice(limit))

    async def gaps(self, symbol: str, *, unrepaired: bool = False) -> Sequence[Gap]:
        found = self.gaps_of_a if symbol == "AUSDT" else ()
        return [gap for gap in found if not unrepaired or gap.status != "repaired"]

    async def ticks(self, symbol: str, start_ns: int, end_ns: int, *, limit: int) -> TickBatch:
        bars = self.bars_by_name[symbol].take(slice(self.ticks_from, None))
        times = bars.ts_open_ns + 200 * MS
        price = bars.open
        inside = (times >= start_ns) & (times < end_ns)
        count = min(limit, int(inside.sum()))
        return TickBatch(
            bars.symbols,
            np.zeros(count, np.int32),
            times[inside][:count],
            times[inside][:count],
            np.arange(count, dtype=np.int64),
            price[inside][:count],
            np.ones(count),
            np.zeros(count, np.bool_),
            0,
        )

    # -- the engine ----------------------------------------------------------------------------------------------------

    def recent_bars(self, symbol: str, timeframe: str, count: int, *, with_open: bool = False) -> BarBatch:
        bars = self.bars_by_name[symbol]
        return bars.take(slice(max(0, len(bars) - count), None))

    # -- the exchange --------------------------------------------------------------------------------------------------

    async def funding(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[tuple[str, int, float]]:
        if isinstance(self.rates, Exception):
            raise self.rates
        hour_ns = 3600 * 1000 * MS
        times = range(-(-start_ns // hour_ns) * hour_ns, end_ns, hour_ns)
        return [(symbol, time_ns // MS, self.rates[symbol]) for time_ns in times]

    async def steps(self) -> Mapping[str, float]:
        if isinstance(self.rates, Exception):
            raise self.rates
        return {"AUSDT": 0.5, "BUSDT": 0.01}


class Service:
    """A service over a shop, and everything it leaves behind."""

    def __init__(self, shop: Any = None, records: Any = None, *, exchange: bool = True) -> None:
        self.shop = shop or Shop()
        self.records = records or Notebook()
        self.jobs = JobBoard(MemoryBus(), clock=lambda: 7 * MS)
        self.backtests = Backtester(
            store=self.shop,
            live=self.shop,
            records=self.records,
            jobs=self.jobs,
            clock=lambda: 7 * MS,
            source=lambda: "synthetic",
            exchange=self.shop if exchange else None,
            prepare=lambda _: nothing(),
        )

    async def backtest(self, **changes: Any) -> dict[str, Any]:
        view = self.backtests.backtest({**RULE, **changes})
        await asyncio.wait_for(self.jobs.wait(view.id), DEADLINE_S)
        await self.backtests.settled()
        return await self.document(view.id)

    async def document(self, run_id: str) -> dict[str, Any]:
        packed = await self.backtests.packed(run_id)
        assert packed is not None
        return dict(orjson.loads(gzip.decompress(packed)))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    yield made
    await made.jobs.close()
    await made.backtests.close()


def funding_by_hand(said: dict[str, Any], shop: Shop) -> float:
    """What holding the trades cost at each whole hour, from the trades alone: a rate on the bar's value."""
    assert not isinstance(shop.rates, Exception)
    times = shop.bars_by_name["AUSDT"].ts_open_ns // MS
    paid = 0.0
    for trade in said["trades"]:
        for row, time in enumerate(times.tolist()):
            if time % 3_600_000 == 0 and trade["entry_timestamp"] < time <= trade["exit_timestamp"]:
                for leg, name in (("quantity_y", "AUSDT"), ("quantity_x", "BUSDT")):
                    paid += trade[leg] * shop.bars_by_name[name].close[row] * shop.rates[name]
    return paid


async def test_funding_is_that_of_the_exchange_at_its_times(service: Service) -> None:
    said = await service.backtest(funding=True, round_steps=False)
    by_hand = funding_by_hand(said, service.shop)
    assert abs(by_hand) > 1.0
    assert said["metrics"]["funding"] == pytest.approx(by_hand, rel=1e-9)
    free = await service.backtest(round_steps=False)
    assert free["metrics"]["funding"] == 0.0


async def test_quantities_keep_to_the_exchanges_steps_where_it_says_them(service: Service) -> None:
    said = await service.backtest()
    assert len(said["trades"]) > 5
    for trade in said["trades"]:
        assert trade["quantity_y"] / 0.5 == pytest.approx(round(trade["quantity_y"] / 0.5), abs=1e-9)
        assert trade["quantity_x"] / 0.01 == pytest.approx(round(trade["quantity_x"] / 0.01), abs=1e-6)
    free = await service.backtest(round_steps=False)
    assert any(abs(trade["quantity_y"] / 0.5 - round(trade["quantity_y"] / 0.5)) > 0.01 for trade in free["trades"])


@pytest.mark.parametrize("silent", [True, False])
async def test_what_the_exchange_does_not_say_is_said_in_words(silent: bool) -> None:
    shop = Shop(rates=ConnectionLost("no route to it"))
    service = Service(shop, exchange=not silent)
    said = await service.backtest(funding=True)
    assert ("no route to it" in said["assumptions"]["funding"]) == (not silent)
    assert "exchange" in said["assumptions"]["funding"]
    assert "exchange" in said["assumptions"]["steps"]
    assert said["metrics"]["funding"] == 0.0
    await service.backtests.close()


async def test_bars_that_are_not_stored_yet_are_traded_too() -> None:
    service = Service(Shop(stored=ROWS - 30))
    said = await service.backtest()
    assert said["equity"]["timestamp"][-1] == (START_NS + (ROWS - 1) * MINUTE_NS) // MS
    assert len(said["equity"]["timestamp"]) == ROWS - 59
    await service.backtests.close()


async def test_a_thin_leg_has_its_warm_up_in_bars_that_both_have() -> None:
    service = Service(Shop(thin=True))
    start_ns = START_NS + 300 * MINUTE_NS
    said = await service.backtest(start=start_ns // MS)
    assert said["equity"]["timestamp"][0] == start_ns // MS
    assert said["assumptions"]["warmup"] == 59
    await service.backtests.close()


def gap(after: int, before: int, status: str = "open") -> Gap:
    times = {"after_ns": START_NS + after * MINUTE_NS, "before_ns": START_NS + before * MINUTE_NS}
    return Gap("AUSDT", 10, 20, status, 11 if status != "repaired" else 0, **times)  # type: ignore[arg-type]


async def test_open_holes_in_the_trades_of_the_range_are_counted() -> None:
    holes = [gap(100, 101), gap(200, 202, "unrepairable"), gap(300, 301, "repaired"), gap(600, 601), gap(-20, -10)]
    service = Service(Shop(gaps_of_a=holes))
    assert (await service.backtest())["gaps"] == 2
    assert (await service.backtest(start=(START_NS + 150 * MINUTE_NS) // MS))["gaps"] == 2, "one is in the warm-up"
    assert (await service.backtest(start=(START_NS + 250 * MINUTE_NS) // MS))["gaps"] == 1
    await service.backtests.close()


async def test_bars_that_lack_trades_are_named_and_so_are_the_trades_that_met_one() -> None:
    shop = Shop(gaps_of_a=[gap(200, 202, "unrepairable"), gap(300, 301, "repaired")])
    service = Service(shop)
    whole = await service.backtest()
    assert "gap" not in whole, "the exchange's bars are whole, whatever own trades are missing"
    assert "gaps" not in whole["assumptions"]
    assert not any("gap" in sentence for sentence in whole["verdict"]["sentences"])
    own = np.full(ROWS, Origin.OWN, np.int8)
    shop.bars_by_name = {name: replace(bars, origin=own) for name, bars in shop.bars_by_name.items()}
    said = await service.backtest()
    lacking = [(START_NS + row * MINUTE_NS) // MS for row in (200, 201, 202)]
    assert (said["gap"], said["gap_bars"]) == (True, {"y": {"bars": 3, "timestamps": lacking}})
    words = "3 bars of AUSDT lack trades, and nothing has filled the holes"
    assert said["assumptions"]["gaps"] == words
    assert f"Touches 1 open gap in the recorded trades: {words}." in said["verdict"]["sentences"]
    for trade in said["trades"]:
        inside = trade["entry_timestamp"] <= lacking[-1] + 60_000 and trade["exit_timestamp"] >= lacking[0]
        assert trade["gap"] == inside, trade
    assert 0 < sum(trade["gap"] for trade in said["trades"]) < len(said["trades"])
    view = service.backtests.sweep({**RULE, "entry": [1.0, 2.0]})
    await asyncio.wait_for(service.jobs.wait(view.id), DEADLINE_S)
    await service.backtests.settled()
    swept = await service.document(view.id)
    assert (swept["gap"], swept["assumptions"]["gaps"]) == (True, words)
    assert [line.get("gap") for line in service.backtests.runs(kind=None, y=None, x=None, limit=9, before=None)] == [
        True,
        True,
        None,
    ]
    await service.backtests.close()


async def test_with_a_latency_it_is_filled_from_the_recorded_trades(service: Service) -> None:
    said = await service.backtest(latency_ms=100, round_steps=False)
    opens = dict(zip((service.shop.bars_by_name["AUSDT"].ts_open_ns // MS).tolist(), range(ROWS), strict=True))
    assert len(said["trades"]) > 5
    for trade in said["trades"][:-1]:
        row = opens[trade["entry_timestamp"]]
        assert trade["entry_price_y"] == pytest.approx(service.shop.bars_by_name["AUSDT"].open[row])
    late = await service.backtest(latency_ms=10_000, round_steps=False)
    entries = [opens[trade["entry_timestamp"]] for trade in said["trades"]]
    assert [opens[t["entry_timestamp"]] for t in late["trades"]][:3] == [row + 1 for row in entries][:3]


async def test_with_a_latency_it_trades_only_where_trades_are_recorded() -> None:
    service = Service(Shop(ticks_from=200))
    said = await service.backtest(latency_ms=100)
    assert min(t["entry_timestamp"] for t in said["trades"]) >= (START_NS + 200 * MINUTE_NS) // MS
    with pytest.raises(InputError, match="begin only at") as refused:
        await service.backtest(latency_ms=100, start=(START_NS + 100 * MINUTE_NS) // MS)
    assert refused.value.loc == "start"
    await service.backtests.close()


async def test_more_than_can_be_run_over_is_refused_by_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_reading, "MOST_BARS", 100)
    with pytest.raises(InputError, match="more than 100 1m bars") as refused:
        await service.backtest(start=START_NS // MS)
    assert (refused.value.loc, refused.value.hint) == ("start", "choose a shorter range or a longer timeframe")
    monkeypatch.setattr(pair_reading, "MOST_TICKS", 100)
    with pytest.raises(InputError, match="more than 100 trades"):
        await service.backtest(latency_ms=5)


async def test_too_few_bars_are_said_with_what_is_needed(service: Service) -> None:
    with pytest.raises(NotEnoughData, match="there are 500"):
        await service.backtest(hedge={"lookback": 5000})


async def test_a_run_that_the_records_refuse_is_still_there_and_kept_no_worse() -> None:
    class Refusing(Notebook):
        async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
            raise StoreUnavailable("not now")

    service = Service(records=Refusing())
    said = await service.backtest()
    assert service.backtests.counters()["refused"] >= 1
    assert (await service.document(said["id"])) == said
    assert [line["id"] for line in service.backtests.runs(kind=None, y=None, x=None, limit=9, before=None)] == [
        said["id"]
    ]
    await service.backtests.close()


async def test_a_failed_run_leaves_nothing(service: Service) -> None:
    with pytest.raises(NotEnoughData):
        await service.backtest(start=(START_NS + 499 * MINUTE_NS) // MS)
    assert service.records.kept == {}
    assert service.backtests.counters()["kept"] == 0


async def test_of_too_many_that_wait_the_next_is_told_to_come_again(service: Service) -> None:
    with pytest.raises(Busy):
        for _ in range(100):
            service.backtests.backtest(RULE)


async def test_a_sweep_is_run_in_pieces_and_tells_how_far_it_is(service: Service) -> None:
    view = service.backtests.sweep({**RULE, "entry": [1.0, 1.2, 1.4], "exit": [0.0, 0.2]})
    await asyncio.wait_for(service.jobs.wait(view.id), DEADLINE_S)
    ended = service.jobs.view(view.id)
    assert ended is not None
    assert (ended.status, ended.done, ended.total) == ("done", 6, 6)
