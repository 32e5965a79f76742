"""``scripts/bootstrap.py``: says what is wrong with an old Python, installs from the locks, does nothing twice."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, at work in an empty project whose locks name nothing."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).write_text(f"# {name}\n")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "BIN", venv / "bin")
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    return module


@pytest.fixture
def calls(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every command that the script would run; making the environment makes its Python, nothing else happens."""
    made: list[str] = []

    def call(*command: str | Path, quiet: bool = False) -> bool:
        line = " ".join(map(str, command))
        made.append(line)
        if " -m venv " in line:
            bootstrap.BIN.mkdir(parents=True)
            bootstrap.PYTHON.write_text("")
        return True

    monkeypatch.setattr(bootstrap, "call", call)
    return made


def test_an_old_python_is_told_so_in_one_line_that_says_what_to_do(
    bootstrap: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    monkeypatch.setattr(sys, "version", "3.10.4 (main)")
    assert bootstrap.main("run") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "needs Python 3.11" in said
    assert "3.10.4" in said
    assert "PYTHON=" in said
    assert calls == []


@pytest.mark.parametrize("version", [(3, 7), (3, 8), (3, 10)])
def test_an_old_python_can_read_the_script_at_all(version: tuple[int, int]) -> None:
    assert ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=version).body


def test_the_script_needs_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(("kind", "locks"), [("run", 1), ("dev", 2)])
def test_a_first_call_installs_every_lock_by_its_hashes(
    kind: str, locks: int, bootstrap: ModuleType, calls: list[str]
) -> None:
    assert bootstrap.main(kind) == 0
    installs = [line for line in calls if line.endswith(".lock")]
    assert len(installs) == locks
    assert all("--require-hashes" in line for line in installs)


def test_a_second_call_does_nothing(
    bootstrap: ModuleType, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main("dev") == 0
    calls.clear()
    capsys.readouterr()
    assert bootstrap.main("dev") == 0
    assert bootstrap.main("run") == 0  # what testing needs holds what running needs
    assert calls == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("changed", ["requirements.lock", "requirements-dev.lock", "pyproject.toml"])
def test_a_changed_lock_is_installed_again(changed: str, bootstrap: ModuleType, calls: list[str]) -> None:
    assert bootstrap.main("dev") == 0
    calls.clear()
    (bootstrap.ROOT / changed).write_text("# another version\n")
    assert bootstrap.main("dev") == 0
    assert any(line.endswith(".lock") for line in calls)


def test_a_failed_installation_is_tried_again_next_time(
    bootstrap: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    working = bootstrap.call
    monkeypatch.setattr(bootstrap, "call", lambda *command, quiet=False: working(*command) and "-m venv" in calls[-1])
    assert bootstrap.main("run") == 1
    assert "requirements.lock" in capsys.readouterr().err
    monkeypatch.setattr(bootstrap, "call", working)
    calls.clear()
    assert bootstrap.main("run") == 0
    assert any(line.endswith(".lock") for line in calls)


def test_both_locks_pin_every_package_by_hash() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert pins
        assert [line for line in pins if "==" not in line or "--hash=sha256:" not in line] == []
