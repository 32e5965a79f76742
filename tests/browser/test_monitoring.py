"""Monitoring in a real browser: tiles in words, charts that grow in place, a moment read off, trouble told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Watched, until

pytestmark = pytest.mark.browser

VIEW = "?tab=Alerts+%26+Monitoring"
PATIENCE_MS = 60_000
LAG = '.ps-mon-chart[data-measure="feed_lag_ms"]'


def opened(watched: Watched) -> Page:
    page = watched.page
    page.goto(f"{watched.home}/{VIEW}", wait_until="domcontentloaded")
    page.locator(".ps-mon-tile").first.wait_for(timeout=PATIENCE_MS)
    return page


def tile(page: Page, title: str) -> Any:
    return page.locator(f'.ps-mon-tile[data-tile="{title}"]')


def points(page: Page, name: str = "feed_lag_ms") -> int:
    """Return of how many points a chart's line is."""
    return int(page.locator(f'[data-measure="{name}"] path.ps-mon-line').first.evaluate(
        "path => (path.getAttribute('d') ?? '').split(/[ML]/).length - 1"
    ))  # fmt: skip


def test_before_the_first_sample_it_says_when_it_comes_and_then_it_fills_up(watched: Watched, market: Any) -> None:
    page = opened(watched)
    page.get_by_text("The first sample comes within five seconds").wait_for(timeout=PATIENCE_MS)
    expect(page.locator(".ps-mon-chart:visible")).to_have_count(0)
    expect(tile(page, "Gaps").locator(".ps-mon-word")).to_have_text("○ Not known")
    market.monitoring.fill(3)
    page.get_by_text("The charts begin now and fill up over an hour").wait_for(timeout=PATIENCE_MS)
    until(lambda: points(page) == 3, "three points")
    expect(tile(page, "Gaps").locator(".ps-mon-word")).to_have_text("● Fine")
    market.monitoring.fill(117)
    page.get_by_text("10 of 60 minutes so far").wait_for(timeout=PATIENCE_MS)


def test_tiles_say_in_words_how_each_part_does_and_charts_grow_in_place(watched: Watched, market: Any) -> None:
    market.monitoring.fill(720)
    page = opened(watched)
    until(lambda: points(page) == 720, "an hour")
    texts = {
        "Feed": "lag812 trades a second, the newest 0.0 s ago",
        "Store": "6.75 MBthe newest write took 4.3 ms; nothing waits on disk",
        "Cache": "20 valuesnone had to leave early; 36 updates a second to 1 viewer",
        "Queue": "12 of 512batches of trades wait to be stored",
        "Gaps": "0 open0 late trades and 0 reconnects in the time shown",
        "Machine": "17 % busy365 MB of memory, 80.0 GB of disk free, held up for 1.5 ms at most",
    }
    for title, text in texts.items():
        expect(tile(page, title)).to_have_attribute("data-status", "ok")
        expect(tile(page, title)).to_contain_text(text)
    expect(page.locator(".ps-mon-note")).to_be_hidden()
    expect(page.locator(f"{LAG} .ps-mon-about")).to_have_text("What feed_lag_ms means, ms")
    assert page.locator('[data-measure="outbox_waiting"]').is_hidden()  # nobody knows it
    page.evaluate("window.marked = [...document.querySelectorAll('.ps-mon, .ps-mon *')]")
    market.monitoring.sample(feed_lag_ms=2500.0, late_ticks=3.0, reconnects=1.0, open_gaps=2.0, outbox_waiting=4.0)
    expect(tile(page, "Feed")).to_have_attribute("data-status", "critical")
    expect(tile(page, "Feed")).to_contain_text("■ In trouble2500 ms lag")
    expect(tile(page, "Gaps")).to_contain_text("▲ Strained2 open3 late trades and 1 reconnect in the time shown")
    expect(page.locator(f"{LAG} header b")).to_have_text("2500 ms")
    expect(page.locator(f"{LAG} path.ps-mon-critical")).to_have_attribute("d", re.compile("^M.+L600.0 "))
    page.locator('[data-measure="outbox_waiting"]').wait_for()
    until(lambda: points(page) == 720, "an hour, the oldest sample gone")
    assert page.evaluate("marked.every((node) => node.isConnected)")
    since = [asked["since"] for asked in market.monitoring.asked]
    assert since.count(None) == 1  # the hour was asked for once


