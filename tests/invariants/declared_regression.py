"""No look-ahead: the declarations of the kernels of hedge ratio."""

from __future__ import annotations

from collections.abc import Mapping

from .declaring import Declaration

REGRESSION: Mapping[str, Declaration] = {}
