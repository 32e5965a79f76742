"""Source text as a syntax tree, also while another thread of the process compiles something."""

from __future__ import annotations

import ast
from typing import Final

TRIES: Final = 5


def parsed(text: str) -> ast.Module:
    """Return the tree of a module.

    CPython counts for the whole interpreter how deep it is within a tree: where a thread that an earlier test left has
    its turn in between, Python 3.11 reports a fault of its own (python/cpython#106905), and the text is parsed again.
    """
    for _ in range(TRIES - 1):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)
