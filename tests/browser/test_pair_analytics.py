"""The Pair Analytics tab in a real browser: it opens, it moves in place, it stays where a person put it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Watched, settled, until

pytestmark = pytest.mark.browser

TAB = "?tab=Pair+Analytics"
BOARD = ".ps-pair"


def opened(watched: Watched, query: str = TAB) -> Page:
    """Open the tab and wait until its chart is drawn."""
    page = watched.page
    page.goto(f"{watched.home}/{query}", wait_until="domcontentloaded")
    page.locator(f"{BOARD} canvas").first.wait_for()
    until(lambda: page.evaluate(f"document.querySelector('{BOARD}').board.drawn > 0"), "the series")
    return page


def figure(page: Page, name: str) -> str:
    return page.locator(f'.ps-pair-figure[data-figure="{name}"] .ps-pair-value').inner_text()


def rows_of(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(f"document.querySelector('{BOARD}').board.series.rows")
    return found


def spacing(page: Page) -> float:
    return float((page.locator(BOARD).get_attribute("data-view") or "0 0").split()[0])


def zoom_in(page: Page) -> float:
    """Press plus until it is near enough; the page may take the focus meanwhile."""

    def pressed() -> float:
        page.locator(f"{BOARD} .ps-stage").focus()
        page.keyboard.press("+")
        page.wait_for_timeout(100)
        return spacing(page)

    before = until(pressed, "a view")
    until(lambda: pressed() > before * 1.5, "the zoom")
    settled(page, BOARD, "board.plot")
    return spacing(page)


@pytest.fixture(scope="module")
def tab(shared: Watched) -> Page:
    """The tab of the first pair, opened once for the tests that leave it as they find it."""
    return opened(shared)


def test_the_tab_says_what_it_thinks_draws_four_charts_and_moves(tab: Page, market: Any) -> None:
    page = tab
    page.get_by_text("Looks mean-reverting").wait_for()
    expect(page.locator(".ps-pair .ps-legend-pane")).to_have_count(4)
    until(lambda: "y=ETHUSDT&x=BTCUSDT" in page.url, "the pair in the address")
    until(lambda: figure(page, "zscore") != "–", "a z-score")
    first = figure(page, "zscore")
    drawn = rows_of(page)[-1]["zscore"]
    until(lambda: figure(page, "zscore") != first, "another z-score")
    until(lambda: rows_of(page)[-1]["zscore"] != drawn, "another last point")
    until(lambda: rows_of(page)[-1]["closed"] is False, "a point of the open bar")
    names = ("spread", "hedge", "correlation", "halfLife", "sentinel", "age")
    until(lambda: all(figure(page, name) != "–" for name in names), "every figure")
    until(lambda: page.locator(".ps-pair-note").inner_text() == "Moves with every trade", "the note")
    page.locator('[data-testid="stPlotlyChart"]').wait_for()
    until(lambda: page.locator('[data-testid="stTable"]').count() == 3, "the tables")
    page.locator('[data-testid="stDataFrame"]').wait_for()


def test_charts_are_the_same_nodes_with_the_same_zoom_after_many_updates(watched: Watched, market: Any) -> None:
    market.pairs.entries["ETHUSDT:BTCUSDT"] |= {"timeframe": "1s", "lookback": 600}
    page = opened(watched, f"{TAB}&y=ETHUSDT&x=BTCUSDT&pair_timeframe=1s&lookback=600")
    zoomed = zoom_in(page)
    marked = f"[document.querySelector('{BOARD}'), ...document.querySelectorAll('{BOARD} canvas')]"
    page.evaluate(f"window.marked = {marked}")
    newest = rows_of(page)[-1]["timestamp"]
    end = time.monotonic() + 6
    while time.monotonic() < end:
        page.wait_for_timeout(1000)
        assert spacing(page) == zoomed
    assert page.evaluate(f"{marked}.every((node, i) => node === marked[i])")
    until(lambda: rows_of(page)[-1]["timestamp"] >= newest + 5000, "the bars of this time")
    rows = rows_of(page)
    assert [row["timestamp"] for row in rows] == sorted({row["timestamp"] for row in rows})


def test_a_new_entry_or_window_keeps_the_nodes_and_moves_the_lines(watched: Watched) -> None:
    page = opened(watched)
    page.evaluate(f"window.marked = document.querySelector('{BOARD} canvas')")
    page.get_by_role("button", name="Settings").click()
    entry = page.get_by_role("spinbutton", name="Entry z")
    entry.fill("3")
    entry.press("Enter")
    page.locator('[data-pane="zscore"]', has_text="entry ±3").wait_for()
    window = page.get_by_role("spinbutton", name="Window (bars)")
    window.fill("30")
    window.press("Enter")
    page.locator('[data-pane="zscore"]', has_text="over 30 bars").wait_for()
    page.get_by_text("live values are computed by the watch-list's settings").wait_for()
    assert page.evaluate(f"marked === document.querySelector('{BOARD} canvas')")
    until(lambda: "entry=3" in page.url and "window=30" in page.url, "the settings in the address")


def test_an_entry_that_changes_between_a_bar_and_its_drawing_leaves_the_lines_going_on(
    watched: Watched, market: Any
) -> None:
    """A change of the entry draws all rows, the new bar's among them; what was still to be drawn is then the older."""
    market.pairs.entries["ETHUSDT:BTCUSDT"] |= {"timeframe": "1s", "lookback": 600}
    page = opened(watched, f"{TAB}&y=ETHUSDT&x=BTCUSDT&pair_timeframe=1s&lookback=600")
    page.evaluate(f"""() => new Promise((done) => {{
        const board = document.querySelector('{BOARD}').board;
        const {{ series }} = board;
        const draw = series.onRow;
        series.onRow = (row) => {{
            draw(row);
            if (!(row.timestamp > board.drawn)) return;
            series.onRow = draw;
            board.update({{...board.data, settings: {{...board.settings, entry: board.settings.entry + 1}}}});
            done();
        }};
    }})""")
    newest = rows_of(page)[-1]["timestamp"]
    until(lambda: rows_of(page)[-1]["timestamp"] > newest + 1000, "the bars of this time")
    last = f"document.querySelector('{BOARD}').board.plot.lines.get('spread').data().at(-1).time * 1000"
    until(lambda: page.evaluate(last) > newest, "their drawing")
    assert not watched.trouble


