"""The benchmarks run: each part that is quick enough, once, with few trades and nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.parametrize("module", ["benchmarks", "benchmarks.soak"])
def test_what_make_starts_explains_itself(module: str) -> None:
    done = bench(module, "--help")
    assert done.returncode == 0 and "--seconds" in done.stdout


def test_the_command_hands_its_words_on_and_a_benchmark_that_is_not_there_is_named() -> None:
    done = bench("pairscope", "bench", "speed", "--strict")
    assert done.returncode == 2
    assert "speed" in done.stderr and "ingest" in done.stderr


@pytest.mark.timeout(300)  # 10 s where nothing else runs
def test_ingest_checks_that_both_sides_got_the_same_and_gives_a_table() -> None:
    done = bench("benchmarks", "ingest", "--ticks", "40000", "--rounds", "1", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "| ratio" in done.stdout and "Checked first" in done.stdout


def test_every_result_in_the_repository_says_on_what_machine_it_holds() -> None:
    results = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    assert results
    for path in results:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"## {path.stem}\n") and "\nOn " in text and "Checked first:" in text
