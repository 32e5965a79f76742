"""Volume by aggressor, price and time of day adds up to what was traded."""

from __future__ import annotations

from decimal import Decimal

import httpx2
import pytest

from .conftest import client_of, exact
from .market import HOURS, START_MS, Market

END_MS = START_MS + HOURS * 3_600_000


@pytest.mark.parametrize("symbol", ["BTCUSDT", "PEPEUSDT"])
@pytest.mark.parametrize(("begin", "length", "resolution"), [(0, 10_800_000, "1m"), (3_600_000, 3_600_000, "1s")])
async def test_the_split_and_the_profile_add_up_to_the_trades_of_the_range(
    api: httpx2.AsyncClient, market: Market, symbol: str, begin: int, length: int, resolution: str
) -> None:
    start, end = START_MS + begin, START_MS + begin + length
    trades = [t for t in market.sent[symbol] if start <= t.timestamp < end]
    answer = await api.get(f"/api/volume/{symbol}", params={"start": start, "end": end, "bins": 17})
    said = exact(answer.text)
    assert (said["start"], said["end"], said["resolution"]) == (start, end, resolution)
    assert said["trades"] == len(trades)
    assert said["volume"] == sum(t.size for t in trades)
    assert said["buy_volume"] == sum(t.size for t in trades if not t.buyer_is_maker)
    assert said["sell_volume"] == sum(t.size for t in trades if t.buyer_is_maker)
    assert float(said["quote_volume"]) == pytest.approx(float(sum(t.size * t.price for t in trades)), rel=1e-12)
    assert float(said["buy_share"]) == pytest.approx(float(said["buy_volume"] / said["volume"]))
    profile = said["profile"]
    assert len(profile) == 17
    assert profile[0]["low"] == min(t.price for t in trades)
    assert profile[-1]["high"] == max(t.price for t in trades)
    assert [b["low"] for b in profile[1:]] == [b["high"] for b in profile[:-1]]
    assert float(sum(b["volume"] for b in profile)) == pytest.approx(float(said["volume"]), rel=1e-9)
    assert float(sum(b["buy_volume"] for b in profile)) == pytest.approx(float(said["buy_volume"]), rel=1e-9)


async def test_the_first_day_has_no_mean_and_says_why(api: httpx2.AsyncClient, market: Market) -> None:
    day = exact((await api.get("/api/volume/BTCUSDT")).text)["time_of_day"]
    assert float(day["today"]) == pytest.approx(float(sum(t.size for t in market.sent["BTCUSDT"])), rel=1e-9)
    assert (day["mean"], day["ratio"], day["days"]) == (None, None, 0)
    assert day["reason"] == "needs 1 whole earlier day, has 0"
    assert [hour["hour"] for hour in day["hours"]] == list(range(24))
    by_hour = [Decimal(0)] * 3
    for trade in market.sent["BTCUSDT"]:
        by_hour[(trade.timestamp - START_MS) // 3_600_000] += trade.size
    assert [float(hour["today"]) for hour in day["hours"][:3]] == pytest.approx([float(v) for v in by_hour])
    assert all(hour["today"] is None for hour in day["hours"][3:])


async def test_by_default_it_is_the_last_24_hours(api: httpx2.AsyncClient, market: Market) -> None:
    said = (await api.get("/api/volume/BTCUSDT")).json()
    assert said["end"] == market.engine.watermark_ns() // 1_000_000
    assert said["end"] - said["start"] == 86_400_000
    assert len(said["profile"]) == 24


async def test_a_range_without_trades_has_zeros_and_no_profile(api: httpx2.AsyncClient) -> None:
    query = {"start": START_MS - 7_200_000, "end": START_MS - 3_600_000}
    said = (await api.get("/api/volume/BTCUSDT", params=query)).json()
    assert (said["volume"], said["trades"], said["buy_share"], said["profile"]) == (0, 0, None, [])


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("bins=0", "bins"),
        ("bins=501", "bins"),
        ("start=0&end=9000000000000", "start"),
        ("start=9000000000000", "start"),
    ],
)
async def test_what_cannot_be_analysed_is_a_422(api: httpx2.AsyncClient, query: str, named: str) -> None:
    answer = await api.get(f"/api/volume/BTCUSDT?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", named]


async def test_today_is_compared_with_the_same_time_of_earlier_days(fresh_market: Market) -> None:
    """Its first hour once more a day later, twice the sizes: the mean is what that hour was the day before."""
    market = fresh_market
    day_ns = 86_400_000_000_000
    later = [
        ("BTCUSDT", type(t)(t.id + 1_000_000, t.timestamp + 86_400_000, t.price, 2 * t.size, t.buyer_is_maker))
        for t in market.sent["BTCUSDT"]
        if t.timestamp < START_MS + 3_600_000
    ]
    now_ns = START_MS * 1_000_000 + day_ns + 3_600_000_000_000
    await market.take(market.batch(later, now_ns))
    market.now_ns = now_ns
    first_hour = float(sum(t.size for _, t in later)) / 2
    async with client_of(market) as api:
        day = (await api.get("/api/volume/BTCUSDT")).json()["time_of_day"]
    first_bar_is_late = market.sent["BTCUSDT"][0].timestamp >= START_MS + 60_000
    assert not first_bar_is_late, "the first day counts only if it is known from midnight on"
    assert day["days"] == 1
    assert day["mean"] == pytest.approx(first_hour)
    assert day["ratio"] == pytest.approx(2.0)
