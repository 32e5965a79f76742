"""A closer look at one pair of a screen, in sentences: does it hold in parts, do other tests agree, would it pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pairscope.dashboard.pair_words import base_of, number, number_at, when
from pairscope.dashboard.scanner_choice import ScanChoice

__all__ = ["ENTRY", "both_ways", "facts_of", "history_words", "null_words", "q_text"]

ENTRY: Final = 2.0
"""The z-score from which the way back is reckoned."""

_PARTS: Final = 4
_MUCH_MORE: Final = 2.0


def q_text(q: float | None) -> str:
    """Write a q-value; a very small one as a bound.

    >>> q_text(0.00321), q_text(1e-7), q_text(None)
    ('0.0032', '< 0.0001', '–')
    """
    return "–" if q is None else "< 0.0001" if q < 1e-4 else number(q, 2)


def null_words(null: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Say what theory promises of the discoveries and what surrogates offer, and whether that is much more.

    >>> null_words({"surrogates": 20, "discoveries": 14, "fdr_promised": 0.05, "false_promised": 0.7,
    ...             "false_expected": 3.1, "false_least": 0, "false_most": 9})[0]
    "Of 14 discoveries theory promises at most 0.7 false; on this market's own null 3.1 are expected (0 to 9 in 20 \
surrogate markets without a pair)."
    """
    if not null:
        return "", False
    found = int(number_at(null, "discoveries") or 0)
    promised, expected, least, most = (
        number_at(null, f"false_{name}") or 0.0 for name in ("promised", "expected", "least", "most")
    )
    markets = f"{int(number_at(null, 'surrogates') or 0)} surrogate markets without a pair"
    counted = f"({_amount(least)} to {_amount(most)} in {markets})"
    if not found:
        return (
            f"A lone pair would be a discovery at p up to {_tiny(number_at(null, 'pvalue'))}: on this market's own "
            f"null {_amount(expected)} tests come as far by chance {counted}.",
            False,
        )
    much = expected > _MUCH_MORE * promised
    told = (
        f"Of {found:,} discover{'y' if found == 1 else 'ies'} theory promises at most {_amount(promised)} false; "
        f"on this market's own null {_amount(expected)} are expected {counted}."
    )
    if expected >= found:
        told += " Chance alone offers as many: believe none of them on this screen's word alone."
    return told, much


def facts_of(
    row: Mapping[str, Any], other: Mapping[str, Any] | None, choice: ScanChoice, *, surrogates: int | None = None
) -> list[str]:
    """Say what a second look at a test says, a sentence a line; what could not be computed is left out."""
    seen = row.get("examination") or {}
    facts = [
        _parts(seen),
        _johansen(seen),
        _hurst(number_at(seen, "hurst")),
        _pays(row, choice),
        _other_way(row, other),
        _chance(row, surrogates),
    ]
    return [fact for fact in facts if fact]


def history_words(history: Mapping[str, Any], bar_s: int) -> str:
    """Say since when a pair is discovered, or why there is no history of it."""
    q = [value for value in history.get("qvalue", ()) if value is not None]
    if not q:
        reason = str(history.get("reason") or "there is none yet")
        return f"No history: {reason}."
    told = f"In {len(q):,} screens its q-value went from {q_text(min(q))} to {q_text(max(q))}"
    since = number_at(history, "since")
    if history.get("discovered") and since is not None:
        return f"{told}; a discovery, one way round or the other, since {when(since, bar_s)}."
    return f"{told}; it is no discovery now."


def _parts(seen: Mapping[str, Any]) -> str:
    stable, rejects = number_at(seen, "beta_stable"), number_at(seen, "rejects")
    if stable is None or rejects is None:
        return ""
    held, alone = round(stable * _PARTS), round(rejects * _PARTS)
    mark = "▲" if held <= _PARTS // 2 else "✓" if held == _PARTS and alone >= _PARTS // 2 else "○"
    return (
        f"{mark} Cut into {_PARTS} parts, its hedge ratio agrees with the whole's in {_of_parts(held)} of them; "
        f"the relation shows in {_of_parts(alone)} by itself."
    )


def _of_parts(count: int) -> str:
    return {0: "none", _PARTS: "all"}.get(count, str(count))


def _johansen(seen: Mapping[str, Any]) -> str:
    rank, trace = number_at(seen, "johansen_rank"), number_at(seen, "johansen_trace")
    if rank is None or trace is None:
        return ""
    if rank < 1:
        return f"▲ Johansen's test finds no relation (trace {number(trace, 3)}): the two tests disagree."
    if rank < 2:
        return f"✓ Johansen's test finds one relation too (trace {number(trace, 3)})."
    return f"○ Johansen's test takes both legs for stationary by themselves (trace {number(trace, 3)})."


def _hurst(hurst: float | None) -> str:
    if hurst is None:
        return ""
    if hurst < 0.45:
        return f"✓ Hurst exponent of the spread {hurst:.2f}: below 0.5, it comes back."
    if hurst <= 0.55:
        return f"○ Hurst exponent of the spread {hurst:.2f}: near 0.5, hardly other than a random walk."
    return f"▲ Hurst exponent of the spread {hurst:.2f}: above 0.5, it trends."


def _pays(row: Mapping[str, Any], choice: ScanChoice) -> str:
    std, beta = number_at(row, "spread_std"), number_at(row, "beta")
    if std is None or beta is None:
        return ""
    cost = 2.0 * (1.0 + abs(beta)) * choice.cost_bps
    way = (ENTRY - choice.exit) * std * 1e4
    mark, left = ("✓", "leaves") if way > cost else ("▲", "costs")
    return (
        f"{mark} Its deviation is {number(std * 1e4, 3)} bps: from z {ENTRY:g} to {choice.exit:g} is "
        f"{number(way, 3)} bps, which after {number(cost, 3)} bps for the round trip {left} "
        f"{number(abs(way - cost), 3)} bps."
    )


def _other_way(row: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    if other is None:
        return ""
    y, x = base_of(str(row.get("y", ""))), base_of(str(row.get("x", "")))
    return f"○ The other way round, {x} on {y}, q is {q_text(number_at(other, 'qvalue'))}."


def _chance(row: Mapping[str, Any], surrogates: int | None) -> str:
    expected, p = number_at(row, "false_expected"), number_at(row, "pvalue")
    if expected is None or p is None or not surrogates:
        return ""
    mark = "▲" if expected >= 1.0 else "✓" if expected < 0.1 else "○"
    return (
        f"{mark} In a market like this without a single pair, {_amount(expected)} tests have so small a p-value "
        f"({surrogates} surrogate markets)."
    )


def _amount(value: float) -> str:
    """Write a number of false discoveries, of which a fraction is an average."""
    return (
        f"{value:,.0f}"
        if value >= 20 or value == round(value)
        else f"{value:.1f}"
        if value >= 0.1
        else number(value, 1)
    )


def _tiny(p: float | None) -> str:
    return "–" if not p else number(p, 2) if p >= 1e-3 else f"1 in {float(f'{1.0 / p:.2g}'):,.0f}"


def both_ways(rows: Sequence[Mapping[str, Any]], y: str, x: str) -> tuple[Mapping[str, Any] | None, ...]:
    """Return the test of y on x and that of x on y, None where there is none."""
    found = {(row.get("y"), row.get("x")): row for row in rows}
    return found.get((y, x)), found.get((x, y))
