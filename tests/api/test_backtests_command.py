"""The command `pairscope backtest` where a Pairscope runs: it has the run made there, kept there, and shows it here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pairscope.backtesting import backtest
from pairscope.config import Settings
from pairscope.errors import InputError, UnknownSymbol
from pairscope.research.backtest_flags import Asked
from pairscope.schemas.backtests import BacktestOut, SweepOut, WalkForwardOut

from .market import Market
from .test_stream import served

RULE = {"lookback": "30", "window": "10", "entry": "1.2", "exit": "0.2"}


class Command:
    """Runs the command in a thread against an address; keeps what it said and showed."""

    def __init__(self, address: str, folder: Path) -> None:
        (folder / "data").mkdir()
        note = {"pid": os.getpid(), "api": f"http://{urlsplit(address).netloc}", "source": "synthetic"}
        (folder / "data" / "instance.json").write_text(json.dumps(note))
        self.settings = Settings(data_dir=folder / "data")
        self.said: list[str] = []

    async def answer(self, **change: Any) -> Mapping[str, Any]:
        asked = Asked(**{"y": "BTCUSDT", "x": "pepeusdt", "numbers": RULE, "json": True, **change})
        shown: list[str] = []
        await asyncio.to_thread(backtest, self.settings, asked, say=self.said.append, show=shown.append)
        return dict(json.loads("".join(shown)))


async def test_a_run_is_made_and_kept_there_and_is_the_one_that_would_be_made_here(
    market: Market, tmp_path: Path
) -> None:
    async with served(market) as url:
        command = Command(url, tmp_path)
        there = await command.answer()
        here = await command.answer(nulls=0)
    BacktestOut.model_validate(there)
    assert command.said[0].startswith("run by the Pairscope at http://127.0.0.1:")
    assert "prices: a synthetic market: made prices, at which nobody traded" in command.said
    assert f"kept there as {there['id']}" in command.said
    assert any(said.startswith("reading from the Pairscope that runs at") for said in command.said)
    assert there.keys() - here.keys() == {"id", "created"} and here.keys() <= there.keys()
    assert len(there["trades"]) > 3
    for part in ("request", "equity", "trades", "metrics", "pnl", "series", "returns"):
        assert here[part] == there[part], part


async def test_a_sweep_is_kept_there_and_its_best_rule_is_judged_there(market: Market, tmp_path: Path) -> None:
    async with served(market) as url:
        command = Command(url, tmp_path)
        there = await command.answer(numbers={**RULE, "entry": "1:2:0.5", "exit": "0,0.3"}, out=tmp_path / "s.html")
        here = await command.answer(numbers={**RULE, "entry": "1:2:0.5", "exit": "0,0.3"}, nulls=0)
    SweepOut.model_validate(there)
    assert there["rows"] == here["rows"] and len(there["rows"]) == 6
    assert there["best"] == here["best"] == max(there["rows"], key=lambda row: row["sharpe"])
    assert there["request"] == here["request"]
    assert there["grid"] == here["grid"] == {"entry": [1.0, 1.5, 2.0], "exit": [0.0, 0.3]}
    assert there["best_run"]["trades"] == here["best_run"]["trades"]
    assert there["best_run"]["metrics"]["sharpe"] == pytest.approx(there["best"]["sharpe"], rel=1e-9)
    assert here.keys() <= there.keys()
    assert "Parameter sweep: BTCUSDT on PEPEUSDT" in (tmp_path / "s.html").read_text()


async def test_a_walk_forward_is_made_there_with_the_folds_asked_for(market: Market, tmp_path: Path) -> None:
    question: dict[str, Any] = {
        "numbers": {**RULE, "entry": "1,1.5"}, "walk_forward": 2, "test": 40, "train": 30, "purge": 30,
    }  # fmt: skip
    async with served(market) as url:
        command = Command(url, tmp_path)
        there = await command.answer(**question)
        here = await command.answer(**question, nulls=0)
        with pytest.raises(InputError) as refused:
            await command.answer(**question, sort="fees")
        assert refused.value.loc == "--sort"
    WalkForwardOut.model_validate(there)
    assert there["kind"] == "walk_forward" and len(there["folds"]) == 2
    assert here.keys() <= there.keys()
    for part in ("request", "folds", "equity", "trades", "metrics", "purge", "metric"):
        assert there[part] == here[part], part


async def test_what_is_not_there_is_refused_under_its_flag(market: Market, tmp_path: Path) -> None:
    async with served(market) as url:
        command = Command(url, tmp_path)
        with pytest.raises(UnknownSymbol) as stranger:
            await command.answer(x="NOSUCHUSDT")
        assert stranger.value.loc == "--x"
        with pytest.raises(InputError, match="later than start") as turned:
            await command.answer(start="2025-01-02", end="2025-01-01")
        assert turned.value.loc == "--end"
