"""What a start imports before it knows what is asked: nothing heavy, so that a command answers at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pairscope

HEAVY = {
    "duckdb",
    "fastapi",
    "httpx2",
    "numba",
    "numpy",
    "pandas",
    "picows",
    "plotly",
    "pyarrow",
    "pydantic",
    "pydantic_settings",
    "scipy",
    "starlette",
    "streamlit",
    "talib",
    "uvicorn",
}


def imported_by(statement: str) -> set[str]:
    """The top-level modules that are there after a statement, in an interpreter of its own."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["pairscope", "pairscope.errors", "pairscope.cli", "pairscope.lifeline"])
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    assert imported_by(f"import {module}") & HEAVY == set()


def test_the_supervisor_decides_without_the_parts_that_it_starts() -> None:
    """Settings come through pydantic; arrays, compilers, drivers and web frameworks belong to the children."""
    allowed = {"pydantic", "pydantic_settings"}
    assert imported_by("import pairscope.launch, pairscope.supervisor") & HEAVY <= allowed


def test_the_client_needs_no_pandas_until_it_makes_a_table() -> None:
    assert imported_by("from pairscope import Client; Client().close()") & HEAVY <= {"httpx2"}


def test_a_public_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pairscope.no_such_name
