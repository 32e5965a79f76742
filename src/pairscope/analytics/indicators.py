"""Chart indicators by name: ``sma:20``, ``bb:20:2``, ``macd:12:26:9`` over the bars of one symbol.

Definitions are those of TA-Lib, to which the tests compare. Every value depends on bars up to its own only; before an
indicator has the bars that it needs it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pairscope.analytics.price_stats import checked, realized_volatility, rolling_stats, rolling_sum
from pairscope.errors import InputError
from pairscope.market.bars import BarBatch, timeframe_ns
from pairscope.market.kernel import kernel
from pairscope.market.ticks import F8

__all__ = ["INDICATORS", "Indicator", "IndicatorKind", "IndicatorPlan", "indicators", "parse_indicators"]

LONGEST = 1440
"""The longest period that an indicator may have, in bars."""
_DAY_NS = 86_400_000_000_000
_YEAR_NS = 365 * _DAY_NS
_FORGOTTEN = 20
"""Periods after which an exponential average has forgotten where it began, to less than 1e-8 of it."""

Columns = tuple[F8, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number in an indicator's name: what it is, and what it is when left out. ``whole`` ones are counts of bars."""

    name: str
    default: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class IndicatorKind:
    """One kind of indicator.

    ``outputs`` are the suffixes of its columns (one empty suffix: a single column), ``overlay`` says that it is drawn
    over the price. ``warmup`` gives the bars before the first that matters, after which a value no longer depends on
    where the bars began.
    """

    name: str
    title: str
    meaning: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    overlay: bool
    warmup: Callable[..., int]
    compute: Callable[..., Columns]


