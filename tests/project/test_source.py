"""What every source file keeps to: one idea said at its top, a stated public face, a size, no hidden state."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST = 400
"""Lines that a file may have: beyond that it holds a second idea."""

BUILDERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}
CHANGING = {"append", "add", "update", "pop", "popitem", "clear", "extend", "insert", "remove", "discard", "setdefault"}
READ_ONLY = {"Mapping", "Sequence", "Set", "frozenset", "tuple", "MappingProxyType", "Callable", "TypeAlias"}


def test_every_module_opens_with_one_sentence_that_says_its_idea(modules: list[Any]) -> None:
    silent = []
    for module in modules:
        first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
        if not first.endswith(".") or len(first.split()) < 3:
            silent.append(f"{module.path}: {first!r}")
    assert silent == [], "\n".join(silent)


def test_a_module_with_public_names_lists_them(modules: list[Any]) -> None:
    open_ended = [m for m in modules if m.public and "__all__" not in bound_at_the_top(m.tree)]
    assert [module.path for module in open_ended if not is_script(module.tree)] == []


def test_what_a_module_lists_is_there(modules: list[Any]) -> None:
    wrong = []
    for module in modules:
        listed = exported(module.tree)
        known = bound_at_the_top(module.tree)
        wrong += [f"{module.path}: {name} is not there" for name in listed if name not in known]
        wrong += [f"{module.path}: {name} twice" for name in set(listed) if listed.count(name) > 1]
    assert wrong == [], "\n".join(wrong)


def test_no_source_file_is_longer_than_a_person_reads_in_one_go(root: Path) -> None:
    source = root / "src" / "pairscope"
    lengths = {
        str(path.relative_to(source)): path.read_text(encoding="utf-8").count("\n")
        for kind in ("*.py", "*.js", "*.css", "*.html", "*.sql")
        for path in source.rglob(kind)
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_only_the_command_line_prints(modules: list[Any]) -> None:
    printing = [
        f"{module.path}:{node.lineno}"
        for module in modules
        if module.path != "cli.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == [], "\n".join(printing)


def test_nothing_catches_everything_in_silence(modules: list[Any]) -> None:
    """A broad ``except`` raises again or tells somebody; a narrow one that passes says why in a comment."""
    silent = []
    for module in modules:
        lines = module.text.splitlines()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                place = f"{module.path}:{node.lineno}"
                if is_broad(node.type) and not any(isinstance(n, ast.Raise | ast.Call) for n in inside(node)):
                    silent.append(f"{place} catches everything and tells nobody")
                if isinstance(node.body[0], ast.Pass) and "#" not in "".join(lines[node.lineno - 1 : node.end_lineno]):
                    silent.append(f"{place} passes and does not say why")
            elif isinstance(node, ast.Call) and name_of(node.func) == "suppress" and any(map(is_broad, node.args)):
                silent.append(f"{module.path}:{node.lineno} suppresses everything")
    assert silent == [], "\n".join(silent)


def test_nothing_waits_in_a_way_that_may_lose_a_cancellation(modules: list[Any]) -> None:
    """``wait_for`` of Python 3.11 swallows one that comes as what it waits for does; ``asyncio.timeout`` does not."""
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for"
    ]
    assert found == [], "\n".join(found)


def test_no_module_keeps_state(modules: list[Any]) -> None:
    """No ``global``; no list, dict or set at a module's top that is changed, or public without a read-only type."""
    found = []
    for module in modules:
        found += [
            f"{module.path}:{node.lineno} {type(node).__name__.lower()} {', '.join(node.names)}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Global)
        ]
        changed = changed_names(module.tree)
        found += [
            f"{module.path}:{line} {name} {'is changed' if name in changed else 'is public and could be changed'}"
            for name, line in mutable_at_the_top(module.tree)
            if name in changed or not name.startswith("_")
        ]
    assert found == [], "\n".join(found)


def test_nothing_is_a_stub(modules: list[Any]) -> None:
    words = ["NotImplementedError", "not implemented", "will be implemented"]
    found = [f"{module.path}: {word}" for module in modules for word in words if word in module.text]
    assert found == [], "\n".join(found)


def test_names_that_say_nothing_name_no_file(root: Path) -> None:
    empty = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base", "core", "data", "info"}
    source = root / "src" / "pairscope"
    assert [str(p.relative_to(source)) for p in source.rglob("*") if p.stem in empty] == []


def bound_at_the_top(tree: ast.Module) -> set[str]:
    """Every name that a module binds at its top, also under ``if`` and ``try``."""
    names: set[str] = set()
    for node in tree.body:
        for part in ast.walk(node) if isinstance(node, ast.If | ast.Try) else [node]:
            match part:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                    names |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
                case ast.Assign(targets=targets):
                    names |= {t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(name)
    return names


def is_script(tree: ast.Module) -> bool:
    """Whether a module is run and not imported: it ends by calling its ``main``."""
    last = tree.body[-1]
    return any(isinstance(node, ast.Call) and name_of(node.func) == "main" for node in ast.walk(last))


def exported(tree: ast.Module) -> list[str]:
    """What ``__all__`` lists."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(name_of(t) == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def mutable_at_the_top(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Lists, dicts and sets that a module binds at its top without a read-only type."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[target], value=value):
                annotation: ast.expr | None = None
            case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
                pass
            case _:
                continue
        name = name_of(target)
        if name == "__all__" or not is_mutable(value):
            continue
        said = {name_of(part) for part in ast.walk(annotation)} if annotation is not None else set()
        if not said & READ_ONLY:
            yield name, node.lineno


def changed_names(tree: ast.Module) -> set[str]:
    """Names of which an item is set or deleted, or on which a method that changes is called, anywhere in a module."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in CHANGING:
                names.add(name)
    return names


def is_mutable(value: ast.expr) -> bool:
    displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    return isinstance(value, displays) or (isinstance(value, ast.Call) and name_of(value.func) in BUILDERS)


def is_broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(map(is_broad, kind.elts))
    return kind is None or name_of(kind) in {"Exception", "BaseException"}


def inside(handler: ast.ExceptHandler) -> Iterator[ast.AST]:
    return (part for statement in handler.body for part in ast.walk(statement))


def name_of(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
