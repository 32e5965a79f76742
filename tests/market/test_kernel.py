"""How kernels are compiled and when their machine code is renewed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pairscope.market import kernel as compiling
from pairscope.market.bar_cells import build
from pairscope.market.kernel import kernel

SOURCE = "from pairscope.market.kernel import kernel\n\n@kernel\ndef triple(x):\n    return 3 * x\n"


@pytest.fixture
def load(tmp_path: Path) -> Callable[[], ModuleType]:
    """Import a module with one kernel afresh, as another process would."""
    path = tmp_path / "with_kernel.py"
    path.write_text(SOURCE, encoding="utf-8")

    def fresh() -> ModuleType:
        spec = importlib.util.spec_from_file_location("with_kernel", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["with_kernel"] = module
        spec.loader.exec_module(module)
        return module

    return fresh


def hits(module: ModuleType) -> int:
    assert module.triple(2) == 6
    return sum(module.triple.stats.cache_hits.values())


def test_machine_code_is_kept_for_the_next_process(load: Callable[[], ModuleType]) -> None:
    assert hits(load()) == 0
    assert hits(load()) == 1


def test_machine_code_is_renewed_when_a_kernel_in_another_file_has_changed(
    load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hits(load()) == 0
    monkeypatch.setattr(compiling, "_sources_digest", lambda: b"changed")
    assert hits(load()) == 0
    assert hits(load()) == 1


def test_a_function_without_a_file_is_compiled_all_the_same() -> None:
    space: dict[str, Callable[[float], float]] = {}
    exec("def twice(x):\n    return 2 * x", space)
    assert kernel(space["twice"])(4) == 8


def test_no_kernel_reorders_floating_point_and_none_holds_the_gil() -> None:
    options = build.targetoptions  # type: ignore[attr-defined]
    assert options["nogil"] is True and options["fastmath"] is False
    values = np.array([1e16, 1.0, -1e16])

    @kernel
    def total(x: np.ndarray) -> float:
        found = 0.0
        for value in x:
            found += value
        return found

    assert total(values) == 0.0
