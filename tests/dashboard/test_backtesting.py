"""The Backtesting tab without a browser: what is asked, watched and read, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from .scripted_backtests import judged
from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]
TAB = {"tab": "Backtesting"}
GRID = {"grid_entry": "1.5 to 3 step 0.25", "grid_exit": "0, 0.25, 0.5"}


@pytest.fixture(scope="module", autouse=True)
def computed() -> None:
    """Compute what the scripted API answers with before anybody waits for it."""
    judged(2.0)
    judged(1.5)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Answers are kept for all viewers; not from one test to the next."""
    st.cache_data.clear()


def told(app: AppTest, view: str = "backtest_chart") -> dict[str, Any] | None:
    """Return the data that a live view was given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next((data for data in found if data["module"].endswith(f"/{view}.js")), None)


def written(app: AppTest) -> str:
    return "\n".join(part.value for part in [*app.markdown, *app.warning, *app.caption, *app.info])


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def at(app: AppTest, name: str) -> str:
    """Return what the address says of a name."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def table(app: AppTest, heading: str) -> Any:
    return next(one.value for one in app.table if heading in one.value)


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tab_opens_with_a_form_a_button_and_a_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB).run()
    assert not app.exception
    assert [button.label for button in app.button if button.label.startswith("Run")] == ["Run backtest"]
    assert any("press **Run backtest**" in info.value for info in app.info)
    assert all(one.help for one in [*app.number_input, *app.toggle] if one.key.startswith("bt_"))
    assert not market.backtests.asked


def test_run_backtest_asks_what_the_form_says(page: Page, market: ScriptedMarket) -> None:
    app = page(
        **TAB, y="SOLUSDT", x="ETHUSDT", pair_timeframe="5m", bt_hedge="Kalman", bt_lookback="300", bt_window="90",
        bt_entry="2.5", bt_exit="0.25", bt_stop="5", bt_fee="2", bt_fee_x="5", bt_slippage="1.5", bt_notional="5000",
        bt_max_holding="120", bt_cooldown="15", bt_gate="Cointegrated", bt_fill="Next open", bt_rehedge="20",
    ).run()  # fmt: skip
    press(app, "Run backtest")
    ((kind, body),) = market.backtests.asked
    assert kind == "backtest"
    assert body == {
        "y": "SOLUSDT", "x": "ETHUSDT", "timeframe": "5m", "hedge": {"method": "kalman", "lookback": 300},
        "window": 90, "entry": 2.5, "exit": 0.25, "stop": 5.0, "max_holding": 120, "cooldown": 15,
        "gate": "cointegration", "notional": 5000.0, "fee_bps": [2.0, 5.0],
        "slippage_bps": 1.5, "slippage_range": 0.0, "funding": True,
        "fill": "open", "price_space": "log", "sizing": "beta", "rehedge": 0.2, "round_steps": True,
    }  # fmt: skip


def test_a_range_ends_now_or_where_a_person_says(page: Page, market: ScriptedMarket) -> None:
    press(page(**TAB, bt_range="Last day").run(), "Run backtest")
    ((_, day),) = market.backtests.asked
    assert "end" not in day
    press(
        page(**TAB, bt_range="From … to …", bt_start="2023-11-14T00:00", bt_end="2023-11-15T12:30").run(),
        "Run backtest",
    )
    _, free = market.backtests.asked[-1]
    assert (free["start"], free["end"]) == (1_699_920_000_000, 1_700_051_400_000)


def test_a_rule_that_makes_no_sense_is_a_sentence_and_cannot_be_run(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, bt_entry="1", bt_exit="1.5").run()
    assert [warning.value for warning in app.warning] == [
        "The exit (z 1.5) must be below the entry (z 1): a trade would end where it begins."
    ]
    assert next(button for button in app.button if button.label == "Run backtest").disabled


