"""No look-ahead: the declarations of the kernels of correlation and lead-lag."""

from __future__ import annotations

from collections.abc import Mapping

from .declaring import Declaration

CORRELATION: Mapping[str, Declaration] = {}
