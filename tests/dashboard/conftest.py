"""The market that follows a script, served on a free port, and the page run without a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from streamlit.testing.v1 import AppTest

import pairscope.dashboard

from .scripted_market import ScriptedMarket, serving

APP = Path(pairscope.dashboard.__file__).with_name("app.py")


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[ScriptedMarket, str]]:
    market = ScriptedMarket()
    with serving(market) as address:
        yield market, address


@pytest.fixture
def market(served: tuple[ScriptedMarket, str]) -> Iterator[ScriptedMarket]:
    """The scripted market, well at the start and at the end of a test."""
    well(served[0])  # a page of a test that had no need of it has asked as well
    yield served[0]
    well(served[0])


def well(market: ScriptedMarket) -> None:
    """Let nothing be wrong, and forget what was asked."""
    market.stalled = market.down = False
    market.pairs.reset()
    market.screen.reset()
    market.backtests.reset()
    market.monitoring.reset()
    market.alerts.reset()
    market.data.reset()


@pytest.fixture
def api(served: tuple[ScriptedMarket, str]) -> str:
    """The address of the scripted API."""
    return served[1]


@pytest.fixture
def page(api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AppTest]:
    """Make the page, pointed at the scripted API, with query parameters as in its address."""
    monkeypatch.setenv("PAIRSCOPE_PORT", str(urlsplit(api).port))
    monkeypatch.chdir(tmp_path)

    def made(**query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=90)
        for name, value in query.items():
            app.query_params[name] = value
        return app

    return made