def test_hindsight_shows_the_past_under_the_newest_ratio_and_the_address_keeps_it(tab: Page, market: Any) -> None:
    board = f"document.querySelector('{BOARD}').board"
    plain = f"{board}.look()[30].spread === {board}.series.rows[30].spread"
    drawn = f"[{board}.series.rows[30], {board}.look()[30].spread, {board}.plot.lines.get('spread').data()[30].value]"
    assert tab.evaluate(plain)
    tab.get_by_text("Hindsight", exact=True).click()
    tab.locator('[data-pane="spread"]', has_text="newest α and β: hindsight").wait_for()
    row, *spreads = tab.evaluate(drawn)  # at one moment: all three move with the ratio
    expected = math.log(row["price_y"]) - 0.1 - 0.8 * math.log(row["price_x"])
    assert spreads == pytest.approx([expected, expected], abs=1e-12)
    until(lambda: "hindsight=true" in tab.url, "hindsight in the address")
    tab.get_by_text("Hindsight", exact=True).click()
    expect(tab.locator('[data-pane="spread"]')).not_to_contain_text("hindsight")
    until(lambda: tab.evaluate(plain), "the spreads of each bar")


def test_the_watch_list_moves_sorts_opens_and_lets_go(watched: Watched, market: Any) -> None:
    page = opened(watched)
    row = page.locator('.ps-watch tr[data-pair="SOLUSDT:ETHUSDT"]')
    until(lambda: row.locator('[data-column="age"]').inner_text() != "–", "an age")
    first = row.locator('[data-column="zscore"]').inner_text()
    until(lambda: row.locator('[data-column="zscore"]').inner_text() != first, "another z-score")
    page.locator('.ps-watch th[data-column="pair"] button').click()
    expect(page.locator('.ps-watch th[data-column="pair"]')).to_have_attribute("aria-sort", "ascending")
    page.locator('.ps-watch th[data-column="pair"] button').click()
    expect(page.locator(".ps-watch tbody tr").first).to_have_attribute("data-pair", "SOLUSDT:ETHUSDT")
    row.locator(".ps-watch-open").click()
    page.locator(f'{BOARD}[data-pair="SOLUSDT:ETHUSDT"]').wait_for()
    until(lambda: "y=SOLUSDT" in page.url, "the address")
    page.get_by_label("Remove SOLUSDT / ETHUSDT from the watch-list").click()
    until(lambda: row.count() == 0, "its removal")
    assert "SOLUSDT:ETHUSDT" not in market.pairs.entries
    page.get_by_role("button", name="Watch this pair").click()
    until(lambda: row.count() == 1, "its return")


