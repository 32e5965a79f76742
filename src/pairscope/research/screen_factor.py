"""Sixty regressions factored at once: Cholesky's method, with the innermost loop over the regressions."""

from __future__ import annotations

import numpy as np

from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8
from pairscope.research.screen_block import LANES

__all__ = ["factor"]


@kernel
def factor(m: F8, size: int, growth: F8) -> None:  # pragma: no cover - compiled
    r"""Overwrite sixty moment matrices by their upper triangular factors, :math:`M = U^\top U`; tell how safe it is.

    ``m`` (cells, LANES) holds the upper triangles row by row, ``size`` columns each. With the target as last column,
    what stands there are its shares: the square of the last is the residual sum of squares, each one above it less the
    share that the regressor of its row takes off. ``growth`` (LANES) becomes the largest ratio of a regressor's square
    to what the ones before leave of it: how many digits cancel. NaN where a matrix is not positive. O(size³).
    """
    for r in range(LANES):
        growth[r] = 1.0
    own = np.empty(LANES)
    row = 0
    for i in range(size):
        width = size - i
        head = m[row]
        for r in range(LANES):
            own[r] = head[r]
        k = 0
        above = i
        while k + 8 <= i:
            s0 = above
            s1 = s0 + size - k - 1
            s2 = s1 + size - k - 2
            s3 = s2 + size - k - 3
            s4 = s3 + size - k - 4
            s5 = s4 + size - k - 5
            s6 = s5 + size - k - 6
            s7 = s6 + size - k - 7
            a0, a1, a2, a3, a4, a5, a6, a7 = m[s0], m[s1], m[s2], m[s3], m[s4], m[s5], m[s6], m[s7]
            for j in range(width):
                out = m[row + j]
                b0, b1, b2, b3 = m[s0 + j], m[s1 + j], m[s2 + j], m[s3 + j]
                b4, b5, b6, b7 = m[s4 + j], m[s5 + j], m[s6 + j], m[s7 + j]
                for r in range(LANES):
                    out[r] = (
                        out[r]
                        - a0[r] * b0[r]
                        - a1[r] * b1[r]
                        - a2[r] * b2[r]
                        - a3[r] * b3[r]
                        - a4[r] * b4[r]
                        - a5[r] * b5[r]
                        - a6[r] * b6[r]
                        - a7[r] * b7[r]
                    )
            above = s7 + size - k - 8
            k += 8
        while k + 2 <= i:
            s0 = above
            s1 = s0 + size - k - 1
            a0, a1 = m[s0], m[s1]
            for j in range(width):
                out, b0, b1 = m[row + j], m[s0 + j], m[s1 + j]
                for r in range(LANES):
                    out[r] = out[r] - a0[r] * b0[r] - a1[r] * b1[r]
            above = s1 + size - k - 2
            k += 2
        if k < i:
            a0 = m[above]
            for j in range(width):
                out, b0 = m[row + j], m[above + j]
                for r in range(LANES):
                    out[r] -= a0[r] * b0[r]
        if i < size - 1:
            for r in range(LANES):
                growth[r] = np.maximum(growth[r], np.divide(own[r], head[r]))
                # A pivot that is not positive makes NaN of all that follows.
                own[r] = np.divide(1.0, np.sqrt(head[r]))
            for j in range(width):
                out = m[row + j]
                for r in range(LANES):
                    out[r] *= own[r]
        else:
            for r in range(LANES):
                head[r] = np.sqrt(head[r])
        row += width
