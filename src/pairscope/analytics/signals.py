"""The rule of a pair trade as one step: what a bar's z-scores decide, given the position and what came before.

A backtest and a live pair step the same function. It knows no price and no fill: its position is the one decided on,
which whoever executes holds a little later.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from pairscope.analytics.price_stats import is_number
from pairscope.errors import InputError
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = [
    "SIGNAL_COOLDOWN",
    "SIGNAL_ENTER",
    "SIGNAL_EXIT",
    "SIGNAL_HELD",
    "SIGNAL_MAX_HOLDING",
    "SIGNAL_POSITION",
    "SIGNAL_STATE",
    "SIGNAL_STAY",
    "SIGNAL_STOP",
    "SignalRule",
    "signal_rule",
    "signal_state",
    "signal_step",
]

SIGNAL_STAY: Final = 0
"""Decision: keep what there is, a position or none."""
SIGNAL_ENTER: Final = 1
"""Decision: open the position that the state now names."""
SIGNAL_EXIT: Final = 2
"""Decision: close, the spread has come back."""
SIGNAL_STOP: Final = 3
"""Decision: close, the spread went too far the wrong way."""
SIGNAL_MAX_HOLDING: Final = 4
"""Decision: close, it has taken too long."""

SIGNAL_POSITION: Final = 0
"""Where a state says the position decided on: 1 long the spread, -1 short, 0 none."""
SIGNAL_HELD: Final = 1
"""Where a state says how many bars ago that position was decided on."""
SIGNAL_COOLDOWN: Final = 2
"""Where a state says how many more bars no position is entered."""
SIGNAL_STATE: Final = 3
"""How many numbers a state is."""


class SignalRule(NamedTuple):
    """Thresholds of z, and counts of bars; ``stop`` and ``max_holding`` are infinite where there is none."""

    entry: float
    exit: float
    stop: float
    max_holding: float
    cooldown: float


def signal_rule(
    *,
    entry: float,
    exit: float,  # noqa: A002 - the rule's word
    stop: float | None = None,
    max_holding: int | None = None,
    cooldown: int = 0,
) -> SignalRule:
    """Return the rule of a pair trade, or raise a ``ValueError`` that names the argument. O(1).

    0 <= ``exit`` < ``entry`` < ``stop``, in standard deviations of the spread; ``max_holding``, at least 1, and
    ``cooldown``, at least 0, in bars. NaN and infinities are refused.

    >>> signal_rule(entry=2, exit=0.5)
    SignalRule(entry=2.0, exit=0.5, stop=inf, max_holding=inf, cooldown=0.0)
    """
    for name, value in (("entry", entry), ("exit", exit), ("stop", stop)):
        known = value is not None and is_number(value) and 0.0 <= value < np.inf
        if not known and (value is not None or name != "stop"):
            raise InputError(f"{name}: must be a number of at least 0", loc=name)
    if entry <= exit:
        raise InputError(f"entry: must be above exit ({exit:g})", loc="entry")
    if stop is not None and stop <= entry:
        raise InputError(f"stop: must be above entry ({entry:g})", loc="stop")
    for name, count, least in (("max_holding", max_holding, 1), ("cooldown", cooldown, 0)):
        if count is not None and (
            not is_number(count) or not np.isfinite(count) or int(count) != count or count < least
        ):
            raise InputError(f"{name}: must be a whole number of at least {least}", loc=name)
    return SignalRule(
        float(entry),
        float(exit),
        np.inf if stop is None else float(stop),
        np.inf if max_holding is None else float(max_holding),
        float(cooldown),
    )


def signal_state() -> F8:
    """Return the state without position or past, for ``signal_step``. O(1).

    >>> signal_state().tolist()
    [0.0, 0.0, 0.0]
    """
    return np.zeros(SIGNAL_STATE)


@kernel
def signal_step(
    state: F8,
    rule: SignalRule,
    zscore: float,
    held_zscore: float,
    allowed: bool,  # noqa: FBT001 - compiled functions take arguments by position
) -> int:  # pragma: no cover - compiled
    r"""Take one closed bar into a state, in place, and return what it decides.

    Without a position: short the spread where ``zscore`` is at least ``entry``, long where it is at most -``entry``,
    but not at ``stop`` or beyond, not while a cooldown runs, and not where ``allowed`` is false. With a position p its
    own spread is judged, under the hedge ratio that it was entered with, by ``held_zscore``:

    .. math:: p\,z \ge -\mathrm{exit} \text{: exit}, \qquad p\,z \le -\mathrm{stop} \text{: stop}

    and, where neither holds, ``max_holding`` bars after the bar that decided to enter it is closed. A stop forbids
    entries at the next ``cooldown`` bars. One decision a bar: what closes does not turn round. A z-score of NaN enters
    nothing and closes nothing; time still counts. ``allowed`` concerns entries alone. O(1), a few ns.
    Reference: Gatev, Goetzmann & Rouwenhorst (2006), *Review of Financial Studies* 19.

    >>> state, rule = signal_state(), signal_rule(entry=2.0, exit=0.5, stop=4.0)
    >>> [signal_step(state, rule, z, z, True) for z in (1.0, 2.5, 3.0, 0.4, 0.0)]
    [0, 1, 0, 2, 0]
    """
    position = state[SIGNAL_POSITION]
    if position == 0.0:
        if state[SIGNAL_COOLDOWN] > 0.0:
            state[SIGNAL_COOLDOWN] -= 1.0
        elif allowed and rule.entry <= abs(zscore) and abs(zscore) < rule.stop:
            state[SIGNAL_POSITION] = -1.0 if zscore > 0.0 else 1.0
            state[SIGNAL_HELD] = 0.0
            return SIGNAL_ENTER
        return SIGNAL_STAY
    state[SIGNAL_HELD] += 1.0
    gained = position * held_zscore
    decision = SIGNAL_STAY
    if gained >= -rule.exit:
        decision = SIGNAL_EXIT
    elif gained <= -rule.stop:
        decision = SIGNAL_STOP
        state[SIGNAL_COOLDOWN] = rule.cooldown
    elif state[SIGNAL_HELD] >= rule.max_holding:
        decision = SIGNAL_MAX_HOLDING
    if decision != SIGNAL_STAY:
        state[SIGNAL_POSITION] = 0.0
    return decision
