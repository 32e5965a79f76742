"""Take what is stored with you, see what is missing from it, and what moving old days away would do.

    python examples/06_export_and_archive.py [http://127.0.0.1:8000]

needs a running instance. Nothing is changed there; the files go into a folder that is removed at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pandas as pd

from pairscope import Client

PAIR = ["BTCUSDT", "ETHUSDT"]

with Client(*sys.argv[1:], timeout=60) as api, TemporaryDirectory() as folder:
    # Ask how large a file will be, then have it. A download that breaks goes on where it stood.
    about = api.export_estimate(PAIR, timeframe="1m", format="parquet")
    print(f"{about['rows']} minutes, about {about['bytes'] / 1000:.0f} kB")
    bars = api.export(PAIR, Path(folder) / "minutes.parquet", timeframe="1m")
    trades = api.export(PAIR, Path(folder) / "trades.csv.gz", timeframe="tick")
    print(f"{bars.name}: {bars.stat().st_size} bytes, {trades.name}: {trades.stat().st_size} bytes")

    # They are files as your tools read them.
    asked = "symbol, count(*) AS minutes, sum(volume * close) AS traded"
    print(duckdb.read_parquet(str(bars)).aggregate(asked).order("symbol").df().round(0).to_string(index=False))
    print(pd.read_csv(trades, nrows=2).to_string(index=False))

    # Or no file at all: straight into a table.
    table = api.export("BTCUSDT", timeframe="tick", frame="arrow")
    print(f"{table.num_rows} trades of BTCUSDT, from {table['timestamp'][0]} on")

    # What is missing is known to the trade: ids are consecutive, so a hole cannot hide.
    print(f"{len(api.gaps())} gaps; {api.held('BTCUSDT')['count'].sum()} trades of BTCUSDT without one")

    # Old days may move into Parquet files, which every question still reads. A dry run says what would.
    store = api.storage()
    plan = api.archive(older_than_days=0, dry_run=True)
    print(f"{store['ticks']} ticks in {store['bytes'] / 1e6:.1f} MB; archiving would move {plan['ticks']} of them")
