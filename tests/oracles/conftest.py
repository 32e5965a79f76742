"""The recorded market and the published prices, read without any of the package's code."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch

from .workbook import read_sheet

COINTEGRATION = Path(__file__).resolve().parents[2] / "../shared/data/cointegration"
TAPES = Path(__file__).resolve().parents[2] / "../shared/data/tape"
MINUTES = Path(__file__).resolve().parents[2] / "../shared/data/bars/um_1m_2025-05.parquet"


@pytest.fixture(scope="session")
def tape_frame() -> pd.DataFrame:
    """Every trade of both recordings: numbers as the text that was sent, event time in ns."""
    if not TAPES.is_dir():
        pytest.skip(reason="no recordings beside the repository: ../shared/data/tape")
    rows = []
    for path in sorted(TAPES.glob("um_*.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                if '@trade"' in line:
                    trade = json.loads(line[line.index("{") :])["data"]
                    if trade["X"] == "MARKET":
                        rows.append([trade[key] for key in "stTpqm"])
    frame = pd.DataFrame(rows, columns=["symbol", "id", "ts", "price", "size", "maker"])
    frame["ts"] *= 1_000_000
    return frame


@pytest.fixture(scope="session")
def tape(tape_frame: pd.DataFrame) -> TickBatch:
    """The same trades as one batch, by time."""
    frame = tape_frame.sort_values(["ts", "symbol", "id"])
    symbols = Symbols(["BTCUSDT", "ETHUSDT"])
    ts = frame["ts"].to_numpy(np.int64)
    return TickBatch(
        symbols,
        np.array([symbols.id_of(name) for name in frame["symbol"]], np.int32),
        ts,
        ts,
        frame["id"].to_numpy(np.int64),
        frame["price"].astype(float).to_numpy(),
        frame["size"].astype(float).to_numpy(),
        frame["maker"].to_numpy(bool),
        int(ts.max()) + 1,
    )


@pytest.fixture(scope="session")
def chan_pair() -> Callable[[str, str], tuple[np.ndarray, np.ndarray]]:
    """Adjusted closes of two of E. Chan's series (GLD, GDX, KO, PEP) on their common days, oldest first."""
    if not COINTEGRATION.is_dir():
        pytest.skip(reason="no published prices beside the repository: ../shared/data/cointegration")

    def joined(y: str, x: str) -> tuple[np.ndarray, np.ndarray]:
        frames = [read_sheet(COINTEGRATION / f"{name}.xls").set_index("Date")["Adj Close"] for name in (y, x)]
        both = pd.concat(frames, axis=1, join="inner").sort_index().astype(float).to_numpy()
        return both[:, 0], both[:, 1]

    return joined


@pytest.fixture(scope="session")
def minute_closes() -> tuple[np.ndarray, np.ndarray]:
    """Closes of ETHUSDT and BTCUSDT, 3,000 real minutes of both."""
    if not MINUTES.is_file():
        pytest.skip(reason="no real bars beside the repository: ../shared/data/bars")
    frame = pd.read_parquet(MINUTES, filters=[("symbol", "in", ["BTCUSDT", "ETHUSDT"])])
    wide = frame.astype({"symbol": str}).pivot_table(index="timestamp", columns="symbol", values="close").dropna()
    return wide["ETHUSDT"].to_numpy()[:3000], wide["BTCUSDT"].to_numpy()[:3000]
