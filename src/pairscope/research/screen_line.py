"""One continuous screen: the bars that wait for its next turn, the answer of its last one, and its discoveries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

from pairscope.errors import ConfigError
from pairscope.market.bars import TIMEFRAMES, BarBatch
from pairscope.market.pairs import MOST_LOOKBACK
from pairscope.research.closes import FEWEST
from pairscope.research.discoveries import Discoveries
from pairscope.research.moving_screen import MovingScreen
from pairscope.research.standing import Standing
from pairscope.research.stored_bars import EVER, Span, joined

__all__ = ["FDR", "ScreenLine", "settings_of"]

FDR: Final = 0.05
"""False-discovery rate at which the continuous screens' discoveries enter."""

_MOST_QUEUED: Final = 4096
"""Batches of closed bars that may wait for a screen; where more would, the bars are read from the store instead."""


_STORED_S: Final = 10.0
"""After so long a bar that closed is in the store, where that takes any."""


@dataclass(slots=True)
class ScreenLine:
    """The screen of ``lookback`` bars of a timeframe.

    ``lacking`` says of which symbols stored bars are still to be read, and of what time; ``reading`` whether some are
    being read; ``closes`` came since the last screen, ``changed_s`` is when anything else first changed since then.
    """

    timeframe: str
    lookback: int
    moving: MovingScreen = field(init=False)
    discoveries: Discoveries = field(default_factory=lambda: Discoveries(fdr=FDR))
    standing: Standing | None = None
    waits_for: str = "its first bars are being read"
    known: set[str] = field(default_factory=set)
    lacking: dict[str, Span] = field(default_factory=dict)
    reading: bool = False
    closes: int = 0
    changed_s: float | None = None
    rest_until_s: float = 0.0
    failures: int = 0
    keys: deque[str] = field(default_factory=deque)
    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("screens", "skipped", "failed", "overflows", "last_ms", "max_ms"), 0)
    )
    _queue: deque[BarBatch] = field(default_factory=deque)
    _recent: deque[tuple[float, BarBatch]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Make the screen."""
        self.moving = MovingScreen(self.timeframe, self.lookback)

    @property
    def name(self) -> str:
        """As the setting spells it."""
        return f"{self.timeframe}:{self.lookback}"

    @property
    def ready(self) -> bool:
        """Whether a screen would say something: one whose bars are read for the first time waits for all of them."""
        return self.standing is not None or not (self.lacking or self.reading)

    def put(self, bars: BarBatch, now_s: float) -> None:
        """Let a batch of closed or corrected bars wait for the next screen."""
        while self._recent and not self.reading and self._recent[0][0] < now_s - _STORED_S:
            self._recent.popleft()
        self._recent.append((now_s, bars))
        self._queued(bars)

    def lack(self, names: Iterable[str], span: Span = EVER) -> None:
        """Have symbols' stored bars of a time read."""
        for name in names:
            self.lacking[name] = joined(self.lacking.get(name), span)

    def begin_reading(self) -> Mapping[str, Span]:
        """Return what is lacking; it is being read from now on."""
        wanted, self.lacking = self.lacking, {}
        self.known |= wanted.keys()
        self.reading = True
        return wanted

    def fill(self, bars: BarBatch) -> None:
        """Lay stored bars under those that came while they were read, or a moment before and may not be stored yet."""
        self._queued(bars)
        for _, batch in list(self._recent):
            self._queued(batch)

    def begin(self) -> list[BarBatch]:
        """Return what has come since the last screen; of several closes all but the newest are skipped."""
        bars = list(self._queue)
        self._queue.clear()
        self.counts["skipped"] += max(0, self.closes - 1)
        self.closes, self.changed_s = 0, None
        return bars

    def work(
        self,
        bars: Sequence[BarBatch],
        symbols: Sequence[str],
        left_out: Mapping[str, str],
        *,
        number: int,
        executor: Executor | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> tuple[Standing, Mapping[str, Any]] | None:
        """Screen, and return the answer with what to keep of its discoveries; None where nothing has changed."""
        self.moving.take(bars)
        standing = self.moving.screen(symbols, number=number, left_out=left_out, executor=executor, cancelled=cancelled)
        return None if standing is None else (standing, self.discoveries.take(standing))

    def _queued(self, bars: BarBatch) -> None:
        if len(self._queue) >= _MOST_QUEUED:
            self._queue.clear()
            self.lack(self.known)
            self.counts["overflows"] += 1
        self._queue.append(bars)

    def ended(self, standing: Standing, took_s: float) -> None:
        """Take a screen's answer."""
        self.standing, self.waits_for = standing, ""
        took_ms = round(1e3 * took_s, 3)
        self.counts["screens"] += 1
        self.counts["last_ms"] = took_ms
        self.counts["max_ms"] = max(self.counts["max_ms"], took_ms)

    def counters(self) -> Mapping[str, float]:
        """Return the numbers of this screen."""
        return {
            **self.counts,
            "slides": self.moving.slides,
            "rebuilds": self.moving.rebuilds,
            "queued": len(self._queue),
            "reading": len(self.lacking),
            "discovered": self.discoveries.discovered(),
            "unfollowed": self.discoveries.unfollowed,
        }

    def history(self, y: str, x: str) -> Mapping[str, Any]:
        """Return a pair's q-values over time and its row now, or the reason why there is no history of it."""
        head = {"y": y, "x": x, "timeframe": self.timeframe, "lookback": self.lookback, "fdr": FDR}
        now = None if self.standing is None else self.standing.row(y, x)
        found = self.discoveries.history(y, x)
        if found is None:
            reason = f"it was no discovery at {FDR:g} in the last {self.discoveries.kept} screens"
            found = {"timestamp": [], "qvalue": [], "discovered": False, "since": None, "reason": reason}
        return {**head, **found, "now": now}

    def told(self) -> Mapping[str, Any]:
        """Return where this screen stands, in a few fields."""
        head: dict[str, Any] = {"timeframe": self.timeframe, "lookback": self.lookback}
        if self.standing is None:
            return {**head, "as_of": None, "reason": self.waits_for}
        return {
            **head,
            "as_of": self.standing.as_of_ms,
            "universe": len(self.standing.symbols),
            "tests": self.standing.head.tests,
            "elapsed_ms": round(self.standing.head.elapsed_ms, 3),
            "discovered": self.discoveries.discovered(),
        }


def settings_of(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Return (timeframe, lookback) of settings like ``1m:1440``; ``ConfigError`` names one that cannot be.

    >>> settings_of(["1m:1440", "1h:1000"])
    [('1m', 1440), ('1h', 1000)]
    """
    found = []
    for text in texts:
        timeframe, _, bars = text.partition(":")
        if timeframe not in TIMEFRAMES or not bars.isdecimal() or not FEWEST <= int(bars) <= MOST_LOOKBACK:
            raise ConfigError(
                f"{text!r} is no timeframe with {FEWEST} to {MOST_LOOKBACK} bars",
                loc="PAIRSCOPE_SCREEN",
                hint="write it like 1m:1440,5m:2016; empty for no continuous screen",
            )
        found.append((timeframe, int(bars)))
    return list(dict.fromkeys(found))
