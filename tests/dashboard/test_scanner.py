"""The Scanner without a browser: what was tested, what was found, what it would pay, and what opens."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pairscope.dashboard.scanner_choice import ScanChoice, open_from_scan
from pairscope.dashboard.scanner_detail import history_figure
from pairscope.dashboard.scanner_detail_words import both_ways, facts_of, history_words, null_words
from pairscope.dashboard.scanner_jobs import progress_words
from pairscope.dashboard.scanner_network import Tie, network_figure, places, ties_of
from pairscope.dashboard.scanner_words import (
    account_of,
    csv_of,
    edge_of,
    event_rows,
    headline,
    left_out,
    paying,
    rows_of,
    too_short,
)

from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]
SCAN = {"tab": "Pair Analytics", "view": "Scanner"}


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Answers are kept for some seconds for all viewers; not from one test to the next."""
    st.cache_data.clear()


def told(app: AppTest, view: str = "scanner") -> dict[str, Any] | None:
    """Return the data that a live view was given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next((data for data in found if data["module"].endswith(f"/{view}.js")), None)


def rows_on(app: AppTest) -> list[dict[str, Any]]:
    view = told(app)
    assert view is not None
    return [dict(zip(view["columns"], row, strict=True)) for row in view["rows"]]


def written(app: AppTest) -> str:
    return "\n".join(part.value for part in [*app.markdown, *app.warning, *app.caption, *app.info])


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_screen_is_one_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN).run()
    assert not app.exception
    first = next(part.value for part in app.markdown if "-badge[" in part.value)
    assert first == (
        ":green-badge[◆ 4 found] 6 symbols, 30 tests at 1m × 1,440 bars: 4 discoveries at 5 % false discovery rate; "
        "as of the bar of 2023-11-14 22:14 UTC; took 12 ms; "
        "1 symbol left out: DOGEUSDT (did not move in the last 1,440 bars)."
    )


def test_every_test_is_a_row_the_surest_first_with_its_line(page: Page, market: ScriptedMarket) -> None:
    rows = rows_on(page(**SCAN).run())
    assert len(rows) == 30
    assert [row["qvalue"] for row in rows] == sorted(row["qvalue"] for row in rows)
    assert [row["discovery"] for row in rows[:6]] == [True] * 4 + [False] * 2
    assert all(len(row["zscores"]) == 60 for row in rows)


def test_a_market_without_a_pair_is_an_answer(page: Page, market: ScriptedMarket) -> None:
    market.screen.found.clear()
    app = page(**SCAN).run()
    text = written(app)
    assert ":gray-badge[○ None found]" in text
    assert "No discoveries: at 5 % FDR nothing in this market holds; that is an answer." in text
    assert "there is no discovery" in text
    assert len(rows_on(app)) == 30
    assert not app.get("plotly_chart")


def test_the_address_says_which_screen_and_which_filters(page: Page, market: ScriptedMarket) -> None:
    app = page(
        **SCAN, scan="5m × 2,016", fdr="1.0", control="BY", scan_symbol="ETHUSDT", min_half_life="10",
        max_half_life="60", min_correlation="0.5", only_discoveries="true", better_way="true",
    ).run()  # fmt: skip
    assert not app.exception
    asked = market.screen.asked[-1]
    assert {name: asked[name] for name in ("timeframe", "lookback", "fdr", "control", "symbol", "only")} == {
        "timeframe": "5m", "lookback": 2016, "fdr": 0.01, "control": "by", "symbol": "ETHUSDT", "only": "discoveries",
    }  # fmt: skip
    assert (asked["min_half_life"], asked["max_half_life"], asked["min_correlation"]) == (10, 60, 0.5)
    assert asked["direction"] == "best"
    assert {(row["y"], row["x"]) for row in rows_on(app)} == {("BTCUSDT", "ETHUSDT")}
    view = told(app)
    assert view is not None
    assert "with ETHUSDT, half-life at least 10 bars" in view["note"]


def test_a_lookback_that_is_not_there_yet_is_told(page: Page, market: ScriptedMarket) -> None:
    market.screen.lacking = 240
    assert "rate; only 1,200 bars are there yet; as of" in written(page(**SCAN).run())


def test_filters_that_nothing_passes_are_a_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN, min_half_life="5000").run()
    assert "No test passes the filters (half-life at least 5000 bars): widen them." in written(app)
    assert told(app) is None
    crossed = page(**SCAN, min_half_life="90", max_half_life="60").run()
    assert [warning.value for warning in crossed.warning] == [
        "No half-life is at least 90 and at most 60 bars: widen the filter."
    ]


def test_the_same_screen_is_not_sent_for_again_and_a_new_one_is(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN).run()
    before = rows_on(app)
    whole = [asked for asked in market.screen.asked if asked["limit"] > 1]
    app.run()
    assert [asked for asked in market.screen.asked if asked["limit"] > 1] == whole
    market.screen.close()
    from pairscope.dashboard import pair_source

    pair_source._asked.clear()  # eight seconds pass
    app.run()
    assert len([asked for asked in market.screen.asked if asked["limit"] > 1]) == len(whole) + 1
    assert rows_on(app) != before
    assert "as of the bar of 2023-11-14 22:15 UTC" in written(app)


def test_a_click_opens_the_pair_on_the_bars_of_the_screen(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN, scan="5m × 2,016", scan_exit="0.25").run()
    app.session_state["_opened_from_scan"] = {
        "y": "XRPUSDT", "x": "BNBUSDT", "timeframe": "5m", "lookback": 2016, "exit": 0.25,
    }  # fmt: skip
    app.run()
    assert not app.exception
    view = told(app, "pair_board")
    assert view is not None
    settings = view["settings"]
    assert (settings["y"], settings["x"], settings["timeframe"]) == ("XRPUSDT", "BNBUSDT", "5m")
    assert (settings["lookback"], settings["exit"], settings["window"]) == (2016, 0.25, 60)


def test_what_opens_a_pair_carries_the_screens_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    open_from_scan("XRPUSDT:BNBUSDT", ScanChoice("1h", 1000, exit=0.75))
    (opened,) = state.values()
    assert opened == {
        "y": "XRPUSDT", "x": "BNBUSDT", "timeframe": "1h", "lookback": 1000, "exit": 0.75, "method": "ols",
        "price_space": "log",
    }  # fmt: skip


def test_each_view_keeps_its_settings_while_the_other_is_looked_at(page: Page, market: ScriptedMarket) -> None:
    app = page(tab="Pair Analytics", y="SOLUSDT", x="BNBUSDT", window="40").run()
    app.segmented_control(key="view").set_value("Scanner").run()
    app.number_input(key="fdr").set_value(2.0).run()
    app.segmented_control(key="view").set_value("Pair").run()
    view = told(app, "pair_board")
    assert view is not None
    assert (view["settings"]["y"], view["settings"]["window"]) == ("SOLUSDT", 40)
    app.segmented_control(key="view").set_value("Scanner").run()
    assert app.number_input(key="fdr").value == 2.0


def test_an_api_that_refuses_is_one_sentence(page: Page, market: ScriptedMarket) -> None:
    market.screen.refusal = (422, "universe: needs 2 symbols that can be tested, has 1")
    app = page(**SCAN).run()
    assert not app.exception
    assert [warning.value for warning in app.warning] == ["Universe: needs 2 symbols that can be tested, has 1."]


def test_an_api_that_went_away_leaves_the_last_screen(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN).run()
    market.down = True
    st.cache_data.clear()
    app.run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "its last word" in written(app)
    assert len(rows_on(app)) == 30


def test_what_entered_and_left_has_its_time(page: Page, market: ScriptedMarket) -> None:
    tables = [table.value for table in page(**SCAN).run().table]
    events = next(table for table in tables if "What" in table)
    assert events["What"].tolist() == ["▲ entered", "▽ left"]
    assert events["When"].tolist() == ["2023-11-14 22:14 UTC", "2023-11-14 22:05 UTC"]
    market.screen.events.clear()
    st.cache_data.clear()
    assert "No pair has entered or left" in written(page(**SCAN).run())


def test_a_screen_that_nobody_keeps_up_to_date_has_no_entries_and_says_why(page: Page, market: ScriptedMarket) -> None:
    market.screen.continuous = False
    assert "computed when it is asked for" in written(page(**SCAN).run())


def test_the_page_says_what_was_tested_and_what_was_not(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN).run()
    text = written(app)
    assert "30 Engle-Granger tests on the last 1,440 closed bars of 1m" in text
    assert "Null hypothesis of each: no cointegration" in text
    assert "about 2 of 30 would have p < 0.05 in a market without one true pair" in text
    left = next(table.value for table in app.table if "Why" in table.value)
    assert left["Symbol"].tolist() == ["DOGEUSDT"]


def test_a_market_of_thousands_of_tests_shows_the_best_and_says_so(page: Page, market: ScriptedMarket) -> None:
    names = [f"S{i:02d}USDT" for i in range(20)]
    known = dict(market.symbols)
    market.symbols.update(dict.fromkeys(names, known["BTCUSDT"]))
    try:
        app = page(**SCAN).run()
    finally:
        for name in names:
            del market.symbols[name]
    view = told(app)
    assert view is not None
    assert len(view["rows"]) == 500
    assert view["note"].startswith("The best 500 of 650 tests by q-value.")


# ── a screen on its way ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_screen_that_is_being_computed_says_how_far_it_is_and_then_stands_there(
    page: Page, market: ScriptedMarket
) -> None:
    market.screen.on_demand = True
    app = page(**SCAN).run()
    assert not app.exception
    assert told(app) is None
    (bar,) = app.get("progress")
    assert (bar.proto.value, bar.proto.text.startswith("Testing every pair: 25 %")) == (25, True)
    market.screen.jobs[0] |= {"status": "done", "done": 4, "ended_ms": 1}
    app.run()
    assert len(rows_on(app)) == 30
    assert not app.get("progress")


def test_a_cancelled_screen_is_not_begun_again_before_somebody_asks_for_it(page: Page, market: ScriptedMarket) -> None:
    market.screen.on_demand = True
    app = page(**SCAN).run()
    app.button(key="scan-cancel-scan-0").click().run()
    assert market.screen.jobs[0]["status"] == "cancelled"
    app.run()
    assert "This screen was cancelled." in written(app)
    app.run()
    assert len(market.screen.jobs) == 1
    app.button(key="scan-go-on").click().run()
    assert [job["status"] for job in market.screen.jobs] == ["cancelled", "running"]


def test_a_screen_that_fails_says_why(page: Page, market: ScriptedMarket) -> None:
    market.screen.on_demand = True
    app = page(**SCAN).run()
    market.screen.jobs[0] |= {"status": "failed", "ended_ms": 1, "error": "a screen needs two symbols"}
    market.screen.start = lambda *_: market.screen.jobs[0]  # type: ignore[method-assign]
    try:
        app.run()
    finally:
        del market.screen.start  # type: ignore[method-assign]
    assert [warning.value for warning in app.warning] == ["A screen needs two symbols."]


def test_a_job_in_words_has_its_share_and_the_time_that_is_left() -> None:
    job = {"status": "running", "done": 3, "total": 4, "started_ms": 0}
    assert progress_words(job, 30_000) == (0.75, "75 %, about 10 s more")
    assert progress_words({**job, "done": 0}, 30_000) == (0.0, "0 %")
    assert progress_words({"status": "queued"}, 0) == (0.0, "waiting for its turn…")


# ── what chance offers ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_markets_own_null_stands_beside_what_theory_promises(page: Page, market: ScriptedMarket) -> None:
    text = written(page(**SCAN).run())
    assert (
        ":orange[▲ Of 4 discoveries theory promises at most 0.2 false; on this market's own null 1.2 are expected "
        "(0 to 4 in 20 surrogate markets without a pair).]"
    ) in text


def test_where_no_null_is_known_it_can_be_asked_for_and_its_way_is_shown(page: Page, market: ScriptedMarket) -> None:
    market.screen.null = None
    app = page(**SCAN).run()
    app.button(key="ask-null").click().run()
    assert [job["kind"] for job in market.screen.jobs] == ["null"]
    (bar,) = app.get("progress")
    assert bar.proto.text.startswith("Surrogate markets, each with no pair in it: 25 %")


def test_chance_that_offers_as_much_as_was_found_is_said_plainly_and_a_market_without_a_find_too() -> None:
    null = {"surrogates": 20, "discoveries": 3, "false_promised": 0.15, "false_expected": 30.2, "false_most": 64.0}
    words, much = null_words({**null, "false_least": 2.0})
    assert much and words.endswith("believe none of them on this screen's word alone.")
    nothing = {**null, "discoveries": 0, "pvalue": 0.00013, "false_promised": 0.0, "false_expected": 0.25}
    words, much = null_words({**nothing, "false_least": 0.0})
    assert words == (
        "A lone pair would be a discovery at p up to 1 in 7,700: on this market's own null 0.2 tests come as far by "
        "chance (0 to 64 in 20 surrogate markets without a pair)."
    )
    assert not much
    assert null_words(None) == ("", False)


# ── a closer look ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closer_look_says_what_a_second_look_says_and_draws_the_q_value_over_time(
    page: Page, market: ScriptedMarket
) -> None:
    app = page(**SCAN, looked="ETHUSDT:BTCUSDT").run()
    assert not app.exception
    text = written(app)
    assert "**ETH** on BTC, closer" in text
    assert (
        "○ Cut into 4 parts, its hedge ratio agrees with the whole's in 3 of them; the relation shows in 2 by itself."
        in text
    )
    assert "✓ Johansen's test finds one relation too (trace 25.3)." in text
    assert "✓ Hurst exponent of the spread 0.31: below 0.5, it comes back." in text
    assert "The other way round, BTC on ETH, q is 0.004." in text
    assert "▲ In a market like this without a single pair, 1.2 tests have so small a p-value" in text
    assert "In 4 screens its q-value went from 0.0002 to 0.2; a discovery" in text
    assert "2023-11-14 22:12 UTC" in text
    view = told(app)
    assert view is not None and view["looked"] == "ETHUSDT:BTCUSDT"
    app.button(key="detail-close").click().run()
    assert ", closer" not in written(app)


def test_the_closer_look_opens_its_pair(page: Page, market: ScriptedMarket) -> None:
    app = page(**SCAN, scan="5m × 2,016", looked="SOLUSDT:ETHUSDT").run()
    app.button(key="detail-open").click().run()
    view = told(app, "pair_board")
    assert view is not None
    assert (view["settings"]["y"], view["settings"]["timeframe"]) == ("SOLUSDT", "5m")


def test_a_pair_without_a_history_or_outside_the_screen_is_words(page: Page, market: ScriptedMarket) -> None:
    text = written(page(**SCAN, looked="BNBUSDT:BTCUSDT").run())
    assert "No history: it was no discovery at 0.05 in the last 720 screens." in text
    assert "This pair is not among the tests" in written(page(**SCAN, looked="AUSDT:BUSDT").run())
    assert ", closer" not in written(page(**SCAN, looked="nonsense").run())


def test_the_closer_look_reckons_with_the_costs_that_were_chosen() -> None:
    row = {"y": "AUSDT", "x": "BUSDT", "spread_std": 0.004, "beta": -1.0, "qvalue": 0.01}
    (fact,) = facts_of(row, None, ScanChoice(cost_bps=6.0, exit=0.5))
    assert fact == (
        "✓ Its deviation is 40 bps: from z 2 to 0.5 is 60 bps, which after 24 bps for the round trip leaves 36 bps."
    )
    (fact,) = facts_of(row, None, ScanChoice(cost_bps=20.0, exit=0.5))
    assert fact.startswith("▲") and fact.endswith("which after 80 bps for the round trip costs 20 bps.")
    assert facts_of({}, None, ScanChoice()) == []
    assert both_ways([], "A", "B") == (None, None)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"johansen_rank": 0, "johansen_trace": 9.0}, "the two tests disagree"),
        ({"johansen_rank": 2, "johansen_trace": 40.0}, "both legs for stationary"),
        ({"hurst": 0.5}, "near 0.5"),
        ({"hurst": 0.7}, "it trends"),
        ({"beta_stable": 0.25, "rejects": 0.0}, "▲ Cut into 4 parts"),
        ({"beta_stable": 1.0, "rejects": 1.0}, "✓ Cut into 4 parts"),
    ],
)
def test_what_speaks_against_a_pair_is_said_too(seen: dict[str, float], words: str) -> None:
    (fact,) = facts_of({"examination": seen}, None, ScanChoice())
    assert words in fact


def test_a_history_breaks_where_a_pair_was_not_tested_and_very_small_values_stay_on_the_scale() -> None:
    figure = history_figure([0, 60_000, 120_000], [0.5, None, 1e-12], "dark")
    path = figure["data"][-1]
    assert path["y"] == [0.5, None, 1e-6]
    assert path["text"][-1] == "< 0.0001"
    assert figure["layout"]["yaxis"]["range"][0] < -6
    left = {"qvalue": [0.2, 0.01], "discovered": False, "since": None}
    assert history_words(left, 60) == "In 2 screens its q-value went from 0.01 to 0.2; it is no discovery now."


# ── figures and words ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_edge_is_the_way_back_less_four_fills() -> None:
    # z −3 back to −0.5 is 2.5 deviations of 40 bps, 100 bps; in and out with both legs of equal size at 6 bps, 24 bps
    cost, edge = edge_of({"zscore": -3.0, "spread_std": 0.004, "beta": -1.0}, 6.0, 0.5)
    assert (cost, edge) == (24.0, pytest.approx(76.0))


def test_a_spread_at_its_mean_only_costs() -> None:
    assert edge_of({"zscore": 0.2, "spread_std": 0.004, "beta": 0.5}, 6.0, 0.5) == (18.0, -18.0)


@pytest.mark.parametrize("missing", ["zscore", "spread_std", "beta"])
def test_an_edge_without_one_of_its_numbers_is_none(missing: str) -> None:
    assert edge_of({"zscore": 3.0, "spread_std": 0.004, "beta": 1.0, missing: None}, 6.0, 0.5) == (None, None)


def test_a_single_discovery_and_a_long_screen_are_told_right() -> None:
    document = {"universe": 600, "tests": 359_400, "discoveries": 1, "as_of": 1_700_000_040_000, "elapsed_ms": 2612.0}
    found, sentence = headline(document, ScanChoice("5m", 2016, fdr=0.001))
    assert found == 1
    assert sentence == (
        "600 symbols, 359,400 tests at 5m × 2,016 bars: 1 discovery at 0.1 % false discovery rate; "
        "as of the bar of 2023-11-14 22:14 UTC; took 2.6 s."
    )


def test_what_would_pay_now_is_named_the_best_first_and_only_of_discoveries() -> None:
    rows = [
        {"y": f"{y}USDT", "x": "XUSDT", "zscore": z, "edge_bps": edge, "discovery": found}
        for y, z, edge, found in (
            ("A", 2.0, 10.0, True), ("B", -3.0, 40.0, True), ("C", 4.0, 90.0, False), ("D", 0.1, -20.0, True),
        )
    ]  # fmt: skip
    assert paying(rows) == (
        "Far enough from their means to pay for a round trip now: B on X (z −3.00, edge 40 bps), "
        "A on X (z +2.00, edge 10 bps)."
    )
    assert paying(rows[2:]) == "None of those shown is far enough from its mean now to pay for a round trip."
    assert paying(rows[2:3]) == "The filters let none of them through."


def test_a_screen_on_few_bars_is_warned_of() -> None:
    assert "49 bars are few" in too_short({"bars": 49})
    assert too_short({"bars": 250}) == too_short({}) == ""


def test_of_many_left_out_three_are_named() -> None:
    words = left_out({f"S{i}": "listed late" for i in range(5)})
    assert words == "5 symbols left out: S0 (listed late), S1 (listed late), S2 (listed late) and 2 more"


def test_a_row_without_a_mark_of_its_own_is_judged_by_its_q_value() -> None:
    rows = rows_of({"pairs": [{"y": "A", "x": "B", "qvalue": q} for q in (0.05, 0.051, None)]}, ScanChoice())
    assert [row["discovery"] for row in rows] == [True, False, False]


def test_an_empty_answer_is_words_too() -> None:
    assert headline({}, ScanChoice())[0] == 0
    assert len(account_of({}, ScanChoice())) == 4
    assert rows_of({}, ScanChoice()) == []
    assert event_rows({}, 60) == []


def test_the_file_has_the_apis_names_and_the_costs() -> None:
    pair = {"y": "AUSDT", "x": "BUSDT", "qvalue": 0.01, "zscore": 3.0, "spread_std": 0.004, "beta": 1.0, "lags": 2}
    pair["half_life"] = math.inf
    heading, line, end = csv_of(rows_of({"pairs": [pair]}, ScanChoice())).split("\r\n")
    fields = dict(zip(heading.split(","), line.split(","), strict=True))
    assert fields["spread_bps"] == "40.0"
    assert float(fields["edge_bps"]) == pytest.approx(76.0)
    assert (fields["half_life"], fields["alpha"], fields["discovery"], end) == ("", "", "true", "")


# ── the network ───────────────────────────────────────────────────────────────────────────────────────────────────────


def tied(*pairs: str) -> list[Tie]:
    return [Tie(a, b, 0.01, both_ways=False) for a, b in pairs]


def test_two_ways_of_one_pair_are_one_tie_with_the_smaller_q_value() -> None:
    rows = [
        {"y": "B", "x": "A", "qvalue": 0.03, "discovery": True},
        {"y": "A", "x": "B", "qvalue": 0.01, "discovery": True},
        {"y": "C", "x": "A", "qvalue": 0.2, "discovery": False},
    ]
    assert ties_of(rows) == [Tie("A", "B", 0.01, both_ways=True)]


def test_the_same_ties_have_the_same_places_in_whatever_order_they_come() -> None:
    ties = tied("AB", "BC", "CD", "AD", "EF", "GH", "HI")
    assert places(ties) == places(list(reversed(ties)))


def test_tied_symbols_stand_a_unit_apart_and_others_farther() -> None:
    spots = places(tied("AB", "BC", "CD", "EF"))
    apart = {(a, b): math.dist(spots[a], spots[b]) for a, b in itertools.combinations(sorted(spots), 2)}
    for pair in (("A", "B"), ("B", "C"), ("C", "D"), ("E", "F")):
        assert apart[pair] == pytest.approx(1.0, abs=0.01)
    assert apart["A", "D"] == pytest.approx(3.0, abs=0.05)  # a chain is a straight line


def test_no_two_symbols_of_a_large_network_cover_each_other() -> None:
    rng = np.random.default_rng(5)
    names = [f"S{i:02d}" for i in range(45)]
    chosen = {tuple(sorted(rng.choice(names, 2, replace=False))) for _ in range(70)}
    ties = [Tie(str(a), str(b), 0.01, both_ways=False) for a, b in chosen]
    spots = np.array(list(places(ties).values()))
    apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(len(spots), 1)].min() > 0.15


def test_names_keep_clear_of_lines_and_symbols() -> None:
    (*_, nodes) = network_figure(tied("AB", "BC"), "dark")["data"]
    ends = dict(zip(nodes["text"], nodes["textposition"], strict=True))
    assert ends["B"] in {"top center", "bottom center"}
    assert {ends["A"].split()[1], ends["C"].split()[1]} <= {"left", "right", "center"}
    hub = network_figure([Tie("HUB", f"S{i}", 0.01, both_ways=False) for i in range(5)], "dark")["data"][-1]
    spots = dict(zip(hub["text"], zip(hub["x"], hub["y"], strict=True), strict=True))
    for name, side in zip(hub["text"], hub["textposition"], strict=True):
        if name != "HUB":  # a leaf's name is on the side away from the hub
            height, width = side.split()
            away = (spots[name][0] - spots["HUB"][0], spots[name][1] - spots["HUB"][1])
            pull = {"left": -1, "right": 1, "center": 0}[width] * away[0]
            pull += {"top": 1, "bottom": -1, "middle": 0}[height] * away[1]
            assert pull >= -0.35


def test_a_line_is_the_wider_the_surer_its_tie_and_names_stand_beside_their_symbols() -> None:
    figure = network_figure(
        [Tie("AUSDT", "BUSDT", 1e-6, both_ways=True), Tie("BUSDT", "CUSDT", 0.04, both_ways=False)], "dark"
    )
    *lines, middles, nodes = figure["data"]
    widths = {line["line"]["width"]: line for line in lines}
    assert sorted(widths) == [3.25, 7.75]
    assert middles["text"] == ["A – B<br>q up to 0.000001, both ways round", "B – C<br>q up to 0.05, one way round"]
    assert nodes["text"] == ["A", "B", "C"]
    assert nodes["customdata"][1] == "A, C"


def test_a_picture_stays_while_nothing_in_it_has_changed_to_the_eye() -> None:
    def drawn(q: float) -> Any:
        return [
            trace
            for trace in network_figure([Tie("A", "B", q, both_ways=False)], "dark")["data"]
            if trace["mode"] == "lines"
        ]

    assert drawn(0.0101) == drawn(0.0102)
