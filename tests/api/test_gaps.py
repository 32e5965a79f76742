"""The gap ledger over HTTP, and what answers say that stand on bars which lack trades."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pyarrow as pa
import pytest

from pairscope.api.answers import ARROW
from pairscope.market.continuity import Gap
from pairscope.research.moving_screen import load_kernels as load_screen

from .conftest import client_of
from .market import HOURS, MS, NOT_STORED_MS, START_MS, Market, Sent, open_market

MINUTE_MS = 60_000
DAY_MS = 86_400_000
END_MS = START_MS + HOURS * 3_600_000
LOST = 9
"""Ids of BTCUSDT that never come: between the trade of minute 180 and that of minute 184."""
MINUTES = (180, 184, 185)


async def ask(api: httpx2.AsyncClient, path: str, **params: Any) -> Any:
    answer = await api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def lose_trades(market: Market) -> None:
    """Let a market go on for six minutes after its end; BTCUSDT loses nine trades in them, the others none."""
    waiting = [(name, t) for name, ts in market.sent.items() for t in ts if t.timestamp >= END_MS - NOT_STORED_MS]
    await market.store.append(market.batch(waiting, END_MS * MS))
    numbers = {name: trades[-1].id for name, trades in market.sent.items()}
    for minute in MINUTES:
        at = START_MS + minute * MINUTE_MS + 30_000
        rows = []
        for name in ("BTCUSDT", "PEPEUSDT"):
            numbers[name] += 1 + (LOST if (name, minute) == ("BTCUSDT", 184) else 0)
            last = market.sent[name][-1]
            rows.append((name, Sent(numbers[name], at, last.price, last.size, buyer_is_maker=False)))
        await market.take(market.batch(rows, (at + MINUTE_MS) * MS))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[], Any]) -> Iterator[Market]:
    """A market that has lost trades; nobody may change it."""

    async def open_broken() -> Market:
        market = await open_market(tmp_path_factory.mktemp("broken"), new_store())
        await lose_trades(market)
        return market

    market = asyncio.run(open_broken())
    yield market
    asyncio.run(market.store.close())


@pytest.fixture
async def api(broken: Market) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(broken) as client:
        yield client


def minutes(times_ms: list[int]) -> list[int]:
    return [(at - START_MS) // MINUTE_MS for at in times_ms]


async def test_the_ledger_says_which_ids_lack_and_where_in_time(api: httpx2.AsyncClient, broken: Market) -> None:
    [gap] = (await ask(api, "/api/gaps"))["gaps"]
    last = broken.sent["BTCUSDT"][-1].id
    assert (gap["symbol"], gap["from_id"], gap["to_id"]) == ("BTCUSDT", last + 2, last + 10)
    assert (gap["status"], gap["missing"], gap["ended"]) == ("open", LOST, None)
    assert minutes([gap["after"], gap["before"]]) == [180, 184]
    for params, count in (
        ({"symbol": "btcusdt"}, 1),
        ({"symbol": "PEPEUSDT"}, 0),
        ({"status": "unrepairable"}, 0),
        ({"start": gap["before"] + 1}, 0),
        ({"start": gap["before"], "end": gap["before"] + 1}, 1),
        ({"end": gap["after"]}, 0),
    ):
        assert len((await ask(api, "/api/gaps", **params))["gaps"]) == count, params


async def test_pages_of_the_ledger_hold_every_hole_once_the_newest_first(fresh_market: Market) -> None:
    await lose_trades(fresh_market)
    [gap] = await fresh_market.store.gaps()
    await fresh_market.store.settle_gap(Gap("BTCUSDT", gap.from_id + 2, gap.from_id + 4, "unrepairable", 3))
    async with client_of(fresh_market) as api:
        whole = (await ask(api, "/api/gaps"))["gaps"]
        assert [gap["status"] for gap in whole] == ["open", "unrepairable", "open"]
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await ask(api, "/api/gaps", limit=1, **cursor)
            found += page["gaps"]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == whole
        refused = await api.get("/api/gaps", params={"cursor": "yesterday"})
        assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["query", "cursor"])
        assert (await api.get("/api/gaps", params={"symbol": "NOUSDT"})).status_code == 404


async def test_what_is_held_ends_at_a_hole_and_goes_on_behind_it(api: httpx2.AsyncClient, broken: Market) -> None:
    first, last = broken.sent["BTCUSDT"][0].id, broken.sent["BTCUSDT"][-1].id
    said = await ask(api, "/api/gaps/held", symbol="btcusdt")
    assert [(row["from_id"], row["to_id"], row["count"]) for row in said["held"]] == [
        (first, last + 1, last + 2 - first),
        (last + 11, last + 12, 2),
    ]
    whole = (await ask(api, "/api/gaps/held"))["held"]
    assert len(whole) == 4
    page = await ask(api, "/api/gaps/held", limit=3)
    rest = await ask(api, "/api/gaps/held", limit=3, cursor=page["next"])
    assert (page["held"] + rest["held"], rest["next"]) == (whole, None)


async def test_a_hole_over_midnight_counts_on_both_days_and_adds_up(fresh_market: Market) -> None:
    midnight = START_MS + DAY_MS
    stands = await fresh_market.store.continuity()
    next_id = stands.next_id("PEPEUSDT") or 0
    tail = Gap("PEPEUSDT", next_id, next_id + 99, "open", 100, (midnight - 60_000) * MS, (midnight + 180_000) * MS, 1)
    await fresh_market.store.settle_gap(tail)
    fresh_market.now_ns = (midnight + 3_600_000) * MS
    async with client_of(fresh_market) as api:
        days = (await ask(api, "/api/gaps/calendar"))["days"]
        assert [(d["date"], d["missing"], d["seconds"]) for d in days] == [
            ("2024-08-08", 25, 60.0),
            ("2024-08-09", 75, 180.0),
        ]
        assert all((d["symbol"], d["open"], d["repaired"]) == ("PEPEUSDT", 1, 0) for d in days)
        await fresh_market.store.settle_gap(Gap("PEPEUSDT", next_id, next_id + 49, "unrepairable", 50))
        [second] = (await ask(api, "/api/gaps/calendar", start=midnight))["days"]
        assert (second["open"], second["unrepairable"]) == (1, 1)
        assert (second["missing"], second["seconds"]) == (76, 180.0), "parts of one hole lie in the same time"
        assert (await ask(api, "/api/gaps/calendar", symbol="BTCUSDT"))["days"] == []
        assert (await ask(api, "/api/gaps/calendar", end=midnight, start=midnight))["days"] == []


async def test_a_bar_that_lacks_trades_says_so_and_no_other_does(api: httpx2.AsyncClient) -> None:
    bars = (await ask(api, "/api/ohlc/BTCUSDT", start=START_MS + 170 * MINUTE_MS))["bars"]
    assert minutes([bar["timestamp"] for bar in bars if "gap" in bar]) == [180, 184]
    assert all(bar["gap"] is True for bar in bars if "gap" in bar)
    hour = (await ask(api, "/api/ohlc/BTCUSDT", timeframe="1h"))["bars"]
    assert [bar.get("gap", False) for bar in hour] == [False, False, False, True]
    other = (await ask(api, "/api/ohlc/PEPEUSDT"))["bars"]
    assert not any("gap" in bar for bar in other)
    filled = (await ask(api, "/api/ohlc/BTCUSDT", fill=True, limit=8))["bars"]
    assert minutes([bar["timestamp"] for bar in filled if "gap" in bar]) == [180, 181, 182, 183, 184]
    body = (await api.get("/api/ohlc/BTCUSDT", headers={"accept": ARROW})).content
    table = pa.ipc.open_stream(body).read_all().to_pandas()
    assert minutes((table[table.gap].timestamp.astype("int64")).tolist()) == [180, 184]


async def test_a_hole_that_was_filled_leaves_no_flag(fresh_market: Market) -> None:
    await lose_trades(fresh_market)
    [gap] = await fresh_market.store.gaps()
    last = fresh_market.sent["BTCUSDT"][-1]
    lost = [
        ("BTCUSDT", Sent(number, START_MS + 182 * MINUTE_MS, last.price, last.size, buyer_is_maker=True))
        for number in range(gap.from_id, gap.to_id + 1)
    ]
    await fresh_market.take(fresh_market.batch(lost, 0))
    async with client_of(fresh_market) as api:
        bars = (await ask(api, "/api/ohlc/BTCUSDT", limit=10))["bars"]
        assert not any("gap" in bar for bar in bars)
        [gone] = (await ask(api, "/api/gaps", status="repaired"))["gaps"]
        assert (gone["missing"], gone["ended"] is not None) == (0, True)
        [day] = (await ask(api, "/api/gaps/calendar"))["days"]
        assert (day["repaired"], day["open"], day["missing"], day["seconds"]) == (1, 0, 0, 0.0)


QUESTIONS = {
    "symbol": {"symbol": "BTCUSDT", "lookback": 30, "window": 10},
    "pair": {"y": "PEPEUSDT", "x": "BTCUSDT", "lookback": 60, "window": 20},
    "correlation": {"symbols": "BTCUSDT,PEPEUSDT", "window": 10},
    "statistics": {"symbol": "BTCUSDT", "limit": 20},
}


@pytest.mark.parametrize("kind", QUESTIONS)
async def test_analytics_say_on_how_many_bars_that_lack_trades_they_stand(api: httpx2.AsyncClient, kind: str) -> None:
    said = await ask(api, f"/api/analytics/{kind}", **QUESTIONS[kind])
    gaps = said["gaps"]
    assert (gaps["bars"], gaps["missing"]) == (2, LOST)
    assert list(gaps["symbols"]) == ["BTCUSDT"]
    assert "Trades are missing, 9 of BTCUSDT: 2 of the bars used lack some and may be wrong." in said["warnings"]
    before = await ask(api, f"/api/analytics/{kind}", **QUESTIONS[kind], end=START_MS + 170 * MINUTE_MS)
    assert before["gaps"] == {"bars": 0, "missing": 0, "symbols": {}}
    assert not any("missing" in warning for warning in before["warnings"])


async def test_a_table_of_statistics_names_its_bars_and_says_in_a_header_how_many(api: httpx2.AsyncClient) -> None:
    query = {"y": "PEPEUSDT", "x": "BTCUSDT", "start": START_MS, "limit": 1000, "lookback": 30, "window": 10}
    said = await ask(api, "/api/analytics/statistics", **query)
    assert minutes(said["gaps"]["symbols"]["BTCUSDT"]["timestamps"]) == [180, 184]
    for form in ("csv", "arrow"):
        answer = await api.get("/api/analytics/statistics", params={**query, "format": form})
        assert answer.headers["x-gap-bars"] == "2"
    whole = await api.get("/api/analytics/statistics", params={"symbol": "PEPEUSDT", "format": "csv"})
    assert "x-gap-bars" not in whole.headers


async def test_a_screened_pair_of_which_a_leg_lacks_trades_says_so(api: httpx2.AsyncClient) -> None:
    load_screen()
    said = await ask(api, "/api/analytics/screen", lookback=150)
    assert [row["gap"] for row in said["pairs"]] == [True, True]
    assert said["gaps"]["symbols"] == {"BTCUSDT": {"bars": 2, "missing": LOST}}
    assert len(said["warnings"]) == 1
