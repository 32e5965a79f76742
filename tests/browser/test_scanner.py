"""The Scanner in a real browser: it sorts, it moves without jumping, it opens a pair, it fits a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Watched, until

pytestmark = pytest.mark.browser

VIEW = "?tab=Pair+Analytics&view=Scanner"
FIRST = 'tr[data-pair="ETHUSDT:BTCUSDT"]'


def opened(watched: Watched, query: str = VIEW) -> Page:
    page = watched.page
    page.goto(f"{watched.home}/{query}", wait_until="domcontentloaded")
    page.locator(".ps-scan tbody tr").first.wait_for()
    return page


def order(page: Page) -> list[str]:
    found: list[str] = page.locator(".ps-scan tbody tr").evaluate_all("rows => rows.map(row => row.dataset.pair)")
    return found


def test_the_screen_sorts_is_taken_along_and_moves_its_numbers_and_nothing_else(
    watched: Watched, market: Any, tmp_path: Path
) -> None:
    page = opened(watched)
    page.get_by_text("30 tests at 1m × 1,440 bars: 4 discoveries at 5 % false discovery rate").wait_for()
    until(lambda: order(page)[:2] == ["ETHUSDT:BTCUSDT", "BTCUSDT:ETHUSDT"], "the best pairs first")
    expect(page.locator(".ps-scan tr.ps-is-found")).to_have_count(4)
    assert page.locator(f"{FIRST} .ps-scan-line").get_attribute("d").count("L") == 59
    page.locator('.ps-scan th[data-column="edge_bps"] button').click()
    expect(page.locator('.ps-scan th[data-column="edge_bps"]')).to_have_attribute("aria-sort", "descending")
    edges = page.locator('.ps-scan td[data-column="edge_bps"]').all_inner_texts()
    numbers = [float(text.replace("−", "-")) for text in edges]
    assert numbers == sorted(numbers, reverse=True)
    page.locator('.ps-scan th[data-column="half_life"] button').click()
    until(lambda: order(page)[-1] == "ETHUSDT:BNBUSDT", "what never comes back last")
    expect(page.locator('[data-testid="stPlotlyChart"] .textpoint')).to_have_count(5)
    names = page.locator('[data-testid="stPlotlyChart"] .textpoint').all_text_contents()
    assert sorted(names) == ["BNB", "BTC", "ETH", "SOL", "XRP"]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download scan", exact=True).click()
    path = tmp_path / "scan.csv"
    waiting.value.save_as(path)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("y,x,alpha,beta,statistic,pvalue,qvalue,lags,half_life,zscore,spread_std,correlation")
    assert len(lines) == 31
    page.locator('.ps-scan th[data-column="zscore"] button').click()
    expect(page.locator('.ps-scan th[data-column="zscore"]')).to_have_attribute("aria-sort", "descending")
    before = order(page)
    page.locator(".ps-scan").evaluate("frame => { frame.style.maxHeight = '12rem'; frame.scrollTop = 150 }")
    page.locator('tr[data-pair="BTCUSDT:SOLUSDT"] button').evaluate("button => button.focus({preventScroll: true})")
    page.evaluate("window.marked = [...document.querySelectorAll('.ps-scan, .ps-scan tr')]")
    z = page.locator(f'{FIRST} [data-column="zscore"]')
    told = z.inner_text()
    market.screen.changes["BTCUSDT", "SOLUSDT"] = {"zscore": 0.001}
    market.screen.found["BNBUSDT", "XRPUSDT"] = 0.02
    market.screen.close()  # last: a page that asks in between would not ask for this screen again
    until(lambda: z.inner_text() != told, "the next screen")
    page.get_by_text("5 discoveries at 5 % false discovery rate; as of the bar of 2023-11-14 22:15 UTC").wait_for()
    assert before[-1] != "BTCUSDT:SOLUSDT"
    until(lambda: order(page)[-1] == "BTCUSDT:SOLUSDT", "the order of the new numbers")
    strays = page.locator('.ps-scan td[data-column="zscore"]').all_inner_texts()
    sizes = [float(text.strip("▲▼ +−")) for text in strays]
    assert sizes == sorted(sizes, reverse=True)
    assert page.locator(".ps-scan").evaluate("frame => frame.scrollTop") == 150
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.pair") == "BTCUSDT:SOLUSDT"
    assert page.evaluate("marked.every((node) => node.isConnected)")


def test_a_row_opens_its_pair_on_the_bars_of_the_screen_and_the_scanner_is_as_it_was(
    watched: Watched, market: Any
) -> None:
    page = opened(watched)
    page.get_by_role("radio", name="5m × 2,016").click()
    rate = page.get_by_role("spinbutton", name="False discovery rate (%)")
    rate.fill("2")
    rate.press("Enter")
    page.get_by_text("tests at 5m × 2,016 bars: 3 discoveries at 2 % false discovery rate").wait_for()
    page.locator('.ps-scan th[data-column="correlation"] button').click()
    page.locator('tr[data-pair="SOLUSDT:ETHUSDT"]').click()
    page.locator('.ps-pair[data-pair="SOLUSDT:ETHUSDT"]').wait_for()
    parts = ("y=SOLUSDT", "lookback=2016", "pair_timeframe=5m")
    until(lambda: all(part in page.url for part in parts) and "view=" not in page.url, "the address")
    page.get_by_role("radio", name="Scanner").click()
    page.locator('.ps-scan th[data-column="correlation"][aria-sort="descending"]').wait_for()
    page.get_by_text("tests at 5m × 2,016 bars: 3 discoveries at 2 % false discovery rate").wait_for()


def test_a_phone_needs_no_sideways_scroll_and_a_key_opens_a_pair(watched: Watched, market: Any) -> None:
    watched.page.set_viewport_size({"width": 375, "height": 812})
    page = opened(watched)
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: page.evaluate(width) <= 376, "a page as narrow as the screen")
    for column in ("zscore", "qvalue"):
        box = page.locator(f'{FIRST} [data-column="{column}"]').bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 375
    page.locator(f"{FIRST} button").focus()
    page.keyboard.press("Enter")
    page.locator('.ps-pair[data-pair="ETHUSDT:BTCUSDT"]').wait_for()


def test_the_glass_of_a_row_looks_closer_without_leaving_the_table(watched: Watched, market: Any) -> None:
    page = opened(watched)
    glass = page.get_by_role("button", name="Look closer at ETHUSDT on BTCUSDT", exact=True)
    glass.click()
    page.get_by_text("Johansen's test finds one relation too").wait_for()
    until(lambda: glass.get_attribute("aria-pressed") == "true", "the row is marked")
    until(lambda: "looked=ETHUSDT%3ABTCUSDT" in page.url, "the row in the address")
    expect(page.locator(".ps-scan tbody tr.ps-is-looked")).to_have_count(1)
    page.locator('.st-key-scan-detail [data-testid="stPlotlyChart"] .scatterlayer').wait_for()
    other = page.get_by_role("button", name="Look closer at SOLUSDT on ETHUSDT", exact=True)
    other.click()
    page.locator(".st-key-scan-detail").get_by_text("on ETH, closer").wait_for()
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator(".st-key-scan-detail").wait_for(state="detached")
    until(lambda: order(page)[0] == "ETHUSDT:BTCUSDT", "the table as it was")


def test_a_screen_on_its_way_can_be_cancelled_and_begun_again(watched: Watched, market: Any) -> None:
    market.screen.on_demand = True
    page = watched.page
    page.goto(f"{watched.home}/{VIEW}", wait_until="domcontentloaded")
    page.get_by_text("Testing every pair: 25 %").wait_for()
    market.screen.jobs[0]["done"] = 3
    page.get_by_text("Testing every pair: 75 %").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("This screen was cancelled.").wait_for()
    assert market.screen.jobs[0]["status"] == "cancelled"
    page.get_by_role("button", name="Compute it", exact=True).click()
    page.get_by_text("Testing every pair: 25 %").wait_for()
    market.screen.jobs[1] |= {"status": "done", "done": 4, "ended_ms": 1}
    page.locator(".ps-scan tbody tr").first.wait_for()
