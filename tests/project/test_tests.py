"""The tests keep to their own rules: they mirror the sources, their names are sentences, a skip says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.syntax_tree import parsed

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SOURCE = ROOT / "src" / "pairscope"
FREE = {"adversity", "browser", "contracts", "deploy", "invariants", "oracles", "project"}
"""Folders that ask about more than one module; the others mirror the sources."""


def test_a_test_file_is_named_after_what_it_tests() -> None:
    strays = []
    for path in sorted(TESTS.rglob("test_*.py")):
        folder = path.parent.relative_to(TESTS)
        if folder.parts and folder.parts[0] in FREE:
            continue
        subjects = {module.stem for module in (SOURCE / folder).glob("*") if not module.name.startswith("_")}
        subject = path.stem.removeprefix("test_")
        if not any(subject == name or subject.startswith(f"{name}_") for name in subjects | {folder.name}):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_a_test_s_name_is_a_sentence() -> None:
    short = [f"{path}: {test.name}" for path, test in all_tests() if len(test.name.split("_")) < 3]
    assert short == [], "\n".join(short)


def test_a_skip_or_an_expected_failure_says_why() -> None:
    silent = []
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="skip" | "xfail"), args=[], keywords=keywords):
                    if not any(keyword.arg == "reason" for keyword in keywords):
                        silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
                case ast.Call(func=ast.Attribute(attr="skipif"), keywords=keywords):
                    if not any(keyword.arg == "reason" for keyword in keywords):
                        silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
                case ast.FunctionDef(decorator_list=marks) | ast.AsyncFunctionDef(decorator_list=marks):
                    bare = [m for m in marks if isinstance(m, ast.Attribute) and m.attr in {"skip", "xfail"}]
                    silent += [f"{path.relative_to(ROOT)}:{mark.lineno}" for mark in bare]
    assert silent == [], "\n".join(silent)


def all_tests() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield str(path.relative_to(ROOT)), node
