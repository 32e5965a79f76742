"""``pairscope screen``: reads a universe's closes, tests every pair, and says what was found and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, NotEnoughData
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.symbols import normalize_symbol
from pairscope.market_closes import market_closes
from pairscope.research.bars_file import read_bars_file
from pairscope.research.closes import FEWEST, Closes, aligned, iso, lengthened
from pairscope.research.executor import ClusterFailed, working_executor
from pairscope.research.screen import screen_pairs
from pairscope.research.screen_table import ScreenResult
from pairscope.research.screen_tile import ScreenLag
from pairscope.research.screen_written import SORTS, document, extension_of, lines, null_lines, ranked, write_table
from pairscope.research.surrogates import EmpiricalNull, empirical_null
from pairscope.terminal import Meter

__all__ = ["LONGEST", "Asked", "ClusterFailed", "Meter", "screen"]

Say = Callable[[str], None]
_FLAGS: Final = {"prices": "--lookback", "symbols": "--symbols", "bars": "--bars"}

LONGEST: Final = 50_000
"""Bars that a screen may look back."""

_NAMED: Final = 12
"""Left-out symbols that are named one by one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks of a screen; see ``pairscope screen --help``."""

    bars: Path | None = None
    symbols: str | None = None
    timeframe: str | None = None
    lookback: int = 1440
    fdr: float = 0.05
    sort: str = "qvalue"
    limit: int = 20
    out: Path | None = None
    autolag: str = "aic"
    json: bool = False
    empirical_null: int = 0
    cluster: str | None = None


def screen(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Screen as asked: the table goes to ``show``, what is said of it to ``say``; return the exit code.

    Interrupted, it begins no more tiles, writes no file, clears its line on the terminal and raises.
    """
    meter = Meter()
    try:
        with _flags(asked):
            lags, symbols = _checked(asked)
            closes = aligned(_closes(settings, asked, symbols, say=say, meter=meter), asked.lookback)
            meter.clear()
            _say_what_is_tested(closes, asked, say)
            with working_executor(asked.cluster or settings.cluster_url or None) as executor:
                result, null = _tested(closes, asked, lags, executor, meter)
        meter.clear()
        _answer(result, null, closes, asked, say=say, show=show)
    finally:
        meter.clear()
    return 0


@contextmanager
def _flags(asked: Asked) -> Iterator[None]:
    """Let errors name the flag at fault."""
    try:
        yield
    except ConfigError as error:
        error.loc = "--cluster" if error.loc == "cluster" else error.loc
        raise
    except InputError as error:
        name = error.loc or ("prices" if isinstance(error, NotEnoughData) else "")
        flag = _FLAGS.get(name, f"--{name}" if name and not name.startswith("-") else name)
        error.loc = "--bars" if flag == "--symbols" and asked.symbols is None and asked.bars else flag
        raise


def _checked(asked: Asked) -> tuple[ScreenLag | None, list[str]]:
    """Return lag choice and symbols; refuse what makes no sense before anything is read."""
    choices = get_args(ScreenLag)
    if asked.autolag not in {*choices, "none"}:
        raise InputError(f"{asked.autolag!r} chooses no lags", loc="autolag", hint=f"one of {', '.join(choices)}, none")
    if not FEWEST <= asked.lookback <= LONGEST:
        raise InputError(f"{asked.lookback} is not from {FEWEST} to {LONGEST:,} bars", loc="lookback")
    for name, number in (("limit", asked.limit), ("empirical-null", asked.empirical_null)):
        if number < 0:
            raise InputError(f"{number} is below 0", loc=name)
    if not 0.0 < asked.fdr <= 1.0:
        raise InputError(f"{asked.fdr:g} is not above 0 and at most 1", loc="fdr", hint="0.05 is one false in twenty")
    if asked.timeframe is not None and asked.timeframe not in TIMEFRAMES:
        raise InputError(
            f"there is no timeframe {asked.timeframe!r}", loc="timeframe", hint=f"one of {' '.join(TIMEFRAMES)}"
        )
    if asked.sort not in SORTS:
        raise InputError(f"cannot sort by {asked.sort!r}", loc="sort", hint=f"one of {', '.join(SORTS)}")
    if asked.cluster and "://" not in asked.cluster:
        raise InputError(f"{asked.cluster!r} is no address", loc="cluster", hint="a scheduler's, like tcp://host:8786")
    if asked.out is not None:
        extension_of(asked.out)
    symbols = [normalize_symbol(word) for word in (asked.symbols or "").split(",") if word.strip()]
    twice = next((name for name in symbols if symbols.count(name) > 1), None)
    if twice:
        raise InputError(f"{twice} stands there twice", loc="symbols")
    if asked.symbols is not None and len(symbols) < 2:
        raise InputError("a pair takes two symbols", loc="symbols", hint="name more, or leave it out for all there are")
    autolag: Any = None if asked.autolag == "none" else asked.autolag
    return autolag, symbols


