"""The backtest on the command line: from a file, a store or a running instance; what it says, writes and refuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from pairscope.analytics.backtest import backtest_pair
from pairscope.backtesting import backtest
from pairscope.cli import app
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, PairscopeError, UnknownSymbol
from pairscope.market.bars import Origin, bars_of
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.research.backtest_flags import Asked, named_pair
from pairscope.schemas.backtests import BacktestOut, SweepOut, WalkForwardOut
from pairscope.screening import Asked as Screened
from pairscope.screening import screen
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE_MS = 60_000
START_MS = 1_741_257_000_000
BARS = 900
RULE = {"lookback": "200", "window": "40", "entry": "1.5", "exit": "0.3"}


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    """A pair whose spread comes back within a quarter of an hour, and a walk that has nothing to do with it."""
    rng = np.random.default_rng(7)
    x, other = np.cumsum(rng.standard_normal((2, BARS)), axis=1) * 1e-3
    spread = np.zeros(BARS)
    for t in range(1, BARS):
        spread[t] = 0.9 * spread[t - 1] + 2e-3 * rng.standard_normal()
    return np.round(100.0 * np.exp(np.column_stack([0.8 * x + spread, x, other])), 6)


@pytest.fixture(scope="module")
def table(prices: np.ndarray) -> pd.DataFrame:
    """The same in long form, each bar whole, a little lower and higher than its close."""
    wide = pd.DataFrame(prices, columns=["YY", "XX", "OTHER"])
    wide.index = pd.Index(START_MS + MINUTE_MS * np.arange(BARS), name="timestamp")
    long = wide.melt(var_name="symbol", value_name="close", ignore_index=False).reset_index()
    opened = long.groupby("symbol").close.shift(1).fillna(long.close)
    low, high = np.minimum(opened, long.close) * 0.9999, np.maximum(opened, long.close) * 1.0001
    return long.assign(open=opened, high=high, low=low, volume=1.0)


@pytest.fixture
def file(table: pd.DataFrame, tmp_path: Path) -> Path:
    """Closes alone, in no order."""
    path = tmp_path / "bars.csv"
    table[["close", "symbol", "timestamp"]].sample(frac=1.0, random_state=1).to_csv(path, index=False)
    return path


class Said:
    """What the command said on standard error and showed on standard output."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[str] = []

    def run(self, asked: Asked, folder: Path, **settings: Any) -> int:
        made = Settings(data_dir=folder / "data", **settings)
        return backtest(made, asked, say=self.said.append, show=self.shown.append)

    @property
    def words(self) -> str:
        return "\n".join(self.said)

    @property
    def answer(self) -> dict[str, Any]:
        return dict(json.loads("".join(self.shown)))


def asked(**change: Any) -> Asked:
    return Asked(**{"y": "yy", "x": "XX", "numbers": RULE, "nulls": 0, **change})


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- from a file -------------------------------------------------------------------------------------------------------


def test_json_is_the_backtest_of_the_same_closes_in_the_endpoint_s_document(
    file: Path, prices: np.ndarray, tmp_path: Path
) -> None:
    told = Said()
    assert told.run(asked(bars=file, json=True, numbers={**RULE, "fee_bps": "2/1", "slippage_bps": "0"}), tmp_path) == 0
    answer = told.answer
    BacktestOut.model_validate({**answer, "id": "1", "created": 0})
    gate = np.arange(BARS) >= 199
    direct = backtest_pair(
        prices[:, 0], prices[:, 1], hedge="ols", lookback=200, window=40, entry=1.5, exit=0.3, fee_bps=(2.0, 1.0),
        timestamps=(START_MS + MINUTE_MS * np.arange(BARS)) * 1_000_000, gate=gate,
    )  # fmt: skip
    assert len(answer["trades"]) == len(direct.trades) > 10
    assert [trade["pnl"] for trade in answer["trades"]] == direct.trades["pnl"].tolist()
    assert answer["equity"]["equity"] == direct.equity["equity"][199:].tolist()
    assert answer["trades"][0]["entry_timestamp"] * 1_000_000 == direct.trades[0].entry_timestamp
    assert answer["request"]["fee_bps"] == [2.0, 1.0] and answer["request"]["hedge"]["lookback"] == 200
    assert answer["request"]["start"] == START_MS + 199 * MINUTE_MS
    assert answer["source"] == "file bars.csv" and answer["kind"] == "backtest"


