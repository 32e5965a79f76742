"""The whole of it, as `pairscope run` starts it: what the browser shows is what the API says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from .conftest import PATIENCE_S, Watched, free_port, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A run on the synthetic market, with the addresses that it wrote down."""
    folder = tmp_path_factory.mktemp("run")
    command = ["-m", "pairscope", "run", "--source", "synthetic", "--top", "6", "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(free_port()), "--dashboard-port", str(free_port())],
            env={name: value for name, value in os.environ.items() if not name.startswith("PAIRSCOPE_")},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    note = folder / "data" / "instance.json"
    try:
        until(lambda: _is_up(note) or process.poll() is not None, "the run", within_s=180)
        assert process.poll() is None, (folder / "log").read_text()
        yield json.loads(note.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_up(note: Path) -> bool:
    if not note.is_file():
        return False
    addresses = json.loads(note.read_text())
    try:
        stats = _fetch(f"{addresses['api']}/api/stats")
        with urllib.request.urlopen(f"{addresses['dashboard']}/_stcore/health", timeout=1) as answer:
            return bool(answer.status == 200 and stats["rates"]["ticks_per_second"] > 0)
    except OSError:
        return False


def _fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def test_the_screen_says_what_the_api_says(running: dict[str, str], browser: Browser) -> None:
    api = running["api"]
    symbol = max(_fetch(f"{api}/api/symbols"), key=lambda row: row["tick_count"])["symbol"]
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    context.set_default_timeout(PATIENCE_S * 1000)
    watched = Watched(context.new_page(), running["dashboard"])
    page = watched.open(f"?symbols={symbol}&timeframe=1m&indicators=SMA&indicators=RSI")
    until(lambda: page.locator(".ps-badge").inner_text() == "SYNTHETIC", "the badge")
    price = page.locator(".ps-card-price")
    first = price.inner_text()
    until(lambda: price.inner_text() != first, "another price")
    chart = "document.querySelector('.ps-chart').chart"
    until(lambda: page.evaluate(f"{chart}.studies.values.size") >= 2, "the indicators")

    def agree() -> bool:
        told = [bar for bar in _fetch(f"{api}/api/ohlc/{symbol}?timeframe=1m&limit=300")["bars"] if bar["closed"]]
        shown = {bar["timestamp"]: bar for bar in page.evaluate(f"{chart}.bars.list")}
        fields = ("open", "high", "low", "close", "volume", "trades")
        return len(told) > 200 and all(
            b["timestamp"] in shown and [shown[b["timestamp"]][f] for f in fields] == [b[f] for f in fields]
            for b in told
        )

    until(agree, "equality of bars")
    series = _fetch(f"{api}/api/indicators/{symbol}?timeframe=1m&indicators=sma:20,rsi:14&limit=50")
    newest_closed = [time_ms for time_ms, closed in zip(series["timestamp"], series["closed"], strict=True) if closed][
        -3
    ]
    at = series["timestamp"].index(newest_closed)
    for name in ("sma:20", "rsi:14"):
        assert page.evaluate(f"{chart}.studies.at('{name}', {newest_closed})") == pytest.approx(
            series["values"][name][at], rel=1e-8
        )
    page.get_by_text("Volume by price").first.scroll_into_view_if_needed()
    until(lambda: page.locator(".ps-profile-row").count() == 20, "the profile")
    page.wait_for_timeout(1000)
    context.close()
    assert not watched.trouble


def test_an_alert_of_the_form_fires_in_the_engine_and_is_told_once(running: dict[str, str], browser: Browser) -> None:
    api = running["api"]
    symbol = max(_fetch(f"{api}/api/symbols"), key=lambda row: row["tick_count"])["symbol"]
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    context.set_default_timeout(PATIENCE_S * 1000)
    watched = Watched(context.new_page(), running["dashboard"])
    page = watched.page
    page.goto(f"{watched.home}/?tab=Alerts+%26+Monitoring", wait_until="domcontentloaded")
    page.locator('.ps-bell[data-loaded="true"]').wait_for()
    page.get_by_label("Symbol", exact=True).click()
    page.get_by_role("option", name=symbol, exact=True).click()
    page.wait_for_timeout(300)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    level = f"{0.9 * _fetch(f'{api}/api/price/{symbol}')['price']:.8f}"

    def holds() -> bool:
        """Enter the threshold, again where the page has put one of its own there for the symbol that was chosen."""
        threshold = page.get_by_label("Threshold", exact=True)
        if threshold.count() == 1:  # while the page is drawn anew the old field stands beside the new one
            threshold.fill(level)
            threshold.press("Tab")
        page.wait_for_timeout(3000)
        return page.get_by_text("holds now").count() > 0

    until(holds, "a preview of the threshold", within_s=90)
    page.get_by_text("Would have fired in").wait_for()
    page.get_by_role("button", name="Create alert", exact=True).click()
    page.get_by_text("Alert created.").wait_for()
    (rule,) = _fetch(f"{api}/api/alerts")["alerts"]
    (fired,) = until(lambda: _fetch(f"{api}/api/alerts/triggered")["alerts"], "its firing", within_s=60)
    assert fired["alert_id"] == rule["id"]
    assert fired["value"] > rule["threshold"]
    item = page.locator(f'.ps-feed-item[data-firing="{fired["id"]}"]')
    expect(item).to_contain_text(fired["message"])
    item.click()
    page.locator(f'.ps-moment[data-drawn="{fired["id"]}"] canvas').first.wait_for()
    lines = "document.querySelector('.ps-moment').chart.plot.candles.priceLines().map((line) => line.options().price)"
    assert page.evaluate(lines) == [rule["threshold"]]
    row = page.locator(f'tr[data-alert="{rule["id"]}"]')
    until(lambda: row.locator('[data-column="fired"] b').inner_text() == "1", "its count", within_s=60)
    context.close()
    assert not watched.trouble


def test_what_is_downloaded_is_uploaded_under_another_name_and_is_the_same(
    running: dict[str, str], browser: Browser, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    context.set_default_timeout(PATIENCE_S * 1000)
    watched = Watched(context.new_page(), running["dashboard"])
    page, file = watched.page, tmp_path / "bars.csv"
    page.goto(f"{watched.home}/?tab=Data+Management", wait_until="domcontentloaded")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV", exact=True).click()
    waiting.value.save_as(file)
    bars = [line.split(",")[:6] for line in file.read_text().splitlines()]
    assert len(bars) > 1000
    bad = [*file.read_text().splitlines(), f"{bars[-1][0]},1,2,1,1,1,1"]
    (tmp_path / "bad.csv").write_text("\n".join(bad))
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    page.get_by_label("Symbol", exact=True).fill("COPYUSDT")
    page.get_by_label("Symbol", exact=True).press("Tab")
    page.locator('input[type="file"]').set_input_files(tmp_path / "bad.csv")
    page.get_by_text("1 row cannot be stored.").wait_for()
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text("Nothing was stored").wait_for()
    fault = page.get_by_role("row").filter(has_text="timestamp").last
    assert fault.inner_text().split()[:2] == [f"{len(bars):,}", "timestamp"]
    assert _fetch(f"{running['api']}/api/uploads") == []
    page.locator('input[type="file"]').set_input_files(file)
    page.get_by_text("cannot be stored").wait_for(state="detached")
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text(f"Stored: {len(bars) - 1:,} new bars of COPYUSDT.").wait_for()
    with urllib.request.urlopen(f"{running['api']}/api/export/COPYUSDT", timeout=60) as answer:
        assert [line.split(",")[:6] for line in answer.read().decode().splitlines()] == bars
    context.close()
    assert not watched.trouble
