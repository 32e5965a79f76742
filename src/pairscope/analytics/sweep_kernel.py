"""One pair traded by many rules, a pass each: what they share was worked out before, and a flat bar costs nothing.

Rules that differ in thresholds, holding times, costs and money share hedge ratios, z-scores and the moments of each
window (``sweep_moments``). Returns are not kept: their sums of powers and their extremes are enough for every metric
here. A row is what ``backtest_pair`` makes of the same rule.
"""

from __future__ import annotations

from math import erfc
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.sweep_moments import CANCELLED, SweepLegs, WindowMoments, spread_std
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["SWEEP_METRICS", "SweepRule", "sweep_rows"]

SWEEP_METRICS: Final = (
    "total_return",
    "annual_return",
    "sharpe",
    "sortino",
    "max_drawdown",
    "calmar",
    "trades",
    "win_rate",
    "profit_factor",
    "average_holding",
    "turnover",
    "fees",
    "exposure",
    "sharpe_stderr",
    "probabilistic_sharpe",
    "longest_drawdown",
    "pnl",
    "spread_pnl",
    "slippage",
    "funding",
    "skipped",
    "skew",
    "kurtosis",
    "unsure",
)
"""What ``sweep_rows`` writes of each rule: ``performance``'s names, the shape of the returns, and whether digits that
the metrics need cancelled."""

_NEAR: Final = 1e-6


class SweepRule(NamedTuple):
    """A rule and its terms, all numbers: costs as shares of traded value, ``dollar`` 1 for legs of equal value.

    A table of rules has these columns; ``stop`` and ``max_holding`` are infinite and steps 0 where there is none.
    """

    entry: float
    exit: float
    stop: float
    max_holding: float
    cooldown: float
    fee_y: float
    fee_x: float
    slippage_y: float
    slippage_x: float
    slippage_range: float
    notional: float
    capital: float
    maintenance: float
    step_y: float
    step_x: float
    dollar: float


@kernel
def _next_entry(zscore: F8, coming: I8, t: int, entry: float, stop: float) -> int:  # pragma: no cover - compiled
    """Return the first bar from t on that enters, or how many bars there are."""
    if t >= zscore.size:
        return zscore.size
    t = coming[t]
    while t < zscore.size and not (entry <= abs(zscore[t]) and abs(zscore[t]) < stop):
        t = coming[t + 1]
    return t


@kernel
def _leaves(gained: float, std: float, exit_z: float, stop_z: float) -> int:  # pragma: no cover - compiled
    """Return whether a position has come back (1), gone too far (2), neither (0), or too near to a threshold (3).

    ``gained`` is side · z, times ``std``; 3 also where there is no standard deviation to trust.
    """
    if not std > 0.0:
        return 3
    over = gained + exit_z * std
    under = gained + stop_z * std
    if abs(over) <= _NEAR * std * (1.0 + exit_z) or (stop_z < np.inf and abs(under) <= _NEAR * std * (1.0 + stop_z)):
        return 3
    return 1 if over > 0.0 else 2 if under < 0.0 else 0


@kernel
def _in_steps(quantity: float, step: float) -> float:  # pragma: no cover - compiled
    """Round a quantity towards zero to whole steps; one that is whole but for rounding of its last digits stays."""
    if step <= 0.0 or quantity == 0.0:
        return quantity
    count = np.floor(abs(quantity) / step * (1.0 + 1e-12))
    parts = np.rint(1.0 / step)
    whole = count / parts if parts >= 1.0 and abs(parts * step - 1.0) < 1e-9 else count * step
    return float(whole if quantity > 0.0 else -whole)