@dataclass(frozen=True, slots=True)
class Indicator:
    """An indicator as asked for: ``name`` as it was written, its kind and its numbers."""

    name: str
    kind: IndicatorKind
    numbers: tuple[float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns.

        >>> parse_indicators(["bb:20:2"]).indicators[0].columns
        ('bb:20:2.upper', 'bb:20:2.middle', 'bb:20:2.lower')
        """
        return tuple(f"{self.name}.{suffix}" if suffix else self.name for suffix in self.kind.outputs)


@dataclass(frozen=True, slots=True)
class IndicatorPlan:
    """Several indicators, and how many bars before the first wanted one they need."""

    indicators: tuple[Indicator, ...]
    warmup: int


def parse_indicators(names: Sequence[str]) -> IndicatorPlan:
    """Read indicators' names: a kind, then its numbers, separated by colons; numbers left out are the usual ones.

    Raises ``InputError`` naming the indicator.

    >>> plan = parse_indicators(["sma:50", "rsi"])
    >>> [(one.name, one.numbers) for one in plan.indicators], plan.warmup
    ([('sma:50', (50.0,)), ('rsi', (14.0,))], 280)
    """
    found = tuple(_parse(name) for name in dict.fromkeys(names))
    return IndicatorPlan(found, max((int(one.kind.warmup(*one.numbers)) for one in found), default=0))


def indicators(bars: BarBatch, names: Sequence[str]) -> dict[str, F8]:
    """Return indicators as columns, one value a bar, by name (and ``.suffix`` where a kind has several columns).

    ``bars`` are those of one symbol, oldest first; missing bars are not filled. NaN in warm-up, never for too few
    bars an error. O(bars) an indicator. Raises ``InputError`` naming the indicator, or ``bars`` where they are not as
    said, or have prices that are NaN.

    >>> from pairscope.market.bars import bars_of
    >>> from pairscope.market.symbols import Symbols
    >>> from pairscope.market.ticks import TickBatch
    >>> i8 = np.arange(4) * 60_000_000_000
    >>> ticks = TickBatch(Symbols(["BTCUSDT"]), np.zeros(4, np.int32), i8, i8, np.arange(4),
    ...     np.array([1.0, 2.0, 3.0, 6.0]), np.ones(4), np.zeros(4, np.bool_), 0)
    >>> indicators(bars_of(ticks, "1m"), ["sma:3", "vwap"])["sma:3"].round(3).tolist()
    [nan, nan, 2.0, 3.667]
    """
    plan = parse_indicators(names)
    if len(bars):
        if (bars.symbol_id != bars.symbol_id[0]).any():
            raise InputError("bars: must be those of one symbol", loc="bars")
        if (np.diff(bars.ts_open_ns) <= 0).any():
            raise InputError("bars: must be in the order of time", loc="bars")
        for name in ("high", "low", "close"):
            checked(getattr(bars, name), "bars", positive=True, constant=True)
    found: dict[str, F8] = {}
    for one in plan.indicators:
        found.update(zip(one.columns, one.kind.compute(bars, *one.numbers), strict=True))
    return found


def _parse(name: str) -> Indicator:
    """Read one name."""
    text, *numbers = name.strip().lower().split(":")
    kind = INDICATORS.get(_ALSO.get(text, text))
    if kind is None:
        raise InputError(f"indicator {name!r}: unknown, one of {', '.join(INDICATORS)}", loc="indicators")
    if len(numbers) > len(kind.parameters):
        raise InputError(f"indicator {name!r}: takes at most {len(kind.parameters)} numbers", loc="indicators")
    values = []
    for i, parameter in enumerate(kind.parameters):
        try:
            value = float(numbers[i]) if i < len(numbers) else float(parameter.default)
        except ValueError:
            value = float("nan")
        low, high = (1 + (kind.name in {"bb", "rv"}), LONGEST) if parameter.whole else (0.1, 10.0)
        if not low <= value <= high or (parameter.whole and value != int(value)):
            what = f"{'whole number' if parameter.whole else 'number'} from {low} to {high}"
            raise InputError(f"indicator {name!r}: {parameter.name} must be a {what}", loc="indicators")
        values.append(value)
    if kind.name == "macd" and values[0] >= values[1]:
        raise InputError(f"indicator {name!r}: fast must be less than slow", loc="indicators")
    return Indicator(name.strip(), kind, tuple(values))


@kernel
def _smooth(x: F8, start: int, period: int, weight: float, out: F8) -> None:  # pragma: no cover - compiled
    """Write the exponential average of ``x[start:]``, begun with the plain mean of its first ``period`` values."""
    first = start + period - 1
    if first >= x.size:
        return
    mean = 0.0
    for i in range(start, first + 1):
        mean += x[i]
    mean /= period
    out[first] = mean
    for i in range(first + 1, x.size):
        mean += weight * (x[i] - mean)
        out[i] = mean


def _averaged(x: F8, period: int, weight: float, start: int = 0) -> F8:
    out = np.full(x.size, np.nan)
    _smooth(np.array(x, np.float64), start, period, weight, out)
    return out


def _ema(x: F8, period: int, start: int = 0) -> F8:
    return _averaged(x, period, 2.0 / (period + 1.0), start)


def _wilder(x: F8, period: int) -> F8:
    return _averaged(x, period, 1.0 / period, 1)


def _blank(bars: BarBatch) -> F8:
    return np.full(len(bars), np.nan)


def _sma_columns(bars: BarBatch, period: float) -> Columns:
    if len(bars) < period:
        return (_blank(bars),)
    # Measured from the first close, so that the sums have digits to spare for the moves.
    first = bars.close[0]
    return (first + rolling_sum(bars.close - first, int(period)) / period,)


def _ema_columns(bars: BarBatch, period: float) -> Columns:
    return (_ema(bars.close, int(period)),)


def _bollinger_columns(bars: BarBatch, period: float, deviations: float) -> Columns:
    if len(bars) < period or len(bars) < 2:
        return _blank(bars), _blank(bars), _blank(bars)
    close = bars.close
    if close.min() == close.max():
        middle = np.where(np.arange(close.size) >= period - 1, close, np.nan)
        return middle, middle, middle
    stats = rolling_stats(close, int(period))
    width = deviations * stats.std * np.sqrt((period - 1.0) / period)
    return stats.mean + width, stats.mean, stats.mean - width


def _vwap_columns(bars: BarBatch) -> Columns:
    """Return the average since the day began; NaN in a day whose beginning lies before the bars."""
    quote = np.where(
        bars.quote_volume > 0.0, bars.quote_volume, bars.volume * (bars.high + bars.low + bars.close) / 3.0
    )
    day = bars.ts_open_ns // _DAY_NS
    starts = np.flatnonzero(np.diff(day, prepend=-1))
    out = _blank(bars)
    for start, end in zip(starts, [*starts[1:], day.size][: starts.size], strict=True):
        if start == 0 and bars.ts_open_ns[0] % _DAY_NS:
            continue
        volume = np.cumsum(bars.volume[start:end])
        np.divide(np.cumsum(quote[start:end]), volume, out=out[start:end], where=volume > 0.0)
    return (out,)


def _rsi_columns(bars: BarBatch, period: float) -> Columns:
    change = np.diff(bars.close, prepend=bars.close[:1])
    gain = _wilder(np.maximum(change, 0.0), int(period))
    loss = _wilder(np.maximum(-change, 0.0), int(period))
    total = gain + loss
    out = _blank(bars)
    np.divide(100.0 * gain, total, out=out, where=total > 0.0)
    return (out,)


def _macd_columns(bars: BarBatch, fast: float, slow: float, signal: float) -> Columns:
    line = _ema(bars.close, int(fast), int(slow) - int(fast)) - _ema(bars.close, int(slow))
    average = _ema(line, int(signal), int(slow) - 1)
    line = np.where(np.isnan(average), np.nan, line)
    return line, average, line - average


def _atr_columns(bars: BarBatch, period: float) -> Columns:
    before = np.concatenate([bars.close[:1], bars.close[:-1]])
    reach = np.maximum(bars.high, before) - np.minimum(bars.low, before)
    return (_wilder(reach, int(period)),)


def _volatility_columns(bars: BarBatch, window: float) -> Columns:
    if len(bars) < window + 1 or bars.close.min() == bars.close.max():
        return (np.where(np.arange(len(bars)) >= window, 0.0, np.nan),)
    per_year = _YEAR_NS / timeframe_ns(bars.timeframe)
    return (np.array(realized_volatility(bars.close, int(window), periods_per_year=per_year)),)


def _kinds(*kinds: IndicatorKind) -> Mapping[str, IndicatorKind]:
    return MappingProxyType({kind.name: kind for kind in kinds})


_PERIOD_20 = Parameter("period", 20)
_ALSO = MappingProxyType({"bollinger": "bb", "volatility": "rv"})

INDICATORS: Mapping[str, IndicatorKind] = _kinds(
    IndicatorKind("sma", "SMA", "mean of the last closes", (_PERIOD_20,), ("",), True, lambda n: n - 1, _sma_columns),
    IndicatorKind(
        "ema",
        "EMA",
        "exponential mean of closes",
        (_PERIOD_20,),
        ("",),
        True,
        lambda n: _FORGOTTEN / 2 * n,
        _ema_columns,
    ),
    IndicatorKind(
        "bb",
        "Bollinger bands",
        "mean of the last closes, and so many population standard deviations on either side",
        (_PERIOD_20, Parameter("deviations", 2, whole=False)),
        ("upper", "middle", "lower"),
        True,
        lambda n, _: n - 1,
        _bollinger_columns,
    ),
    IndicatorKind(
        "vwap", "VWAP", "volume-weighted average price since 00:00 UTC", (), ("",), True, lambda: 1440, _vwap_columns
    ),
    IndicatorKind(
        "rsi",
        "RSI",
        "Wilder's relative strength index, 0 to 100",
        (Parameter("period", 14),),
        ("",),
        False,
        lambda n: _FORGOTTEN * n,
        _rsi_columns,
    ),
    IndicatorKind(
        "macd",
        "MACD",
        "difference of two exponential means, its own mean, and what is between them",
        (Parameter("fast", 12), Parameter("slow", 26), Parameter("signal", 9)),
        ("macd", "signal", "histogram"),
        False,
        lambda fast, slow, signal: _FORGOTTEN // 2 * (slow + signal),
        _macd_columns,
    ),
    IndicatorKind(
        "atr",
        "ATR",
        "Wilder's average true range, in quote units",
        (Parameter("period", 14),),
        ("",),
        False,
        lambda n: _FORGOTTEN * n,
        _atr_columns,
    ),
    IndicatorKind(
        "rv",
        "Realised volatility",
        "root mean square of the last log returns, a year of 365 days",
        (Parameter("window", 60),),
        ("",),
        False,
        lambda n: n,
        _volatility_columns,
    ),
)
"""Every kind of indicator by name. ``bollinger`` and ``volatility`` are read as ``bb`` and ``rv``."""