def test_pointing_at_a_chart_reads_the_same_moment_off_all_of_them(watched: Watched, market: Any) -> None:
    market.monitoring.fill(601)
    market.monitoring.columns["feed_lag_ms"][300] = 123.0
    market.monitoring.columns["queue_depth"][300] = 77.0
    page = opened(watched)
    until(lambda: points(page) == 601, "the samples")
    stage = page.locator(f"{LAG} .ps-mon-stage")
    value, other = page.locator(f"{LAG} header b"), page.locator('[data-measure="queue_depth"] header b')

    def pointed() -> bool:
        """Point at its middle, wherever it is by now: what is above it may still be drawn."""
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
        return bool(value.inner_text() == "123 ms")

    until(pointed, "the value of that moment")
    expect(other).to_have_text("77")
    expect(page.locator(f"{LAG} footer")).to_contain_text("22:38:20 UTC")  # 300 samples behind 22:13:20
    page.mouse.move(0, 0)
    expect(other).to_have_text("12")
    expect(page.locator(f"{LAG} footer")).to_contain_text("now")
    stage.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f"{LAG} footer")).to_contain_text("23:03:20 UTC")
    expect(stage).to_have_attribute("aria-label", re.compile("now"))


def test_an_api_that_does_not_answer_leaves_what_was_there_and_says_so(watched: Watched, market: Any) -> None:
    market.monitoring.fill(100)
    page = opened(watched)
    until(lambda: points(page) == 100, "the samples")
    market.monitoring.refusal = "the store does not answer"
    note = "The API does not say how it is doing (the store does not answer); what you see is as of 22:21:35 UTC."
    page.get_by_text(note).wait_for(timeout=PATIENCE_MS)
    expect(tile(page, "Feed")).to_have_attribute("data-status", "unknown")
    assert points(page) == 100
    market.monitoring.refusal = None
    market.monitoring.checks["store"] = {"status": "degraded", "reason": "disk full"}
    expect(tile(page, "Store")).to_contain_text("▲ Strained")
    expect(tile(page, "Store")).to_contain_text("disk full")
    assert all("503" in trouble for trouble in watched.trouble)
    watched.trouble.clear()


def test_a_hole_in_the_samples_is_a_hole_in_the_line(watched: Watched, market: Any) -> None:
    market.monitoring.fill(60)
    market.monitoring.times[30:] = [time + 600_000 for time in market.monitoring.times[30:]]
    market.monitoring.columns["flush_ms"][10] = None
    page = opened(watched)
    until(lambda: points(page) == 60, "the samples")
    line = page.locator(f"{LAG} path.ps-mon-line").first.get_attribute("d") or ""
    assert line.count("M") == 2
    assert points(page, "flush_ms") == 59


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone_needs_no_sideways_scroll(watched: Watched, market: Any, scheme: Any) -> None:
    market.monitoring.fill(720)
    watched.page.emulate_media(color_scheme=scheme)
    watched.page.set_viewport_size({"width": 375, "height": 812})
    page = opened(watched)
    until(lambda: points(page) == 720, "an hour")
    ends = "parts => parts.map((part) => part.getBoundingClientRect()).map(({left, right}) => [left, right])"
    inside = page.locator(".ps-mon-chart:visible, .ps-mon-tile")
    until(lambda: all(a >= 0 and b <= 375 for a, b in inside.evaluate_all(ends)), "all of it on the screen")
    width = "document.querySelector('.ps-mon').scrollWidth - document.querySelector('.ps-mon').clientWidth"
    until(lambda: page.evaluate(width) <= 0, "a page as narrow as the screen")
