"""The Backtesting tab in a real browser: run, read, step through trades; sweep, watch, cancel; compare; on a phone."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import PATIENCE_S, Watched, until

pytestmark = pytest.mark.browser

TAB = "?tab=Backtesting"


@pytest.fixture(scope="module", autouse=True)
def computed(served: tuple[Any, str]) -> None:
    """Compute what the scripted API answers with before anybody waits for it."""
    script = importlib.import_module("dashboard_for_browser.scripted_backtests")
    script.judged(2.0)
    script.judged(1.5)


def opened(watched: Watched, query: str = "", button: str = "Run backtest") -> Page:
    page = watched.page
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{watched.home}/{TAB}{query}", wait_until="domcontentloaded")
    page.get_by_role("button", name=button, exact=True).wait_for()
    return page


def drawn(page: Page, version: str) -> None:
    page.locator(f'.ps-chart[data-version="{version}"] canvas').first.wait_for()


def newest(market: Any) -> str:
    """Return the id of the newest kept run, once there is one."""
    found = until(lambda: list(market.backtests.runs), "a kept run", within_s=PATIENCE_S)
    return str(found[-1])


def test_a_backtest_is_run_judged_drawn_and_taken_along(watched: Watched, market: Any, tmp_path: Path) -> None:
    market.backtests.instant = False
    page = opened(watched, "&bt_lookback=120")
    stop = page.get_by_role("spinbutton", name="Stop z")
    stop.fill("4.5")
    stop.press("Tab")
    until(lambda: "bt_stop=4.5" in page.url, "the stop in the address", within_s=PATIENCE_S)
    stop.fill("")
    stop.press("Tab")
    until(lambda: "bt_stop" not in page.url, "an address without a stop", within_s=PATIENCE_S)
    page.get_by_role("button", name="Run backtest", exact=True).click()
    page.get_by_role("button", name="Cancel", exact=True).wait_for()
    _, body = market.backtests.asked[0]
    assert "stop" not in body
    assert body["hedge"] == {"method": "ols", "lookback": 120}
    market.backtests.move(1)
    run_id = newest(market)
    run = market.backtests.runs[run_id]
    page.locator(".st-key-backtest-verdict").get_by_text("Weak").wait_for()
    drawn(page, run_id)
    until(lambda: f"backtest_run={run_id}" in page.url, "the run in the address", within_s=PATIENCE_S)
    trades = page.locator('[data-testid="stMetric"]', has_text="Trades")
    until(lambda: str(run["metrics"]["trades"]) in trades.inner_text().split(), "the number of trades")
    expect(page.locator(".ps-bt .ps-legend-pane")).to_have_count(3)
    panes = page.locator(".ps-bt .ps-legend-pane").evaluate_all("panes => panes.map((pane) => pane.dataset.pane)")
    assert panes == ["equity", "drawdown", "zscore"]
    page.get_by_role("button", name="Next trade").click()
    words = page.locator(".ps-bt-trade")
    first = run["trades"][0]
    until(lambda: words.inner_text().startswith(f"1 of {len(run['trades'])}: "), "the first trade", within_s=PATIENCE_S)
    assert ("Long" if first["side"] == "long" else "Short") in words.inner_text()
    assert f"{abs(first['pnl']):.2f} USDT" in words.inner_text()
    page.locator(".ps-bt .ps-stage").focus()
    page.keyboard.press("]")
    until(lambda: words.inner_text().startswith("2 of "), "the second trade", within_s=PATIENCE_S)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV", exact=True).click()
    path = tmp_path / "trades.csv"
    waiting.value.save_as(path)
    lines = path.read_text().splitlines()
    assert len(lines) == len(run["trades"]) + 1
    assert lines[0].startswith(
        "entry_timestamp,exit_timestamp,side,entry_zscore,exit_zscore,beta,pnl,return,fees,reason"
    )
    assert lines[1].split(",")[0].endswith("Z")


def test_hovering_over_a_trade_tells_of_it(watched: Watched, market: Any) -> None:
    run_id = str(market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT"}, "run-hovers")["id"])
    page = opened(watched, f"&backtest_run={run_id}")
    drawn(page, run_id)
    trade = market.backtests.runs[run_id]["trades"][4]
    middle = (trade["entry_timestamp"] + trade["exit_timestamp"]) // 2 // 60_000 * 60
    area = page.locator(".ps-bt .ps-chart-area")
    area.scroll_into_view_if_needed()
    x = page.evaluate(f"document.querySelector('.ps-bt').chart.plot.time.timeToCoordinate({middle})")
    box = area.bounding_box()
    assert box is not None

    def told() -> bool:
        page.mouse.move(box["x"] + x - 1, box["y"] + 60)
        page.mouse.move(box["x"] + x, box["y"] + 61)
        return page.locator(".ps-bt-trade").inner_text().startswith("5 of ")

    until(told, "the fifth trade", within_s=PATIENCE_S)


def test_ten_thousand_rules_are_started_watched_and_cancelled(watched: Watched, market: Any) -> None:
    market.backtests.instant = False
    grid = "&grid_entry=1+to+4+step+0.1&grid_exit=0+to+0.9+step+0.05&grid_window=30+to+120+step+5"
    query = f"&bt_view=Sweep&grid=Entry+z&grid=Exit+z&grid=Window+(bars){grid}"
    page = opened(watched, query, "Start sweep")
    page.get_by_text("31 × 19 × 19 = 11,191 combinations").wait_for()
    page.get_by_role("button", name="Start sweep", exact=True).click()
    page.get_by_text("0 of 11,191 rules").wait_for()
    ((kind, body),) = market.backtests.asked
    assert (kind, len(body["entry"]), len(body["exit"]), len(body["window"])) == ("sweep", 31, 19, 19)
    for done in (1200, 7900):
        market.backtests.move(done)
        page.get_by_text(f"{done:,} of 11,191 rules").wait_for()
    until(lambda: "sweep_job" in page.url, "the job in the address", within_s=PATIENCE_S)
    page.reload(wait_until="domcontentloaded")
    page.get_by_text("7,900 of 11,191 rules").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("Cancelled after 7,900 of 11,191 rules: nothing of it was kept.").wait_for()
    assert [job["status"] for job in market.backtests.jobs.values()] == ["cancelled"]
    until(lambda: "sweep_job" not in page.url, "an address without the job", within_s=PATIENCE_S)


def test_a_sweep_is_a_map_whose_best_rule_goes_into_the_form(watched: Watched, market: Any) -> None:
    page = opened(watched, "&bt_view=Sweep", "Start sweep")
    page.get_by_role("button", name="Start sweep", exact=True).click()
    page.get_by_text("Best by Sharpe: Entry z 2.25, Exit z 0.25").wait_for()
    heat = page.locator('[data-testid="stPlotlyChart"] .heatmaplayer')
    heat.first.wait_for(state="attached")
    page.locator('[data-testid="stPlotlyChart"]').get_by_text("★ 3.00").wait_for()
    page.get_by_role("button", name="Use these parameters", exact=True).click()
    page.get_by_role("button", name="Run backtest", exact=True).wait_for()
    expect(page.get_by_role("spinbutton", name="Entry z")).to_have_value("2.25")
    expect(page.get_by_role("spinbutton", name="Exit z")).to_have_value("0.25")
    until(
        lambda: "bt_entry=2.25" in page.url and "bt_exit=0.25" in page.url,
        "the rule in the address",
        within_s=PATIENCE_S,
    )


def test_runs_are_laid_over_each_other_and_deleted(watched: Watched, market: Any) -> None:
    for entry, name in ((2.0, "run-aaaaaa"), (1.5, "run-bbbbbb")):
        market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT", "entry": entry, "exit": 0.5}, name)
    page = watched.page
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{watched.home}/{TAB}&bt_view=Runs", wait_until="domcontentloaded")
    drawn(page, "run-bbbbbb run-aaaaaa")
    expect(page.locator(".ps-bt-names .ps-legend-line")).to_have_count(2)
    names = page.locator(".ps-bt-names .ps-legend-line").all_inner_texts()
    assert ["22:15:00" in names[0], "22:14:00" in names[1]] == [True, True]
    side = page.locator('[data-testid="stTable"]', has_text="Max. drawdown")
    expect(side).to_contain_text("Backtest 2023-11-14 22:14:00 UTC")
    page.locator('[class*="st-key-run-run-bbbbbb"]').get_by_role("button", name="Delete").click()
    page.get_by_text("Choose two or more backtests").wait_for()
    assert list(market.backtests.runs) == ["run-aaaaaa"]


def test_it_fits_a_phone(watched: Watched, market: Any) -> None:
    watched.page.set_viewport_size({"width": 375, "height": 800})
    run_id = str(market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT"}, "run-phones")["id"])
    page = opened(watched, f"&backtest_run={run_id}")
    drawn(page, run_id)
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: page.evaluate(width) <= 376, "a page as narrow as the screen")
    verdict = page.locator(".st-key-backtest-verdict").bounding_box()
    assert verdict is not None
    assert verdict["x"] + verdict["width"] <= 375


def test_a_long_run_is_thinned_and_its_trades_keep_their_times(watched: Watched, market: Any) -> None:
    run = market.backtests.keep("backtest", {"y": "ETHUSDT", "x": "BTCUSDT"}, "run-longer")
    first, minutes = run["equity"]["timestamp"][0], 60_000
    n = 40_000
    run["equity"] = {
        "timestamp": [first + minutes * i for i in range(n)],
        "equity": [10_000.0 + (i == 12_345) * 500.0 for i in range(n)],
        "drawdown": [0.0] * n,
    }
    run["series"] = {"zscore": [None] * 100 + [0.0] * (n - 100)}
    page = opened(watched, "&backtest_run=run-longer")
    drawn(page, "run-longer")
    told = json.loads(
        page.evaluate(
            "(() => { const { times, columns, trades } = document.querySelector('.ps-bt').chart.plot.run;"
            "return JSON.stringify({ n: times.length, top: Math.max(...columns.equity), trades: trades.length }); })()"
        )
    )
    assert told["n"] <= 4001
    assert told["top"] == 10_500.0
    assert told["trades"] == len(run["trades"])
    page.get_by_text("Two points stand for 20 bars").wait_for()
