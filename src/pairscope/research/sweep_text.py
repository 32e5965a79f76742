"""Many rules tried on one pair in plain words: what to think of the best of a sweep, and of choosing as one goes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.research.backtest_text import (
    WIDTH,
    backtest_lines,
    figure,
    figures,
    label_of,
    minute,
    money_line,
    rows_lines,
    table_lines,
    two_columns,
    verdict_lines,
)

__all__ = ["FOLD_COLUMNS", "fold_cells", "sweep_lines", "sweep_verdict", "walk_lines", "walk_verdict"]

FOLD_COLUMNS: Final = ("Sharpe in", "Sharpe out", "return in", "return out")
"""The heads of what was earned in sample and out of it."""

_LITTLE: Final = 0.2
_SKILL: Final = 0.95
_FEWEST: Final = 10
_SHOWN: Final = 5


def sweep_lines(document: Mapping[str, Any], *, limit: int) -> list[str]:
    """Return a sweep as lines: how much of its best is luck, its first ``limit`` rows (0: all), its best rule alone."""
    lines = [*verdict_lines(sweep_verdict(document)), ""]
    lines += rows_lines(document["rows"][: limit or None], [*document["grid"]])
    if document.get("best_run"):
        chosen = ", ".join(f"{label_of(name)} {figure(name, document['best'][name])}" for name in document["grid"])
        lines += ["", *textwrap.wrap(f"the best combination on its own: {chosen}", WIDTH)]
        lines += backtest_lines(document["best_run"], limit=_SHOWN)
    return lines


def walk_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a walk-forward as lines: the verdict, what was earned out of sample, then the folds."""
    lines = [*verdict_lines(walk_verdict(document)), ""]
    lines += ["out of sample, the folds' tests joined:", *two_columns(list(figures(document["metrics"])))]
    lines += ["", money_line(document["metrics"]), ""]
    grid = [*document["grid"]]
    heads = ["test from (UTC)", "to", *map(label_of, grid), *FOLD_COLUMNS]
    return lines + table_lines(heads, [fold_cells(fold, grid) for fold in document["folds"]], left=(0, 1))


def sweep_verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to think of the best of a sweep: a level, a title, sentences.

    ``bad`` where overfitting is more probable than not or skill less, ``good`` where its probability is at most 20 %
    and that of skill at least 95 %, ``weak`` between, ``unknown`` where neither can be said.

    >>> sweep_verdict({"rows": [{}] * 9, "grid": {"entry": [1, 2]}, "pbo": 0.6, "deflated_sharpe": 0.9})["level"]
    'bad'
    """
    rows, skipped, grid = document["rows"], document.get("skipped") or 0, document["grid"]
    pbo, skill = document.get("pbo"), document.get("deflated_sharpe")
    known = [pbo is None or pbo <= 0.5, skill is None or skill >= 0.5]
    level, title = "weak", "The best of these may be luck"
    if pbo is None and skill is None:
        level, title = "unknown", "Too little was traded to tell skill from luck"
    elif not all(known):
        level, title = "bad", "The best of these is probably luck"
    elif pbo is not None and skill is not None and pbo <= _LITTLE and skill >= _SKILL:
        level, title = "good", "The best of these is more than luck"
    left_out = f", {skipped:,} that make no sense left out" if skipped else ""
    sentences = [
        f"{len(rows):,} combinations of {', '.join(label_of(name) for name in grid)} were tried{left_out}.",
        f"Probability of backtest overfitting: {figure('pbo', pbo)}. The share of the span's splits in which what was "
        "best in one half was below the middle in the other.",
        f"Deflated Sharpe of the best: {figure('deflated_sharpe', skill)}. The chance that it has any skill, after "
        f"{document.get('trials') or len(rows):,} trials on this pair.",
    ]
    return {"level": level, "title": title, "sentences": sentences}


def walk_verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to think of choosing parameters as one goes: a level, a title, sentences.

    ``unknown`` with fewer than ten trades out of sample, ``bad`` where these lost, ``good`` where their Sharpe ratio is
    above 0 with a probability of at least 95 % and more than half of the folds won, ``weak`` else.

    >>> made = {"metrics": {"trades": 40, "total_return": -0.1, "sharpe": -1.0}, "folds": []}
    >>> walk_verdict(made)["title"]
    'Choosing as one goes lost money'
    """
    metrics, folds = document["metrics"], document["folds"]
    won = sum((fold["out_of_sample"].get("total_return") or 0.0) > 0.0 for fold in folds)
    level, title = "weak", "Choosing as one goes won, and may have been luck"
    if metrics["trades"] < _FEWEST:
        level, title = "unknown", "Too few trades out of sample to tell"
    elif metrics["total_return"] <= 0.0:
        level, title = "bad", "Choosing as one goes lost money"
    elif (metrics.get("probabilistic_sharpe") or 0.0) >= _SKILL and 2 * won > len(folds):
        level, title = "good", "Choosing as one goes won more than luck explains"
    inside = [fold["in_sample"].get("sharpe") for fold in folds if fold["in_sample"].get("sharpe") is not None]
    sentences = [
        f"Out of sample it earned {figure('total_return', metrics['total_return'])} in "
        f"{figure('trades', metrics['trades'])} trades; {won:,} of {len(folds):,} folds won.",
    ]
    if inside and metrics.get("sharpe") is not None:
        chosen, out = sum(inside) / len(inside), metrics["sharpe"]
        flattery = ": the difference is what choosing flatters" if chosen > out else ""
        sentences.append(
            f"The Sharpe ratio of what was chosen was {figure('sharpe', chosen)} in sample on average and "
            f"{figure('sharpe', out)} out of it{flattery}."
        )
    if document.get("purge"):
        sentences.append(f"{document['purge']:,} bars lie between each choice and its test, so that none serves both.")
    return {"level": level, "title": title, "sentences": sentences}


def fold_cells(fold: Mapping[str, Any], grid: Sequence[str]) -> list[str]:
    """Return a fold as cells: its test, what was chosen, and under ``FOLD_COLUMNS`` what that earned."""
    parts = [fold["in_sample"], fold["out_of_sample"]]
    return [
        *(minute(fold[name]) for name in ("test_start", "test_end")),
        *(figure(name, fold.get(name)) for name in grid),
        *(figure(name, part.get(name)) for name in ("sharpe", "total_return") for part in parts),
    ]
