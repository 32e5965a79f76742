"""The Price Monitor in a real browser: it moves, stays itself while it moves, and survives what goes wrong."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Watched, settled, until

pytestmark = pytest.mark.browser

CARD = '.ps-card[data-symbol="BTCUSDT"]'
CHART = '.ps-chart[data-symbol="BTCUSDT"]'
TWO = "?symbols=BTCUSDT&symbols=ETHUSDT"

STRAYS = """
    window.strays = [];
    new MutationObserver(() => {
      const opened = document.querySelector('[role="tab"][aria-selected="true"]')?.textContent;
      const seen = [opened, document.querySelector(".ps-cards") && "Price Monitor"].filter(Boolean);
      window.strays = [...new Set([...window.strays, ...seen])];
    }).observe(document, {subtree: true, childList: true, attributes: true});
"""
"""Notes which tabs were ever open on a page, or drawn."""


def price_of(page: Page) -> str:
    return page.locator(f"{CARD} .ps-card-price").inner_text()


def badge_of(page: Page) -> str:
    return page.locator(".ps-badge").inner_text()


def view_of(page: Page, symbol: str = "BTCUSDT") -> tuple[float, float]:
    """Pixels a bar, and bars between the newest and the right edge."""
    text = page.locator(f'.ps-chart[data-symbol="{symbol}"]').get_attribute("data-view") or "0 0"
    spacing, position = text.split()
    return float(spacing), float(position)


def bars_of(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(f"document.querySelector('{CHART}').chart.bars.list")
    return found


def stored_bars(api: str, timeframe: str, limit: int) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{api}/api/ohlc/BTCUSDT?timeframe={timeframe}&limit={limit}", timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["bars"]
        return found


def has_settled(page: Page) -> bool:
    """Whether the history is drawn, and the view that comes with it."""
    count, spacing = len(bars_of(page)), view_of(page)[0]
    page.wait_for_timeout(400)
    return count > 10 and len(bars_of(page)) <= count + 1 and view_of(page)[0] == spacing


def zoom_in(page: Page) -> float:
    """Zoom as a person does: press until it is near enough, and again where the page took the focus meanwhile."""
    until(lambda: has_settled(page), "the history")

    def pressed() -> float:
        page.locator(f"{CHART} .ps-stage").focus()
        page.keyboard.press("+")
        page.wait_for_timeout(150)
        return view_of(page)[0]

    before = until(pressed, "a view")  # the chart tells its view from its first change on
    until(lambda: pressed() > before * 1.5, "the zoom")
    settled(page, CHART, "chart.plot")
    return view_of(page)[0]


def test_the_price_on_screen_changes_by_itself(watched: Watched) -> None:
    page = watched.open(TWO)
    first = price_of(page)
    until(lambda: price_of(page) != first, "another price")
    until(lambda: badge_of(page) == "SYNTHETIC", "the badge")
    until(lambda: page.locator(f"{CARD} dd").first.inner_text().endswith(" BTC"), "the day's volume")
    until(lambda: page.locator(f"{CARD} dd").nth(1).inner_text() not in {"–", "0.0"}, "trades a second")
    until(lambda: page.locator(f"{CARD} dd").nth(2).inner_text().endswith(" ago"), "the age")


def test_a_chart_is_the_same_node_with_the_same_zoom_after_many_updates(watched: Watched) -> None:
    page = watched.open(f"{TWO}&timeframe=5s")
    zoomed = zoom_in(page)
    page.evaluate(f"window.marked = [document.querySelector('{CHART}'), document.querySelector('{CHART} canvas')]")
    newest = bars_of(page)[-1]["timestamp"]
    end = time.monotonic() + 12
    while time.monotonic() < end:
        page.wait_for_timeout(1000)
        assert view_of(page)[0] == zoomed
    until(lambda: bars_of(page)[-1]["timestamp"] >= newest + 10_000, "the bars of this time")
    kept = f"marked[0] === document.querySelector('{CHART}') && marked[1] === document.querySelector('{CHART} canvas')"
    assert page.evaluate(kept)


def test_an_indicator_and_a_symbol_more_leave_zoom_and_nodes_as_they_were(watched: Watched) -> None:
    page = watched.open(TWO)
    zoomed = zoom_in(page)
    page.evaluate(f"window.marked = document.querySelector('{CHART} canvas')")
    page.get_by_role("button", name="RSI", exact=True).click()
    page.locator(f"{CHART} .ps-legend-pane", has_text="RSI 14").wait_for()
    until(lambda: "–" not in page.locator(f"{CHART} .ps-legend-pane").inner_text(), "a value of the indicator")
    page.get_by_role("combobox", name="Symbols").fill("SOL")
    page.keyboard.press("Enter")
    page.locator('.ps-chart[data-symbol="SOLUSDT"] canvas').first.wait_for()
    assert view_of(page)[0] == zoomed
    assert page.evaluate(f"marked === document.querySelector('{CHART} canvas')")
    until(lambda: "indicators=RSI" in page.url and "symbols=SOLUSDT" in page.url, "the settings in the address")


def test_the_address_holds_the_settings(watched: Watched) -> None:
    page = watched.open("?symbols=1000SHIBUSDT&timeframe=15s&indicators=MACD&macd_periods=5+10+3&colour_blind=true")
    expect(page.locator(".ps-chart")).to_have_count(1)
    expect(page.locator(".ps-legend-frame")).to_contain_text("15s")
    page.locator(".ps-legend-pane", has_text="MACD 5 · 10 · 3").wait_for()
    expect(page.locator(".ps-card-price")).to_have_text(re.compile(r"^0\.0000"))
    up = "getComputedStyle(document.querySelector('.ps-card')).getPropertyValue('--ps-up').trim()"
    until(lambda: page.evaluate(up) == "#56B4E9", "the chosen colours")


def test_bars_are_neither_lost_nor_doubled_over_a_cut_connection(watched: Watched, market: Any, api: str) -> None:
    page = watched.open(f"{TWO}&timeframe=1s")
    for _ in range(2):
        market.cut()
        page.wait_for_timeout(2500)
    until(lambda: page.locator(".ps-status-link b").inner_text() == "connected", "the connection")

    def agree() -> bool:
        shown = {bar["timestamp"]: bar for bar in bars_of(page)}
        told = [bar for bar in stored_bars(api, "1s", 60) if bar["closed"]][:-2]
        fields = ("open", "high", "low", "close", "volume", "trades")
        return all(
            bar["timestamp"] in shown and all(shown[bar["timestamp"]][f] == bar[f] for f in fields) for bar in told
        )

    until(agree, "equality of the chart's bars with the API's")
    times = [bar["timestamp"] for bar in bars_of(page)]
    assert times == sorted(set(times))


def test_a_revised_bar_is_drawn_again_and_one_that_lacks_trades_is_told_of(
    watched: Watched, market: Any, api: str
) -> None:
    page = watched.open(f"{TWO}&timeframe=1s")
    bar = stored_bars(api, "1s", 30)[5]
    market.revise("BTCUSDT", bar["timestamp"], high=99999.9, gap=True)
    until(
        lambda: any(b["timestamp"] == bar["timestamp"] and b["high"] == 99999.9 for b in bars_of(page)),
        "the correction",
    )
    page.locator(f"{CHART} .ps-legend-frame", has_text="⚠ 1 bar lacks trades").wait_for()


def test_scrolling_back_brings_older_bars(watched: Watched) -> None:
    page = watched.open("?symbols=BTCUSDT&timeframe=1m")
    held = f"document.querySelector('{CHART}').chart.bars.list"
    until(lambda: page.evaluate(f"{held}.length") >= 600, "the first page")
    oldest = page.evaluate(f"{held}[0].timestamp")
    page.locator(f"{CHART} .ps-stage").focus()

    def back_far_enough() -> bool:
        page.keyboard.press("PageUp")
        page.wait_for_timeout(50)
        return bool(page.evaluate(f"{held}[0].timestamp") < oldest)

    until(back_far_enough, "older bars")
    settled(page, CHART, "chart.plot")
    position = view_of(page)[1]
    assert position < -300
    page.wait_for_timeout(1500)
    assert abs(view_of(page)[1] - position) <= 2
    page.get_by_role("button", name="Newest").click()
    until(lambda: view_of(page)[1] > -1, "the newest bar")


def test_a_stalled_feed_is_told_within_seconds_and_so_is_its_end(watched: Watched, market: Any) -> None:
    page = watched.open(TWO)
    market.stalled = True
    until(lambda: badge_of(page) == "STALE", "the badge")
    page.locator(f"{CHART}.ps-is-stale").wait_for()
    expect(page.locator(".ps-source")).to_contain_text("synthetic")
    market.stalled = False
    until(lambda: badge_of(page) == "SYNTHETIC", "the badge back")
    until(lambda: page.locator(".ps-is-stale").count() == 0, "moving charts")


def test_an_api_that_is_down_gets_one_warning_and_the_page_mends_itself(watched: Watched, market: Any) -> None:
    page = watched.open(TWO)
    page.evaluate(f"window.marked = document.querySelector('{CHART} canvas')")
    market.down = True
    page.locator('[data-testid="stAlert"]').wait_for()
    until(lambda: badge_of(page) == "STALE", "the badge")
    page.wait_for_timeout(2500)
    assert page.locator('[data-testid="stAlert"]').count() == 1
    assert page.locator(".stException").count() == 0
    assert page.locator(".ps-chart canvas").count() > 0
    market.down = False
    until(lambda: page.locator('[data-testid="stAlert"]').count() == 0, "the end of the warning")
    until(lambda: badge_of(page) == "SYNTHETIC", "the badge back")
    first = price_of(page)
    until(lambda: price_of(page) != first, "a moving price")
    assert page.evaluate(f"marked === document.querySelector('{CHART} canvas')")
    # A browser itself reports each refused connection; nothing of ours may be among it.
    assert all("Failed to load resource" in line or "WebSocket" in line for line in watched.trouble)
    watched.trouble.clear()


def test_a_phone_needs_no_sideways_scroll(watched: Watched) -> None:
    watched.page.set_viewport_size({"width": 375, "height": 812})
    page = watched.open(TWO)
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: page.evaluate(width) <= 376, "a page as narrow as the screen")
    box = page.locator(CHART).bounding_box()
    assert box is not None and box["width"] > 330


def test_every_tab_opens_by_its_address_and_says_what_it_is_for(watched: Watched) -> None:
    page = watched.page
    page.add_init_script(STRAYS)
    says = {
        "Backtesting": "Run backtest",
        "Alerts & Monitoring": "Create alert",
        "Data Management": "Uploaded bars",
    }
    for name, words in says.items():
        page.goto(f"{watched.home}/?tab={name.replace(' ', '+').replace('&', '%26')}")
        page.locator('[role="tab"][aria-selected="true"]', has_text=name).wait_for()
        page.get_by_text(words).first.wait_for()
        page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
        expect(page.locator(".ps-chart:visible")).to_have_count(0)
        assert page.evaluate("window.strays") == [name]


def test_going_away_and_back_keeps_the_view(watched: Watched) -> None:
    page = watched.open(TWO)
    zoomed = zoom_in(page)
    page.get_by_role("tab", name="Backtesting").click()
    until(lambda: page.locator(".ps-chart").count() == 0, "the other tab")
    page.get_by_role("tab", name="Price Monitor").click()
    page.locator(f"{CHART} canvas").first.wait_for()
    until(lambda: view_of(page)[0] == zoomed, "the same zoom")
