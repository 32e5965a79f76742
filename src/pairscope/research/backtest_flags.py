"""What the command line asks of a backtest: flags as they were written become the body that the API takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pairscope.errors import InputError
from pairscope.research.backtest_grid import Grid, grid_of
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_written import extension_of
from pairscope.research.sweep_table import SWEPT
from pairscope.research.written_grid import written_values

__all__ = [
    "EXCHANGE",
    "USUAL_NULLS",
    "Asked",
    "body_of",
    "named_pair",
    "question_of",
    "tries_several",
    "walk_options",
    "with_choice",
]

USUAL_NULLS: Final = 199
"""Surrogate pairs that a rule is compared with."""

EXCHANGE: Final = "exchange"
"""Stands for a file of funding rates where a running instance asks the exchange for them."""

_WHOLE: Final = frozenset({"lookback", "window", "max_holding", "cooldown", "latency_ms"})
_OPTIONAL: Final = frozenset({"stop", "max_holding", "rehedge", "capital", "latency_ms"})
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hedge": ("ols", "huber", "kalman"), "fee_bps": ("/",), "slippage_bps": ("/",)}
)
_CHOSEN: Final = ("fill", "price_space", "sizing", "gate")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks of a backtest; see ``pairscope backtest --help``.

    ``numbers`` are the rule's, by the names of the request, as they were written: ``{"entry": "1:3:0.25"}``.
    """

    y: str
    x: str
    bars: Path | None = None
    timeframe: str | None = None
    start: str | None = None
    end: str | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    funding: Path | None = None
    walk_forward: int = 0
    train: int | None = None
    test: int | None = None
    purge: int | None = None
    nulls: int = USUAL_NULLS
    trials: int = 0
    round_steps: bool = True
    sort: str = "sharpe"
    limit: int = 20
    out: Path | None = None
    json: bool = False
    cluster: str | None = None


def named_pair(words: Sequence[str], y: str | None, x: str | None) -> tuple[str, str]:
    """Return y and x, given as two words or by their flags; ``InputError`` where one is missing or there twice.

    >>> named_pair(["ETHUSDT"], None, "BTCUSDT")
    ('ETHUSDT', 'BTCUSDT')
    """
    left = [*words]
    given = {name: flag if flag is not None else (left.pop(0) if left else None) for name, flag in (("y", y), ("x", x))}
    for name, symbol in given.items():
        if not symbol:
            raise InputError("a backtest takes a pair", loc=f"--{name}", hint="pairscope backtest ETHUSDT BTCUSDT")
    if left:
        raise InputError(f"{left[0]!r} is one symbol too many", loc="--y", hint="a pair is Y, then X")
    return str(given["y"]), str(given["x"])


def question_of(asked: Asked) -> tuple[BacktestRequest, Grid]:
    """Return the request, and the parameters that take several values; refuse mistakes before anything is read."""
    numbers = {"limit": asked.limit, "nulls": asked.nulls, "trials": asked.trials, "walk_forward": asked.walk_forward}
    for name, number in numbers.items():
        if number < 0:
            raise InputError(f"{number} is below 0", loc=name)
    if asked.cluster and "://" not in asked.cluster:
        raise InputError(f"{asked.cluster!r} is no address", loc="cluster", hint="a scheduler's, like tcp://host:8786")
    if asked.out is not None:
        extension_of(asked.out)
    body = body_of(asked)
    request, grid = grid_of(body) if tries_several(body) else (BacktestRequest.from_document(body), {})
    if asked.cluster and not grid:
        raise InputError(
            "one rule alone is not worth a cluster", loc="cluster", hint="give a list, like --entry 1:3:0.1"
        )
    if asked.walk_forward and not grid:
        raise InputError(
            "there is nothing to choose from", loc="walk_forward", hint="give a list, like --entry 1:3:0.5"
        )
    if not asked.walk_forward and any(value is not None for value in (asked.train, asked.test, asked.purge)):
        raise InputError(
            "goes with the folds of a walk-forward",
            loc="train" if asked.train is not None else "test" if asked.test is not None else "purge",
            hint="give --walk-forward N, too",
        )
    if asked.sort not in {*SWEPT, *grid}:
        raise InputError(f"cannot sort by {asked.sort!r}", loc="sort", hint=f"one of {', '.join(SWEPT)}")
    return request, grid


def walk_options(asked: Asked) -> dict[str, Any]:
    """Return what a walk-forward takes besides its grid."""
    given = {"folds": asked.walk_forward, "train": asked.train, "test": asked.test, "purge": asked.purge}
    return {"metric": asked.sort, **{name: value for name, value in given.items() if value is not None}}


def tries_several(body: Mapping[str, Any]) -> bool:
    """Whether a body asks for several rules."""
    return any(isinstance(value, list) for value in (*body.values(), *body["hedge"].values()))


def body_of(asked: Asked) -> dict[str, Any]:
    """Return what is asked as the body of the API: a list where several values are tried."""
    values = {
        name: written_values(
            text, loc=name, whole=name in _WHOLE, optional=name in _OPTIONAL, words=_WORDS.get(name, ())
        )
        for name, text in asked.numbers.items()
    }
    hedges = values.pop("hedge", ["ols"])
    methods, betas = [it for it in hedges if isinstance(it, str)], [it for it in hedges if not isinstance(it, str)]
    body = {name: several if len(several) > 1 else several[0] for name, several in values.items()}
    hedge: dict[str, Any] = {"method": [*methods, *(["fixed"] if betas else [])] if methods else "fixed"}
    if len(hedges) == 1:
        hedge = {"method": methods[0]} if methods else {"method": "fixed", "beta": betas[0]}
    elif betas:
        hedge["beta"] = betas
    if "lookback" in body:
        hedge["lookback"] = body.pop("lookback")
    chosen = {name: asked.chosen[name] for name in _CHOSEN if asked.chosen.get(name) not in (None, "none")}
    return {
        "y": asked.y,
        "x": asked.x,
        "timeframe": asked.timeframe or "1m",
        **{name: value for name, value in (("start", asked.start), ("end", asked.end)) if value is not None},
        "hedge": hedge,
        "funding": asked.funding is not None,
        "round_steps": asked.round_steps,
        **chosen,
        **{name: value for name, value in body.items() if value is not None},
    }


def with_choice(request: BacktestRequest, row: Mapping[str, Any]) -> BacktestRequest:
    """Return the request with the parameters of one row."""
    named = dict(row)
    hedge = named.pop("hedge", named.get("beta"))
    if hedge is not None:
        named |= {"method": hedge, "beta": None} if isinstance(hedge, str) else {"method": "fixed", "beta": hedge}
    return replace(request, **named).checked()
