"""The screen on the command line: from a file, a store or a running instance; what it says, writes and refuses."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, PairscopeError, UnknownSymbol
from pairscope.market.bars import Origin, bars_of
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.market_closes import closes_from_api
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import COLUMNS
from pairscope.screening import Asked, Meter, screen
from pairscope.storage.duckdb_store import DuckDBStore

MINUTE_MS = 60_000
START_MS = 1_741_257_000_000
BARS, SIZE = 400, 6


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    """Six walks, of which S1 follows S0 closely and S3 follows S2."""
    rng = np.random.default_rng(11)
    logs = np.cumsum(rng.standard_normal((BARS, SIZE)), axis=0) * 1e-3
    for i in (0, 2):
        logs[:, i + 1] = 0.8 * logs[:, i] + 1e-3 * rng.standard_normal(BARS)
    return np.round(100.0 * np.exp(logs), 6)


@pytest.fixture(scope="module")
def table(prices: np.ndarray) -> pd.DataFrame:
    """The same in long form, without some of the bars of S4 and S5."""
    wide = pd.DataFrame(prices, columns=[f"S{i}" for i in range(SIZE)])
    wide.index = pd.Index(START_MS + MINUTE_MS * np.arange(BARS), name="timestamp")
    long = wide.melt(var_name="symbol", value_name="close", ignore_index=False).reset_index()
    row = (long.timestamp - START_MS) // MINUTE_MS
    return long[~((long.symbol == "S4") & row.isin([100, 200])) & ~((long.symbol == "S5") & (row < 50))]


@pytest.fixture
def file(table: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "bars.csv"
    table.to_csv(path, index=False)
    return path


class Said:
    """What the command said on standard error and showed on standard output."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[str] = []

    def run(self, asked: Asked, folder: Path, **settings: Any) -> int:
        made = Settings(data_dir=folder / "data", **settings)
        return screen(made, asked, say=self.said.append, show=self.shown.append)

    @property
    def words(self) -> str:
        return "\n".join(self.said)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_table_is_the_screen_s_and_the_words_say_what_was_left_out(
    file: Path, prices: np.ndarray, tmp_path: Path
) -> None:
    told = Said()
    assert told.run(Asked(bars=file, limit=3, out=tmp_path / "all.csv"), tmp_path) == 0
    assert "5 symbols, 398 bars of 1m that all of them have, 2025-03-06T10:30:00.000Z to" in told.words
    assert "there are 400 bars, fewer than the 1,440 asked for" in told.words
    assert "2 of the last 400 bars left out" in told.words
    assert "S5 begins only at 2025-03-06T11:20:00.000Z" in told.words
    assert "20 Engle-Granger tests" in told.words
    assert "4 discoveries at a false-discovery rate of 0.05" in told.words
    assert [line.split()[:1] for line in told.shown[1:]] == [["*"]] * 3
    assert told.shown[0].split() == [*COLUMNS]
    direct = screen_pairs(np.delete(prices, [100, 200], axis=0)[:, :5], [f"S{i}" for i in range(5)])
    kept = pd.read_csv(tmp_path / "all.csv")
    assert '"' not in (tmp_path / "all.csv").read_text()
    assert [*kept.columns] == [*COLUMNS, "as_of"]
    assert set(kept.as_of) == {"2025-03-06T17:09:00.000Z"}
    pd.testing.assert_frame_equal(kept[[*COLUMNS]], direct.to_pandas(), check_dtype=False, rtol=1e-14)


def test_parquet_keeps_every_bit_and_a_missing_number_is_null(file: Path, tmp_path: Path) -> None:
    told = Said()
    out = tmp_path / "all.parquet"
    assert told.run(Asked(bars=file, out=out, symbols="s0, s4", fdr=1.0, autolag="none"), tmp_path) == 0
    kept = pyarrow.parquet.read_table(out)
    assert kept.column_names == [*COLUMNS, "as_of"]
    assert kept.schema.metadata[b"timeframe"] == b"1m"
    assert kept.num_rows == 2
    assert kept.schema.field("beta").type == pa.float64()
    assert names_in(tmp_path) == ["all.parquet", "bars.csv"]


