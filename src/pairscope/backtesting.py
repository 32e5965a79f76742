"""``pairscope backtest``: trades a pair's past by a rule, or by a grid of them, and says what to think of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson

from pairscope.config import Settings
from pairscope.errors import InputError
from pairscope.market_closes import market_pair
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.backtest_text import backtest_lines, source_words
from pairscope.research.backtest_written import extension_of, write_report, write_table
from pairscope.research.closes import iso
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import PairBars
from pairscope.research.pair_file import read_funding_file, read_pair_file
from pairscope.research.written_grid import written_values
from pairscope.terminal import Meter

__all__ = ["Asked", "backtest", "named_pair"]

Say = Callable[[str], None]
T = TypeVar("T")

_WHOLE: Final = frozenset({"lookback", "window", "max_holding", "cooldown"})
_OPTIONAL: Final = frozenset({"stop", "max_holding", "rehedge", "capital"})
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hedge": ("ols", "huber", "kalman"), "fee_bps": ("/",), "slippage_bps": ("/",)}
)
_FLAGS: Final[Mapping[str, str]] = MappingProxyType({"method": "--hedge", "beta": "--hedge", "prices": "--bars"})
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
    nulls: int = 199
    trials: int = 0
    sort: str = "sharpe"
    limit: int = 20
    out: Path | None = None
    json: bool = False
    cluster: str | None = None


def backtest(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Backtest as asked: the answer goes to ``show``, what is said of it to ``say``; return the exit code.

    Interrupted, it writes no file, clears its line on the terminal and raises.
    """
    meter, stopped = Meter(), Event()
    try:
        with _flags():
            request, _ = _checked(asked)
            bars = _bars(settings, asked, request, say=say, meter=meter)
            meter.clear()
            request = _from_first_traded(replace(request, timeframe=bars.timeframe), bars)
            _say_what_is_traded(request, bars, say)
            document = _cancellable(partial(_judged, request, bars, asked, meter, stopped), stopped)
        meter.clear()
        _answer(document, asked, say=say, show=show)
    finally:
        meter.clear()
    return 0


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


@contextmanager
def _flags() -> Iterator[None]:
    """Let errors name the flag at fault."""
    try:
        yield
    except InputError as error:
        name = error.loc.removeprefix("hedge.")
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}" if name and not name.startswith("-") else name)
        error.loc = flag
        if error.args and name and str(error.args[0]).startswith(f"{name}: "):
            error.args = (f"{flag} {str(error.args[0]).removeprefix(f'{name}: ')}",)
        raise


def _checked(asked: Asked) -> tuple[BacktestRequest, Mapping[str, Sequence[Any]]]:
    """Return the request, and the parameters that take several values; refuse mistakes before anything is read."""
    for name, number in (("limit", asked.limit), ("nulls", asked.nulls), ("trials", asked.trials)):
        if number < 0:
            raise InputError(f"{number} is below 0", loc=name)
    if asked.out is not None:
        extension_of(asked.out)
    values = {
        name: written_values(
            text, loc=name, whole=name in _WHOLE, optional=name in _OPTIONAL, words=_WORDS.get(name, ())
        )
        for name, text in asked.numbers.items()
    }
    body: dict[str, Any] = {
        "y": asked.y,
        "x": asked.x,
        "timeframe": asked.timeframe or "1m",
        "start": asked.start,
        "end": asked.end,
        "funding": asked.funding is not None,
        **{name: asked.chosen[name] for name in _CHOSEN if asked.chosen.get(name) not in (None, "none")},
    }
    for name, several in values.items():
        if name not in ("hedge", "lookback"):
            body[name] = several[0]
    hedge = values.get("hedge", ["ols"])[0]
    named = {"method": hedge} if isinstance(hedge, str) else {"method": "fixed", "beta": hedge}
    body["hedge"] = {**named, **({"lookback": values["lookback"][0]} if "lookback" in values else {})}
    grid = {name: several for name, several in values.items() if len(several) > 1}
    return BacktestRequest.from_document(body), grid


def _bars(settings: Settings, asked: Asked, request: BacktestRequest, *, say: Say, meter: Meter) -> PairBars:
    """Return the bars of the file, or of the market that the data directory has."""
    funding = None if asked.funding is None else read_funding_file(asked.funding)
    if asked.bars is not None:
        return read_pair_file(asked.bars, request.y, request.x, timeframe=asked.timeframe, funding=funding)
    return market_pair(
        settings.data_dir,
        settings.database_url,
        request,
        funding=funding,
        api_key=settings.dashboard_key,
        say=say,
        progress=meter.of("reading"),
    )


def _cancellable(work: Callable[[], T], stopped: Event) -> T:
    """Return what ``work`` does in a thread of its own: an interrupt tells it to stop, and waits until it has."""
    with ThreadPoolExecutor(1, thread_name_prefix="backtest") as pool:
        made = pool.submit(work)
        try:
            return made.result()
        except KeyboardInterrupt:
            stopped.set()
            raise


def _from_first_traded(request: BacktestRequest, bars: PairBars) -> BacktestRequest:
    """Return a request that says from when on it trades: by default from the first bar after the warm-up."""
    warmup = request.warmup_bars()
    if request.start_ns is not None or len(bars) < warmup + 2:
        return request
    return replace(request, start_ns=int(bars.times_ns[warmup]))


def _say_what_is_traded(request: BacktestRequest, bars: PairBars, say: Say) -> None:
    """Say which bars of which pair are traded, whose they are, and what is not known of them."""
    if not len(bars):
        return
    first, last = iso(int(bars.times_ns[0])), iso(int(bars.times_ns[-1]))
    say(f"{request.y} on {request.x}: {len(bars):,} bars of {bars.timeframe} that both have, {first} to {last}")
    if request.start_ns is not None:
        say(f"traded from {iso(request.start_ns)} on; the bars before are warm-up")
    say(f"prices: {source_words(bars.source)}")
    if bars.open_gaps:
        say(f"{bars.open_gaps:,} holes in the recorded trades of that time are still open")
    if request.funding:
        for name, rates in ((request.y, bars.funding_y), (request.x, bars.funding_x)):
            if rates is None:
                say(f"no funding of {name} is known for that time; none is charged")


def _judged(request: BacktestRequest, bars: PairBars, asked: Asked, meter: Meter, stopped: Event) -> dict[str, Any]:
    """Return the document of one rule's backtest."""
    judged = judge_backtest(
        request,
        bars,
        trials=asked.trials + 1,
        nulls=asked.nulls,
        progress=meter.of("trying the rule on pairs of chance"),
        cancelled=stopped.is_set,
    )
    return {"kind": "backtest", "source": bars.source, "gaps": bars.open_gaps, **judged.document()}


def _answer(document: Mapping[str, Any], asked: Asked, *, say: Say, show: Say) -> None:
    """Show the answer and write the file."""
    if asked.out is not None:
        if extension_of(asked.out) == ".html":
            write_report(asked.out, document)
            say(f"report written to {asked.out}")
        else:
            rows = document["trades"]
            write_table(asked.out, rows)
            say(f"{len(rows):,} trades written to {asked.out}")
    if asked.json:
        show(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    for line in backtest_lines(document, limit=asked.limit):
        show(line)