def _closes(settings: Settings, asked: Asked, symbols: Sequence[str], *, say: Say, meter: Meter) -> Closes:
    """Return the closes of the file, or of the market that the data directory has."""
    if asked.bars is None:
        return market_closes(
            settings.data_dir,
            settings.database_url,
            symbols=symbols,
            timeframe=asked.timeframe or "1m",
            bars=asked.lookback,
            api_key=settings.dashboard_key,
            say=say,
            progress=meter.of("reading"),
        )
    closes = read_bars_file(asked.bars)
    absent = [name for name in symbols if name not in closes.symbols]
    if absent:
        has = ", ".join(closes.symbols[:_NAMED]) + (" …" if len(closes.symbols) > _NAMED else "")
        raise InputError(f"{asked.bars.name} has no {', '.join(absent)}", loc="--symbols", hint=f"it has {has}")
    closes = closes.only(symbols) if symbols else closes
    return closes if asked.timeframe is None else lengthened(closes, asked.timeframe)


def _say_what_is_tested(closes: Closes, asked: Asked, say: Say) -> None:
    """Say which symbols and bars are tested, and what was left out, and why."""
    first, last = iso(int(closes.times_ns[0])), iso(int(closes.times_ns[-1]))
    say(
        f"{len(closes.symbols):,} symbols, {len(closes):,} bars of {_timeframe(closes, asked)} that all of them have, "
        f"{first} to {last}"
    )
    if closes.asked < asked.lookback:
        say(f"there are {closes.asked:,} bars, fewer than the {asked.lookback:,} asked for")
    if closes.asked > len(closes):
        say(f"{closes.asked - len(closes):,} of the last {closes.asked:,} bars left out: not every symbol has them")
    _say_left_out(closes.excluded, say)
    lacking = closes.lacking_bars()
    if lacking:
        told = ", ".join(f"{count:,} of {name}" for name, count in list(lacking.items())[:_NAMED])
        more = f" and some of {len(lacking) - _NAMED:,} more" if len(lacking) > _NAMED else ""
        say(f"bars that lack trades, which nothing has filled: {told}{more}")


def _say_left_out(excluded: Any, say: Say) -> None:
    """Name the symbols that were left out, each with the reason."""
    if excluded:
        say(f"{len(excluded):,} symbol{'s' if len(excluded) > 1 else ''} left out:")
    for name in list(excluded)[:_NAMED]:
        say(f"  {name} {excluded[name]}")
    if len(excluded) > _NAMED:
        say(f"  and {len(excluded) - _NAMED:,} more; --json has all")


def _tested(
    closes: Closes, asked: Asked, autolag: ScreenLag | None, executor: Executor, meter: Meter
) -> tuple[ScreenResult, EmpiricalNull | None]:
    """Return the screen's table, and what surrogates say of it where that was asked for."""
    if not asked.empirical_null:
        told = meter.of("testing")
        return screen_pairs(closes.prices, closes.symbols, autolag=autolag, executor=executor, progress=told), None
    null = empirical_null(
        closes.prices,
        closes.symbols,
        markets=asked.empirical_null,
        autolag=autolag,
        executor=executor,
        progress=meter.of("screening the market and its surrogates"),
    )
    return null.screen, null


def _answer(
    result: ScreenResult, null: EmpiricalNull | None, closes: Closes, asked: Asked, *, say: Say, show: Say
) -> None:
    """Show the table, write the file, and say what was found."""
    found = int((result.qvalue <= asked.fdr).sum())
    order, chance = ranked(result, asked.sort, asked.fdr), None
    if null is not None:
        place = {pair: i for i, pair in enumerate(zip(result.y.tolist(), result.x.tolist(), strict=True))}
        chance = null.qvalue[[place[pair] for pair in zip(order.y.tolist(), order.x.tolist(), strict=True)]]
    _say_left_out(result.excluded, say)
    say(f"{result.family}, in {result.elapsed_ms / 1e3:.2f} s")
    say(f"{found:,} discover{'y' if found == 1 else 'ies'} at a false-discovery rate of {asked.fdr:g}")
    as_of_ns = int(closes.times_ns[-1])
    if asked.out is not None:
        timeframe = _timeframe(closes, asked)
        write_table(asked.out, order, as_of_ns=as_of_ns, timeframe=timeframe, chance=chance)
        say(f"{len(order):,} rows written to {asked.out}")
    if asked.json:
        told = {
            "timeframe": _timeframe(closes, asked), "bars": len(closes), "fdr": asked.fdr, "discoveries": found,
            "autolag": asked.autolag, "gaps": closes.lacking_bars(),
        }  # fmt: skip
        excluded = {**closes.excluded, **result.excluded}
        show(
            document(
                order, limit=asked.limit, as_of_ns=as_of_ns, told=told, excluded=excluded, chance=chance, null=null
            ).decode()
        )
        return
    for line in lines(order, fdr=asked.fdr, limit=asked.limit, chance=chance):
        show(line)
    if null is not None:
        show("")
        for line in null_lines(null):
            show(line)
    if 0 < asked.limit < len(order):
        say(
            f"{asked.limit:,} of {len(order):,} rows shown, discoveries (*) first; "
            "--limit 0 shows all, --out FILE keeps all"
        )


def _timeframe(closes: Closes, asked: Asked) -> str:
    """Return the length of the bars by its name, or in seconds where it has none."""
    if asked.timeframe is not None or asked.bars is None:
        return asked.timeframe or "1m"
    own = int(np.diff(closes.times_ns).min())
    return next((name for name, length in TIMEFRAMES.items() if length == own), f"{own / 1e9:g} s")
