"""The pages tell the truth: commands exist, links lead somewhere, every setting has its row as the code has it."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from pairscope.cli import app
from pairscope.config import Settings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = "docs/operations.md"
MISUSE = typer.BadParameter.__bases__
"""What a command raises for a wrong flag; typer carries a click of its own and exports no name for it."""


def setting_rows() -> list[str]:
    """The table of settings as the code has it, one row a field in the order of their definition."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        shown = f"`{default.lower() if isinstance(field.default, bool) else default}`" if default else "unset"
        rows.append(f"| `PAIRSCOPE_{name.upper()}` | {shown} | {field.description} |")
    return rows


def test_every_setting_has_its_row(pages: dict[str, str]) -> None:
    table = re.findall(r"^\| `PAIRSCOPE_\w+` \|.*\|$", pages[OPERATIONS], re.MULTILINE)
    assert table == setting_rows(), "the table should be:\n" + "\n".join(setting_rows())


def test_a_setting_that_nothing_reads_is_called_reserved(modules: list[Any], pages: dict[str, str]) -> None:
    """The doctor, who warns of what has no effect, does not count as a reader."""
    line = re.search(r"^Reserved, and read by nothing yet: (.*)$", pages[OPERATIONS], re.MULTILINE)
    reserved = set(re.findall(r"`PAIRSCOPE_(\w+)`", line[1])) if line else set()
    read = {
        node.attr
        for module in modules
        if module.path not in {"config.py", "doctor.py"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
    } | {"database_url"}  # read by Settings.store_url
    assert {name.upper() for name in Settings.model_fields if name not in read} == reserved


def test_every_variable_that_a_page_names_is_a_setting(pages: dict[str, str]) -> None:
    known = {f"PAIRSCOPE_{name.upper()}" for name in Settings.model_fields}
    named = {(page, name) for page, text in pages.items() for name in re.findall(r"PAIRSCOPE_[A-Z_]*[A-Z]", text)}
    assert {(page, name) for page, name in named if name not in known} == set()


def test_every_command_of_the_program_has_its_row(pages: dict[str, str]) -> None:
    listed = set(re.findall(r"^\| `pairscope ([a-z -]+)` \|", pages[OPERATIONS], re.MULTILINE))
    assert listed == {" ".join(path) for path, command in program() if not command.hidden}


def test_every_make_target_in_a_page_is_there(commands: list[tuple[str, str]]) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = [(page, shlex.split(line)[1:]) for page, line in commands if line.startswith("make ")]
    assert asked
    assert [(page, words) for page, words in asked if words[0] not in targets] == []


def test_what_a_page_passes_on_through_make_is_understood(commands: list[tuple[str, str]]) -> None:
    lines = [(page, re.search(r'^make run ARGS="([^"]*)"', line)) for page, line in commands]
    found = [(page, "run " + match[1]) for page, match in lines if match]
    assert found
    assert [wrong for page, line in found for wrong in misunderstood(page, line)] == []


def test_every_pairscope_command_in_a_page_is_understood(commands: list[tuple[str, str]]) -> None:
    found = [(page, line.split("bin/pairscope ", 1)[1]) for page, line in commands if "bin/pairscope " in line]
    assert found
    assert [wrong for page, line in found for wrong in misunderstood(page, line)] == []


@pytest.mark.parametrize("line", ["run --nonsense", "nonsense", "record", "replay serve --port x synthetic"])
def test_a_wrong_command_in_a_page_would_be_noticed(line: str) -> None:
    assert misunderstood("a page", line) != []


def test_the_two_commands_of_the_readme_are_the_documented_start(commands: list[tuple[str, str]]) -> None:
    readme = [line for page, line in commands if page == "README.md"]
    assert readme[0].startswith("git clone ")
    assert readme[1] == "make run"


def test_every_relative_link_leads_somewhere(pages: dict[str, str]) -> None:
    broken = []
    for page, text in pages.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            place = (ROOT / page).parent / path if path else ROOT / page
            if not place.exists():
                broken.append(f"{page}: {target}")
            elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
                broken.append(f"{page}: no heading for {target}")
    assert broken == []


def test_the_python_in_the_pages_uses_what_is_there(pages: dict[str, str]) -> None:
    blocks = [
        (page, b) for page, text in pages.items() for b in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    ]
    assert blocks
    for page, block in blocks:
        tree = ast.parse(block)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names: dict[str, Any] = {}
        exec(compile(ast.Module(imports, []), page, "exec"), names)  # the imports alone: nothing else runs
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="api"), attr=method)):
                    arguments = [ast.literal_eval(a) for a in node.args]
                    inspect.signature(getattr(names["Client"], method)).bind(None, *arguments)


