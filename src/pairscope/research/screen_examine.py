"""The second look at a screen's discoveries: would the pair pay, does it hold in parts, do other tests agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pairscope.analytics.cointegration import engle_granger
from pairscope.analytics.hurst import hurst_exponent
from pairscope.analytics.johansen import johansen
from pairscope.errors import DegenerateSeries, InputError, NotEnoughData
from pairscope.market.ticks import F8, I8
from pairscope.research.screen_table import ScreenResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Examination", "examine"]

_NAMES: Final = (
    "y", "x", "qvalue", "hurst", "johansen_trace", "johansen_rank", "spread_bps", "cost_bps", "edge_bps",
    "beta_stable", "rejects",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """A row a discovery, in the order of the screen.

    ``hurst`` of the spread; ``johansen_trace`` for "no relation", ``johansen_rank`` relations at 5 % (1 or more where
    both tests see the pair tied); ``spread_bps`` the spread's standard deviation in basis points of y's value,
    ``cost_bps`` a round trip of both legs in the same unit, ``edge_bps`` what a reversion from ``entry`` to ``exit``
    standard deviations leaves after it; ``beta_stable`` the share of sub-periods whose hedge ratio has an interval that
    meets the whole's, ``rejects`` that of sub-periods which by themselves reject "not cointegrated" at 5 %.
    """

    y: NDArray[np.str_]
    x: NDArray[np.str_]
    qvalue: F8
    hurst: F8
    johansen_trace: F8
    johansen_rank: I8
    spread_bps: F8
    cost_bps: F8
    edge_bps: F8
    beta_stable: F8
    rejects: F8

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return _NAMES

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.y.size

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in _NAMES})


def examine(
    result: ScreenResult,
    prices: F8,
    symbols: Sequence[str],
    *,
    fdr: float = 0.05,
    limit: int = 200,
    fee_bps: float = 5.0,
    slippage_bps: float = 1.0,
    entry: float = 2.0,
    exit: float = 0.5,  # noqa: A002 - the glossary's word
    parts: int = 4,
) -> Examination:
    r"""Look closer at the discoveries of a screen: at most ``limit`` rows with a q-value of at most ``fdr``.

    .. math:: \mathrm{cost} = 2 (1 + h) (\mathrm{fee} + \mathrm{slippage}), \qquad
        \mathrm{edge} = (\mathrm{entry} - \mathrm{exit})\, \sigma - \mathrm{cost}

    with h the hedge leg's value over y's: :math:`|\beta|` in logs, :math:`|\beta x_T / y_T|` in prices; fees and
    slippage in basis points a side and leg. ``prices`` and ``symbols`` are those of the screen. The interval of a hedge
    ratio is two standard errors wide each way, with errors as correlated as an AR(1) of the residual says. Some
    milliseconds a row. ``ValueError`` names an argument that cannot be, or a symbol that ``symbols`` lacks.

    >>> from pairscope.research.screen import screen_pairs
    >>> rng = np.random.default_rng(0)
    >>> walks = np.cumsum(rng.standard_normal((600, 3)), axis=0) * 0.01
    >>> walks[:, 2] = walks[:, 0] + 0.01 * rng.standard_normal(600)
    >>> found = examine(screen_pairs(np.exp(walks), list("ABC")), np.exp(walks), list("ABC"))
    >>> len(found), found.johansen_rank.tolist(), found.rejects.tolist()
    (2, [1, 1], [1.0, 1.0])
    """
    if not 0.0 <= exit < entry:
        raise InputError("exit: must be below entry and not negative", loc="exit")
    if isinstance(parts, bool) or int(parts) != parts or parts < 1:
        raise InputError("parts: must be a whole number of at least 1", loc="parts")
    if fee_bps < 0.0 or slippage_bps < 0.0:
        raise InputError("fee_bps: costs must not be negative", loc="fee_bps")
    table = np.asarray(prices, np.float64)
    at = {str(name): i for i, name in enumerate(symbols)}
    if table.ndim != 2 or table.shape != (result.bars, len(at)):
        raise InputError(f"prices: must be the screen's, {result.bars} bars of {len(at)} symbols", loc="prices")
    chosen = result.survivors(fdr).take(slice(0, limit))
    columns: dict[str, list[float]] = {name: [] for name in _NAMES[3:]}
    for row in chosen:
        if row.y not in at or row.x not in at:
            raise InputError(f"symbols: lacks {row.y if row.y not in at else row.x}", loc="symbols")
        y, x = table[:, at[row.y]], table[:, at[row.x]]
        last_y, last_x = float(y[-1]), float(x[-1])
        if result.log:
            y, x = np.log(y), np.log(x)
        columns["hurst"].append(hurst_exponent(y - row.alpha - row.beta * x))
        trace, rank = _johansen(y, x)
        columns["johansen_trace"].append(trace)
        columns["johansen_rank"].append(rank)
        unit = 1e4 if result.log else 1e4 / abs(last_y)
        hedge = abs(row.beta) if result.log else abs(row.beta * last_x / last_y)
        cost = 2.0 * (1.0 + hedge) * (fee_bps + slippage_bps)
        columns["spread_bps"].append(row.spread_std * unit)
        columns["cost_bps"].append(cost)
        columns["edge_bps"].append((entry - exit) * row.spread_std * unit - cost)
        stable, rejects = _parts(y, x, row.beta, parts)
        columns["beta_stable"].append(stable)
        columns["rejects"].append(rejects)
    arrays: dict[str, Any] = {name: np.array(values, np.float64) for name, values in columns.items()}
    arrays["johansen_rank"] = arrays["johansen_rank"].astype(np.int64)
    return Examination(y=chosen.y, x=chosen.x, qvalue=chosen.qvalue, **arrays)


def _johansen(y: F8, x: F8) -> tuple[float, int]:
    """Return the trace statistic of "no relation" and the number of relations at 5 %; NaN and 0 without an answer."""
    try:
        test = johansen(np.column_stack([y, x]))
    except (DegenerateSeries, NotEnoughData):
        return float("nan"), 0
    return float(test.trace[0]), test.rank(0.05)


def _parts(y: F8, x: F8, beta: float, parts: int) -> tuple[float, float]:
    """Return the shares of sub-periods whose hedge ratio agrees with the whole's, and that reject by themselves."""
    whole = _error(y, x, beta)
    agree = rejects = 0
    for ys, xs in zip(np.array_split(y, parts), np.array_split(x, parts), strict=True):
        try:
            test = engle_granger(ys, xs)
        except (DegenerateSeries, NotEnoughData):
            # A part that cannot be tested speaks for nothing.
            continue
        rejects += test.rejects(0.05)
        agree += abs(test.beta - beta) <= 2.0 * (_error(ys, xs, test.beta) + whole)
    return agree / parts, rejects / parts


def _error(y: F8, x: F8, beta: float) -> float:
    """Return the standard error of a slope whose residuals are an AR(1): the textbook's, times what that adds."""
    across = x - x.mean()
    left = (y - y.mean()) - beta * across
    phi = min(max(float(left[1:] @ left[:-1]) / float(left @ left), 0.0), 0.999)
    plain = float(left @ left) / ((y.size - 2.0) * float(across @ across))
    return float(np.sqrt(plain * (1.0 + phi) / (1.0 - phi)))
