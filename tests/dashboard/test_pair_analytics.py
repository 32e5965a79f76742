"""The Pair Analytics tab without a browser: what is chosen, what is said, and what happens when there is no answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pairscope.dashboard.pair_heatmap import csv_of, figure_of

from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]
TAB = "Pair Analytics"


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Answers are kept for some seconds for all viewers; not from one test to the next."""
    st.cache_data.clear()


def told(app: AppTest, view: str) -> dict[str, Any]:
    """Return the data that a live view was given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next(data for data in found if data["module"].endswith(f"/{view}.js"))


def verdict_on(app: AppTest) -> str:
    return next(str(text.value) for text in app.markdown if "-badge[" in text.value)


def written(app: AppTest) -> str:
    return "\n".join(part.value for part in [*app.markdown, *app.warning, *app.caption, *app.info])


def test_the_first_pair_of_the_watch_list_is_open(page: Page, market: ScriptedMarket) -> None:
    app = page(tab=TAB).run()
    assert not app.exception
    settings = told(app, "pair_board")["settings"]
    assert (settings["y"], settings["x"], settings["lookback"]) == ("ETHUSDT", "BTCUSDT", 1440)
    assert [pair["y"] for pair in told(app, "watch_list")["pairs"]] == ["ETHUSDT", "SOLUSDT"]
    assert not app.warning


def test_without_a_watch_list_the_two_busiest_symbols_are_open(page: Page, market: ScriptedMarket) -> None:
    market.pairs.entries.clear()
    market.stalled = True
    first, second = told(page().run(), "board")["symbols"][:2]
    settings = told(page(tab=TAB).run(), "pair_board")["settings"]
    assert (settings["y"], settings["x"]) == (second, first)


def test_pair_and_settings_come_from_the_address_and_reach_the_api(page: Page, market: ScriptedMarket) -> None:
    market.pairs.asked.clear()
    app = page(
        tab=TAB, y="SOLUSDT", x="BNBUSDT", pair_timeframe="5m", lookback="300", window="40", method="Kalman",
        price_space="Prices", entry="2.5", exit="0.25",
    ).run()  # fmt: skip
    assert told(app, "pair_board")["settings"] == {
        "y": "SOLUSDT",
        "x": "BNBUSDT",
        "timeframe": "5m",
        "lookback": 300,
        "window": 40,
        "method": "kalman",
        "price_space": "linear",
        "entry": 2.5,
        "exit": 0.25,
    }
    asked = market.pairs.asked[-1]
    assert (asked["y"], asked["timeframe"], asked["lookback"], asked["method"]) == ("SOLUSDT", "5m", 300, "kalman")
    assert asked["recursion"] == "live"
    table = market.pairs.tables[-1]
    assert (table["y"], table["method"], table["price_space"]) == ("SOLUSDT", "kalman", "linear")


def test_hindsight_is_off_unless_it_is_asked_for(page: Page, market: ScriptedMarket) -> None:
    assert told(page(tab=TAB).run(), "pair_board")["hindsight"] is False
    app = page(tab=TAB, hindsight="true").run()
    assert told(app, "pair_board")["hindsight"] is True
    assert "hindsight" not in told(app, "pair_board")["settings"]


def test_the_verdict_of_a_pair_that_holds_is_in_words(page: Page, market: ScriptedMarket) -> None:
    text = verdict_on(page(tab=TAB).run())
    assert text.startswith(":green-badge[● Looks mean-reverting]")
    assert "at 1% in both directions" in text
    assert "half-life 42 min (30 min to 65 min)" in text


def test_the_verdict_of_a_pair_that_does_not_hold_claims_nothing(page: Page, market: ScriptedMarket) -> None:
    market.pairs.p_values = (0.4, 0.6)
    text = verdict_on(page(tab=TAB).run())
    assert text.startswith(":gray-badge[○ No evidence of a relation]")


def test_a_short_sample_is_told(page: Page, market: ScriptedMarket) -> None:
    market.pairs.p_values = (0.4, 0.6)
    market.pairs.warnings = ["the sample is short: 80 bars"]
    text = written(page(tab=TAB, lookback="80").run())
    assert ":orange-badge[○ Too short to tell]" in text
    assert "▲ the sample is short: 80 bars" in text


def test_a_tripped_sentinel_is_the_verdict(page: Page, market: ScriptedMarket) -> None:
    market.pairs.sentinel = {"status": "broken", "since": 1_699_900_000_000, "tripped": 1_700_000_000_000}
    text = verdict_on(page(tab=TAB).run())
    assert text.startswith(":red-badge[▼ Broken]")
    assert "since 2023-11-14 22:13 UTC" in text


def test_a_stale_leg_is_warned_of(page: Page, market: ScriptedMarket) -> None:
    market.pairs.warnings = ["BTCUSDT has not traded for 15 min: its last price may be old"]
    assert "▲ BTCUSDT has not traded for 15 min" in written(page(tab=TAB).run())


def test_the_same_symbol_twice_is_a_sentence_and_nothing_is_asked_for(page: Page, market: ScriptedMarket) -> None:
    market.pairs.asked.clear()
    app = page(tab=TAB, y="ETHUSDT", x="ETHUSDT").run()
    assert [warning.value for warning in app.warning] == ["Both legs are ETHUSDT: choose two different symbols."]
    assert market.pairs.asked == []


def test_a_window_above_the_lookback_is_a_sentence(page: Page) -> None:
    app = page(tab=TAB, window="90", lookback="60").run()
    assert len(app.warning) == 1
    assert "longer than the lookback" in app.warning[0].value


def test_what_the_api_refuses_is_told_once_as_a_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(tab=TAB, lookback="20", window="10").run()
    assert not app.exception
    assert [warning.value for warning in app.warning] == ["Lookback: common bars needs 30, has 20."]


def test_an_api_that_is_away_gets_one_warning_and_the_last_words_stay(page: Page, market: ScriptedMarket) -> None:
    app = page(tab=TAB).run()
    market.down = True
    st.cache_data.clear()
    app.run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "Looks mean-reverting" in verdict_on(app)
    assert told(app, "pair_board")["settings"]["y"] == "ETHUSDT"
    assert any("this is its last word" in caption.value for caption in app.caption)


def test_the_legs_change_places(page: Page) -> None:
    app = page(tab=TAB).run()
    next(button for button in app.button if button.label == "Swap").click().run()
    settings = told(app, "pair_board")["settings"]
    assert (settings["y"], settings["x"]) == ("BTCUSDT", "ETHUSDT")


def test_a_pair_is_watched_saved_with_other_settings_and_let_go(page: Page, market: ScriptedMarket) -> None:
    def press(app: AppTest, label: str) -> None:
        next(button for button in app.button if button.label == label).click().run()

    app = page(tab=TAB, y="XRPUSDT", x="BNBUSDT").run()
    press(app, "Watch this pair")
    assert market.pairs.entries["XRPUSDT:BNBUSDT"]["lookback"] == 1440
    app.number_input(key="lookback").set_value(720).run()
    press(app, "Save these settings")
    assert market.pairs.entries["XRPUSDT:BNBUSDT"]["lookback"] == 720
    press(app, "Stop watching")
    assert "XRPUSDT:BNBUSDT" not in market.pairs.entries
    assert not app.exception


def test_three_tables_tell_ratios_tests_and_measures(page: Page) -> None:
    tables = [table.value for table in page(tab=TAB).run().table]
    assert [len(table) for table in tables] == [5, 6, 3]
    assert list(tables[1]["Lags"])[:2] == ["3", "3"]


def test_bar_by_bar_is_newest_first_and_of_the_leg_that_is_chosen(page: Page) -> None:
    app = page(tab=TAB).run()
    pair = app.dataframe[0].value
    assert len(pair) == 120
    assert pair["timestamp"].is_monotonic_decreasing
    assert {"spread", "zscore", "correlation"} <= set(pair.columns)
    leg = page(tab=TAB, table_of="BTCUSDT").run().dataframe[0].value
    assert "spread" not in leg.columns


def test_one_symbol_alone_has_no_pair(page: Page, market: ScriptedMarket) -> None:
    others = {name: market.symbols.pop(name) for name in list(market.symbols)[1:]}
    try:
        app = page(tab=TAB).run()
    finally:
        market.symbols.update(others)
    assert "A pair needs two symbols" in app.info[0].value


def test_the_map_stands_in_the_order_of_likeness_between_minus_one_and_one() -> None:
    document = {
        "symbols": ["A", "B", "C"],
        "matrix": [[1, 0.2, 0.9], [0.2, 1, None], [0.9, None, 1]],
        "order": [1, 0, 2],
    }
    (trace,) = figure_of(document, "dark")["data"]
    assert trace["x"] == trace["y"] == ["B", "A", "C"]
    assert trace["z"] == [[1, 0.2, None], [0.2, 1, 0.9], [None, 0.9, 1]]
    assert (trace["zmin"], trace["zmax"]) == (-1, 1)
    assert trace["text"][0] == ["1.00", "0.20", ""]
    assert csv_of(document).splitlines()[1] == "B,1,0.2,"


def test_a_large_map_has_no_numbers_in_its_cells() -> None:
    names = [f"S{i}" for i in range(20)]
    trace = figure_of({"symbols": names, "matrix": [[0.5] * 20] * 20}, "light")["data"][0]
    assert trace["texttemplate"] == ""
