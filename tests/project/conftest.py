"""What the project's own tests read: its tree, its modules as syntax trees, its pages."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.syntax_tree import parsed

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file of the package: its path under src, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def public(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
        """Functions and classes at the top whose names do not begin with an underscore."""
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        return [node for node in self.tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    found = []
    for path in sorted((ROOT / "src" / "pairscope").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(str(path.relative_to(ROOT / "src" / "pairscope")), text, parsed(text)))
    return found


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file under version control."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The Markdown pages by their path from the root."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(paths)}


@pytest.fixture(scope="session")
def commands(pages: dict[str, str]) -> list[tuple[str, str]]:
    """Every command in a ``sh`` block of a page: (page, line), continued lines joined, comments cut off."""
    return [(page, line) for page, text in pages.items() for line in _commands(text)]


def _commands(text: str) -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.split(" #")[0].strip()
            if command and not command.startswith("#"):
                yield command
