"""The client's calls against a real instance: equal by every way, in every library, returned or awaited."""

from __future__ import annotations

from contextlib import aclosing, closing
from pathlib import Path

import pandas as pd
import polars as pl

from pairscope import AsyncClient, Client

from .conftest import Instance
from .market import END_MS, SYMBOLS, TRADED_MINUTES

BEGIN_MS = END_MS - TRADED_MINUTES * 60_000


def test_trades_are_the_same_page_by_page_as_a_file_and_as_json(instance: Instance, tmp_path: Path) -> None:
    with Client(instance.address, timeout=60) as api:
        paged = api.ticks("BTCUSDT", start=BEGIN_MS, end=END_MS)
        whole = api.export("BTCUSDT", timeframe="tick", start=BEGIN_MS, end=END_MS)
        path = api.export("BTCUSDT", tmp_path / "t.csv.gz", timeframe="tick", start=BEGIN_MS, end=END_MS)
        said = api.get("/api/ticks/BTCUSDT", start=BEGIN_MS, end=END_MS, limit=10_000)["ticks"]
    pd.testing.assert_frame_equal(paged, whole)
    assert len(paged) == len(said) > 1000
    assert paged["price"].tolist() == [row["price"] for row in said]
    assert paged["timestamp"].tolist() == [pd.Timestamp(row["timestamp"], unit="ms", tz="UTC") for row in said]
    read = pd.read_csv(path, parse_dates=["timestamp"])
    assert read["price"].tolist() == paged["price"].tolist()
    assert read["id"].tolist() == paged["id"].tolist()


def test_bars_keep_what_the_api_says_of_them(instance: Instance) -> None:
    with Client(instance.address, timeout=60) as api:
        table = api.ohlc("ETHUSDT", "15m", limit=4)
        said = api.get("/api/ohlc/ETHUSDT", timeframe="15m", limit=4)["bars"]
    assert list(table.columns) == [name for name in said[0] if name != "timestamp"]
    for name in table.columns:
        assert table[name].tolist() == [bar[name] for bar in said], name


async def test_the_awaited_client_gives_polars_and_hears_the_stream(instance: Instance, tmp_path: Path) -> None:
    async with AsyncClient(instance.address, timeout=60, frame="polars") as api:
        bars = await api.ohlc("SOLUSDT", "1m", start=BEGIN_MS - 3_600_000, end=BEGIN_MS)
        assert isinstance(bars, pl.DataFrame)
        assert bars.height == 60
        path = await api.export(["SOLUSDT", "AVAXUSDT"], tmp_path / "b.parquet", end=BEGIN_MS)
        kept = pl.read_parquet(path).filter(pl.col("symbol") == "SOLUSDT").tail(bars.height)
        assert kept["close"].to_list() == bars["close"].to_list()
        async with aclosing(api.stream(f"price:{SYMBOLS[0]}")) as updates:
            update = await anext(updates)
        assert update.data["price"] == (await api.price(SYMBOLS[0]))["price"]


def test_what_is_stored_and_what_is_missing_fits_together(instance: Instance) -> None:
    with Client(instance.address, timeout=60) as api:
        held = api.held("LTCUSDT")
        assert held["count"].tolist() == [api.symbols().loc["LTCUSDT", "tick_count"]]
        assert len(api.gaps("LTCUSDT")) == len(api.gap_calendar("LTCUSDT")) == 0
        days = api.stored_days(symbol="LTCUSDT")
        assert days["ticks"].sum() == held["count"].sum()
        plan = api.archive(older_than_days=0, symbols=["LTCUSDT"], dry_run=True)
        assert plan["ticks"] == days.loc[days["date"] == "2026-01-01", "ticks"].sum()
        assert api.retention(days=3650)["ticks"] == 0


def test_a_job_of_the_store_is_waited_for(instance: Instance) -> None:
    seen: list[str] = []
    with Client(instance.address, timeout=60) as api:
        found = api.wait(api.check_store(), progress=lambda job: seen.append(job["status"]), timeout_s=120)
        assert seen[-1] == "done"
        assert found["ok"] is True, found
        with closing(api.stream("jobs")) as updates:
            assert next(updates).topic == "jobs"
