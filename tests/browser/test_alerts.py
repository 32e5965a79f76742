"""The Alerts tab in a real browser: from the form to the feed, told on every tab, looked at, changed, deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as TookTooLong

from pairscope.dashboard.live_chart.assets import PREFIX, VERSION

from .conftest import Watched, until

pytestmark = pytest.mark.browser

TAB = "Alerts & Monitoring"
PATIENCE_S = 60.0
MOMENT = "document.querySelector('.ps-moment').chart"
POINTED_AT = """() => new MutationObserver(() => {
    const toasts = document.querySelectorAll(".ps-toast[data-firing]");
    for (const toast of toasts) toast.dispatchEvent(new PointerEvent("pointerenter"));
}).observe(document.body, {subtree: true, childList: true})"""
"""Has the pointer be at a toast's place before it comes: a real one may take longer to get there than it stays."""


def opened(watched: Watched, tab: str = TAB) -> Page:
    page = watched.page
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{watched.home}/?tab={quote_plus(tab)}", wait_until="domcontentloaded")
    if tab == TAB:
        page.get_by_role("button", name="Create alert", exact=True).wait_for()
        page.locator(".ps-feed").wait_for()
    return page


def pick(page: Page | Locator, label: str, option: str) -> None:
    """Choose an option of a field that opens a list, and wait until the page is drawn with it."""
    page.get_by_label(label, exact=True).click()
    whole = page.page if isinstance(page, Locator) else page
    whole.get_by_role("option", name=option, exact=True).click()
    whole.wait_for_timeout(300)
    whole.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def enter(page: Page | Locator, label: str, text: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Tab")


def price_rule(market: Any, **more: Any) -> dict[str, Any]:
    threshold = round(float(market.symbols["BTCUSDT"].price) * 1.05, 1)
    body = {"type": "price", "symbol": "BTCUSDT", "condition": "above", "threshold": threshold, "note": "breakout"}
    kept: dict[str, Any] = market.alerts.keep(body | more)
    return kept


def row_of(page: Page, rule: dict[str, Any]) -> Locator:
    return page.locator(f'tr[data-alert="{rule["id"]}"]')


def item_of(page: Page, firing: dict[str, Any]) -> Locator:
    return page.locator(f'.ps-feed-item[data-firing="{firing["id"]}"]')


def toast_of(page: Page, firing: dict[str, Any]) -> Locator:
    return page.locator(f'.ps-toast[data-firing="{firing["id"]}"]')


def answer(row: Locator, words: str) -> None:
    """Ask for a deletion and answer; asked again where the question closed meanwhile, as it does after a while."""
    button = row.get_by_role("button", name=words)

    def answered() -> bool:
        if not button.is_visible():
            row.get_by_role("button", name="Delete", exact=True).click()
        try:
            button.click(timeout=6000)
        except TookTooLong:
            return False
        return True

    until(answered, words, within_s=PATIENCE_S)


def listening(page: Page) -> None:
    """Wait until the page hears of firings."""
    page.locator('.ps-status-link b[data-state="open"]').wait_for()
    page.locator('.ps-bell[data-loaded="true"]').wait_for()


def test_from_the_form_to_the_feed(watched: Watched, market: Any) -> None:
    page = opened(watched)
    page.get_by_text("Nothing has fired yet.").wait_for()
    page.get_by_text("No alert stands yet.").wait_for()
    pick(page, "Type", "Price change")
    pick(page, "Symbol", "SOLUSDT")
    pick(page, "Condition", "Crosses above")
    enter(page, "Threshold", "1.5")
    enter(page, "Note", "a rise")
    page.get_by_text("Would have fired in 24 h").wait_for()
    until(lambda: any(body.get("threshold") == 0.015 for body in market.alerts.previewed), "a preview of it")
    page.get_by_role("button", name="Create alert", exact=True).click()
    page.get_by_text("Alert created.").wait_for()
    ((_, body),) = market.alerts.asked
    assert {name: body[name] for name in ("type", "symbol", "condition", "threshold", "note")} == {
        "type": "price_change", "symbol": "SOLUSDT", "condition": "crosses_above", "threshold": 0.015, "note": "a rise",
    }  # fmt: skip
    (rule,) = market.alerts.rules.values()
    row = row_of(page, rule)
    row.wait_for()
    expect(row).to_contain_text("SOLUSDT price change crosses above 1.50 %")
    listening(page)
    page.evaluate(POINTED_AT)
    firing = market.alerts.fire(rule["id"], late=True)
    toast_of(page, firing).wait_for()
    item = item_of(page, firing)
    expect(item).to_contain_text(firing["message"])
    expect(item).to_contain_text("LATE", ignore_case=True)
    until(lambda: row.locator('[data-column="fired"] b').inner_text() == "1", "the count", within_s=PATIENCE_S)


def test_the_preview_shows_a_long_distance_whole(watched: Watched, market: Any) -> None:
    page = opened(watched)
    pick(page, "Condition", "Crosses above")
    enter(page, "Threshold", str(round(float(market.symbols["BTCUSDT"].price) * 0.97, 2)))
    value = page.locator('[data-testid="stMetricValue"]').filter(has_text="first")
    value.wait_for()
    cut = "(node) => [node, ...node.querySelectorAll('*')].some((one) => one.scrollWidth > one.clientWidth + 1)"
    assert not value.evaluate(cut), value.inner_text()


def test_a_firing_is_told_on_another_tab_and_leads_to_its_chart(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    page = opened(watched, "Price Monitor")
    page.locator(".ps-chart canvas").first.wait_for()
    listening(page)
    bell = page.locator(".ps-bell")
    until(lambda: bell.inner_text().split()[1] == "0", "a bell without news", within_s=PATIENCE_S)
    page.evaluate(POINTED_AT)
    firing = market.alerts.fire(rule["id"])
    toast = toast_of(page, firing)
    toast.wait_for()
    toast.hover()  # it stays for as long as one points at it
    expect(toast).to_contain_text(firing["message"])
    expect(page.locator(".ps-toast[data-firing]")).to_have_count(1)
    until(lambda: bell.inner_text().split()[1] == "1", "one new alert", within_s=PATIENCE_S)
    toast.locator(".ps-toast-open").click()
    page.locator(f'.ps-moment[data-drawn="{firing["id"]}"] canvas').first.wait_for()
    until(lambda: bell.inner_text().split()[1] == "0", "a bell that has been heard", within_s=PATIENCE_S)
    until(lambda: "tab=Alerts" in page.url, "the tab in the address", within_s=PATIENCE_S)
    page.reload(wait_until="domcontentloaded")
    item_of(page, firing).wait_for()
    listening(page)
    until(lambda: bell.inner_text().split()[1] == "0", "a bell without news", within_s=PATIENCE_S)
    assert toast_of(page, firing).count() == 0


def test_what_fires_while_the_connection_is_lost_is_told_once_it_is_back(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    page = opened(watched, "Data Management")
    page.get_by_text("Uploaded bars", exact=True).wait_for()
    listening(page)
    bell = page.locator(".ps-bell")
    first = market.alerts.fire(rule["id"])
    until(lambda: bell.inner_text().split()[1] == "1", "the first", within_s=PATIENCE_S)
    market.cut()
    missed = [market.alerts.fire(rule["id"]) for _ in range(3)]
    until(lambda: bell.inner_text().split()[1] == "4", "those that were missed", within_s=PATIENCE_S)
    page.get_by_role("tab", name=TAB).click()
    expect(page.locator(".ps-feed-item")).to_have_count(4)
    order = page.locator(".ps-feed-item").evaluate_all("items => items.map((item) => item.dataset.firing)")
    assert order == [firing["id"] for firing in [*reversed(missed), first]]


def test_a_click_shows_the_candles_of_that_moment_with_a_mark_and_the_threshold(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    firing = market.alerts.fire(rule["id"], ago_s=1800.0)
    page = opened(watched)
    item_of(page, firing).click()
    page.locator(f'.ps-moment[data-drawn="{firing["id"]}"] canvas').first.wait_for()
    lines = page.evaluate(f"{MOMENT}.plot.candles.priceLines().map((line) => line.options().price)")
    assert lines == [rule["threshold"]]
    at = firing["timestamp"] // 60_000 * 60
    assert page.evaluate(f"{MOMENT}.marked") == at
    shown = page.evaluate(f"(() => {{ const r = {MOMENT}.plot.time.getVisibleRange(); return [r.from, r.to]; }})()")
    assert shown[0] < at < shown[1]
    page.keyboard.press("Escape")
    page.locator(".ps-moment").wait_for(state="hidden")


def test_a_threshold_far_away_leaves_the_candles_their_height(watched: Watched, market: Any) -> None:
    rule = price_rule(market, threshold=1.0)
    firing = market.alerts.fire(rule["id"], ago_s=1800.0)
    page = opened(watched)
    item_of(page, firing).click()
    page.locator(f'.ps-moment[data-drawn="{firing["id"]}"] canvas').first.wait_for()
    ends = page.evaluate(f"[0, 150].map((y) => {MOMENT}.plot.candles.coordinateToPrice(y))")
    near = float(market.symbols["BTCUSDT"].price)
    assert all(0.8 * near < price < 1.2 * near for price in ends), ends


def test_a_firing_of_a_pair_shows_its_z_score(watched: Watched, market: Any) -> None:
    rule = market.alerts.keep(
        {
            "type": "zscore", "y": "ETHUSDT", "x": "BTCUSDT", "condition": "crosses_above", "threshold": 2.0,
            "timeframe": "1m", "window": 60, "lookback": 1440, "method": "ols", "price_space": "log",
        }
    )  # fmt: skip
    firing = market.alerts.fire(rule["id"], ago_s=1800.0)
    page = opened(watched)
    item_of(page, firing).click()
    page.locator(f'.ps-moment[data-drawn="{firing["id"]}"] canvas').first.wait_for()
    assert page.evaluate(f"{MOMENT}.plot.column") == "zscore"
    lines = page.evaluate(f"{MOMENT}.plot.series.priceLines().map((line) => line.options().price)")
    assert sorted(lines) == [0, 2]
    expect(page.locator(".ps-moment-words")).to_contain_text("z-score of ETH on BTC")


def test_an_alert_is_paused_resumed_edited_tried_out_and_deleted(watched: Watched, market: Any) -> None:
    rule = price_rule(market, notify=["https://hooks.example/***"])
    page = opened(watched)
    row = row_of(page, rule)
    row.get_by_role("button", name="Pause", exact=True).click()
    row.get_by_role("button", name="Resume", exact=True).click()
    row.get_by_role("button", name="Pause", exact=True).wait_for()
    row.get_by_role("button", name="Send a test message").click()
    row.get_by_text("✓ https://hooks.example/***").wait_for()
    row.get_by_role("button", name="Edit", exact=True).click()
    dialog = page.get_by_role("dialog")
    threshold = dialog.get_by_label("Threshold", exact=True)
    until(lambda: threshold.input_value() == f"{rule['threshold']:.2f}", "its threshold", within_s=PATIENCE_S)
    enter(dialog, "Note", "look at it")
    dialog.get_by_role("button", name="Save changes").click()
    dialog.wait_for(state="detached")
    row.get_by_text("look at it").wait_for()
    assert market.alerts.asked == [
        ("change", {"status": "paused"}),
        ("change", {"status": "active"}),
        ("test", {"id": rule["id"]}),
        ("change", {"note": "look at it"}),
    ]
    answer(row, "No, keep it")
    row.get_by_role("button", name="Delete", exact=True).wait_for()
    answer(row, "Yes, delete it")
    row.wait_for(state="detached")
    page.get_by_text("No alert stands yet.").wait_for()
    assert market.alerts.asked[-1] == ("delete", {"id": rule["id"]})


def test_a_change_that_is_refused_is_told_in_the_dialog(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    page = opened(watched)
    row_of(page, rule).get_by_role("button", name="Edit", exact=True).click()
    dialog = page.get_by_role("dialog")
    market.alerts.refusal = ("note", "nobody may write that")
    enter(dialog, "Note", "that")
    dialog.get_by_role("button", name="Save changes").click()
    dialog.get_by_text("Nobody may write that.").wait_for()


def test_values_move_in_place_without_a_row_being_made_anew(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    page = opened(watched)
    row = row_of(page, rule)
    row.wait_for()
    row.evaluate("node => (node.kept = true)")
    now = row.locator('[data-column="now"]')
    first = now.inner_text()
    until(lambda: now.inner_text() != first, "another value", within_s=PATIENCE_S)
    assert row.evaluate("node => node.kept") is True
    assert float(row.locator(".ps-alert-bar i").evaluate("bar => parseFloat(bar.style.width)")) < 100


def test_older_ones_come_by_the_page_and_a_filter_finds_them(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    firings = [market.alerts.fire(rule["id"], ago_s=6000.0 - 30.0 * i) for i in range(120)]
    other = market.alerts.keep({"type": "volatility", "symbol": "SOLUSDT", "condition": "above", "threshold": 0.4})
    storm = market.alerts.fire(other["id"], storm=True)
    market.alerts.deliver(storm["seq"], "given_up", "answered 500")
    page = opened(watched)
    items = page.locator(".ps-feed-item")
    until(lambda: items.count() == 50, "the newest page", within_s=PATIENCE_S)
    expect(item_of(page, storm)).to_contain_text("not delivered")
    older = page.get_by_role("button", name="Show older ones")
    older.click()
    until(lambda: items.count() == 100, "a second page", within_s=PATIENCE_S)
    older.click()
    until(lambda: items.count() == 121, "all of them", within_s=PATIENCE_S)
    older.wait_for(state="hidden")
    expect(items.last).to_have_attribute("data-firing", firings[0]["id"])
    page.get_by_label("Filter what has fired").fill("sol")
    until(lambda: items.count() == 1, "what the filter finds", within_s=PATIENCE_S)
    page.get_by_label("Filter what has fired").fill("nothing like it")
    page.get_by_text("None of these fits the filter.").wait_for()


def test_a_form_half_filled_in_is_still_there_after_another_tab(watched: Watched, market: Any) -> None:
    page = opened(watched)
    note = page.get_by_label("Note", exact=True)
    enter(page, "Note", "for later")  # first: the page has heard of it when it has heard of the type
    pick(page, "Type", "z-score")
    page.get_by_label("X (its hedge)", exact=True).wait_for()
    until(lambda: any(body["type"] == "zscore" for body in market.alerts.previewed), "its preview")
    page.get_by_role("tab", name="Data Management").click()
    page.get_by_text("Uploaded bars", exact=True).wait_for()
    page.get_by_role("tab", name=TAB).click()
    page.get_by_label("X (its hedge)", exact=True).wait_for()
    expect(note).to_have_value("for later")  # a field is drawn empty first, and filled a little later
    note.fill("for much later")  # and straight away to the other tab, out of the field
    page.get_by_role("tab", name="Data Management").click()
    page.get_by_text("Uploaded bars", exact=True).wait_for()
    expect(note).to_have_count(0)
    page.get_by_role("tab", name=TAB).click()
    expect(note).to_have_value("for much later")


def test_the_sound_is_off_until_it_is_wanted_and_the_browser_remembers(watched: Watched, market: Any) -> None:
    page = opened(watched)
    page.get_by_role("button", name="Sound off").click()
    page.get_by_role("button", name="Sound on").wait_for()
    page.reload(wait_until="domcontentloaded")
    page.get_by_role("button", name="Sound on").wait_for()


def test_many_at_once_are_a_few_toasts_and_a_count(watched: Watched, market: Any) -> None:
    rule = price_rule(market)
    page = opened(watched, "Data Management")
    listening(page)
    page.get_by_text("Uploaded bars", exact=True).wait_for()
    for _ in range(12):
        market.alerts.fire(rule["id"])
    until(lambda: page.locator(".ps-bell").inner_text().split()[1] == "12", "the count", within_s=PATIENCE_S)
    assert page.locator(".ps-toast[data-firing]").count() <= 3


def test_it_fits_a_phone(watched: Watched, market: Any) -> None:
    watched.page.set_viewport_size({"width": 375, "height": 800})
    rule = price_rule(market)
    firing = market.alerts.fire(rule["id"], ago_s=900.0)
    page = opened(watched)
    row_of(page, rule).wait_for()
    item_of(page, firing).click()
    page.locator(f'.ps-moment[data-drawn="{firing["id"]}"] canvas').first.wait_for()
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: page.evaluate(width) <= 376, "a page as narrow as the screen")
    for node in (page.locator(".ps-alerts"), page.locator(".ps-moment")):
        box = node.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 375


KINDS = """const kinds = {
    price: {label: "Price", unit: "quote", scale: 1, decimals: 2},
    volume: {label: "Volume", unit: "base", scale: 1, decimals: 4},
    volatility: {label: "Volatility", unit: "% a year", scale: 100, decimals: 1},
    zscore: {label: "z-score", unit: "σ", scale: 1, decimals: 2},
    sentinel: {label: "Break sentinel", unit: "", scale: 1, decimals: 0},
};
const price = {type: "price", symbol: "BTCUSDT", condition: "above", threshold: 70000};
const z = {type: "zscore", y: "ETHUSDT", x: "BTCUSDT", condition: "crosses_above", threshold: 2};
"""


def test_values_and_distances_are_written_as_a_trader_reads_them(watched: Watched) -> None:
    expected = {
        "m.valueWords(kinds, price, 67012.4)": "67,012.40 USDT",
        "m.valueWords(kinds, {type: 'price', symbol: 'PEPEUSDT', condition: 'above'}, 0.00001234)": "0.00001234 USDT",
        "m.valueWords(kinds, {type: 'volatility'}, 0.6)": "60.0 % a year",
        "m.valueWords(kinds, {...price, condition: 'moves'}, -0.0123)": "−1.23 %",
        "m.valueWords(kinds, {type: 'volume', symbol: 'BTCUSDT', baseline: 60}, 3)": "3.00 × the usual",
        "m.valueWords(kinds, {type: 'sentinel'}, 2)": "broken",
        "m.valueWords(kinds, price, null)": "–",
        "m.conditionWords(kinds, z)": "z-score crosses above 2.00 σ",
        "m.conditionWords(kinds, {type: 'cointegration', condition: 'found'})": "cointegration found",
        "m.subjectWords({})": "any pair",
        "m.distanceWords(kinds, price, 69300, 700, false)": "700.00 USDT (1.01 %)",
        "m.distanceWords(kinds, price, 71000, 0, true)": "holds",
        "m.distanceWords(kinds, z, 2.5, 0.5, true)": "back 0.50 σ first",
        "m.distanceWords(kinds, z, 2.5, 0.5, false)": "back 0.50 σ first",
        "m.distanceWords(kinds, z, 1.5, 0.5, false)": "0.50 σ",
        "m.nearness(price, 69300, 700, false).toFixed(2)": "0.49",
        "String(m.nearness(z, 2.5, 0.5, true))": "0",
        "m.timeWords(Date.UTC(2026, 0, 2, 3, 4, 5), Date.UTC(2026, 0, 2, 9))": "03:04:05",
        "m.timeWords(Date.UTC(2026, 0, 2, 3, 4, 5), Date.UTC(2026, 0, 3, 9))": "01-02 03:04:05",
        "m.deliveryWords([{status: 'delivered'}, {status: 'given_up'}]).words": "✗ 1 of 2 not delivered",
    }
    watched.page.goto(f"{watched.home}/_stcore/health")
    address = f"/{PREFIX}/{VERSION}/alert_words.js"
    body = f"{KINDS} return [{', '.join(expected)}];"
    found = watched.page.evaluate(f"async () => {{ const m = await import('{address}'); {body} }}")
    assert dict(zip(expected, found, strict=True)) == expected
