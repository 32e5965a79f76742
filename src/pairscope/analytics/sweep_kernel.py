"""One pair traded by many rules: those that enter together share what follows, and a flat bar costs nothing.

Rules that differ in thresholds, holding times and money share hedge ratios, z-scores and the moments of each window
(``sweep_moments``), and the path of each position (``sweep_paths``). Bars are gone through in order, from one at which
somebody enters to the next; a rule waits at the bar at which it enters next. Returns are not kept: their sums of powers
and their extremes are enough for every metric here. A row is what ``backtest_pair`` makes of the same rule.
"""

from __future__ import annotations

from math import erfc
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.pair_window import zscore_window
from pairscope.analytics.sweep_moments import SweepLegs, WindowMoments
from pairscope.analytics.sweep_paths import (
    PATH_ROWS,
    bar_lines,
    close_path,
    enter_path,
    extend_path,
    extend_scores,
    first_crossing,
)
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["SWEEP_METRICS", "sweep_rows"]

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

_AHEAD: Final = 16
_SURELY: Final = 1.0 - 1e-12
_LANES: Final = 8

# The columns of a rule, and where the terms of a position begin; rows of a path; columns of a bar's line.
_ENTRY, _EXIT, _STOP, _LONGEST, _COOLDOWN, _CAPITAL, _TERMS = range(7)
_MAINTENANCE: Final = 12
_PNL, _STEP, _BASE, _MOST, _LEAST, _NEED, _PAID = range(7)
_RETURNS: Final = 10
_Y, _X = range(2)
_FILL_Y, _FILL_X, _RANGE_Y, _RANGE_X = range(9, 13)

# The account of a rule: a row of numbers.
_WEALTH, _PEAK, _TOP, _WORST, _LOW, _DROUGHT, _COUNT, _S1, _S2, _S3, _S4, _BELOW = range(12)
_TRADES, _WINS, _HELD, _WON, _LOST, _TRADED, _FEES, _SLIPS, _PAID_ALL, _GAINS, _PNLS, _SKIPPED, _EDGE = range(12, 25)
_ACCOUNT: Final = 32


@kernel
def _opened(account: F8, capital: float, origin: int, last: int) -> None:  # pragma: no cover - compiled
    """Begin an account."""
    account[:] = 0.0
    account[_WEALTH] = account[_PEAK] = account[_LOW] = capital
    account[_TOP], account[_COUNT] = origin, last - origin


@kernel
def _entries(zscore: F8, coming: I8, latest: int) -> tuple[I8, I8, F8]:  # pragma: no cover - compiled
    """Return from each bar on which of the possible entries is next, the bars of those, and their sizes of z."""
    rank = np.empty(zscore.size + 1, np.int64)
    count = 0
    for t in range(zscore.size):
        rank[t] = count
        count += coming[t] == t and t <= latest
    rank[zscore.size] = count
    at, sizes = np.empty(count, np.int64), np.empty(count)
    for t in range(zscore.size):
        if rank[t + 1] > rank[t]:
            at[rank[t]], sizes[rank[t]] = t, abs(zscore[t])
    return rank, at, sizes


@kernel
def _next_entry(sizes: F8, rank: int, entry: float, stop: float) -> int:  # pragma: no cover - compiled
    """Return the first z-score from one on that enters, or how many there are."""
    while rank < sizes.size and not (entry <= sizes[rank] and sizes[rank] < stop):
        rank += 1
    return rank