def test_the_verdict_stands_first_and_every_line_fits_a_terminal(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(asked(bars=file, limit=5, nulls=19), tmp_path) == 0
    assert told.shown[0].split(":")[0] in {"GOOD", "WEAK", "BAD", "NOT JUDGED"}
    lines = [line for shown in told.shown for line in shown.splitlines()]
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("2025-03-0") for line in lines) == 5
    assert any(line.startswith("P&L ") and "fees -" in line and "slippage -" in line for line in lines)
    assert any("Sharpe, a year" in line and "±" in line for line in lines)
    assert "YY on XX: 900 bars of 1m that both have, 2025-03-06T10:30:00.000Z to" in told.words
    assert "traded from 2025-03-06T13:49:00.000Z on; the bars before are warm-up" in told.words
    assert "prices: the file bars.csv" in told.words


def test_open_high_and_low_are_used_where_the_file_has_them_and_missed_where_not(
    file: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_parquet(tmp_path / "whole.parquet")
    at_open, at_close = Said(), Said()
    assert at_open.run(asked(bars=tmp_path / "whole.parquet", json=True, chosen={"fill": "open"}), tmp_path) == 0
    assert at_close.run(asked(bars=tmp_path / "whole.parquet", json=True), tmp_path) == 0
    # In this file each bar opens where the one before closed: a fill at the open is worth the deciding close.
    assert at_open.answer["metrics"]["pnl"] > at_close.answer["metrics"]["pnl"]
    with pytest.raises(InputError, match="only closes are known") as refused:
        Said().run(asked(bars=file, chosen={"fill": "open"}), tmp_path)
    assert refused.value.loc == "--fill"


def test_funding_of_a_file_is_charged_and_its_absence_is_told(file: Path, tmp_path: Path) -> None:
    rates = pd.DataFrame({"symbol": "YY", "timestamp": START_MS + MINUTE_MS * np.arange(0, BARS, 10), "rate": 1e-4})
    rates.to_csv(tmp_path / "funding.csv", index=False)
    free, charged = Said(), Said()
    assert free.run(asked(bars=file, json=True), tmp_path) == 0
    assert charged.run(asked(bars=file, json=True, funding=tmp_path / "funding.csv"), tmp_path) == 0
    assert free.answer["pnl"]["funding"] == 0.0 != charged.answer["pnl"]["funding"]
    assert "no funding of XX is known for that time; none is charged" in charged.words
    rates.assign(rate=2.0).to_csv(tmp_path / "funding.csv", index=False)
    with pytest.raises(InputError, match="2 of YY at 2025-03-06T10:30:00\\.000Z is no rate") as refused:
        Said().run(asked(bars=file, funding=tmp_path / "funding.csv"), tmp_path)
    assert refused.value.loc == "--funding"


def test_longer_bars_are_made_of_the_file_s_and_ranges_take_either_form_of_time(file: Path, tmp_path: Path) -> None:
    told, same = Said(), Said()
    rule = {**RULE, "lookback": "60", "window": "20"}
    start = START_MS + 400 * MINUTE_MS
    assert told.run(asked(bars=file, json=True, timeframe="5m", numbers=rule, start=str(start)), tmp_path) == 0
    assert told.answer["equity"]["timestamp"][0] == start
    assert told.answer["request"]["timeframe"] == "5m"
    iso = pd.Timestamp(start, unit="ms").isoformat()
    assert same.run(asked(bars=file, json=True, timeframe="5m", numbers=rule, start=iso), tmp_path) == 0
    assert same.answer == told.answer


def test_trades_go_into_csv_and_parquet_with_their_times(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(asked(bars=file, json=True, out=tmp_path / "t.csv"), tmp_path) == 0
    assert told.run(asked(bars=file, out=tmp_path / "t.parquet"), tmp_path) == 0
    trades = json.loads(told.shown[0])["trades"]
    csv, parquet = pd.read_csv(tmp_path / "t.csv"), pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert [*csv.columns] == parquet.column_names == [*trades[0]]
    assert csv.pnl.tolist() == pytest.approx([trade["pnl"] for trade in trades], rel=1e-14)
    assert csv.entry_timestamp[0].endswith("Z")
    stamps = parquet.column("entry_timestamp").to_pylist()
    assert [round(stamp.timestamp() * 1000) for stamp in stamps] == [trade["entry_timestamp"] for trade in trades]
    assert names_in(tmp_path) == ["bars.csv", "t.csv", "t.parquet"]


def test_the_report_is_one_file_that_says_what_the_answer_says(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(asked(bars=file, out=tmp_path / "r.html"), tmp_path) == 0
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>") and "YY on XX" in page and "the file bars.csv" in page
    assert f"report written to {tmp_path / 'r.html'}" in told.said
    assert names_in(tmp_path) == ["bars.csv", "r.html"]


def test_a_sweep_is_a_row_a_combination_and_its_best_rule_is_run_alone(file: Path, tmp_path: Path) -> None:
    told = Said()
    numbers = {**RULE, "entry": "1:2:0.5", "exit": "0.3,1.2", "stop": "none,4", "fee_bps": "2/1"}
    assert told.run(asked(bars=file, json=True, numbers=numbers), tmp_path) == 0
    answer = told.answer
    SweepOut.model_validate({**answer, "id": "1", "created": 0})
    # An entry of 1 with an exit of 1.2 makes no sense, whatever the stop.
    assert (len(answer["rows"]), answer["skipped"], answer["trials"]) == (10, 2, 10)
    assert answer["grid"] == {"entry": [1.0, 1.5, 2.0], "exit": [0.3, 1.2], "stop": [None, 4.0]}
    assert answer["request"]["fee_bps"] == [2.0, 1.0] and answer["request"]["entry"] == [1.0, 1.5, 2.0]
    assert 0.0 <= answer["pbo"] <= 1.0 and 0.0 <= answer["deflated_sharpe"] <= 1.0
    best = answer["best"]
    assert best["sharpe"] == max(row["sharpe"] for row in answer["rows"])
    alone = Said()
    rule = {**numbers, **{name: str(best[name]).lower() for name in ("entry", "exit", "stop")}}
    assert alone.run(asked(bars=file, json=True, numbers=rule, trials=9), tmp_path) == 0
    for part in ("metrics", "trades", "equity", "honesty", "verdict", "request"):
        assert alone.answer[part] == answer["best_run"][part], part
    assert alone.answer["metrics"]["sharpe"] == pytest.approx(best["sharpe"], rel=1e-9)


def test_a_sweep_s_table_is_sorted_as_asked_and_its_file_has_every_row(file: Path, tmp_path: Path) -> None:
    numbers = {**RULE, "entry": "1:3:0.5", "hedge": "ols,kalman,0.8"}
    for sort, places in (("sharpe", -1), ("fees", 1), ("entry", 1), ("max_drawdown", -1)):
        told = Said()
        out = tmp_path / f"{sort}.csv"
        assert told.run(asked(bars=file, numbers=numbers, sort=sort, limit=4, out=out), tmp_path) == 0
        rows = pd.read_csv(out)
        assert len(rows) == 15 and set(rows.hedge) == {"ols", "kalman", "0.8"}
        assert "15 combinations of hedge, entry were tried." in "\n".join(told.shown)
        head = next(place for place, line in enumerate(told.shown) if line.split()[:2] == ["hedge", "entry"])
        shown = [line.split()[:2] for line in told.shown[head + 1 : head + 5]]
        sorted_rows = rows.iloc[(places * rows[sort]).argsort(kind="stable")][:4]
        assert shown == [[row.hedge, f"{row.entry:g}"] for row in sorted_rows.itertuples()], sort
        assert told.shown[head + 5] == ""
        assert max(map(len, told.shown)) <= 100
    assert "4 of 15 rows shown; --limit 0 shows all, --out FILE keeps all" in told.words


def test_a_sweep_may_ask_for_several_hedge_ratios_that_stand(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(asked(bars=file, json=True, numbers={**RULE, "hedge": "0.7:0.9:0.1"}), tmp_path) == 0
    assert told.answer["grid"] == {"beta": [0.7, 0.8, 0.9]}
    assert told.answer["best_run"]["request"]["hedge"] == {
        "method": "fixed",
        "beta": told.answer["best"]["beta"],
        "lookback": 200,
    }


def test_a_walk_forward_chooses_in_each_fold_and_tells_what_came_of_it(file: Path, tmp_path: Path) -> None:
    told, shown = Said(), Said()
    numbers = {**RULE, "lookback": "100", "entry": "1:2:0.5"}
    question = {"bars": file, "numbers": numbers, "walk_forward": 3, "sort": "total_return"}
    assert told.run(asked(**question, json=True, train=200, test=150, purge=100), tmp_path) == 0
    answer = told.answer
    WalkForwardOut.model_validate({**answer, "id": "1", "created": 0})
    assert (answer["kind"], answer["metric"], answer["purge"], answer["trials"]) == (
        "walk_forward",
        "total_return",
        100,
        3,
    )
    last = START_MS + BARS * MINUTE_MS
    tests = [(fold["test_start"], fold["test_end"]) for fold in answer["folds"]]
    assert tests == [(last - n * 150 * MINUTE_MS, last - (n - 1) * 150 * MINUTE_MS) for n in (3, 2, 1)]
    assert all(fold["entry"] in (1.0, 1.5, 2.0) for fold in answer["folds"])
    assert len(answer["equity"]["timestamp"]) == 450
    assert shown.run(asked(**question, out=tmp_path / "w.html"), tmp_path) == 0
    assert shown.shown[0].split(":")[0] in {"GOOD", "WEAK", "BAD", "NOT JUDGED"}
    assert sum(line.startswith("2025-03-0") for line in shown.shown) == 3
    assert "Folds: chosen in sample, tried out of sample" in (tmp_path / "w.html").read_text()
    with pytest.raises(InputError, match="a walk-forward of 3 folds needs") as refused:
        Said().run(asked(**question, test=500), tmp_path)
    assert refused.value.loc in {"", "--walk-forward", "--bars"}


@pytest.mark.parametrize(
    ("change", "flag", "told"),
    [
        ({"bars": Path("gone.csv")}, "--bars", "there is no file gone.csv"),
        ({"x": "YY"}, "--x", "two different symbols"),
        ({"y": "YZ"}, "--y", "bars.csv has no YZ"),
        ({"timeframe": "7m"}, "--timeframe", "must be one of 1s"),
        ({"timeframe": "1s"}, "--timeframe", "60 s apart"),
        ({"start": "yesterday"}, "--start", "milliseconds since the epoch or ISO 8601"),
        ({"start": "2025-03-07", "end": "2025-03-06"}, "--end", "later than start"),
        ({"start": "2026-03-07"}, "--start", "0 1m bars in common from start to end"),
        ({"numbers": {**RULE, "hedge": "best"}}, "--hedge", "'best' is no number"),
        ({"numbers": {**RULE, "entry": "two"}}, "--entry", "'two' is no number"),
        ({"numbers": {**RULE, "entry": "0.1"}}, "--entry", "above exit"),
        ({"numbers": {**RULE, "window": "40.5"}}, "--window", "40.5 is no whole number"),
        ({"numbers": {**RULE, "window": "300"}}, "--window", "at most lookback"),
        ({"numbers": {**RULE, "lookback": "1440"}}, "--lookback", "there are 900"),
        ({"numbers": {**RULE, "fee_bps": "1/2/3"}}, "--fee-bps", "not one number of y and one of x"),
        ({"numbers": {**RULE, "fee_bps": "-1"}}, "--fee-bps", "from 0 to 10000"),
        ({"numbers": {**RULE, "max_holding": "0"}}, "--max-holding", "from 1"),
        ({"chosen": {"fill": "later"}}, "--fill", "must be one of next, open, same"),
        ({"chosen": {"gate": "mood"}}, "--gate", "must be one of cointegration, sentinel"),
        ({"sort": "beauty"}, "--sort", "cannot sort by 'beauty'"),
        ({"numbers": {**RULE, "entry": "0.1,0.2"}}, "--entry", "above exit"),
        ({"numbers": {**RULE, "entry": "1:3:0.004", "exit": "0:0.9:0.003"}}, "--entry", "combinations are more"),
        ({"cluster": "tcp://127.0.0.1:1"}, "--cluster", "one rule alone"),
        ({"cluster": "here", "numbers": {**RULE, "entry": "1,2"}}, "--cluster", "no address"),
        ({"walk_forward": 3}, "--walk-forward", "nothing to choose from"),
        ({"test": 30}, "--test", "goes with the folds"),
        (
            {"walk_forward": 2, "sort": "entry", "numbers": {**RULE, "lookback": "100", "entry": "1,2"}},
            "--sort",
            "there is no entry",
        ),
        (
            {"walk_forward": 2000, "numbers": {**RULE, "lookback": "100", "entry": "1,2"}},
            "--walk-forward",
            "at most 1000",
        ),
        ({"funding": Path("exchange")}, "--funding", "only a running Pairscope asks the exchange"),
        ({"numbers": {**RULE, "latency_ms": "100"}}, "--latency-ms", "recorded trades"),
        ({"limit": -1}, "--limit", "-1 is below 0"),
        ({"nulls": -1}, "--nulls", "-1 is below 0"),
        ({"out": Path("report.pdf")}, "--out", "none of .html, .csv, .parquet"),
        ({"out": Path("no/where/report.html")}, "--out", "no folder no/where"),
    ],
)
def test_a_mistake_names_its_flag(file: Path, tmp_path: Path, change: dict[str, Any], flag: str, told: str) -> None:
    with pytest.raises(PairscopeError, match=told) as refused:
        Said().run(asked(**{"bars": file, **change}), tmp_path)
    assert isinstance(refused.value, InputError)
    assert refused.value.loc == flag
    assert "\n" not in refused.value.line()


def test_a_report_that_cannot_be_written_is_told_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "r.html").mkdir()
    with pytest.raises(ConfigError, match="cannot be written") as refused:
        Said().run(asked(bars=file, out=tmp_path / "r.html"), tmp_path)
    assert refused.value.loc == "--out"
    assert names_in(tmp_path) == ["bars.csv", "r.html"]


def test_a_sweep_runs_where_it_is_told_to_and_says_under_its_flag_that_nobody_is_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str | None] = []

    @contextmanager
    def workers(cluster: str | None) -> Iterator[Executor]:
        asked_for.append(cluster)
        if cluster == "tcp://nobody:1":
            raise ConfigError("no Dask scheduler answers", loc="cluster")
        with ThreadPoolExecutor(1) as pool:
            yield pool

    monkeypatch.setattr("pairscope.backtesting.working_executor", workers)
    question = {"bars": file, "numbers": {**RULE, "entry": "1,2"}, "json": True}
    here, there, set_up = Said(), Said(), Said()
    assert here.run(asked(**question), tmp_path) == 0
    assert there.run(asked(**question, cluster="tcp://somebody:1"), tmp_path) == 0
    assert set_up.run(asked(**question), tmp_path, cluster_url="tcp://set:1") == 0
    assert asked_for == [None, "tcp://somebody:1", "tcp://set:1"]
    assert here.answer == there.answer == set_up.answer
    with pytest.raises(ConfigError) as refused:
        Said().run(asked(**question, cluster="tcp://nobody:1"), tmp_path)
    assert refused.value.loc == "--cluster"


# -- from the store, and from the instance that holds it ---------------------------------------------------------------


def stored(table: pd.DataFrame) -> Any:
    """The table as one-minute bars of the exchange's, closes alone."""
    names = Symbols(sorted(table.symbol.unique()))
    ids = np.array([names.id_of(name) for name in table.symbol], np.int32)
    order = np.lexsort((table.timestamp, ids))
    stamps = table.timestamp.to_numpy()[order] * 1_000_000
    ticks = TickBatch(
        symbols=names,
        symbol_id=ids[order],
        trade_id=np.arange(len(table)),
        price=table.close.to_numpy()[order],
        size=np.ones(len(table)),
        buyer_is_maker=np.zeros(len(table), np.bool_),
        ts_event_ns=stamps,
        ts_recv_ns=stamps,
        watermark_ns=0,
    )
    bars = bars_of(ticks, "1m")
    columns = {name: getattr(bars, name) for name in bars.__dataclass_fields__}
    none = np.full(len(bars), -1)
    return type(bars)(
        **{**columns, "first_id": none, "last_id": none, "origin": np.full(len(bars), Origin.EXCHANGE, np.int8)}
    )


def in_a_thread(run: Callable[[], object]) -> None:
    """Run what has an event loop of its own."""
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


async def test_the_store_gives_the_same_trades_as_the_file(file: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = await DuckDBStore.open(tmp_path / "data" / "synthetic.duckdb")
    await store.put_bars(stored(table))
    await store.close()
    from_file, from_store = Said(), Said()
    assert from_file.run(asked(bars=file, json=True), tmp_path) == 0
    in_a_thread(lambda: from_store.run(asked(json=True), tmp_path))
    assert from_store.said[0].startswith("reading from the store") and "synthetic.duckdb" in from_store.said[0]
    assert "prices: a synthetic market: made prices, at which nobody traded" in from_store.words
    assert from_store.answer["trades"] == from_file.answer["trades"]
    assert from_store.answer["equity"] == from_file.answer["equity"]
    refused: list[PairscopeError] = []

    def ask_for_a_stranger() -> None:
        try:
            Said().run(asked(y="YZ"), tmp_path)
        except PairscopeError as error:
            refused.append(error)

    in_a_thread(ask_for_a_stranger)
    assert isinstance(refused[0], UnknownSymbol) and refused[0].loc == "--y"


async def test_bars_that_lack_trades_are_told_of_a_store_and_in_the_report(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = await DuckDBStore.open(tmp_path / "data" / "pairscope.duckdb")
    own = stored(table)
    numbers = np.arange(len(own))
    own = replace(own, first_id=numbers, last_id=numbers, origin=np.full(len(own), Origin.OWN, np.int8))
    await store.append(TickBatch.empty(own.symbols, 0), [own])
    at_ns = (START_MS + 500 * MINUTE_MS) * 1_000_000
    await store.settle_gap(Gap("XX", 7, 9, "open", 3, after_ns=at_ns, before_ns=at_ns + 61_000_000_000))
    await store.close()
    told = Said()
    in_a_thread(lambda: told.run(asked(out=tmp_path / "report.html"), tmp_path))
    words = "2 bars of XX lack trades, and nothing has filled the holes"
    assert words in told.said
    assert words in " ".join(" ".join(told.shown).split())
    assert words in (tmp_path / "report.html").read_text()
    as_json = Said()
    in_a_thread(lambda: as_json.run(asked(json=True), tmp_path))
    assert as_json.answer["gap_bars"]["x"]["timestamps"] == [START_MS + minute * MINUTE_MS for minute in (500, 501)]
    low, high = START_MS + 500 * MINUTE_MS, START_MS + 502 * MINUTE_MS
    for trade in as_json.answer["trades"]:
        assert trade["gap"] == (trade["entry_timestamp"] <= high and trade["exit_timestamp"] >= low), trade
    screened = Said()
    in_a_thread(
        lambda: screen(
            Settings(data_dir=tmp_path / "data"),
            Screened(lookback=500),
            say=screened.said.append,
            show=screened.shown.append,
        )
    )
    assert "bars that lack trades, which nothing has filled: 2 of XX" in screened.said


def test_without_a_store_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no store") as refused:
        Said().run(asked(), tmp_path)
    assert refused.value.hint == "start `pairscope run` first, or give a file with --bars FILE"


@pytest.fixture
def instance(table: pd.DataFrame, tmp_path: Path) -> Iterator[list[str]]:
    """Stands where a running Pairscope stands: its note, and the two routes that are asked, in pages of 250."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            seen.append(self.path)
            answer = self.answer(url.path, parse_qs(url.query))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def answer(self, path: str, query: dict[str, list[str]]) -> Any:
            if path == "/api/health":
                return {"status": "ok", "checks": {}}
            if path == "/api/symbols":
                return [
                    {"symbol": name, "status": "live", "last_timestamp": int(rows.max()), "tick_count": 1}
                    for name, rows in table.groupby("symbol").timestamp
                ]
            rows = table[table.symbol == path.rpartition("/")[2]]
            first = int(query.get("cursor", query["start"])[0])
            page = rows[rows.timestamp >= first].head(250)
            later = rows[rows.timestamp > page.timestamp.max()].timestamp
            columns = ["timestamp", "open", "high", "low", "close", "volume"]
            bars = [{**bar, "closed": True, "trades": 1, "vwap": 1} for bar in page[columns].to_dict("records")]
            if later.empty:  # the newest minute is still open
                bars.append({**bars[-1], "timestamp": bars[-1]["timestamp"] + MINUTE_MS, "close": 9e9, "closed": False})
            after = None if later.empty else str(int(later.min()))
            return {"symbol": "", "timeframe": "1m", "bars": bars, "next": after}

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    note = {"pid": os.getpid(), "api": f"http://127.0.0.1:{server.server_port}", "source": "replay"}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instance.json").write_text(json.dumps(note))
    (tmp_path / "data" / "pairscope.duckdb").write_text("held by the instance")
    yield seen
    server.shutdown()
    server.server_close()


def test_a_running_instance_is_asked_in_place_of_the_store_it_holds(
    file: Path, tmp_path: Path, instance: list[str]
) -> None:
    from_file, from_instance = Said(), Said()
    assert from_file.run(asked(bars=file, json=True), tmp_path) == 0
    assert from_instance.run(asked(json=True), tmp_path) == 0
    assert from_instance.said[0].startswith("reading from the Pairscope that runs at http://127.0.0.1:")
    assert from_instance.answer["trades"] == from_file.answer["trades"]
    assert from_instance.answer["source"] == "replay"
    assert "prices: a recording of the market, replayed" in from_instance.words
    assert any("/api/ohlc/YY?" in path and "cursor=" in path for path in instance)
    with pytest.raises(UnknownSymbol, match="YZ") as refused:
        Said().run(asked(y="YZ"), tmp_path)
    assert refused.value.loc == "--y"


# -- as a command ------------------------------------------------------------------------------------------------------


def test_the_command_exits_with_2_on_a_mistake_and_says_it_in_one_line(file: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pairscope", "backtest", "YY", "XX", "--bars", file.name, "--nulls", "0"]
    rule = ["--lookback", "200", "--window", "40", "--limit", "1"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        every = [*words, *rule, *more]
        return subprocess.run(every, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)

    made = run("--entry", "0.1")
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.startswith("pairscope: ") and "--entry" in made.stderr and made.stderr.count("\n") == 1
    made = run()
    assert made.returncode == 0
    assert made.stdout.splitlines()[-1].startswith("2025-03-0")
    assert "YY on XX" in made.stderr


def test_a_pair_is_two_words_or_two_flags_and_nothing_else() -> None:
    assert named_pair(["A", "B"], None, None) == named_pair([], "A", "B") == named_pair(["B"], "A", None) == ("A", "B")
    for words, y, x, told in (
        ([], None, None, "takes a pair"),
        (["A"], None, None, "takes a pair"),
        (["A", "B", "C"], None, None, "'C' is one symbol too many"),
        (["A"], "A", "B", "'A' is one symbol too many"),
    ):
        with pytest.raises(InputError, match=told):
            named_pair(words, y, x)


def test_help_names_every_parameter_of_the_request() -> None:
    said = CliRunner().invoke(app, ["backtest", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert said.exit_code == 0
    flags = (
        "--timeframe --start --end --hedge --lookback --window --entry --exit --stop --max-holding --cooldown "
        "--notional --capital --fee-bps --slippage-bps --slippage-range --funding --fill --price-space --sizing "
        "--rehedge --gate --walk-forward --out --json --limit --sort --cluster --bars --y --x"
    )
    assert [flag for flag in flags.split() if flag not in said.output] == []


def test_an_interrupt_tells_what_is_computed_to_stop_and_waits_until_it_has(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bool] = []

    def callers() -> Iterator[str]:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        while frame is not None:
            yield frame.f_code.co_name
            frame = frame.f_back

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.01)

    def slow(*_: object, cancelled: Callable[[], bool], **__: object) -> None:
        until(lambda: "result" in callers())  # the command waits for this
        os.kill(os.getpid(), signal.SIGINT)
        until(cancelled)
        heard.append(cancelled())
        raise CancelledError

    monkeypatch.setattr("pairscope.backtesting.judge_backtest", slow)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Said().run(asked(bars=file, out=tmp_path / "r.html"), tmp_path)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert heard == [True]
    assert names_in(tmp_path) == ["bars.csv"]


@pytest.mark.timeout(300)  # the kernels may have to be compiled first
def test_ctrl_c_cancels_with_one_line_and_writes_nothing(tmp_path: Path) -> None:
    """A run that takes long (thousands of surrogate pairs), on a terminal, interrupted once they are counted."""
    rng = np.random.default_rng(1)
    bars = 20_000
    logs = np.cumsum(rng.standard_normal((bars, 2)), axis=0) * 1e-3
    stamps = START_MS + MINUTE_MS * np.arange(bars)
    table = pd.concat(
        pd.DataFrame({"timestamp": stamps, "symbol": s, "close": np.exp(logs[:, i])}) for i, s in enumerate("YX")
    )
    table.to_parquet(tmp_path / "bars.parquet")
    ours, theirs = pty.openpty()
    words = ["backtest", "Y", "X", "--bars", "bars.parquet", "--nulls", "10000", "--lookback", "100", "--out", "r.html"]
    command = subprocess.Popen(
        [sys.executable, "-m", "pairscope", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 250
    while b" of " not in seen.partition(b"trying")[2] and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    command.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass  # the other end is closed
    assert command.wait(60) == 1, seen
    os.close(ours)
    assert command.stdout is not None and command.stdout.read() == b""
    command.stdout.close()
    last = seen.decode().replace("\r\n", "\n").rstrip("\n").rpartition("\n")[2].rpartition("\r")[2]
    assert last == "pairscope: the backtest was cancelled; nothing was written"
    assert b"Traceback" not in seen
    assert names_in(tmp_path) == ["bars.parquet"]
