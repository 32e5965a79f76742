"""Monitoring without a browser: it stands in its tab, below the alerts, and asks the API by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest

Page = Callable[..., AppTest]


def told(app: AppTest) -> list[dict[str, Any]]:
    """Return the data that every live view was given, in the page's order."""
    return [json.loads(element.proto.json) for element in app.get("bidi_component")]


def test_the_tab_ends_with_how_pairscope_is_doing(page: Page, api: str) -> None:
    app = page(tab="Alerts & Monitoring").run()
    assert not app.exception
    assert [heading.value for heading in app.subheader][-1] == "How Pairscope is doing"
    last = told(app)[-1]
    assert last["module"].endswith("/monitoring.js")
    assert last["api"]["port"] == int(api.rpartition(":")[2])
    assert last["palette"] == "classic"


def test_where_keys_are_asked_for_it_is_told_to_use_tickets(page: Page, monkeypatch: Any) -> None:
    monkeypatch.setenv("PAIRSCOPE_DASHBOARD_KEY", "secret")
    app = page(tab="Alerts & Monitoring").run()
    assert told(app)[-1]["api"]["tickets"] is True
    assert "secret" not in json.dumps(told(app)[-1])


def test_nothing_of_it_is_drawn_in_another_tab(page: Page) -> None:
    assert not [data for data in told(page().run()) if data["module"].endswith("/monitoring.js")]
