"""Processes that end with their test, and the recorded market worked out without any of the package's code."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from .running import Programs

TAPES = Path(__file__).resolve().parents[2] / "../shared/data/tape"


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts commands; whatever is left of them at the end is killed."""
    started = Programs(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="session")
def tapes() -> list[str]:
    """The recordings of the real market."""
    if not TAPES.is_dir():
        pytest.skip(reason="no recordings beside the repository: ../shared/data/tape")
    return [str(path.resolve()) for path in sorted(TAPES.glob("um_*.gz"))]


def market_trades(path: str) -> Iterator[dict[str, Any]]:
    """The trades of a recording that count."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if '@trade"' in line:
                trade = json.loads(line[line.index("{") :])["data"]
                if trade["X"] == "MARKET" and Decimal(trade["p"]) and Decimal(trade["q"]):
                    yield trade


@pytest.fixture(scope="session")
def recorded(tapes: list[str]) -> pd.DataFrame:
    """The aggregate trades that the exchange would have made of the recordings, numbers as exact text, by symbol.

    Adjacent market trades of one price and side, within 100 ms of the first, are one.
    """
    rows: list[dict[str, Any]] = []
    for path in tapes:
        last: dict[str, Any] = {}
        for t in market_trades(path):
            if last and (last["p"], last["m"]) == (t["p"], t["m"]) and t["T"] - last["T"] <= 100:
                last["q"] += Decimal(t["q"])
                continue
            last = {"symbol": t["s"], "T": t["T"], "p": t["p"], "q": Decimal(t["q"]), "m": t["m"], "n": len(rows)}
            rows.append(last)
    frame = pd.DataFrame(rows)
    frame["q"] = frame["q"].map(str)
    return frame
