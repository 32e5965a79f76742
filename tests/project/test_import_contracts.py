"""The import contracts of pyproject.toml hold, and each of them bites: a forbidden import, planted, is reported.

What to plant is read from the contracts themselves, so that a new layer, driver or forbidden module is tried too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
Import = tuple[str, str]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package, where imports can be planted."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return tmp_path


def lint(tree: Path) -> tuple[int, str]:
    """Check the contracts of a tree in a process of its own; return the exit code and the report."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "300", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def plant(tree: Path, importer: str, imported: str) -> None:
    """Let a module of the tree import another."""
    place = tree / "src" / Path(*importer.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\nimport {imported}\n")


def parts() -> set[str]:
    """The modules and packages at the top of the package."""
    inside = (ROOT / "src" / "pairscope").iterdir()
    return {path.stem for path in inside if (path.suffix == ".py" or path.is_dir()) and path.stem.isidentifier()} - {
        "__init__",
        "__main__",
        "__pycache__",
    }


def forbidden_imports(contract: dict[str, Any]) -> Iterator[Import]:
    """Every (importer, imported) that a contract must refuse, one for each name that it lists."""
    match contract["type"]:
        case "layers":
            container = contract["containers"][0]
            layers = [[f"{container}.{name.strip()}" for name in layer.split("|")] for layer in contract["layers"]]
            for above, below in pairwise(layers):
                yield below[0], above[0]
            yield from ((layer[0], other) for layer in layers for other in layer[1:])
        case "forbidden":
            for source in contract["source_modules"]:
                importer = "pairscope.errors" if source == "pairscope" else source  # any module stands for all
                yield from ((importer, name) for name in contract["forbidden_modules"])
        case "protected":
            known = {*contract["allowed_importers"], *contract["protected_modules"]}
            for outsider in {f"pairscope.{part}" for part in parts()} - known:
                yield from ((outsider, name) for name in contract["protected_modules"])
        case kind:
            raise AssertionError(f"no test plants an import against a contract of type {kind}")


def exists(tree: Path, pair: Import) -> bool:
    """Whether both ends are there: a module for which only a place is reserved cannot be imported yet."""
    places = [tree / "src" / Path(*name.split(".")) for name in pair if name.startswith("pairscope")]
    return all(place.is_dir() or place.with_suffix(".py").exists() for place in places)


def test_all_contracts_hold() -> None:
    code, report = lint(ROOT)
    assert code == 0, report


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_contract_bites(name: str, tree: Path) -> None:
    planted = sorted({pair for pair in forbidden_imports(CONTRACTS[name]) if exists(tree, pair)})
    assert planted
    for importer, imported in planted:
        plant(tree, importer, imported)
    code, report = lint(tree)
    assert code == 1
    assert f"{name} BROKEN" in report, report
    section = report.split(f"\n{name}\n")[1]
    missed = [pair for pair in planted if f"{pair[0]} -> {pair[1]}" not in section]
    assert not missed, section


def test_a_new_part_must_choose_its_layer(tree: Path) -> None:
    (tree / "src" / "pairscope" / "newcomer.py").write_text('"""A part without a layer."""\n')
    code, report = lint(tree)
    assert code == 1
    assert "newcomer" in report


REFUSED = [
    ("pairscope.market", "pairscope.ports"),
    ("pairscope.market", "pandas"),
    ("pairscope.analytics", "time"),
    ("pairscope.analytics", "random"),
    ("pairscope.engine", "asyncio"),
    ("pairscope.engine", "time"),
    ("pairscope.engine", "pairscope.feed"),
    ("pairscope.api", "pairscope.storage"),
    ("pairscope.api", "pairscope.feed"),
    ("pairscope.dashboard", "pairscope.engine"),
    ("pairscope.dashboard", "pairscope.api"),
    ("pairscope.storage", "pairscope.config"),
    ("pairscope.errors", "duckdb"),
    ("pairscope.errors", "fastapi"),
    ("pairscope.errors", "streamlit"),
]
"""What the architecture refuses, typed in: a contract that was taken out or weakened is missed here."""


def test_the_architecture_s_own_examples_are_refused(tree: Path) -> None:
    for importer, imported in REFUSED:
        plant(tree, importer, imported)
    code, report = lint(tree)
    assert code == 1
    assert [pair for pair in REFUSED if f"{pair[0]} -> {pair[1]}" not in report] == [], report
