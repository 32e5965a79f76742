"""The calibration's script runs, and its intervals are those of worlds, not of tests."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from benchmarks import calibration
from benchmarks.calibration_figure import drawn

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)  # a few seconds where nothing else runs
def test_a_quick_run_gives_a_row_for_each_null_market_and_writes_nothing(tmp_path: Path) -> None:
    words = ["--markets", "3", "--size", "8", "--bars", "120", "--bars-file", str(tmp_path / "none.parquet")]
    before = calibration.PAGE.read_text(encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.calibration", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("\n\n")[1].splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == [
        name for *_, name in calibration.MARKETS.values()
    ]
    assert all(line.split(" | ")[2] == "168" for line in table[2:])
    assert calibration.PAGE.read_text(encoding="utf-8") == before


def test_counts_are_those_of_the_p_values_world_by_world() -> None:
    levels = np.array([0.01, 0.5, 1.0])
    worlds = calibration.made(calibration.gaussian, 3, 100, 4, seed=1)
    with ThreadPoolExecutor(1) as executor:
        counted = calibration.count("walks", worlds, "aic", executor, levels)
    assert counted.below.shape == (3, 3)
    assert counted.below[:, 2].tolist() == [12, 12, 12]
    assert (np.diff(counted.below, axis=1) >= 0).all()
    assert counted.tests == 12
    assert counted.rate[2] == 1.0


def test_the_interval_is_as_wide_as_worlds_differ() -> None:
    """400 worlds in which all of 50 tests fall together with 5 %: the standard error is that of 400 draws."""
    rng = np.random.default_rng(3)
    below = np.where(rng.random((400, 1)) < 0.05, 50, 0)
    low, high = calibration.interval(below, 50)
    error = np.sqrt(0.05 * 0.95 / 400)
    assert 0.8 * 3.92 * error < high[0] - low[0] < 1.2 * 3.92 * error
    assert low[0] < below.mean() / 50 < high[0]


def test_intervals_of_ninety_five_percent_hold_the_truth_about_so_often() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(100):
        share = rng.beta(2.0, 38.0, 100)  # each world has a rate of its own, 5 % on average
        low, high = calibration.interval(rng.binomial(100, share)[:, None], 100, seed=seed)
        held += bool(low[0] <= 0.05 <= high[0])
    assert 0.88 <= held / 100 <= 0.99


def test_windows_stand_side_by_side_and_end_with_the_newest_bar() -> None:
    cut = calibration.windows(np.arange(23.0)[:, None], 10)
    assert [(window[0, 0], window[-1, 0]) for window in cut] == [(3.0, 12.0), (13.0, 22.0)]


def test_the_figure_is_an_image_with_a_line_for_each_market() -> None:
    levels = np.array([1e-5, 1e-3, 1.0])
    lines = dict.fromkeys(("one & two", "three"), (levels, levels * 2, levels, levels * 3))
    image = ET.fromstring(drawn(lines))
    assert [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")][-2:] == ["one & two", "three"]
    page = (ROOT / "docs" / "maths" / "screen_calibration.md").read_text(encoding="utf-8")
    assert all(f"| {name} | 2,000 | 7,080,000 |" in page for *_, name in calibration.MARKETS.values())
    ET.parse(calibration.FIGURE)