def test_json_has_the_endpoint_s_fields_and_as_many_pairs_as_asked_for(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(Asked(bars=file, json=True, limit=0, timeframe="5m", empirical_null=2), tmp_path) == 0
    answer = json.loads("".join(told.shown))
    assert {"as_of", "universe", "tests", "elapsed_ms", "pairs"} <= answer.keys()
    assert answer["as_of"] == START_MS + (BARS // 5 - 1) * 5 * MINUTE_MS
    assert answer["tests"] == len(answer["pairs"]) == 20
    assert [*answer["pairs"][0]] == [*COLUMNS, "qvalue_empirical"]
    assert answer["excluded"].keys() == {"S5"}
    assert answer["empirical_null"]["markets"] == 2
    assert "NaN" not in "".join(told.shown) and "Infinity" not in "".join(told.shown)


def test_discoveries_come_first_whatever_the_table_is_sorted_by(file: Path, tmp_path: Path) -> None:
    for sort in ("half_life", "zscore", "correlation", "y"):
        told = Said()
        assert told.run(Asked(bars=file, sort=sort, limit=0), tmp_path) == 0
        marks = [line[0] for line in told.shown[1:]]
        assert marks == ["*"] * 4 + [" "] * 16
        cells = [line[1:].split() for line in told.shown[1:5]]
        values = [row[COLUMNS.index(sort)] for row in cells]
        keys: dict[str, Callable[[str], Any]] = {
            "zscore": lambda cell: -abs(float(cell)),
            "correlation": lambda cell: -float(cell),
            "half_life": lambda cell: np.inf if cell == "none" else float(cell),
        }
        assert values == sorted(values, key=keys.get(sort, str))


def test_surrogates_are_shown_beside_theory(file: Path, tmp_path: Path) -> None:
    told = Said()
    assert told.run(Asked(bars=file, empirical_null=3, limit=1), tmp_path) == 0
    assert told.shown[0].split()[-1] == "qvalue_empirical"
    assert told.shown[3].split()[:2] == ["p", "at"]
    assert len(told.shown) == 10


@pytest.mark.parametrize(
    ("change", "flag", "told"),
    [
        ({"bars": Path("gone.csv")}, "--bars", "there is no file gone.csv"),
        ({"symbols": "S0"}, "--symbols", "a pair takes two symbols"),
        ({"symbols": "S0,s0"}, "--symbols", "S0 stands there twice"),
        ({"symbols": "S0,XX"}, "--symbols", "has no XX"),
        ({"timeframe": "7m"}, "--timeframe", "no timeframe '7m'"),
        ({"timeframe": "1s"}, "--timeframe", "60 s apart"),
        ({"timeframe": "1h"}, "--lookback", "7 bars in common"),
        ({"lookback": 29}, "--lookback", "29 is not from 30"),
        ({"fdr": 0.0}, "--fdr", "0 is not above 0"),
        ({"sort": "beauty"}, "--sort", "cannot sort by 'beauty'"),
        ({"limit": -1}, "--limit", "-1 is below 0"),
        ({"empirical_null": -1}, "--empirical-null", "-1 is below 0"),
        ({"autolag": "hqic"}, "--autolag", "'hqic' chooses no lags"),
        ({"out": Path("table.xls")}, "--out", "neither .csv nor .parquet"),
        ({"out": Path("no/where/table.csv")}, "--out", "no folder no/where"),
        ({"cluster": "here"}, "--cluster", "no address"),
    ],
)
def test_a_mistake_names_its_flag(file: Path, tmp_path: Path, change: dict[str, Any], flag: str, told: str) -> None:
    asked = Asked(**{"bars": file, **change})
    with pytest.raises(PairscopeError, match=told) as refused:
        Said().run(asked, tmp_path)
    assert isinstance(refused.value, InputError)
    assert refused.value.loc == flag
    assert "\n" not in refused.value.line()


def test_a_symbol_that_the_file_lacks_is_told_with_those_it_has(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no XX") as refused:
        Said().run(Asked(bars=file, symbols="S0,XX"), tmp_path)
    assert refused.value.line().endswith("it has S0, S1, S2, S3, S4, S5")


def test_a_table_that_cannot_be_written_is_told_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "all.csv").mkdir()
    with pytest.raises(ConfigError, match="cannot be written") as refused:
        Said().run(Asked(bars=file, out=tmp_path / "all.csv"), tmp_path)
    assert refused.value.loc == "--out"
    assert names_in(tmp_path) == ["all.csv", "bars.csv"]


# -- from the store, and from the instance that holds it ---------------------------------------------------------------


def stored(table: pd.DataFrame) -> Any:
    """The table as one-minute bars of the exchange's."""
    names = Symbols(sorted(table.symbol.unique()))
    ids = np.array([names.id_of(name) for name in table.symbol], np.int32)
    count = len(table)
    order = np.lexsort((table.timestamp, ids))
    ticks = TickBatch(
        symbols=names,
        symbol_id=ids[order],
        trade_id=np.arange(count),
        price=table.close.to_numpy()[order],
        size=np.ones(count),
        buyer_is_maker=np.zeros(count, np.bool_),
        ts_event_ns=table.timestamp.to_numpy()[order] * 1_000_000,
        ts_recv_ns=table.timestamp.to_numpy()[order] * 1_000_000,
        watermark_ns=0,
    )
    bars = bars_of(ticks, "1m")
    columns = {name: getattr(bars, name) for name in bars.__dataclass_fields__}
    none = np.full(len(bars), -1)
    return type(bars)(
        **{**columns, "first_id": none, "last_id": none, "origin": np.full(len(bars), Origin.EXCHANGE, np.int8)}
    )


async def test_the_store_gives_the_same_table_as_the_file(file: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = await DuckDBStore.open(tmp_path / "data" / "synthetic.duckdb")
    await store.put_bars(stored(table))
    await store.close()
    from_file, from_store = Said(), Said()
    assert from_file.run(Asked(bars=file, limit=0, lookback=300), tmp_path) == 0
    thread = threading.Thread(target=lambda: from_store.run(Asked(limit=0, lookback=300), tmp_path))
    thread.start()  # the command has an event loop of its own
    thread.join()
    assert from_store.said[0].startswith("reading from the store") and "synthetic.duckdb" in from_store.said[0]
    assert from_store.shown == from_file.shown
    assert from_store.said[1] == from_file.said[0]


def test_without_a_store_or_with_several_it_says_what_to_do(tmp_path: Path) -> None:
    for names, told in (([], "there is no store"), (["a.duckdb", "b.duckdb"], "holds several stores: a.duckdb, b")):
        (tmp_path / "data").mkdir(exist_ok=True)
        for name in names:
            (tmp_path / "data" / name).touch()
        with pytest.raises(ConfigError, match=told) as refused:
            Said().run(Asked(), tmp_path)
        assert refused.value.hint
    with pytest.raises(ConfigError, match="there is no store at"):
        Said().run(Asked(), tmp_path, database_url=f"duckdb:///{tmp_path}/gone.duckdb")


@pytest.fixture
def instance(table: pd.DataFrame, tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Stands where a running Pairscope stands: its note, and the two routes that are asked, in pages of 250."""
    asked: list[str] = []
    refusals: list[tuple[int, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked.append(self.path)
            status, headers, answer = 200, {}, self.answer(url.path, parse_qs(url.query))
            if refusals and url.path != "/api/health":
                status, headers = refusals.pop(0)
                answer = {"title": "No", "status": status, "detail": "no"}
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
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
            fields = dict.fromkeys(("open", "high", "low", "volume", "trades", "vwap"), 1)
            bars = [
                {"timestamp": int(t), "close": c, "closed": True, **fields}
                for t, c in zip(page.timestamp, page.close, strict=True)
            ]
            if later.empty:  # the newest minute is still open
                newest = int(rows.timestamp.max()) + MINUTE_MS
                bars.append({"timestamp": newest, "close": 9e9, "closed": False, **fields})
            after = None if later.empty else str(int(later.min()))
            return {"symbol": "", "timeframe": "1m", "bars": bars, "next": after}

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    note = {"pid": os.getpid(), "api": f"http://127.0.0.1:{server.server_port}", "source": "synthetic"}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instance.json").write_text(json.dumps(note))
    (tmp_path / "data" / "pairscope.duckdb").write_text("held by the instance")

    def refuse(*what: tuple[int, dict[str, str]]) -> list[str]:
        refusals.extend(what)
        return asked

    yield refuse
    server.shutdown()
    server.server_close()


def test_bars_of_a_running_instance_that_lack_trades_are_counted() -> None:
    class Api:
        def get(self, path: str) -> list[dict[str, Any]]:
            return [{"symbol": name, "last_timestamp": 10 * 60_000} for name in ("A", "B")]

        def ohlc(self, name: str, timeframe: str, *, start: int) -> pd.DataFrame:
            index = pd.to_datetime(np.arange(10) * 60_000, unit="ms", utc=True).rename("timestamp")
            flags = {"gap": [True, *[None] * 8, True]} if name == "A" else {}
            return pd.DataFrame({"close": np.arange(10.0), "closed": True, **flags}, index=index)

    api: Any = Api()
    closes = closes_from_api(api, symbols=[], timeframe="1m", bars=10, progress=lambda done, total: None)
    assert closes.lacking_bars() == {"A": 2}


def test_a_running_instance_is_asked_in_place_of_the_store_it_holds(
    file: Path, tmp_path: Path, instance: Callable[..., list[str]]
) -> None:
    asked = instance((429, {"Retry-After": "0"}))
    from_file, from_instance = Said(), Said()
    assert from_file.run(Asked(bars=file, limit=0, lookback=350), tmp_path) == 0
    assert from_instance.run(Asked(limit=0, lookback=350), tmp_path) == 0
    assert from_instance.said[0].startswith("reading from the Pairscope that runs at http://127.0.0.1:")
    assert from_instance.shown == from_file.shown
    assert any("/api/ohlc/S0?" in path and "cursor=" in path for path in asked)


def test_an_instance_that_asks_for_a_key_or_knows_no_such_symbol_is_told_in_one_line(
    tmp_path: Path, instance: Callable[..., list[str]]
) -> None:
    instance((401, {}))
    with pytest.raises(ConfigError, match="asks for a key") as refused:
        Said().run(Asked(), tmp_path)
    assert refused.value.loc == "PAIRSCOPE_DASHBOARD_KEY"
    with pytest.raises(UnknownSymbol, match="unknown symbol 'S0S'; did you mean S0") as unknown:
        Said().run(Asked(symbols="S0,S0S"), tmp_path)
    assert unknown.value.loc == "--symbols"


# -- on a terminal -----------------------------------------------------------------------------------------------------


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        meter = Meter(stream)
        told = meter.of("testing")
        told(1, 4)
        told(4, 4)
        meter.clear()
    assert pipe.getvalue() == ""
    written = terminal.getvalue()
    assert "\n" not in written
    assert "testing ██████░░░░░░░░░░░░░░░░░░ 1 of 4" in written
    assert written.endswith("\r")


@pytest.mark.timeout(300)  # the kernels may have to be compiled first
def test_ctrl_c_cancels_with_one_line_and_writes_nothing(tmp_path: Path) -> None:
    """A market that takes long (a thousand surrogates), on a terminal, interrupted once tests are counted."""
    rng = np.random.default_rng(1)
    bars, size = 3000, 130
    logs = np.cumsum(rng.standard_normal((bars, size)), axis=0) * 1e-3
    columns = {
        "timestamp": np.repeat(START_MS + MINUTE_MS * np.arange(bars), size),
        "symbol": pa.DictionaryArray.from_arrays(
            np.tile(np.arange(size, dtype=np.int32), bars), [f"S{i}" for i in range(size)]
        ),
        "close": np.exp(logs).ravel(),
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "bars.parquet")
    ours, theirs = pty.openpty()
    words = ["screen", "--bars", "bars.parquet", "--lookback", "3000", "--empirical-null", "1000", "--out", "all.csv"]
    command = subprocess.Popen(
        [sys.executable, "-m", "pairscope", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 250
    while b" of 1,001" not in seen and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    command.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass  # the other end is closed
    assert command.wait(60) == 1
    os.close(ours)
    assert command.stdout is not None and command.stdout.read() == b""
    command.stdout.close()
    last = seen.decode().replace("\r\n", "\n").rstrip("\n").rpartition("\n")[2].rpartition("\r")[2]
    assert last == "pairscope: the screen was cancelled; nothing was written"
    assert b"Traceback" not in seen
    assert names_in(tmp_path) == ["bars.parquet"]
