"""The page without a browser: tabs, settings, what the live views are told, and what happens when the API is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]
TABS = ["Price Monitor", "Pair Analytics", "Backtesting", "Alerts & Monitoring", "Data Management"]


def told(app: AppTest, view: str) -> dict[str, Any]:
    """Return the data that a live view was given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next(data for data in found if data["module"].endswith(f"/{view}.js"))


def test_the_five_tabs_are_there_and_the_first_is_open(page: Page) -> None:
    app = page().run()
    assert not app.exception
    assert [tab.label for tab in app.tabs] == TABS
    assert told(app, "board")["timeframe"] == "1m"


def test_the_header_is_told_the_source_in_words(page: Page, market: ScriptedMarket) -> None:
    assert told(page().run(), "status")["source"] == "synthetic"


def test_the_busiest_four_symbols_come_first(page: Page, market: ScriptedMarket) -> None:
    market.stalled = True
    now = time.time()
    day = {s.name: sum(bar["volume"] * s.price for bar in s.bars("1m", now)) for s in market.symbols.values()}
    assert told(page().run(), "board")["symbols"] == sorted(day, key=lambda name: -day[name])[:4]


def test_settings_come_from_the_address(page: Page) -> None:
    app = page(
        symbols=["ETHUSDT", "BTCUSDT"],
        timeframe="15m",
        indicators=["SMA", "MACD"],
        sma_periods="10, 50",
        volume="false",
    ).run()
    board = told(app, "board")
    assert set(board["symbols"]) == {"ETHUSDT", "BTCUSDT"}
    assert board["timeframe"] == "15m"
    assert board["indicators"] == ["sma:10", "sma:50", "macd:12:26:9"]
    assert board["volume"] is False


def test_what_the_address_cannot_mean_is_ignored(page: Page) -> None:
    app = page(symbols=["NOSUCH"], timeframe="7m", tab="Nowhere", sma_periods="often", indicators=["SMA"]).run()
    assert not app.exception
    assert told(app, "board")["timeframe"] == "1m"
    assert told(app, "board")["indicators"] == ["sma:20"]


def test_a_person_changes_symbols_timeframe_and_periods(page: Page) -> None:
    app = page(symbols=["BTCUSDT"]).run()
    app.multiselect(key="symbols").select("SOLUSDT").run()
    app.text_input(key="ema_periods").set_value("9, 21").run()
    board = told(app, "board")
    assert board["symbols"] == ["BTCUSDT", "SOLUSDT"]
    assert board["indicators"] == ["ema:9", "ema:21"]


def test_periods_that_are_none_are_told_and_the_first_ones_stay(page: Page) -> None:
    app = page(symbols=["BTCUSDT"]).run()
    app.text_input(key="ema_periods").set_value("0").run()
    assert any("Not usable" in caption.value for caption in app.caption)
    assert told(app, "board")["indicators"] == ["ema:20"]


def test_a_new_symbol_of_the_market_changes_nobodys_choice(page: Page, market: ScriptedMarket) -> None:
    app = page().run()
    app.multiselect(key="symbols").set_value(["ETHUSDT", "XRPUSDT"]).run()
    before = market.symbols  # which another thread goes through: it is replaced, not changed
    market.symbols = {**before, "AAAUSDT": replace(before["BTCUSDT"], name="AAAUSDT")}
    try:
        app.run()
    finally:
        market.symbols = before
    assert "AAAUSDT" in app.multiselect(key="symbols").options
    assert told(app, "board")["symbols"] == ["ETHUSDT", "XRPUSDT"]


def test_no_symbol_chosen_says_what_to_do(page: Page) -> None:
    app = page().run()
    app.multiselect(key="symbols").set_value([]).run()
    assert [info.value for info in app.info] == ["Choose one or more symbols above to watch them here."]


def test_an_api_that_is_away_gets_one_warning_and_the_last_market_stays(page: Page, market: ScriptedMarket) -> None:
    app = page(symbols=["BTCUSDT"]).run()
    market.down = True
    app.run()
    assert not app.exception
    assert len(app.warning) == 1
    assert told(app, "board")["symbols"] == ["BTCUSDT"]
    market.down = False
    app.run()
    assert not app.warning


def test_an_api_that_was_never_there_gets_one_warning_and_the_next_step(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRSCOPE_PORT", "1")
    app = page().run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "pairscope run" in app.info[0].value


def test_a_part_that_is_not_well_is_named(page: Page, market: ScriptedMarket) -> None:
    market.stalled = True
    app = page().run()
    assert [warning.value for warning in app.warning] == ["Pairscope is not quite well: feed degraded."]


def test_where_keys_are_asked_for_the_page_brings_tickets(
    page: Page, market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRSCOPE_DASHBOARD_KEY", "secret")
    app = page().run()
    assert told(app, "access")["ticket"] == "ticket-for-secret"
    assert told(app, "board")["api"]["tickets"] is True
    assert "secret" not in json.dumps([told(app, "board"), told(app, "status")])
