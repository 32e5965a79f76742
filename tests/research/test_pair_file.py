"""Both legs of a pair and their funding out of anyone's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pairscope.errors import ForeignFile, InputError, NotEnoughData
from pairscope.research.pair_file import read_funding_file, read_pair_file

START = pd.Timestamp("2025-03-06T10:30:00Z")


def table(every: str = "1min", size: int = 20, **change: Any) -> pd.DataFrame:
    """Whole bars of A and B, B without its fourth."""
    times = pd.date_range(START, periods=size, freq=every)
    close = 100.0 + np.arange(size)
    legs = []
    for name, shift in (("A", 0.0), ("B", 50.0)):
        whole = {"open": close + shift - 0.5, "high": close + shift + 2, "low": close + shift - 2}
        legs.append(pd.DataFrame({"timestamp": times, "symbol": name, "close": close + shift, **whole, "volume": 2.0}))
    made = pd.concat([legs[0], legs[1].drop(index=3)])
    return made.assign(**change)


def written(rows: pd.DataFrame, folder: Path, name: str = "bars.csv") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        stamps = rows.timestamp.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        rows.assign(timestamp=stamps).to_csv(path, index=False)
    else:
        rows.to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["bars.csv", "bars.parquet"])
def test_the_bars_that_both_have_are_read_whole(tmp_path: Path, name: str) -> None:
    bars = read_pair_file(written(table(), tmp_path, name), "B", "A")
    assert (len(bars), bars.timeframe, bars.whole, bars.source) == (19, "1m", True, f"file {name}")
    assert bars.times_ns[0] == START.value and bars.times_ns[3] == START.value + 4 * 60 * 10**9
    assert bars.y.close[:4].tolist() == [150.0, 151.0, 152.0, 154.0]
    assert bars.x.open[:4].tolist() == [99.5, 100.5, 101.5, 103.5]
    assert bars.y.volume.tolist() == [2.0] * 19


def test_without_all_of_open_high_and_low_only_closes_count(tmp_path: Path) -> None:
    bars = read_pair_file(written(table().drop(columns=["high", "volume"]), tmp_path), "A", "B")
    assert not bars.whole
    assert bars.y.open.tolist() == bars.y.low.tolist() == bars.y.close.tolist()
    assert np.isnan(bars.y.volume).all()


def test_longer_bars_hold_those_that_are_in_them(tmp_path: Path) -> None:
    bars = read_pair_file(written(table(), tmp_path), "A", "B", timeframe="5m")
    assert bars.times_ns.tolist() == [START.value + i * 300 * 10**9 for i in range(4)]
    first, second = ([getattr(bars.y, name)[i] for name in ("open", "high", "low", "close", "volume")] for i in (0, 1))
    assert first == [99.5, 106.0, 98.0, 104.0, 10.0]
    assert second == [104.5, 111.0, 103.0, 109.0, 10.0]
    assert bars.x.volume.tolist() == [8.0, 10.0, 10.0, 10.0]
    short = read_pair_file(written(table(size=18), tmp_path), "A", "B", timeframe="5m")
    assert len(short) == 3  # the last has not ended


@pytest.mark.parametrize(
    ("every", "named"), [("1s", "1s"), ("2min", "1m"), ("1h", "1h"), ("7D", "1d"), ("100ms", "1s")]
)
def test_the_file_s_own_timeframe_is_the_longest_that_fits(tmp_path: Path, every: str, named: str) -> None:
    assert read_pair_file(written(table(every), tmp_path, "bars.parquet"), "A", "B").timeframe == named


def test_a_volume_may_be_missing_and_a_price_may_not(tmp_path: Path) -> None:
    rows = table().reset_index(drop=True)
    rows.loc[2, "volume"] = np.nan
    assert np.isnan(read_pair_file(written(rows, tmp_path), "A", "B").y.volume).sum() == 1
    for name in ("open", "high", "low"):
        holed = table().reset_index(drop=True)
        holed.loc[2, name] = np.nan
        with pytest.raises(ForeignFile, match=r"A at 2025-03-06T10:32:00\.000Z is no bar"):
            read_pair_file(written(holed, tmp_path), "A", "B")


def test_a_bar_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    rows = table().reset_index(drop=True)
    rows.loc[1, "high"] = 1.0
    with pytest.raises(
        ForeignFile, match=r"A at 2025-03-06T10:31:00\.000Z is no bar: open 100\.5, high 1, low 99"
    ) as no:
        read_pair_file(written(rows, tmp_path), "A", "B")
    assert no.value.loc == "bars"


def test_symbols_that_are_not_there_and_legs_that_never_meet_are_told(tmp_path: Path) -> None:
    path = written(table(), tmp_path)
    with pytest.raises(InputError, match=r"bars\.csv has no C") as refused:
        read_pair_file(path, "A", "C")
    assert (refused.value.loc, refused.value.hint) == ("x", "it has A, B")
    rows = table()
    rows.loc[rows.symbol == "B", "timestamp"] += pd.Timedelta("30s")
    with pytest.raises(NotEnoughData, match="never open at the same time"):
        read_pair_file(written(rows, tmp_path), "A", "B")


def test_funding_is_put_on_the_bar_in_which_it_falls_due(tmp_path: Path) -> None:
    due = pd.DataFrame(
        {"symbol": ["b", "b", "Z"], "timestamp": [START + pd.Timedelta("65s"), START + pd.Timedelta("190s"), START]}
    ).assign(rate=[1e-4, 2e-4, 0.5])
    due.to_parquet(tmp_path / "funding.parquet")
    rates = read_funding_file(tmp_path / "funding.parquet")
    assert {rate.symbol for rate in rates} == {"B", "Z"}
    bars = read_pair_file(written(table(), tmp_path), "A", "B", funding=rates)
    assert bars.funding_y is None
    assert bars.funding_x is not None
    # The fourth minute, in which the second falls due, is one that B does not have: it comes with the next.
    assert bars.funding_x[:5].tolist() == [0.0, 1e-4, 0.0, 2e-4, 0.0]


def test_a_funding_file_that_is_none_names_the_funding(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("symbol,timestamp\nA,2025-03-06\n")
    with pytest.raises(ForeignFile, match="has no column rate") as refused:
        read_funding_file(tmp_path / "f.csv")
    assert (refused.value.loc, refused.value.hint) == ("funding", "a row like timestamp,symbol,rate")
