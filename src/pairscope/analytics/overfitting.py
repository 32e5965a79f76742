r"""How likely it is that the best of many backtests was chosen for its luck, by combinatorial cross-validation.

Time is cut into blocks of one length. Each way to take half of them is a split: the trial with the highest Sharpe
ratio in that half is chosen, and its rank among all trials in the other half says what the choice was worth. Where the
choice finds skill it ranks high again; where it finds luck it ranks anywhere, and below where luck has to be paid back.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pairscope.errors import InputError, NotEnoughData
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8, I8

__all__ = ["CrossValidation", "SplitChoices", "cross_validate", "judge_splits", "split_halves", "summarize_splits"]

_MOST_BLOCKS: Final = 20
_ROUNDING: Final = 1e-12


class SplitChoices(NamedTuple):
    """A row a split: the trial chosen, its Sharpe ratio a bar in both halves, and its rank outside, from 1 on."""

    chosen: I8
    inside: F8
    outside: F8
    rank: F8


class CrossValidation(NamedTuple):
    """What cross-validation found.

    ``pbo`` is the share of splits whose choice did no better than the median of all ``trials`` outside, where
    ``logits`` are at most 0; ``loss`` the share whose choice lost money outside. ``slope`` and ``intercept`` are those
    of the line of the chosen ones' Sharpe ratio outside over the one inside: below 0, the better it looked the worse
    it was. NaN where the ratios inside do not vary.
    """

    pbo: float
    loss: float
    slope: float
    intercept: float
    logits: F8
    choices: SplitChoices
    trials: int
    blocks: int


def split_halves(blocks: int) -> NDArray[np.bool_]:
    """Return every split of an even number of blocks in two halves once: a row a split, True in its first half.

    Each row stands for two splits, either half being the one that chooses; the first block is always True. O(splits).

    >>> split_halves(4).astype(int).tolist()
    [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    """
    if int(blocks) != blocks or not 2 <= blocks <= _MOST_BLOCKS or blocks % 2:
        raise InputError(f"blocks: must be an even number from 2 to {_MOST_BLOCKS}", loc="blocks")
    half = int(blocks) // 2
    rows = np.zeros((comb(int(blocks), half) // 2, int(blocks)), np.bool_)
    for row, rest in zip(rows, combinations(range(1, int(blocks)), half - 1), strict=True):
        row[[0, *rest]] = True
    return rows


@kernel
def _square_each(total: F8, square: F8, count: float, above: F8, below: F8) -> None:  # pragma: no cover - compiled
    """Write each trial's Sharpe ratio squared, with its sign, as a fraction: no division, no root."""
    for i in range(total.size):
        t = total[i]
        power = count * square[i]
        variance = power - t * t
        above[i] = t * abs(t)
        below[i] = variance if variance > _ROUNDING * power else (1.0 if t == 0.0 else 0.0)


@kernel
def _best_of(above: F8, below: F8) -> int:  # pragma: no cover - compiled
    """Return where the first highest fraction stands."""
    best = 0
    for i in range(1, above.size):
        if above[i] * below[best] > above[best] * below[i]:
            best = i
    return best


@kernel
def _ratio_of(above: float, below: float, count: float) -> float:  # pragma: no cover - compiled
    """Return the Sharpe ratio of a squared one."""
    if below == 0.0:
        return np.inf if above > 0.0 else -np.inf
    ratio = np.sqrt(abs(above) / below * ((count - 1.0) / count))
    return float(ratio if above >= 0.0 else -ratio)


@kernel
def _rank_of(above: F8, below: F8, place: int) -> float:  # pragma: no cover - compiled
    """Return the rank of one fraction among all, the lowest 1, equal ones the mean of theirs."""
    a, b = above[place], below[place]
    lower = equal = 0
    for i in range(above.size):
        ours, theirs = a * below[i], above[i] * b
        lower += theirs < ours
        equal += theirs == ours
    return float(lower) + 0.5 * (float(equal) + 1.0)


@kernel
def _judge_each(
    sums: NDArray[np.float64], squares: NDArray[np.float64], size: int, halves: NDArray[np.bool_], out: F8
) -> None:  # pragma: no cover - compiled
    blocks, trials = sums.shape
    count = float(size * (blocks // 2))
    total, square, whole, whole_square = np.empty((4, trials))
    above, below, above_after, below_after = np.empty((4, trials))
    whole[:] = 0.0
    whole_square[:] = 0.0
    for b in range(blocks):
        whole += sums[b]
        whole_square += squares[b]
    for k in range(halves.shape[0]):
        total[:] = 0.0
        square[:] = 0.0
        for b in range(blocks):
            if halves[k, b]:
                part, power = sums[b], squares[b]
                for i in range(trials):
                    total[i] += part[i]
                    square[i] += power[i]
        _square_each(total, square, count, above, below)
        for i in range(trials):
            total[i] = whole[i] - total[i]
            square[i] = whole_square[i] - square[i]
        _square_each(total, square, count, above_after, below_after)
        first, second = _best_of(above, below), _best_of(above_after, below_after)
        out[2 * k, 0], out[2 * k + 1, 0] = first, second
        out[2 * k, 1] = _ratio_of(above[first], below[first], count)
        out[2 * k, 2] = _ratio_of(above_after[first], below_after[first], count)
        out[2 * k + 1, 1] = _ratio_of(above_after[second], below_after[second], count)
        out[2 * k + 1, 2] = _ratio_of(above[second], below[second], count)
        out[2 * k, 3] = _rank_of(above_after, below_after, first)
        out[2 * k + 1, 3] = _rank_of(above, below, second)


def judge_splits(
    sums: NDArray[np.float64], squares: NDArray[np.float64], size: int, halves: NDArray[np.bool_]
) -> SplitChoices:
    """Return what is chosen in each half of each split, and what becomes of it in the other.

    ``sums`` and ``squares`` (blocks, trials) are those of each block's returns, ``size`` of them a block. Equal best
    ones: the first is chosen. Returns that do not vary in a half have the ratio 0 if they are 0, else an infinite one.
    NaN is not allowed. O(splits · blocks · trials).

    >>> sums, squares = np.array([[2.0, 1.0], [2.0, -1.0]]), np.full((2, 2), 9.0)
    >>> judge_splits(sums, squares, 4, split_halves(2)).rank.tolist()
    [2.0, 2.0]
    """
    out = np.empty((2 * len(halves), 4))
    _judge_each(np.ascontiguousarray(sums), np.ascontiguousarray(squares), size, halves, out)
    return SplitChoices(out[:, 0].astype(np.int64), out[:, 1].copy(), out[:, 2].copy(), out[:, 3].copy())


def summarize_splits(choices: SplitChoices, *, trials: int, blocks: int) -> CrossValidation:
    r"""Return what choices in many splits say together.

    .. math:: \omega = \frac{\mathrm{rank}}{N + 1}, \quad \lambda = \ln \frac{\omega}{1 - \omega}, \quad
        PBO = P(\lambda \le 0)

    NaN slope where the ratios inside do not vary; infinite ratios are left out of it. O(splits).

    >>> choices = SplitChoices(np.array([0, 1]), np.array([1.0, 3.0]), np.array([0.5, -0.5]), np.array([2.0, 1.0]))
    >>> made = summarize_splits(choices, trials=2, blocks=2)
    >>> made.pbo, made.loss, made.slope
    (0.5, 0.5, -0.5)
    """
    share = choices.rank / (trials + 1.0)
    logits = np.log(share / (1.0 - share))
    known = np.isfinite(choices.inside) & np.isfinite(choices.outside)
    a, b = choices.inside[known], choices.outside[known]
    slope = intercept = float("nan")
    if a.size > 1:
        gaps = a - a.mean()
        size = float(gaps @ gaps)
        if size > (_ROUNDING * float(np.abs(a).max())) ** 2 * a.size:
            slope = float(gaps @ (b - b.mean())) / size
            intercept = float(b.mean()) - slope * float(a.mean())
    return CrossValidation(
        float((share <= 0.5).mean()),
        float((choices.outside < 0.0).mean()),
        slope,
        intercept,
        logits,
        choices,
        trials,
        blocks,
    )


def cross_validate(returns: NDArray[np.float64], *, blocks: int = 16) -> CrossValidation:
    r"""Return the probability of backtest overfitting of trials, from their returns.

    ``returns`` (T, N) has a row a bar and a column a trial. Time is cut into ``blocks`` of one length, the oldest rows
    that are left over aside; of all :math:`\binom{S}{S/2}` splits, each half once the one that chooses. Performance is
    the Sharpe ratio. Assumes no law of the returns, but that the blocks are alike and the halves of a split do not
    depend on each other: a block should be longer than a trade. Trials whose returns never vary are nothing that
    anybody would choose: they are left out, ``trials`` counts the others, and ``choices.chosen`` counts all columns.
    NaN, infinities, fewer than two such trials and fewer than two rows a block raise ``ValueError``.
    O(T N + splits · blocks · N).
    Reference: Bailey, Borwein, López de Prado & Zhu (2017), *Journal of Computational Finance* 20(4).

    >>> skill = np.array([0.01, 0.03, 0.02] * 16)
    >>> noise = np.sin(np.arange(48.0) ** 2)[:, None] * np.linspace(0.01, 0.02, 5)
    >>> made = cross_validate(np.column_stack([skill, noise]))
    >>> made.pbo, made.logits.size, set(made.choices.chosen.tolist())
    (0.0, 12870, {0})
    """
    table = np.asarray(returns, np.float64)
    if table.ndim != 2:
        raise InputError("returns: must have a row a bar and a column a trial", loc="returns")
    if not np.isfinite(table).all():
        raise InputError("returns: has values that are not finite", loc="returns")
    halves = split_halves(blocks)
    size = len(table) // blocks
    if size < 2:
        raise NotEnoughData("returns:", need=2 * blocks, have=len(table))
    cut = table[len(table) - size * blocks :]
    kept = np.flatnonzero(np.ptp(cut, axis=0) > 0.0)
    if kept.size < 2:
        raise NotEnoughData("returns: trials that vary", need=2, have=int(kept.size))
    parts = cut[:, kept].reshape(blocks, size, kept.size)
    choices = judge_splits(parts.sum(axis=1), (parts * parts).sum(axis=1), size, halves)
    return summarize_splits(choices._replace(chosen=kept[choices.chosen]), trials=int(kept.size), blocks=blocks)