@kernel
def _quantities(
    side: float,
    beta: float,
    y: float,
    x: float,
    log: bool,  # noqa: FBT001 - compiled functions take arguments by position
    rule: F8,
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return what an entry buys of each leg, NaN where a leg is less than one step."""
    notional, size = rule[10], abs(beta)
    if rule[15] > 0.0:
        wanted_y = side * (0.5 * notional / y)
        wanted_x = -side * np.sign(beta) * (0.5 * notional / x)
    elif log:
        wanted_y = side * (notional / ((1.0 + size) * y))
        wanted_x = -side * (beta * notional / ((1.0 + size) * x))
    else:
        wanted_y = side * (notional / (y + size * x))
        wanted_x = -beta * wanted_y
    quantity_y, quantity_x = _in_steps(wanted_y, rule[13]), _in_steps(wanted_x, rule[14])
    if (quantity_y == 0.0 and wanted_y != 0.0) or (quantity_x == 0.0 and wanted_x != 0.0):
        return np.nan, np.nan
    return quantity_y, quantity_x


@kernel
def _ratios(
    out: F8,
    n: float,
    s1: float,
    s2: float,
    s3: float,
    s4: float,
    below: float,
    per_year: float,
) -> None:  # pragma: no cover - compiled
    """Write the ratios of n returns from their sums of powers; not where digits cancel or they hardly move at all."""
    if s2 == 0.0:
        return
    mean = s1 / n
    m2 = s2 / n - mean * mean
    if not (m2 > 1e-6 * (s2 / n) and m2 > 1e-26):
        out[23] = 1.0
        return
    if below > 0.0:
        out[3] = mean / np.sqrt(below / n) * per_year
    sharpe = mean / np.sqrt(m2 * n / (n - 1.0))
    skew = (s3 / n - 3.0 * mean * (s2 / n) + 2.0 * mean**3) / m2**1.5
    kurtosis = (s4 / n - 4.0 * mean * (s3 / n) + 6.0 * mean * mean * (s2 / n) - 3.0 * mean**4) / (m2 * m2)
    out[2], out[21], out[22] = sharpe * per_year, skew, kurtosis
    inside = 1.0 - skew * sharpe + 0.25 * (kurtosis - 1.0) * sharpe * sharpe
    if inside > 1e-12:
        error = np.sqrt(inside / (n - 1.0))
        out[13] = error * per_year
        out[14] = 0.5 * erfc(-sharpe / error / np.sqrt(2.0))


@kernel
def _side_by_side(legs: SweepLegs, moments: WindowMoments) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Return what every bar that is held needs in one row, which is one line of the processor's cache."""
    bars = np.zeros((legs.y.size, 8))
    bars[:, 0], bars[:, 1] = legs.y, legs.x
    bars[:, 2], bars[:, 3] = moments.mean_y, moments.mean_x
    bars[:, 4], bars[:, 5], bars[:, 6] = moments.var_y, moments.var_x, moments.cov
    return bars


@kernel
def sweep_rows(
    legs: SweepLegs,
    beta: F8,
    moments: WindowMoments,
    zscore: F8,
    coming: I8,
    window: int,
    bars_per_year: float,
    rules: NDArray[np.float64],
    edges: I8,
    metrics: NDArray[np.float64],
    blocks: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Trade a pair by each of ``rules``, rows of ``SweepRule``, and write a row of ``SWEEP_METRICS`` each.

    ``zscore`` and ``coming`` are ``entry_scores``'s, whose ``least`` no rule's entry lies below. ``blocks`` (rules, 2,
    blocks) receives sums and sums of squares of the returns of the bars between ``edges``, for cross-validation. A
    metric that is not defined is NaN. O(bars held or able to enter) a rule.

    >>> y, x = np.array([100.0, 100.0, 90.0, 95.0, 100.0, 100.0]), np.array([9.0, 11.0, 10.0, 11.0, 9.0, 10.0])
    >>> legs = SweepLegs(y, x, y, x, y, x, *[np.zeros(6)] * 4, False, False, False, 0)
    >>> from pairscope.analytics.sweep_moments import entry_scores, window_moments
    >>> moments, z, coming, beta = window_moments(y, x, 3), np.empty(6), np.empty(7, np.int64), np.zeros(6)
    >>> entry_scores(legs, beta, moments, 3, np.array([1.1]), 1.1, np.full(6, True), z, coming)
    >>> rule = SweepRule(1.1, 0.0, np.inf, np.inf, *[0.0] * 6, 1000.0, 1000.0, *[0.0] * 4)
    >>> made, sums = np.empty((1, len(SWEEP_METRICS))), np.empty((1, 2, 2))
    >>> sweep_rows(legs, beta, moments, z, coming, 3, 365.0, np.array([rule]), np.array([1, 3, 6]), made, sums)
    >>> made[0, [6, 0]].round(4).tolist()
    [1.0, 0.0526]
    """
    # Arrays by names of their own: those of a tuple are counted anew at every use.
    fill_y, fill_x, spaced_y, spaced_x = legs.fill_y, legs.fill_x, legs.spaced_y, legs.spaced_x
    range_y, range_x, funding_y, funding_x = legs.range_y, legs.range_x, legs.funding_y, legs.funding_x
    funded = bool((funding_y != 0.0).any() or (funding_x != 0.0).any())
    log, opens, origin = legs.log, legs.opens, legs.first
    bars = _side_by_side(legs, moments)
    last = beta.size - 1
    delay = 0 if legs.same else 1
    totals = np.zeros((2, edges.size))
    for i in range(rules.shape[0]):
        rule = rules[i]
        entry, exit_z, stop_z, longest_held, cooldown = rule[0], rule[1], rule[2], rule[3], rule[4]
        fee_y, fee_x, slip_y, slip_x, slip_range = rule[5], rule[6], rule[7], rule[8], rule[9]
        capital, maintenance = rule[11], rule[12]
        nearest = (exit_z + _NEAR * (1.0 + exit_z)) ** 2
        farthest = (stop_z - _NEAR * (1.0 + stop_z)) ** 2 if stop_z < np.inf else np.inf
        wealth = before = peak = low = capital
        count = float(last - origin)
        s1 = s2 = s3 = s4 = below = worst = 0.0
        trades = wins = held = won = lost = traded = fees = slips = paid_all = gains = pnls = skipped = 0.0
        drought = edge = 0
        top = t = origin
        next_edge = edges[0]
        halted = False
        while not halted:
            s = _next_entry(zscore, coming, t, entry, stop_z)
            start = s + delay
            if start > last:
                break
            side = -1.0 if zscore[s] > 0.0 else 1.0
            ratio = beta[s]
            y0, x0 = fill_y[start], fill_x[start]
            quantity_y, quantity_x = _quantities(side, ratio, y0, x0, log, rule)
            if np.isnan(quantity_y):
                skipped += 1.0
                t = s + 1
                continue
            if before >= peak:
                top = max(start - 1, origin)
            size_y, size_x = abs(quantity_y), abs(quantity_x)
            value_y, value_x = size_y * y0, size_x * x0
            entry_value = value_y + value_x
            entry_fee = fee_y * value_y + fee_x * value_x
            entry_slip = slip_y * value_y + slip_x * value_x
            entry_slip += slip_range * (size_y * range_y[start] + size_x * range_x[start])
            paid = 0.0
            pending = False
            u = start
            while True:
                y1, x1 = bars[u, 0], bars[u, 1]
                if funded and ((u > start and not (pending and opens)) or (u == start and opens)):
                    paid += funding_y[u] * (quantity_y * y1) + funding_x[u] * (quantity_x * x1)
                if pending and opens:
                    y1, x1 = fill_y[u], fill_x[u]
                moved = quantity_y * (y1 - y0) + quantity_x * (x1 - x0)
                value_y, value_x = size_y * y1, size_x * x1
                fee = entry_fee + (fee_y * value_y + fee_x * value_x)
                slip = slip_y * value_y + slip_x * value_x
                if slip_range > 0.0:
                    slip += slip_range * (size_y * range_y[u] + size_x * range_x[u])
                slip += entry_slip
                pnl = moved - fee - slip - paid
                equity = wealth + pnl
                if u == origin:
                    # Filled at the first bar's own close: what it cost is the return of one bar more.
                    top = origin - 1
                    count += 1.0 if equity != capital else 0.0
                if u >= next_edge:
                    while edge < edges.size and u >= edges[edge]:
                        totals[0, edge], totals[1, edge] = s1, s2
                        edge += 1
                    next_edge = edges[edge] if edge < edges.size else last + 1
                r = equity / before - 1.0
                square = r * r
                s1 += r
                s2 += square
                s3 += square * r
                s4 += square * square
                fall = min(r, 0.0)
                below += fall * fall
                before = equity
                if equity >= peak:
                    drought = max(drought, u - 1 - top)
                    peak, top = equity, u
                else:
                    if equity - peak < worst * peak:
                        worst = (equity - peak) / peak
                    low = min(low, equity)
                if u > start or delay > 0:
                    halted = equity <= maintenance * (value_y + value_x)
                    if halted or pending:
                        break
                if u == last:
                    t = u + 1
                    break
                if u > start or delay > 0:
                    size = bars[u, 4] + ratio * ratio * bars[u, 5]
                    variance = size - 2.0 * ratio * bars[u, 6]
                    away = side * (bars[u, 2] - ratio * bars[u, 3])
                    square = away * away
                    why = 0
                    if not (
                        variance > CANCELLED * size and away > 0.0 and nearest * variance < square < farthest * variance
                    ):
                        std = spread_std(bars[u, 4], bars[u, 5], bars[u, 6], ratio)
                        why = _leaves(-away, std, exit_z, stop_z)
                    if why == 3:
                        gained = side * zscore_window(spaced_y, spaced_x, u + 1, window, 0.0, ratio).zscore
                        why = 1 if gained >= -exit_z else 2 if gained <= -stop_z else 0
                    if why > 0 or u - s >= longest_held:
                        t = u + 1 + (int(cooldown) if why == 2 else 0)
                        pending = True
                        if delay == 0:
                            break
                u += 1
            trades += 1.0
            held += u - start
            wins += pnl > 0.0
            won += max(pnl, 0.0)
            lost += max(-pnl, 0.0)
            traded += entry_value + value_y + value_x
            fees += fee
            slips += slip
            paid_all += paid
            gains += moved
            pnls += pnl
            wealth += pnl
        while edge < edges.size:
            totals[0, edge], totals[1, edge] = s1, s2
            edge += 1
        for k in range(edges.size - 1):
            blocks[i, 0, k] = totals[0, k + 1] - totals[0, k]
            blocks[i, 1, k] = totals[1, k + 1] - totals[1, k]
        drought = max(drought, 0 if before >= peak else last - top)
        out = metrics[i]
        out[:] = np.nan
        out[0] = wealth / capital - 1.0
        out[1] = out[0] * bars_per_year / count
        out[4] = worst
        out[5] = out[1] / -worst if worst < 0.0 else np.nan
        out[6] = trades
        if trades > 0.0:
            out[7], out[9] = wins / trades, held / trades
        if lost > 0.0:
            out[8] = won / lost
        out[10], out[11], out[12] = traded / capital, fees, held / (count + 1.0)
        out[15], out[16], out[17], out[18], out[19], out[20] = drought, pnls, gains, slips, paid_all, skipped
        out[23] = 0.0
        if low > 0.0 and count > 1.0:
            _ratios(out, count, s1, s2, s3, s4, below, np.sqrt(bars_per_year))
