"""What is under version control would be the same anywhere: no machine's paths, no package host, no data, no secret."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

BINARY = {".png", ".ico", ".gz", ".parquet", ".woff2"}
LARGEST = 600_000

FORBIDDEN = {
    "an absolute path of somebody's machine": r"(?<![\w./~-])/(?:home|Users|root|work|mnt|opt)/[\w.-]{3,}",
    "a folder of a Windows machine": r"\b[A-Z]:\\{1,2}(?:Users|work)",
    "the address of a package index": r"--(?:extra-)?index-url|--find-links|--trusted-host|(?:index-url|find-links) ?=",
    "the host of a package index": r"\bpypi\.org|pythonhosted\.org",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "something left for later": r"\b(?:TODO|FIXME|XXX|HACK)\b",
    "a conflict left over": r"^(?:<{7}|>{7}) ",
}


@pytest.fixture(scope="module")
def texts(tracked: list[Path]) -> dict[Path, str]:
    """Every tracked file that is text, but for this one, which has to name what it forbids."""
    here = Path(__file__).resolve()
    return {path: path.read_text(encoding="utf-8") for path in tracked if path.suffix not in BINARY and path != here}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_has(what: str, texts: dict[Path, str], root: Path) -> None:
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = [
        f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}"
        for path, text in texts.items()
        for match in pattern.finditer(text)
    ]
    assert found == [], "\n".join(found)


def test_the_package_talks_to_the_exchange_and_to_nobody_else(texts: dict[Path, str], root: Path) -> None:
    """Hosts in sources, scripts and build files; what a person reads may link to anything."""
    known = {"fstream.binance.com", "fapi.binance.com", "127.0.0.1", "www.w3.org"}
    known |= {"example.com", "appriseit.com", "www.standardwebhooks.com"}  # anybody's host; where a person reads on
    known |= {"data.binance.vision"}  # named to people, who fetch their files there
    strangers = set()
    for path, text in texts.items():
        name = str(path.relative_to(root))
        if not name.startswith(("src/", "scripts/", "Makefile", "pyproject.toml", ".ci/")) and path.suffix != ".lock":
            continue
        for host in re.findall(r"\b(?:https?|wss?)://([\w-]+(?:\.[\w-]+)+)", text):
            if host not in known:
                strangers.add(f"{name}: {host}")
    assert strangers == set()


def test_the_repository_holds_no_data(tracked: list[Path], root: Path) -> None:
    kinds = {".duckdb", ".parquet", ".csv", ".gz", ".xls", ".db", ".whl", ".nbi", ".nbc", ".pyc"}
    assert [str(path.relative_to(root)) for path in tracked if path.suffix in kinds] == []
    large = {str(p.relative_to(root)): p.stat().st_size for p in tracked if p.stat().st_size > LARGEST}
    assert {name: size for name, size in large.items() if not name.endswith((".lock", ".png"))} == {}


def test_every_package_ships_the_files_that_it_reads(tracked: list[Path], root: Path) -> None:
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    beside = [path for path in tracked if root / "src" in path.parents and path.suffix != ".py"]
    assert [str(p.relative_to(root)) for p in beside if not any(p.match(pattern) for pattern in patterns)] == []


def test_the_data_directory_and_the_environment_stay_out(root: Path) -> None:
    ignored = (root / ".gitignore").read_text(encoding="utf-8").split()
    assert {".venv/", "data/", ".env", "__pycache__/"} <= set(ignored)