def test_what_the_api_refuses_is_told_in_its_own_words(page: Page, market: ScriptedMarket) -> None:
    market.backtests.refusal = (422, "lookback: must be at most 10000")
    app = press(page(**TAB).run(), "Run backtest")
    assert not app.exception
    assert [warning.value for warning in app.warning] == ["Lookback: must be at most 10000."]
    market.backtests.refusal = None
    assert not press(app, "Run backtest").warning


# ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_watched_and_its_result_comes_by_itself(page: Page, market: ScriptedMarket) -> None:
    market.backtests.instant = False
    app = press(page(**TAB).run(), "Run backtest")
    assert next(button for button in app.button if button.label == "Run backtest").disabled
    assert "backtest_job" in app.query_params
    market.backtests.move(1)
    app.run()
    assert not app.exception
    assert "backtest_job" not in app.query_params
    assert told(app) is not None


def test_a_run_can_be_cancelled_and_says_so(page: Page, market: ScriptedMarket) -> None:
    market.backtests.instant = False
    app = press(page(**TAB, bt_view="Sweep", **GRID).run(), "Start sweep")
    market.backtests.move(7)
    app.run()
    app = press(app, "Cancel")
    assert [job["status"] for job in market.backtests.jobs.values()] == ["cancelled"]
    app.run()
    assert "Cancelled after 7 of 21 rules: nothing of it was kept." in written(app)
    assert not market.backtests.runs
    assert not next(button for button in app.button if button.label == "Start sweep").disabled


def test_a_run_that_fails_says_why(page: Page, market: ScriptedMarket) -> None:
    market.backtests.instant = False
    app = press(page(**TAB).run(), "Run backtest")
    next(iter(market.backtests.jobs.values())).update(status="failed", error="lookback: needs 240 bars, has 12")
    app.run()
    assert "It failed: lookback: needs 240 bars, has 12" in written(app)


def test_a_run_that_nobody_knows_any_more_is_let_go(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, backtest_job="gone").run()
    assert not app.exception
    assert "Nothing is known of this run any more" in written(app)
    assert "backtest_job" not in app.query_params


def test_the_address_brings_a_watched_run_back(page: Page, market: ScriptedMarket) -> None:
    market.backtests.instant = False
    app = press(page(**TAB).run(), "Run backtest")
    job_id = at(app, "backtest_job")
    again = page(**TAB, backtest_job=job_id).run()
    assert any(button.label == "Cancel" for button in again.button)


# ── reading a run ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ran(page: Page, market: ScriptedMarket) -> AppTest:
    """The page with one backtest on it."""
    return press(page(**TAB, bt_lookback="120", bt_stop="4").run(), "Run backtest").run()


def test_the_verdict_is_on_top_with_a_word_and_a_sign(ran: AppTest, market: ScriptedMarket) -> None:
    (run,) = market.backtests.runs.values()
    first = next(part.value for part in ran.markdown if "-badge[" in part.value)
    assert first.startswith(":yellow-badge[◐ Weak]")
    assert run["verdict"]["title"] in first
    assert "random pairs did as well" in written(ran)
    assert "ETH on BTC, 1m: OLS over 120 bars, z over 60, in at 2, out at 0.5, stop at 4" in written(ran)


def test_every_figure_is_the_documents_and_has_a_word_on_what_it_means(ran: AppTest, market: ScriptedMarket) -> None:
    (run,) = market.backtests.runs.values()
    shown = {metric.label: metric.value for metric in ran.metric}
    assert shown["Trades"] == str(run["metrics"]["trades"])
    assert shown["Return"] == f"+{run['metrics']['total_return'] * 100:.2f} %"
    assert shown["Edge a trip"] == f"{run['honesty']['edge_bps']:.2f} bps"
    money = table(ran, "P&L").set_index("P&L")["USDT"]
    assert money["Net"] == f"{run['metrics']['pnl']:+,.2f}"
    sure = table(ran, "How sure")
    assert {"Sharpe", "Null p-value", "Probabilistic Sharpe", "Deflated Sharpe"} <= set(sure["How sure"])
    assert all(sure["What it says"])
    assert "Profit factor" in set(table(ran, "How it traded")["How it traded"])
    assert len(table(ran, "What")) >= 10


