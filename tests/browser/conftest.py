"""The dashboard as a person has it: a real Streamlit, a real Chromium, and a market that follows a script."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from pairscope.dashboard.launch import streamlit_command

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STALL_S = 2.0
PATIENCE_S = 90.0
"""So long is waited for what takes a moment where nothing else runs."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _scripted_market() -> Any:
    """Import the market that the dashboard's own tests follow, as a package of its own: tests are no package."""
    folder = Path(__file__).parents[1] / "dashboard"
    spec = importlib.util.spec_from_file_location(
        "dashboard_for_browser", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{spec.name}.scripted_market")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; installed where we may, else the tests are skipped with the reason."""
    with Path(tempfile.gettempdir(), f"pairscope-chromium-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # every worker wants one at once: nobody starts what another still unpacks
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if found is None and shutil.which("apt-get") and os.geteuid() == 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
                    subprocess.run(command, check=False, capture_output=True, timeout=100)
                found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium here, and none could be installed: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Any, str]]:
    """The scripted market and its address."""
    module = _scripted_market()
    market = module.ScriptedMarket()
    with module.serving(market) as address:
        yield market, address


@pytest.fixture
def market(served: tuple[Any, str]) -> Iterator[Any]:
    """The scripted market, well at the start and at the end of a test."""
    yield served[0]
    served[0].stalled = served[0].down = False
    served[0].pairs.reset()
    served[0].screen.reset()
    served[0].backtests.reset()
    served[0].monitoring.reset()
    served[0].alerts.reset()
    served[0].data.reset()


@pytest.fixture
def api(served: tuple[Any, str]) -> str:
    """The address of the scripted API."""
    return served[1]


@pytest.fixture(scope="session")
def dashboard(served: tuple[Any, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard, started as `pairscope run` starts it."""
    port = free_port()
    command = streamlit_command("127.0.0.1", port)
    folder = tmp_path_factory.mktemp("dashboard")
    own = {"PAIRSCOPE_PORT": str(urlsplit(served[1]).port), "PAIRSCOPE_STALL_SECONDS": str(STALL_S)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", command.module, *command.arguments],
            env={**os.environ, **command.environment, **own},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{address}/_stcore/health"), f"the dashboard, see {folder / 'log'}", within_s=120)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Page, home: str) -> None:
        self.page = page
        self.home = home
        self.trouble: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.trouble.append(f"page error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.trouble.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "127.0.0.1":
            self.trouble.append(f"request to elsewhere: {request.url}")

    def open(self, query: str = "") -> Page:
        """Open the dashboard and wait for its charts."""
        self.page.goto(f"{self.home}/{query}", wait_until="domcontentloaded")
        self.page.locator(".ps-chart canvas").first.wait_for()
        until(lambda: self.page.locator(".ps-card-price").first.inner_text() != "–", "a first price")
        return self.page


def _watching(browser: Browser, dashboard: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    context.set_default_timeout(PATIENCE_S * 1000)
    seen = Watched(context.new_page(), dashboard)
    yield seen
    context.close()
    assert not seen.trouble


@pytest.fixture
def watched(browser: Browser, dashboard: str, market: Any) -> Iterator[Watched]:
    """A fresh page of 1440 pixels, gone before the market forgets; the test fails where the page complained."""
    yield from _watching(browser, dashboard)


@pytest.fixture(scope="module")
def shared(browser: Browser, dashboard: str) -> Iterator[Watched]:
    """One such page for all tests of a file that only look at it; the last of them fails where it complained."""
    yield from _watching(browser, dashboard)


def settled(page: Page, node: str, plot: str) -> None:
    """Wait until what a chart's node says of its view is where its plot is: it says so when it is next drawn."""
    node = f"document.querySelector('{node}')"
    until(lambda: page.evaluate(f"{node}.dataset.view === {node}.{plot}.viewText()"), "a view that has settled")


def until(holds: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S) -> Any:
    """Wait until something holds and return it; fail with its name after a while."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {within_s} s")