def test_the_layers_in_the_page_are_those_that_are_checked(pages: dict[str, str]) -> None:
    drawn = pages["docs/architecture.md"].split("## Who may import whom")[1].split("```")[1].split("\n")[1:-1]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert drawn == next(contract["layers"] for contract in contracts if contract["type"] == "layers")


def test_the_changelog_keeps_its_form(pages: dict[str, str]) -> None:
    headings = re.findall(r"^(#+) (.*)$", pages["CHANGELOG.md"], re.MULTILINE)
    assert headings[:2] == [("#", "Changelog"), ("##", "[Unreleased]")]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {text for level, text in headings if level == "###"} <= kinds
    released = [text for level, text in headings if level == "##"][1:]
    assert [text for text in released if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", text)] == []


def test_every_file_in_the_picture_of_the_house_is_there_and_every_part_is_in_it(pages: dict[str, str]) -> None:
    picture = pages["docs/architecture.md"].split("```")[1]
    source = ROOT / "src" / "pairscope"
    drawn, folder = set(), source
    for line in picture.splitlines()[2:]:
        names = re.findall(r"(?<![\w/])([a-z_]\w*(?:\.py\b|/))", line)
        if line.startswith(("├──", "└──")):
            folder = source
        drawn |= {folder / name for name in names}
        if names and names[0].endswith("/") and folder == source:
            folder = source / names[0]
    assert {str(path) for path in drawn if not path.exists()} == set()
    parts = {path for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {path.name for path in parts - drawn} == {"__init__.py", "__main__.py"}


def test_every_error_is_in_the_tree_that_people_read() -> None:
    from pairscope import errors

    drawn = dict(re.findall(r"[├└]── (\w+) +(yes|no|maybe)", errors.__doc__ or ""))
    classes = {name: getattr(errors, name) for name in errors.__all__ if name != "PairscopeError"}
    assert set(drawn) == set(classes)
    assert {
        n: drawn[n] for n, kind in classes.items() if drawn[n] not in {"maybe", "yes" if kind.retry else "no"}
    } == {}


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_no_page_promises_a_module_that_is_not_there(page: str, pages: dict[str, str]) -> None:
    paths = re.findall(r"`((?:src|tests|docs|scripts)/[\w./]+)`", pages[page])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def program() -> list[tuple[tuple[str, ...], Any]]:
    """Every command of the program with the words that call it."""
    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(path: tuple[str, ...], command: Any) -> None:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                walk((*path, name), child)
        else:
            found.append((path, command))

    walk((), typer.main.get_command(app))
    return found


def misunderstood(page: str, line: str) -> list[str]:
    """What is wrong with a command line: no such command, no such flag, a missing argument."""
    words = shlex.split(line)
    for path, command in program():
        if tuple(words[: len(path)]) == path:
            try:
                command.make_context(" ".join(path), list(words[len(path) :]), resilient_parsing=False)
            except (*MISUSE, typer.Exit) as error:
                return [f"{page}: pairscope {line}: {error}"]
            return []
    return [f"{page}: pairscope {line}: no such command"]
