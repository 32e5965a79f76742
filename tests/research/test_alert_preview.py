"""A rule tried on the past: it fires where the live machine would have, says what it looked at, and takes its time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.engine.alerts import AlertBook
from pairscope.engine.data_processor import DataProcessor
from pairscope.errors import Busy, InputError
from pairscope.market.alert_rules import AlertFiring, AlertRule
from pairscope.market.bars import BarBatch, Origin
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research import alert_preview
from pairscope.research.alert_past import MOST_STEPS, past_plan
from pairscope.research.alert_preview import AlertPreview
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE = 60_000_000_000
SECOND = 1_000_000_000
NAMES = ("BTCUSDT", "ETHUSDT")
SPAN_S = 3000


class Live:
    """Knows how far time is, and nothing else."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def watermark_ns(self) -> int:
        return self.now_ns


@pytest.fixture(scope="module")
def ticks(noon_ns: int) -> TickBatch:
    """Fifty minutes of two symbols that walk together; the second one is silent for two minutes now and then."""
    rng = np.random.default_rng(11)
    n = 9000
    times = np.sort(rng.choice(SPAN_S * 1000, n, replace=False)) * 1_000_000 + noon_ns
    symbol_id = rng.integers(0, 2, n).astype(np.int32)
    silent = (
        (symbol_id == 1)
        & ((times - noon_ns) // (10 * MINUTE) % 2 == 1)
        & ((times - noon_ns) % (10 * MINUTE) < 2 * MINUTE)
    )
    common = np.cumsum(rng.normal(0, 2e-4, n))
    own = np.sin(np.arange(n) / 300.0) * 1e-3 + rng.normal(0, 1e-4, n)
    price = np.where(symbol_id == 0, 60_000 * np.exp(common), 3_000 * np.exp(common + own)).round(2)
    keep = ~silent
    ids = np.zeros(n, np.int64)
    for s in (0, 1):
        mine = keep & (symbol_id == s)
        ids[mine] = np.arange(1000, 1000 + mine.sum())
    made = TickBatch(
        Symbols(NAMES), symbol_id, times, times + 1, ids, price, rng.integers(1, 900, n) / 1000.0,
        np.zeros(n, np.bool_), noon_ns + SPAN_S * SECOND,
    )  # fmt: skip
    return made.take(keep)


@pytest.fixture(scope="module")
def file(ticks: TickBatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds them, with the bars that they closed."""
    path = tmp_path_factory.mktemp("recorded") / "store.duckdb"

    async def record() -> None:
        store = await DuckDBStore.open(path, threads=1)
        await recorded(store, ticks)
        await store.close()

    asyncio.run(record())
    return path


@pytest.fixture
async def store(file: Path, tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    """That store, for one test to do with as it likes."""
    shutil.copy(file, tmp_path / "store.duckdb")
    held = await DuckDBStore.open(tmp_path / "store.duckdb", threads=1)
    yield held
    await held.close()


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[DuckDBStore]:
    """A store that holds nothing."""
    held = await DuckDBStore.open(tmp_path / "empty.duckdb", threads=1)
    yield held
    await held.close()


@pytest.fixture
def preview(store: DuckDBStore, noon_ns: int) -> Iterator[AlertPreview]:
    made = AlertPreview(store=store, live=Live(noon_ns + SPAN_S * SECOND))  # type: ignore[arg-type]  # of a view only that
    yield made
    made.close()


def live_firings(rule: AlertRule, ticks: TickBatch, *, flush_ns: int = 2 * SECOND) -> list[AlertFiring]:
    """What the live book says of the ticks as a feed would flush them, without any lateness."""
    symbols = Symbols(NAMES)
    engine = DataProcessor(symbols)
    book = AlertBook(symbols, engine)
    start_ns = int(ticks.ts_event_ns[0]) // MINUTE * MINUTE
    engine.on_batch(TickBatch.empty(symbols, start_ns))
    book.put(rule)
    found: list[AlertFiring] = []
    edges = np.arange(start_ns, int(ticks.watermark_ns) + flush_ns, flush_ns)[1:]
    rows = np.searchsorted(ticks.ts_event_ns, edges)
    for start, end, edge in zip([0, *rows[:-1]], rows, edges.tolist(), strict=True):
        for wanted in book.lacking():
            asked = book.begin(wanted)
            if asked is not None:
                book.fill(wanted, asked[1], BarBatch.empty(symbols, wanted.timeframe))
        batch = replace(ticks.take(slice(int(start), int(end))), watermark_ns=min(edge, ticks.watermark_ns))
        book.on_ticks(batch)
        book.on_updates(engine.on_batch(batch))
        found += book.firings()
    return found


async def recorded(store: DuckDBStore, ticks: TickBatch) -> None:
    """Store ticks with the bars that they closed, as a process does."""
    engine = DataProcessor(Symbols(NAMES))
    for part in np.array_split(np.arange(len(ticks)), 25):
        batch = ticks.take(part).with_watermark(int(ticks.ts_event_ns[part[-1]]))
        updates = engine.on_batch(batch)
        await store.append(batch, [bars for bars in updates.closed if bars.timeframe in {"1s", "1m"}])
    end = TickBatch.empty(ticks.symbols, ticks.watermark_ns)
    updates = engine.on_batch(end)
    await store.append(end, [bars for bars in updates.closed if bars.timeframe in {"1s", "1m"}])


def rule_of(**fields: Any) -> AlertRule:
    return AlertRule.from_document("any", {"cooldown_s": 30, **fields})


PAIR = {"y": "ETHUSDT", "x": "BTCUSDT", "lookback": 10, "window": 5}
AS_LIVE = {
    "price crosses": rule_of(type="price", symbol="BTCUSDT", condition="crosses_above", threshold=60_100.0),
    "price enters": rule_of(type="price", symbol="ETHUSDT", condition="enters", lower=3_000.0, upper=3_005.0),
    "price moves": rule_of(type="price", symbol="BTCUSDT", condition="moves", threshold=0.004, window=5),
    "price change": rule_of(type="price_change", symbol="BTCUSDT", condition="above", threshold=0.002, window=5),
    "price at closes": rule_of(
        type="price", symbol="BTCUSDT", condition="above", threshold=60_000.0, frequency="once_per_bar_close"
    ),
    "z-score": rule_of(type="zscore", condition="crosses_above", threshold=1.0, **PAIR),
    "correlation": rule_of(type="correlation", condition="below", threshold=0.9, **PAIR),
    "volatility": rule_of(type="volatility", symbol="BTCUSDT", condition="above", threshold=0.9, window=5),
    "staleness": rule_of(type="staleness", symbol="ETHUSDT", condition="above", threshold=60),
    "once a bar": rule_of(
        type="price", symbol="BTCUSDT", condition="crosses_below", threshold=60_050.0, frequency="once_per_bar"
    ),
    "both": AlertRule.from_document(
        "any",
        {
            "join": "and",
            "conditions": [
                {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": 60_000.0},
                {"type": "price_change", "symbol": "ETHUSDT", "condition": "above", "threshold": 0.0, "window": 3},
            ],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AS_LIVE)
async def test_it_fires_at_the_moments_at_which_the_live_machine_would_have(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview, name: str
) -> None:
    rule = AS_LIVE[name]
    expected = live_firings(replace(rule, id="live"), ticks)
    found = await preview.of(rule, hours=24.0, seconds=60.0)
    assert expected, "a rule that never fires proves nothing"
    assert found["fired"] == len(expected)
    assert found["times"] == [firing.time_ns // 1_000_000 for firing in expected][::-1][:50]
    marked = [mark["value"] for mark in found["marks"]]
    np.testing.assert_allclose(marked, [firing.value for firing in expected][::-1][:50], rtol=1e-9)
    assert found["complete"]


async def test_the_values_and_distances_are_those_of_now(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview
) -> None:
    last = float(ticks.of_symbol("BTCUSDT").price[-1])
    rule = rule_of(type="price", symbol="BTCUSDT", condition="crosses_above", threshold=last + 90_000.0)
    found = await preview.of(rule)
    assert (found["values"], found["holds"], found["fired"]) == ([last], [False], 0)
    assert found["distance"] == [pytest.approx(90_000.0)]


async def test_once_it_has_fired_it_is_done_and_still_says_what_is_now(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview
) -> None:
    rule = rule_of(type="price", symbol="BTCUSDT", condition="above", threshold=1.0, once=True)
    found = await preview.of(rule)
    assert found["fired"] == 1
    assert found["values"] == [float(ticks.of_symbol("BTCUSDT").price[-1])]


async def test_a_storm_would_have_paused_it_and_that_is_said(
    empty: DuckDBStore, ticks: TickBatch, noon_ns: int
) -> None:
    mine = ticks.of_symbol("BTCUSDT").take(slice(100))
    prices = np.where(np.arange(100) % 2 == 0, 59_999.0, 60_001.0)
    times = noon_ns + SECOND * np.arange(100)
    await recorded(empty, replace(mine, ts_event_ns=times, price=prices))
    last_ns = noon_ns + 100 * SECOND
    preview = AlertPreview(store=empty, live=Live(last_ns))  # type: ignore[arg-type]  # of a view only that
    rule = rule_of(type="price", symbol="BTCUSDT", condition="crosses_above", threshold=60_000.0, cooldown_s=0)
    found = await preview.of(rule)
    preview.close()
    stormed_ms = (noon_ns + 29 * SECOND) // 1_000_000  # the fifteenth time
    assert (found["fired"], found["paused"], found["times"][0]) == (15, stormed_ms, stormed_ms)
    assert found["values"] == [60_001.0]


async def test_bars_stand_for_the_trades_that_are_not_stored(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview, noon_ns: int
) -> None:
    minutes = np.arange(60)
    close = np.where(minutes % 20 == 7, 70_000.0, 50_000.0)
    none, sizes = np.full(60, -1), np.ones(60)
    times = noon_ns - MINUTE * (60 - minutes)
    history = BarBatch(
        Symbols(["BTCUSDT"]), "1m", np.zeros(60, np.int32), times, *(close,) * 4, sizes, close, sizes, none + 5, none,
        none, np.zeros(60, np.int32), np.full(60, Origin.EXCHANGE, np.int8),
    )  # fmt: skip
    await store.put_bars(history)
    found = await preview.of(rule_of(type="price", symbol="BTCUSDT", condition="crosses_above", threshold=65_000.0))
    assert found["times"] == [(noon_ns - MINUTE * (60 - at)) // 1_000_000 for at in (47, 27, 7)]
    assert found["basis"] == "from one-minute bars up to 01 Aug 12:00 UTC, from trades since"
    assert found["from"] == (noon_ns - 60 * MINUTE) // 1_000_000
    closes = await preview.of(rule_of(type="volatility", symbol="BTCUSDT", condition="above", threshold=9.0, window=5))
    assert closes["basis"] == "from one-minute bars"


async def test_too_many_trades_leave_bars_for_the_older_part(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_preview, "MOST_TICKS", 2000)
    found = await preview.of(rule_of(type="price", symbol="BTCUSDT", condition="above", threshold=1.0))
    assert found["basis"].startswith("from one-minute bars up to 01 Aug 12:")
    assert found["fired"] == 1


async def test_where_time_will_not_do_it_looks_at_the_newest_part_and_says_so(
    store: DuckDBStore, preview: AlertPreview, noon_ns: int
) -> None:
    clock = count()
    slow = AlertPreview(
        store=store,
        live=Live(noon_ns + SPAN_S * SECOND),  # type: ignore[arg-type]  # of a view only that
        monotonic_s=lambda: float(next(clock)),  # a second goes by between any two looks at it
    )
    rule = rule_of(type="volatility", symbol="BTCUSDT", condition="above", threshold=99.0, window=5)
    found = await slow.of(rule, seconds=24.0)
    slow.close()
    assert not found["complete"]
    assert "would take too long" in found["basis"]
    assert found["from"] > noon_ns // 1_000_000 + 60_000
    whole = await preview.of(rule, seconds=60.0)
    assert whole["complete"]
    assert found["values"] == whole["values"] != [None]


async def test_where_trades_take_too_long_bars_stand_for_the_older_ones(
    store: DuckDBStore, preview: AlertPreview, noon_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_preview, "_MANY", 1)
    clock = count()
    slow = AlertPreview(
        store=store,
        live=Live(noon_ns + SPAN_S * SECOND),  # type: ignore[arg-type]  # of a view only that
        monotonic_s=lambda: float(next(clock)),
    )
    rule = rule_of(type="price_change", symbol="BTCUSDT", condition="above", threshold=9.0, window=1)
    found = await slow.of(rule, seconds=40.0)
    again = await slow.of(rule, seconds=40.0)
    slow.close()
    assert found["basis"].startswith("from one-minute bars up to 01 Aug 12:")
    assert found["from"] == noon_ns // 1_000_000
    assert found["values"] == again["values"] == (await preview.of(rule, seconds=60.0))["values"]
    assert again["complete"], "asked again it goes on"


async def test_asked_again_it_goes_on_where_it_stood_and_says_what_a_new_look_says(
    empty: DuckDBStore, ticks: TickBatch, noon_ns: int
) -> None:
    half = len(ticks) // 2
    cut_ns = int(ticks.ts_event_ns[half])
    await recorded(empty, ticks.take(slice(half)).with_watermark(cut_ns))
    live = Live(cut_ns)
    lasting = AlertPreview(store=empty, live=live)  # type: ignore[arg-type]  # of a view only that
    rules = [AS_LIVE[name] for name in ("price crosses", "z-score", "volatility", "staleness")]
    before = [await lasting.of(rule, seconds=60.0) for rule in rules]
    await recorded(empty, ticks.take(slice(half, None)))
    live.now_ns = noon_ns + SPAN_S * SECOND
    again = [await lasting.of(rule, seconds=60.0) for rule in rules]
    lasting.close()
    fresh = AlertPreview(store=empty, live=live)  # type: ignore[arg-type]  # as above
    for earlier, later, rule in zip(before, again, rules, strict=True):
        assert later["to"] > earlier["to"]
        new = await fresh.of(rule, seconds=60.0)
        assert {k: later[k] for k in ("fired", "times", "values")} == {k: new[k] for k in ("fired", "times", "values")}
    fresh.close()


async def test_what_is_not_stored_cannot_be_looked_back_on(
    empty: DuckDBStore, preview: AlertPreview, noon_ns: int
) -> None:
    bare = AlertPreview(store=empty, live=Live(noon_ns))  # type: ignore[arg-type]  # of a view only that
    nothing = await bare.of(rule_of(type="price", symbol="BTCUSDT", condition="above", threshold=1.0))
    bare.close()
    assert (nothing["fired"], nothing["basis"]) == (0, "nothing is stored of BTCUSDT")
    for fields, why in (
        ({"type": "funding", "symbol": "BTCUSDT", "condition": "above", "threshold": 0.001}, "funding rates"),
        ({"type": "cointegration", "condition": "found"}, "screens"),
    ):
        found = await preview.of(rule_of(**fields))
        assert (found["fired"], found["values"]) == (None, [None])
        assert why in found["reason"]


async def test_hours_out_of_range_and_too_many_at_once_are_refused(preview: AlertPreview) -> None:
    rule = rule_of(type="price", symbol="BTCUSDT", condition="above", threshold=1.0)
    for hours in (0.0, -1.0, 169.0, float("nan")):
        with pytest.raises(InputError, match="hours") as refused:
            await preview.of(rule, hours=hours)
        assert refused.value.loc == "hours"
    asked = [asyncio.ensure_future(preview.of(rule)) for _ in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Busy) for answer in answers) == 20 - alert_preview.MOST_WAITING


async def test_cancelled_it_ends_and_the_next_one_is_served(
    store: DuckDBStore, ticks: TickBatch, preview: AlertPreview
) -> None:
    rule = rule_of(type="zscore", condition="crosses_above", threshold=1.0, **PAIR)
    asked = asyncio.ensure_future(preview.of(rule, seconds=60.0))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (await preview.of(rule, seconds=60.0))["fired"] > 0


def test_a_plan_takes_no_more_steps_than_there_is_time_for(noon_ns: int) -> None:
    day, week = 24 * 60 * MINUTE, 168 * 60 * MINUTE
    cases: list[tuple[dict[str, Any], int, int, bool]] = [
        ({"type": "price"}, week, 5 * MINUTE, True),
        ({"type": "price_change", "timeframe": "3m"}, week, MINUTE, True),
        ({"type": "volume"}, day, 30 * SECOND, True),
        ({"type": "volume"}, day // 48, SECOND, True),
        ({"type": "volatility", "timeframe": "1s"}, day, SECOND, False),
        ({"type": "volatility", "timeframe": "1h"}, day, 5 * MINUTE, False),
    ]
    for fields, span_ns, step_ns, of_ticks in cases:
        rule = rule_of(**fields, symbol="A", condition="above", threshold=1.0)
        plan = past_plan(rule, start_ns=noon_ns - span_ns, end_ns=noon_ns)
        assert (plan.step_ns, plan.ticks) == (step_ns, of_ticks), fields
        assert (noon_ns - plan.start_ns) // plan.step_ns <= MOST_STEPS
