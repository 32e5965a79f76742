"""How much an order buys of each leg: both legs' values add up to the notional, in whole steps of the exchange."""

from __future__ import annotations

import numpy as np

from pairscope.market.kernel import kernel

__all__ = ["in_steps", "leg_quantities"]


@kernel
def in_steps(quantity: float, step: float) -> float:  # pragma: no cover - compiled
    """Return a quantity rounded towards zero to whole steps; one that is whole but for its last digits stays.

    A step of 0 rounds nothing; NaN stays NaN. O(1).

    >>> in_steps(0.37, 0.1), in_steps(-0.37, 0.1), in_steps(0.37, 0.0)
    (0.3, -0.3, 0.37)
    """
    if step <= 0.0 or quantity == 0.0:
        return quantity
    count = np.floor(abs(quantity) / step * (1.0 + 1e-12))
    parts = np.rint(1.0 / step)
    # 3 / 10 is the decimal 0.3, 3 * 0.1 is not.
    whole = count / parts if parts >= 1.0 and abs(parts * step - 1.0) < 1e-9 else count * step
    return float(whole if quantity > 0.0 else -whole)


@kernel
def leg_quantities(
    side: float,
    beta: float,
    y: float,
    x: float,
    notional: float,
    dollar: bool,  # noqa: FBT001 - compiled functions take arguments by position
    log: bool,  # noqa: FBT001
    step_y: float,
    step_x: float,
) -> tuple[float, float]:  # pragma: no cover - compiled
    r"""Return what an entry at prices y and x buys of each leg, sold where negative; NaN where a leg is under one step.

    With ``dollar`` each leg is worth half the notional; else, with side :math:`s = \pm 1`,

    .. math:: q_y = \frac{s N}{(1 + |\beta|) P_y}, \; q_x = -\frac{s \beta N}{(1 + |\beta|) P_x}
        \qquad \text{in logs,} \qquad q_y = \frac{s N}{P_y + |\beta| P_x}, \; q_x = -\beta q_y \qquad \text{in prices.}

    Beta of NaN gives NaN. O(1).

    >>> leg_quantities(1.0, 1.0, 100.0, 50.0, 1000.0, False, True, 0.0, 0.0)
    (5.0, -10.0)
    >>> leg_quantities(-1.0, 1.5, 100.0, 50.0, 1000.0, True, True, 2.0, 20.0)
    (nan, nan)
    """
    size = abs(beta)
    if dollar:
        wanted_y = side * (0.5 * notional / y)
        wanted_x = -side * np.sign(beta) * (0.5 * notional / x)
    elif log:
        wanted_y = side * (notional / ((1.0 + size) * y))
        wanted_x = -side * (beta * notional / ((1.0 + size) * x))
    else:
        wanted_y = side * (notional / (y + size * x))
        wanted_x = -beta * wanted_y
    quantity_y, quantity_x = in_steps(wanted_y, step_y), in_steps(wanted_x, step_x)
    if (quantity_y == 0.0 and wanted_y != 0.0) or (quantity_x == 0.0 and wanted_x != 0.0):
        return np.nan, np.nan
    return quantity_y, quantity_x
