"""No look-ahead: the declarations of the kernels of the break sentinel."""

from __future__ import annotations

from collections.abc import Mapping

from .declaring import Declaration

SENTINEL: Mapping[str, Declaration] = {}
