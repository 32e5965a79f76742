"""No look-ahead: the declarations of the kernels of spread, half-life, Hurst and Ornstein-Uhlenbeck."""

from __future__ import annotations

from collections.abc import Mapping

from .declaring import Declaration

MEAN_REVERSION: Mapping[str, Declaration] = {}
