"""Data Management in a real browser: a file that is downloaded, one that is refused row by row, one that is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import PATIENCE_S, Watched, until

pytestmark = pytest.mark.browser

FIRST_MS = 1_700_000_040_000
HEADING = "timestamp,open,high,low,close,volume"


def opened(watched: Watched, view: str = "Export+and+upload") -> Page:
    page = watched.page
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{watched.home}/?tab=Data+Management&data_view={view}", wait_until="domcontentloaded")
    page.get_by_text("Trades stored").wait_for()
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()  # takes what is entered
    return page


def test_a_file_is_downloaded_through_the_page_and_a_refusal_is_told_in_words(
    watched: Watched, market: Any, tmp_path: Path
) -> None:
    market.data.rows = 100_000
    page = opened(watched)
    page.get_by_text("100,000 rows").wait_for()
    button = page.get_by_role("button", name="Download CSV", exact=True)
    with page.expect_download() as waiting:
        button.click()
    assert waiting.value.suggested_filename == "as-the-api-names-it.csv"
    waiting.value.save_as(tmp_path / "bars.csv")
    lines = (tmp_path / "bars.csv").read_text().splitlines()
    assert len(lines) == 100_001
    assert lines[1].endswith(",0.00001234")
    page.get_by_text("Your browser is downloading as-the-api-names-it.csv.").wait_for()
    market.data.refusal = "lies in the future"
    button.click()
    page.get_by_text("start: lies in the future").wait_for()
    watched.trouble = [line for line in watched.trouble if "422" not in line]  # the refusal that was asked for


def test_a_file_is_refused_by_row_and_column_then_put_right_and_stored(
    watched: Watched, market: Any, tmp_path: Path
) -> None:
    rows = [f"{FIRST_MS + 60_000 * i},1.5,1.6,1.4,1.55,10" for i in range(60)]
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    good.write_text("\n".join([HEADING, *rows]))
    rows[40] = f"{FIRST_MS + 60_000 * 40},1.5,1.3,1.4,1.55,10"
    bad.write_text("\n".join([HEADING, *rows]))
    page = opened(watched)
    symbol = page.get_by_label("Symbol", exact=True)
    symbol.fill("mycoin")
    symbol.press("Tab")
    expect(page.get_by_label("Timeframe", exact=True)).to_have_count(1)
    send = page.get_by_role("button", name="Upload", exact=True)
    expect(send).to_be_disabled()  # the only one of this name: that which chooses a file has another
    page.locator('input[type="file"]').set_input_files(bad)
    page.get_by_text("1 row cannot be stored.").wait_for()
    send.click()
    page.get_by_text("Nothing was stored, because of the rows above.").wait_for()
    fault = page.get_by_role("row").filter(has_text="1.3 is below low")
    assert fault.inner_text().split()[:2] == ["41", "high"]
    assert not market.data.uploads
    page.locator('[data-testid="stFileChipDeleteBtn"], [data-testid="stFileUploaderDeleteBtn"]').first.click()
    until(send.is_disabled, "a form without a file")
    page.locator('input[type="file"]').set_input_files(good)
    page.get_by_text("60 rows of MYCOIN, 1m").wait_for()
    until(send.is_enabled, "a button that can be pressed")
    send.click()
    page.get_by_text("Stored: 60 new bars of MYCOIN.").wait_for()
    page.locator(".st-key-upload-MYCOIN-1m").get_by_text("60 bars, 2023-11-14 22:14 to 23:13 UTC").wait_for()
    assert market.data.uploads["MYCOIN", "1m"]["rows"] == 60


def test_deleting_stored_days_takes_a_look_a_question_and_a_yes(watched: Watched, market: Any) -> None:
    page = opened(watched, "Store")
    days = page.get_by_label("Keep at most (days)", exact=True)
    days.fill("4")
    days.press("Tab")
    page.get_by_role("button", name="See what would be deleted").click()
    page.get_by_role("button", name="Delete 1 day…").click()
    question = page.get_by_role("dialog")
    question.get_by_text("It cannot be undone.").wait_for()
    yes = question.get_by_role("button", name="Delete for good", exact=True)
    expect(yes).to_be_disabled()
    question.get_by_text("I want these days deleted").click()
    until(yes.is_enabled, "a button that can be pressed")
    yes.click()
    page.get_by_text("Retention: making ready…").wait_for()
    market.data.jobs[0] |= {"done": 1, "total": 4}
    page.get_by_text("Retention: 25 %").wait_for()
    market.data.results[market.data.jobs[0]["id"]] = {"days": 1, "ticks": 5000, "bars": 60, "bytes": 1_000_000}
    market.data.end(market.data.jobs[0])
    page.get_by_text("1 day, 5,000 trades, 60 bars, 1.0 MB.").wait_for()


@pytest.mark.parametrize("view", ["Export+and+upload", "Store"])
def test_it_fits_a_phone(watched: Watched, market: Any, view: str) -> None:
    watched.page.set_viewport_size({"width": 375, "height": 800})
    market.data.upload("MYCOIN", filename="a-rather-long-name-of-a-file-with-bars.csv")
    page = opened(watched, view)
    page.get_by_role("button", name="Delete" if view != "Store" else "Compact the store").wait_for()
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
    until(lambda: page.evaluate(width) <= 376, "a page as narrow as the screen")
