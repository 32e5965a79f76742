"""No look-ahead: the declarations of the kernels of unit root and cointegration tests."""

from __future__ import annotations

from collections.abc import Mapping

from .declaring import Declaration

STATISTICAL_TESTS: Mapping[str, Declaration] = {}
