"""Every example runs against an instance and prints what it promises; those that can, without one."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from .conftest import Instance

FOLDER = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.name for path in FOLDER.glob("*.py"))

PROMISED = {
    "01_first_pair.py": [r"source: synthetic; ETHUSDT at \d", r"sell 1\.\d{3} of BTCUSDT", r"Engle-Granger p = 0\.0"],
    "02_screen_the_market.py": [r"8 symbols, 56 tests, [1-9]\d* discoveries", r"AVAXUSDT +SOLUSDT", r"WALK11 on WALK0"],
    "03_backtest_with_costs.py": [r"10 bps +[1-9]", r"best of 9 rules", r"overfitted: 0?\.?\d"],
    "04_live_alerts.py": [r"alert: .*BTCUSDT", r"BTCUSDT \d", r"the newest at \d\d:\d\d:\d\d UTC"],
    "05_own_data.py": [r"refused: row 42, column high", r"stored 4800 bars of OWNXUSDT, OWNYUSDT", r"beta 1\.[12]\d"],
    "06_export_and_archive.py": [r"BTCUSDT +28\d\d", r"0 gaps", r"archiving would move \d+ of them"],
}


def run(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_it_promises(
    name: str, instance: Instance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "live" in name:
        instance.watched.set()
    try:
        said = run(name, capsys, monkeypatch, instance.address)
    finally:
        instance.watched.clear()
    assert [promise for promise in PROMISED[name] if not re.search(promise, said)] == [], said
    assert "nan" not in said.lower()


def test_a_screen_without_an_instance_shows_what_chance_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("02_screen_the_market.py", capsys, monkeypatch, "http://127.0.0.1:9")
    assert "no API answers at http://127.0.0.1:9" in said
    assert re.search(r"132 tests: p < 0\.05 calls [1-9]\d* of them pairs, q < 0\.05 calls 0", said), said


def test_every_example_is_short_and_is_named_by_what_it_shows() -> None:
    assert len(NAMES) >= 6
    for name in NAMES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert re.fullmatch(r"\d\d_[a-z_]+\.py", name)
        assert text.count("\n") < 60, name
        assert f"python examples/{name}" in text