@kernel
def _watch_peak(
    accounts: NDArray[np.float64], i: int, path: NDArray[np.float64], size: int, start: int
) -> None:  # pragma: no cover - compiled
    """Follow an account's peak, its falls below it and their lengths through a position's bars."""
    wealth, peak, top, worst = accounts[i, _WEALTH], accounts[i, _PEAK], accounts[i, _TOP], accounts[i, _WORST]
    low, drought = accounts[i, _LOW], accounts[i, _DROUGHT]
    for j in range(size):
        equity = wealth + path[_PNL, j]
        if equity >= peak:
            drought = max(drought, start + j - 1 - top)
            peak, top = equity, float(start + j)
        else:
            low = min(low, equity)
            if equity - peak < worst * peak:
                worst = np.divide(equity - peak, peak)
    accounts[i, _PEAK], accounts[i, _TOP], accounts[i, _WORST] = peak, top, worst
    accounts[i, _LOW], accounts[i, _DROUGHT] = low, drought


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
def _written(out: F8, account: F8, capital: float, last: int, bars_per_year: float) -> None:  # pragma: no cover
    """Write the metrics of an account."""
    wealth, count, worst, trades = account[_WEALTH], account[_COUNT], account[_WORST], account[_TRADES]
    out[:] = np.nan
    out[0] = wealth / capital - 1.0
    out[1] = out[0] * bars_per_year / count
    out[4] = worst
    out[5] = out[1] / -worst if worst < 0.0 else np.nan
    out[6] = trades
    if trades > 0.0:
        out[7], out[9] = account[_WINS] / trades, account[_HELD] / trades
    if account[_LOST] > 0.0:
        out[8] = account[_WON] / account[_LOST]
    out[10], out[11], out[12] = account[_TRADED] / capital, account[_FEES], account[_HELD] / (count + 1.0)
    out[15] = max(account[_DROUGHT], 0.0 if wealth >= account[_PEAK] else last - account[_TOP])
    out[16], out[17], out[18] = account[_PNLS], account[_GAINS], account[_SLIPS]
    out[19], out[20], out[23] = account[_PAID_ALL], account[_SKIPPED], 0.0
    if account[_LOW] > 0.0 and count > 1.0:
        s1, s2, s3, s4, below = account[_S1], account[_S2], account[_S3], account[_S4], account[_BELOW]
        _ratios(out, count, s1, s2, s3, s4, below, np.sqrt(bars_per_year))


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
    metric that is not defined is NaN. Rules that follow each other and differ only in columns before ``fee_y`` share
    paths: O(bars that could enter + bars held by any) for these together, and a few operations a bar held for each.

    >>> y, x = np.array([100.0, 100.0, 90.0, 95.0, 100.0, 100.0]), np.array([9.0, 11.0, 10.0, 11.0, 9.0, 10.0])
    >>> legs = SweepLegs(y, x, y, x, y, x, *[np.zeros(6)] * 4, False, False, False, 0)
    >>> from pairscope.analytics.sweep_moments import entry_scores, window_moments
    >>> from pairscope.analytics.sweep_paths import SweepRule
    >>> moments, z, coming, beta = window_moments(y, x, 3), np.empty(6), np.empty(7, np.int64), np.zeros(6)
    >>> entry_scores(legs, beta, moments, 3, np.array([1.1]), 1.1, np.full(6, True), z, coming)
    >>> rule = SweepRule(1.1, 0.0, np.inf, np.inf, 0.0, 1000.0, *[0.0] * 5, 1000.0, *[0.0] * 4)
    >>> made, sums = np.empty((1, len(SWEEP_METRICS))), np.empty((1, 2, 1))
    >>> sweep_rows(legs, beta, moments, z, coming, 3, 365.0, np.array([rule]), np.array([1, 6]), made, sums)
    >>> made[0, [6, 0]].round(4).tolist()
    [1.0, 0.0526]
    """
    # Arrays by names of their own: those of a tuple are counted anew at every use.
    spaced_y, spaced_x, log, opens, origin = legs.spaced_y, legs.spaced_x, legs.log, legs.opens, legs.first
    lines = bar_lines(legs, moments)
    last = beta.size - 1
    delay = 0 if legs.same else 1
    rank, at, sizes = _entries(zscore, coming, last - delay)
    count = at.size
    waiting, behind = np.full(count + 1, -1), np.empty(len(rules), np.int64)
    accounts, path = np.empty((len(rules), _ACCOUNT)), np.empty((PATH_ROWS, beta.size + _LANES))
    blocks[:] = 0.0
    done = 0
    while done < len(rules):
        begun, terms = done, rules[done]
        while done < len(rules) and (rules[done, _TERMS:] == terms[_TERMS:]).all():
            _opened(accounts[done], rules[done, _CAPITAL], origin, last)
            done += 1
        for i in range(done - 1, begun - 1, -1):
            k = _next_entry(sizes, 0, rules[i, _ENTRY], rules[i, _STOP])
            behind[i], waiting[k] = waiting[k], i
        maintenance = terms[_MAINTENANCE]
        for here in range(count):
            i = waiting[here]
            if i < 0:
                continue
            waiting[here] = -1
            s = at[here]
            start = s + delay
            entry = enter_path(lines, s, start, -1.0 if zscore[s] > 0.0 else 1.0, beta[s], log, terms)
            size_y, size_x = abs(entry.quantity_y), abs(entry.quantity_x)
            made, scored, limit = 0, 0, last - start
            while i >= 0:
                following = behind[i]
                t = s + 1
                if np.isnan(entry.quantity_y):
                    accounts[i, _SKIPPED] += 1.0
                else:
                    # What decides to leave: a bar of the path from the one after the entry's decision on.
                    longest = int(min(rules[i, _LONGEST], float(beta.size))) - delay
                    horizon = min(limit, longest + 1)
                    ended, seen, why = horizon, 1 - delay, 0
                    while seen < horizon and why == 0:
                        if scored <= seen:
                            until = min(limit + 1, scored + max(_AHEAD, scored // 2))
                            extend_scores(path, scored, until, entry, lines, spaced_y, spaced_x, window)
                            scored = until
                        seen, why = first_crossing(path, seen, min(scored, horizon), rules[i, _EXIT], rules[i, _STOP])
                        if why == 3:
                            z = zscore_window(spaced_y, spaced_x, start + seen + 1, window, 0.0, entry.ratio).zscore
                            gained = entry.side * z
                            why = 1 if gained >= -rules[i, _EXIT] else 2 if gained <= -rules[i, _STOP] else 0
                            seen += why == 0
                    if why > 0:
                        ended = seen
                    elif longest < limit:
                        ended = longest
                    pending = ended < limit
                    t = start + ended + 1 if pending else last + 1
                    if why == 2:
                        t += int(rules[i, _COOLDOWN])
                    ended += delay if pending else 0
                    if made <= ended:
                        extend_path(path, made, ended + 1, entry, lines, opens, maintenance)
                        made = ended + 1
                    wealth, peak = accounts[i, _WEALTH], accounts[i, _PEAK]
                    if wealth * _SURELY <= path[_NEED, ended]:
                        for j in range(1 - delay, ended):
                            value = size_y * lines[start + j, _Y] + size_x * lines[start + j, _X]
                            if wealth + path[_PNL, j] <= maintenance * value:
                                ended, pending = j, False
                                break
                    u = start + ended
                    y, x, paid = lines[u, _Y], lines[u, _X], path[_PAID, ended]
                    if pending and opens:
                        y, x, paid = lines[u, _FILL_Y], lines[u, _FILL_X], path[_PAID, ended - 1]
                    worth = close_path(entry, y, x, lines[u, _RANGE_Y], lines[u, _RANGE_X], paid)
                    pnl = worth.pnl
                    # The last bar of this rule's own path, for as long as it is looked at.
                    kept, kept_step = path[_PNL, ended], path[_STEP, ended]
                    path[_PNL, ended], path[_STEP, ended] = pnl, pnl - path[_BASE, ended]
                    if wealth >= peak:
                        accounts[i, _TOP] = max(start - 1, origin)
                    if start == origin:
                        # Filled at the first bar's own close: what it cost is the return of one bar more.
                        accounts[i, _TOP] = origin - 1
                        accounts[i, _COUNT] += wealth + path[_PNL, 0] != wealth
                    most = pnl if ended == 0 else max(pnl, path[_MOST, ended - 1])
                    if wealth + most >= peak:
                        _watch_peak(accounts, i, path, ended + 1, start)
                    else:
                        least = wealth + (pnl if ended == 0 else min(pnl, path[_LEAST, ended - 1]))
                        accounts[i, _LOW] = min(accounts[i, _LOW], least)
                        if least - peak < accounts[i, _WORST] * peak:
                            accounts[i, _WORST] = np.divide(least - peak, peak)
                    for j in range((ended + _LANES) // _LANES * _LANES):
                        path[_RETURNS, j] = np.divide(path[_STEP, j], wealth + path[_BASE, j])
                    since, edge = 0, int(accounts[i, _EDGE])
                    while since <= ended:
                        while edge < edges.size and start + since >= edges[edge]:
                            edge += 1
                        until = ended + 1 if edge == edges.size else min(ended + 1, edges[edge] - start)
                        s1 = s2 = s3 = s4 = below = 0.0
                        for j in range(since, until):
                            r = path[_RETURNS, j]
                            square, fall = r * r, min(r, 0.0)
                            s1 += r
                            s2 += square
                            s3 += square * r
                            s4 += square * square
                            below += fall * fall
                        accounts[i, _S1] += s1
                        accounts[i, _S2] += s2
                        accounts[i, _S3] += s3
                        accounts[i, _S4] += s4
                        accounts[i, _BELOW] += below
                        if 0 < edge < edges.size:
                            blocks[i, 0, edge - 1] += s1
                            blocks[i, 1, edge - 1] += s2
                        since = until
                    path[_PNL, ended], path[_STEP, ended] = kept, kept_step
                    accounts[i, _EDGE] = edge
                    accounts[i, _TRADES] += 1.0
                    accounts[i, _HELD] += ended
                    accounts[i, _WINS] += pnl > 0.0
                    accounts[i, _WON] += max(pnl, 0.0)
                    accounts[i, _LOST] += max(-pnl, 0.0)
                    accounts[i, _TRADED] += entry.value + worth.value
                    accounts[i, _FEES] += worth.fee
                    accounts[i, _SLIPS] += worth.slippage
                    accounts[i, _PAID_ALL] += paid
                    accounts[i, _GAINS] += worth.moved
                    accounts[i, _PNLS] += pnl
                    accounts[i, _WEALTH] = wealth + pnl
                    if wealth + pnl <= maintenance * worth.value:
                        t = last + 1
                k = _next_entry(sizes, rank[min(t, last + 1)], rules[i, _ENTRY], rules[i, _STOP])
                behind[i], waiting[k] = waiting[k], i
                i = following
        waiting[count] = -1
        for i in range(begun, done):
            _written(metrics[i], accounts[i], rules[i, _CAPITAL], last, bars_per_year)
