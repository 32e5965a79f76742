"""Whatever computes in ``market`` and ``analytics`` defines itself and shows an example that runs.

The examples themselves are run as doctests with the rest of the suite. A record (a class without a public method or
property, a protocol) computes nothing, and a compiled loop that works in place on the cells of a ring is shown by the
function that calls it: these need their definition only. No name is excused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def test_every_public_name_of_the_kernels_is_defined_in_words(modules: list[Any]) -> None:
    undefined = [f"{path}::{node.name}" for path, node in public_kernels(modules) if not ast.get_docstring(node)]
    undefined += [
        f"{path}::{node.name}.{method.name}"
        for path, node in public_kernels(modules)
        for method in methods(node)
        if not ast.get_docstring(method)
    ]
    assert undefined == [], "\n".join(undefined)


def test_every_public_name_of_the_kernels_shows_an_example(modules: list[Any]) -> None:
    bare = [
        f"{path}::{node.name}"
        for path, node in public_kernels(modules)
        if computes(node) and not any(">>>" in (ast.get_docstring(part) or "") for part in [node, *methods(node)])
    ]
    assert bare == [], "\n".join(bare)


def test_every_kernel_that_takes_an_array_states_its_cost_and_its_handling_of_nan(modules: list[Any]) -> None:
    """The numerical kernels of ``analytics`` take prices that may be missing; what comes out then is part of them."""
    silent = []
    for path, node in public_kernels(modules):
        words = (ast.get_docstring(node) or "") + (ast.get_docstring(module_of(modules, path)) or "")
        if path.startswith("analytics") and isinstance(node, ast.FunctionDef) and takes_floats(node):
            silent += [f"{path}::{node.name}: no word of NaN"] if "NaN" not in words else []
            silent += [f"{path}::{node.name}: no O(…)"] if "O(" not in words else []
    assert silent == [], "\n".join(silent)


def public_kernels(modules: list[Any]) -> Iterator[tuple[str, Definition]]:
    for module in modules:
        if module.path.startswith(("market/", "analytics/")):
            yield from ((module.path, node) for node in module.public)


def module_of(modules: list[Any], path: str) -> ast.Module:
    return next(module.tree for module in modules if module.path == path)


def methods(node: Definition) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public methods and properties of a class."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [part for part in node.body if isinstance(part, kinds) and not part.name.startswith("_")]


def computes(node: Definition) -> bool:
    if not isinstance(node, ast.ClassDef):
        return not works_in_place(node)
    protocol = any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    return bool(methods(node)) and not protocol


def works_in_place(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is compiled and is given the cells that it changes."""
    compiled = any(isinstance(mark, ast.Name) and mark.id == "kernel" for mark in node.decorator_list)
    return compiled and any(
        isinstance(arg.annotation, ast.Name) and arg.annotation.id == "Cells" for arg in node.args.args
    )


def takes_floats(node: ast.FunctionDef) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return any(isinstance(arg.annotation, ast.Name) and arg.annotation.id == "F8" for arg in arguments)
