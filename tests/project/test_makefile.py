"""The Makefile is the front door: its help lists every target, and every target is one that somebody was told of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", TEXT, re.MULTILINE))


@pytest.fixture(scope="module")
def help_text() -> str:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    return subprocess.run([make, "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout


def test_help_lists_every_target_with_one_line(help_text: str) -> None:
    listed = dict(re.findall(r"^\s+make ([a-z-]+)\s+(\S.*)$", help_text, re.MULTILINE))
    assert set(listed) == TARGETS


def test_the_targets_that_people_were_promised_are_there() -> None:
    assert {"run", "setup", "test", "check", "bench", "soak", "clean", "help"} <= TARGETS


def test_no_target_is_mistaken_for_a_file() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS


def test_continuous_integration_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8").splitlines()


def test_test_has_the_checks_beside_it_and_every_tool_comes_from_the_environment() -> None:
    recipe = re.search(r"^test: .*\n((?:\t.*\n)+)", TEXT, re.MULTILINE)
    assert recipe is not None
    assert re.search(r"\$\(MAKE\) .* check tests$", recipe[1], re.MULTILINE)
    recipes = [line for line in TEXT.splitlines() if line.startswith("\t@") and "bootstrap" not in line]
    tool = re.compile(r"(?<![\w/.])(pytest|ruff|mypy|lint-imports|coverage|pairscope) ")
    assert [recipe for recipe in recipes if tool.search(recipe.replace("-m pytest", ""))] == []