def test_the_chart_is_given_equity_drawdown_z_score_and_every_trade(ran: AppTest, market: ScriptedMarket) -> None:
    (run,) = market.backtests.runs.values()
    view = told(ran)
    assert view is not None
    assert len(view["times"]) == len(view["columns"]["equity"]) == len(run["equity"]["timestamp"])
    assert set(view["columns"]) >= {"equity", "drawdown", "zscore"}
    assert len(view["trades"]) == len(run["trades"])
    assert view["levels"] == {"entry": 2.0, "exit": 0.5, "stop": 4.0}


def test_the_trades_are_a_table_and_a_file(ran: AppTest, market: ScriptedMarket) -> None:
    (run,) = market.backtests.runs.values()
    trades = ran.dataframe[0].value
    assert trades["P&L"].tolist() == pytest.approx([trade["pnl"] for trade in run["trades"]])
    assert set(trades["Side"]) <= {"▲ long", "▼ short"}
    assert [button.label for button in ran.get("download_button")] == ["Download CSV"]


def test_settings_that_differ_from_the_run_shown_are_told(ran: AppTest, market: ScriptedMarket) -> None:
    note = "The run shown is of other settings than these."
    assert note not in written(ran)
    assert note in written(ran.number_input(key="bt_entry").set_value(3.0).run())


def test_a_run_that_is_not_kept_any_more_is_a_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, backtest_run="gone").run()
    assert not app.exception
    assert "This run is not kept any more" in written(app)


def test_an_api_that_went_away_leaves_the_run_on_the_page(ran: AppTest, market: ScriptedMarket) -> None:
    market.down = True
    ran.run()
    assert not ran.exception
    assert len(ran.warning) == 1
    assert told(ran) is not None


@pytest.mark.parametrize("query", [{"backtest_run": "run-unread"}, {"bt_view": "Runs"}, {"backtest_job": "job"}])
def test_an_api_that_is_away_gets_no_second_warning(page: Page, market: ScriptedMarket, query: dict[str, str]) -> None:
    app = page(**TAB).run()
    market.down = True
    st.cache_data.clear()
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert len(app.warning) == 1


# ── sweeps and folds ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_says_how_many_rules_before_it_starts(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, bt_view="Sweep", **GRID).run()
    assert not app.exception
    assert "7 × 3 = 21 combinations." in written(app)
    app.text_input(key="grid_entry").set_value("0.25 to 0.75 step 0.25").run()
    assert "3 × 3 = 9 combinations; 3 make no sense" in written(app)
    press(app, "Start sweep")
    ((kind, body),) = market.backtests.asked
    assert (kind, body["entry"], body["exit"]) == ("sweep", [0.25, 0.5, 0.75], [0.0, 0.25, 0.5])


def test_a_grid_that_cannot_be_read_is_a_sentence(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, bt_view="Sweep", grid_entry="1.5, two").run()
    assert "Entry z: 'two' is no number; write values like" in written(app)
    assert next(button for button in app.button if button.label == "Start sweep").disabled
    alone = page(**TAB, bt_view="Sweep", grid=["Entry z"]).run()
    assert "Choose two or more parameters to vary." in written(alone)