def test_a_broken_pair_and_a_stale_leg_are_told_at_once(tab: Page, market: Any) -> None:
    page = tab
    market.pairs.sentinel = {"status": "broken", "statistic": 3.0, "threshold": 1.1, "tripped": 1_700_000_000_000}
    market.pairs.stale = "x"
    page.locator(".ps-pair-alarm", has_text="has stopped reverting since 22:13 UTC").wait_for()
    page.locator(".ps-pair-alarm", has_text="BTCUSDT has not traded for 15 min").wait_for()
    until(lambda: figure(page, "sentinel") == "▼ stopped reverting", "the sentinel's figure")


def test_a_pair_that_trades_no_more_keeps_its_last_values_and_says_where_it_ends(tab: Page, market: Any) -> None:
    market.pairs.ended, market.pairs.stale = True, "x"
    tab.locator(".ps-pair-note", has_text="Ends with the bar of").wait_for()
    assert figure(tab, "zscore") != "–"
    market.pairs.reset()
    tab.locator(".ps-pair-note", has_text="Moves with every trade").wait_for()


def test_every_chart_can_be_taken_along(tab: Page, market: Any, tmp_path: Path) -> None:
    page = tab
    headings = {
        "Download spread": "timestamp,spread,mean,upper,lower",
        "Download z-score": "timestamp,zscore",
        "Download hedge ratio": "timestamp,beta_ols,beta_kalman,beta_huber",
        "Download correlation": "timestamp,correlation",
        "Download correlations": "symbol,",
        "Download statistics": "timestamp,price",
    }
    for label, heading in headings.items():
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label, exact=True).click()
        path = tmp_path / "file.csv"
        waiting.value.save_as(path)
        lines = path.read_text().splitlines()
        assert lines[0].startswith(heading)
        assert len(lines) > 3
        if heading.startswith("timestamp"):
            assert lines[-1].split(",")[0].endswith(".000Z")


def test_a_phone_needs_no_sideways_scroll(tab: Page, market: Any) -> None:
    tab.set_viewport_size({"width": 375, "height": 812})
    tab.locator('[data-testid="stDataFrame"]').wait_for()
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: tab.evaluate(width) <= 376, "a page as narrow as the screen")
    box = tab.locator(BOARD).bounding_box()
    assert box is not None and box["width"] > 330
    tab.set_viewport_size({"width": 1440, "height": 1000})


def test_the_same_symbol_twice_is_a_sentence_and_no_chart(watched: Watched) -> None:
    page = watched.page
    page.goto(f"{watched.home}/{TAB}&y=ETHUSDT&x=ETHUSDT")
    page.get_by_text("Both legs are ETHUSDT: choose two different symbols.").wait_for()
    assert page.locator(BOARD).count() == 0
    assert page.locator(".stException").count() == 0
