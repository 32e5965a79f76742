"""The code speaks the glossary's words: the synonyms that it lists as not used are not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|([^|]*)\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def unused() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Word -> (what to say, folders where it may stand)."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    table = text.split("## Words that are not used")[1]
    return {word: (say.strip(), tuple(re.findall(r"`([^`]+)`", where))) for word, say, where in ROW.findall(table)}


def test_the_table_of_unused_words_is_read(unused: dict[str, tuple[str, tuple[str, ...]]]) -> None:
    assert {"candle", "utils", "helper", "manager"} <= set(unused)


def test_no_name_in_the_code_is_a_synonym(modules: list[Any], unused: dict[str, tuple[str, tuple[str, ...]]]) -> None:
    found = []
    for module in modules:
        for name, line in names(module):
            words = f"_{'_'.join(split(name))}_"
            for word, (say, places) in unused.items():
                if f"_{word}_" in words and not module.path.startswith(places or ("//",)):
                    found.append(f"{module.path}:{line} {name}: not {word} but {say}")
    assert found == [], "\n".join(found)


def test_a_function_that_processes_says_nothing(modules: list[Any]) -> None:
    vague = ("process_", "handle_data", "do_", "perform_")
    found = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.lstrip("_").startswith(vague)
    ]
    assert found == [], "\n".join(found)


def test_every_name_that_the_glossary_gives_for_what_is_built_is_in_the_code(modules: list[Any]) -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    known = " ".join(f"_{'_'.join(split(name))}_" for module in modules for name, _ in names(module))
    built = text.split("## Pairs")[0]
    cells = [line.rstrip(" |").rpartition("|")[2] for line in built.splitlines() if line.startswith("| ")]
    asked = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    reserved = {"mark_price", "bid_ask_spread", "notional"}
    assert {word for word in asked - reserved if f"_{'_'.join(split(word))}" not in known} == set()


def split(name: str) -> list[str]:
    """Split an identifier into its words, in lower case."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def names(module: Any) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to something: itself, classes, functions, arguments, variables, attributes."""
    yield Path(module.path).stem, 1
    for node in ast.walk(module.tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