def test_a_sweep_tells_luck_draws_a_map_and_gives_its_best_rule_to_the_form(page: Page, market: ScriptedMarket) -> None:
    app = press(page(**TAB, bt_view="Sweep", **GRID).run(), "Start sweep").run()
    assert not app.exception
    text = written(app)
    assert "Probability of backtest overfitting 31.0 %" in text
    assert "Deflated Sharpe 62.0 %" in text
    assert "Best by Sharpe: Entry z 2.25, Exit z 0.25: Sharpe 3.00" in text
    assert len(app.get("plotly_chart")) == 1
    assert app.dataframe[0].value["Sharpe"].tolist() == sorted(app.dataframe[0].value["Sharpe"], reverse=True)
    app = press(app, "Use these parameters")
    assert app.segmented_control(key="bt_view").value == "Backtest"
    assert (app.number_input(key="bt_entry").value, app.number_input(key="bt_exit").value) == (2.25, 0.25)


def test_a_walk_forward_shows_what_each_fold_chose_and_kept(page: Page, market: ScriptedMarket) -> None:
    app = page(**TAB, bt_view="Walk-forward", wf_folds="3", wf_train="200", **GRID).run()
    app = press(app, "Run walk-forward").run()
    assert not app.exception
    ((kind, body),) = market.backtests.asked
    assert (kind, body["folds"], body["train"], body["metric"]) == ("walk_forward", 3, 200, "sharpe")
    folds = table(app, "Fold")
    assert folds["Chosen"].tolist()[1] == "Entry z 2.25, Exit z 0.5"
    assert folds["Sharpe trained"].tolist() == ["4.00", "3.00", "2.00"]
    assert folds["Sharpe tested"].tolist() == ["1.00", "0.00", "−1.00"]
    assert "1 of 3 folds earned" in written(app)
    assert told(app) is not None


# ── kept runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_listed_compared_opened_and_deleted(page: Page, market: ScriptedMarket) -> None:
    assert "No run is kept yet" in written(page(**TAB, bt_view="Runs").run())
    st.cache_data.clear()
    one = market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT", "entry": 2.0, "exit": 0.5}, "run-aaaaaa")
    two = market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT", "entry": 1.5, "exit": 0.5}, "run-bbbbbb")
    app = page(**TAB, bt_view="Runs").run()
    assert not app.exception
    first, second = "Backtest 2023-11-14 22:14:00 UTC", "Backtest 2023-11-14 22:15:00 UTC"
    assert app.dataframe[0].value["Run"].tolist() == [second, first]
    view = told(app, "backtest_curves")
    assert view is not None
    assert [curve["name"] for curve in view["curves"]] == [second, first]
    side = table(app, "Figure").set_index("Figure")
    for run, name in ((one, first), (two, second)):
        assert side.loc["Trades", name] == str(run["metrics"]["trades"])
    app.button(key="delete-run-bbbbbb").click().run()
    assert list(market.backtests.runs) == ["run-aaaaaa"]
    assert app.dataframe[0].value["Run"].tolist() == [first]
    app.button(key="open-run-aaaaaa").click().run()
    assert app.segmented_control(key="bt_view").value == "Backtest"
    assert at(app, "backtest_run") == "run-aaaaaa"
    assert told(app) is not None


def test_runs_of_the_same_second_have_names_of_their_own(page: Page, market: ScriptedMarket) -> None:
    for name in ("run-cccccc", "run-dddddd"):
        market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT"}, name)["created"] = 1_700_000_040_000
    app = page(**TAB, bt_view="Runs").run()
    names = app.multiselect(key="compared").options
    assert len(names) == 2
    assert " (2) · " in names[1]


def test_sweeps_and_walks_are_listed_by_what_they_tried(page: Page, market: ScriptedMarket) -> None:
    grid = {"entry": [1.5, 2.0], "exit": [0.0, 0.5], "y": "ETHUSDT", "x": "BTCUSDT", "hedge": {"method": "ols"}}
    market.backtests.keep("sweep", grid, "run-eeeeee")
    market.backtests.keep("walk_forward", {**grid, "folds": 2, "metric": "sharpe"}, "run-ffffff")
    app = page(**TAB, bt_view="Runs").run()
    assert not app.exception
    assert app.dataframe[0].value["Rule"].tolist() == ["chosen anew in each fold", "4 rules"]
