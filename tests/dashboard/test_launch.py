"""The command that starts Streamlit, and the files it serves beside the page."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from pairscope.dashboard.launch import streamlit_command
from pairscope.dashboard.live_chart.assets import ASSETS, LIBRARY, PREFIX, VERSION


def test_the_command_is_headless_quiet_and_themed() -> None:
    command = streamlit_command("127.0.0.1", 8599)
    assert command.module == "streamlit"
    assert command.arguments[0] == "run"
    options = dict(argument[2:].split("=", 1) for argument in command.arguments[2:])
    assert options["server.port"] == "8599"
    assert options["server.headless"] == "true"
    assert options["browser.gatherUsageStats"] == "false"
    assert Path(options["theme.base"]).is_file()


def test_the_chart_library_is_served_from_its_wheel_and_is_not_in_the_repository() -> None:
    from pairscope.dashboard.server import asset

    assert "site-packages" in ASSETS[LIBRARY].parts
    app = _only(asset)
    answer = app.get(f"/{PREFIX}/{VERSION}/{LIBRARY}")
    assert answer.status_code == 200
    assert b"Lightweight Charts" in answer.content[:400]
    assert "immutable" in answer.headers["cache-control"]
    assert app.get(f"/{PREFIX}/{VERSION}/board.js").headers["content-type"].startswith("text/javascript")
    assert app.get(f"/{PREFIX}/{VERSION}/app.py").status_code == 404


def test_every_script_that_a_script_imports_is_served() -> None:
    for name, path in ASSETS.items():
        if name == LIBRARY:
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("import ") and " from " in line:
                imported = line.rsplit('"', 2)[1].removeprefix("./")
                assert imported in ASSETS, f"{name} imports {imported}"


def _only(endpoint: object) -> TestClient:
    from starlette.applications import Starlette
    from starlette.routing import Route

    return TestClient(Starlette(routes=[Route(f"/{PREFIX}/{{version}}/{{name}}", endpoint)]))  # type: ignore[arg-type]
