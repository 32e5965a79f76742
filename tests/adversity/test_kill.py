"""``kill -9`` of the backend while trades pour in, again and again on one data directory: none missing, none twice.

``KILLS`` says how often; ``make soak`` asks for ten.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pytest

from pairscope.feed.synthetic import SyntheticMarket

from .running import Api, Program, Programs, until

KILLS = int(os.environ.get("KILLS", "3"))
SEED, RATE = 11, 3000
MARKET = SyntheticMarket(seed=SEED, symbols=6, ticks_per_second=RATE)
OF_SYMBOL = "tick JOIN symbol USING (symbol_id) WHERE name = $name"
SETTINGS = {"stall_seconds": "2", "history_minutes": "0"}


def newest_stored(folder: Path, copy: Path) -> dict[str, int]:
    """The newest trade of each symbol in the files of a store that nobody has open; read from a copy."""
    copy.mkdir()
    for file in folder.glob("pairscope.duckdb*"):
        if file.is_file():  # beside them lies a directory for files that are being written
            shutil.copy(file, copy)
    with duckdb.connect(str(copy / "pairscope.duckdb")) as store:
        return dict(store.execute("SELECT name, max(id) FROM tick JOIN symbol USING (symbol_id) GROUP BY 1").fetchall())


def caught_up(api: Api) -> bool:
    """No hole is open and trades come in.

    The feed knows of a hole with the first trade behind it, the ledger in the store a flush later: both are asked.
    """
    stats = api.stats()
    whole = not any(g["status"] == "open" for g in stats["gaps"]) and stats["feed"].get("gaps_pending") == 0
    return bool(whole and stats["rates"]["ticks_per_second"] > RATE / 4)


def start(programs: Programs, at: dict[str, str]) -> tuple[Program, Api]:
    symbols = ",".join(MARKET.symbols)
    return programs.run("--source", "live", "--symbols", symbols, "--data-dir", "d", **at, **SETTINGS)


@pytest.mark.timeout(200 + 150 * KILLS)  # 20 s a kill where nothing else runs
def test_a_backend_that_is_killed_under_load_goes_on_where_it_was_and_fetches_what_it_missed(
    programs: Programs, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    at = programs.serve(f"synthetic:seed={SEED},symbols=6,rate={RATE}")
    lost_by_kills, first = [], {}
    for turn in range(KILLS):
        running, api = start(programs, at)
        until(partial(caught_up, api), what=f"catching up before kill {turn}")
        first = first or {symbol: api.first_id(symbol) for symbol in MARKET.symbols}
        time.sleep(chance.uniform(0.0, 1.0))
        backend = running.child("backend")
        shown = {symbol: api.newest_id(symbol) for symbol in MARKET.symbols}
        backend.kill()
        assert running.wait() == 1
        assert "the backend ended with code -9" in running.said()
        held = newest_stored(tmp_path / "d", tmp_path / f"copy-{turn}")
        lost_by_kills.append(sum(shown[symbol] > held.get(symbol, -1) for symbol in MARKET.symbols))
    assert any(lost_by_kills), "kills prove nothing unless trades that had been shown were not stored yet"
    running, api = start(programs, at)
    until(lambda: caught_up(api), what="catching up after the last kill")
    assert running.stop()[0] == 0
    assert_the_market_is_there_once(tmp_path / "d" / "pairscope.duckdb", first)


def assert_the_market_is_there_once(file: Path, first: dict[str, int]) -> None:
    """From its first trade on a symbol has every id once, with the price and size of the market's function."""
    with duckdb.connect(str(file), read_only=True) as store:
        assert store.execute("SELECT count(*) FROM gap WHERE status <> 'repaired'").fetchone() == (0,)
        for symbol in MARKET.symbols:
            rows = store.execute(
                f"SELECT id, price, size, ts_event_ns FROM {OF_SYMBOL} ORDER BY id",
                {"name": symbol},
            ).fetchnumpy()
            ids = rows["id"]
            np.testing.assert_array_equal(ids, np.arange(first[symbol], first[symbol] + len(ids)))
            truth = MARKET.by_id(symbol, first[symbol], len(ids), 1 << 62)
            listing = MARKET.listings[MARKET.row(symbol)]
            np.testing.assert_array_equal(rows["ts_event_ns"], truth.trade_ms * 1_000_000)
            np.testing.assert_array_equal(rows["price"], truth.price / 10.0**listing.price_decimals)
            np.testing.assert_array_equal(rows["size"], truth.size / 10.0**listing.size_decimals)
            bars = store.execute(
                f"""
                SELECT b.open, b.high, b.low, b.close, b.trades, b.first_id, b.last_id,
                       t.open, t.high, t.low, t.close, t.trades, t.first_id, t.last_id, b.volume, t.volume
                FROM (SELECT * FROM bar_1s JOIN symbol USING (symbol_id) WHERE name = $name) b
                JOIN (SELECT ts_event_ns // 1000000000 * 1000000000 AS ts_open_ns, arg_min(price, id) AS open,
                             max(price) AS high, min(price) AS low, arg_max(price, id) AS close, count(*) AS trades,
                             min(id) AS first_id, max(id) AS last_id, sum(size) AS volume
                      FROM {OF_SYMBOL} GROUP BY 1) t USING (ts_open_ns)
                """,
                {"name": symbol},
            ).fetchall()
            seconds = np.unique(truth.trade_ms // 1000).size
            assert seconds - 2 <= len(bars) <= seconds
            for bar in bars:
                assert bar[:7] == bar[7:14]
                assert bar[14] == pytest.approx(bar[15], rel=1e-12)
