"""The names of the exchange's archive files: what each says of its rows, and where it is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from pairscope.errors import ForeignFile
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.symbols import normalize_symbol

__all__ = ["ArchiveName", "archive_address", "archive_addresses", "exchange_files", "is_exchange_name", "named"]

ADDRESS: Final = "https://data.binance.vision/data/futures/um"

_NAME: Final = re.compile(
    r"(?P<symbol>[^-/\\]{1,64})-(?P<kind>[A-Za-z]+|\d{1,2}(?:s|m|h|d|w|mo))-(?P<date>\d{4}-\d{2}(?:-\d{2})?)"
    r"(?: ?\(\d+\))?(?:\.csv)?(?:\.zip)?"
)
_REFUSED: Final = MappingProxyType(
    {
        "trades": "its ids are not those of aggregate trades; fetch the aggTrades file of the same time",
        "bookTicker": "quotes are not kept; fetch the aggTrades file",
        "bookDepth": "books are not kept; fetch the aggTrades file",
        "liquidationSnapshot": "liquidations are not kept; fetch the aggTrades file",
        "metrics": "open interest is not kept; fetch the klines or aggTrades file",
        "fundingRate": "funding rates are asked for when they are needed; fetch the klines or aggTrades file",
    }
)


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """What a file's name says: whose rows, which, and of which time [start_ns, end_ns); 0 and 0 where it says none.

    ``kind`` is None where only the rows can tell.
    """

    symbol: str
    kind: Literal["trades", "bars"] | None
    timeframe: str
    start_ns: int = 0
    end_ns: int = 0


def named(name: str, *, symbol: str | None = None) -> ArchiveName:
    """Read a file's name; ``symbol`` speaks for one that says none. ``ForeignFile`` of what is not read here.

    >>> named("BTCUSDT-aggTrades-2024-08-08.zip").kind, named("ETHUSDT-1m-2024-08.csv").timeframe
    ('trades', '1m')
    """
    found = _NAME.fullmatch(Path(name).name)
    if found is None:
        if symbol:
            return ArchiveName(normalize_symbol(symbol), None, "")
        raise ForeignFile(
            f"{Path(name).name[:80]!r} does not say whose it is",
            loc="file",
            hint="keep the exchange's name, like BTCUSDT-aggTrades-2024-08-08.zip, or say the symbol",
        )
    kind, whose = found["kind"], normalize_symbol(symbol or found["symbol"])
    if kind in _REFUSED:
        raise ForeignFile(f"{found[0]!r} holds {kind}", loc="file", hint=_REFUSED[kind])
    if "_PERP" in whose:
        raise ForeignFile(f"{whose} is margined in coin", loc="file", hint="fetch the file of a USD-margined symbol")
    start, end = _period(found["date"])
    if kind == "aggTrades":
        return ArchiveName(whose, "trades", "", start, end)
    if kind not in TIMEFRAMES:
        raise ForeignFile(
            f"{found[0]!r}: {kind} is no timeframe that is kept",
            loc="file",
            hint=f"fetch one of {', '.join(TIMEFRAMES)}",
        )
    return ArchiveName(whose, "bars", kind, start, end)


def is_exchange_name(name: str) -> bool:
    """Tell whether a file is named as the exchange names those of its archive, whether it is read here or not.

    >>> is_exchange_name("BTCUSDT-1m-2024-08-08.zip"), is_exchange_name("bars.csv")
    (True, False)
    """
    found = _NAME.fullmatch(Path(name).name)
    kinds = {*_REFUSED, "aggTrades"}
    return found is not None and (found["kind"] in kinds or found["kind"][0].isdigit())


def archive_address(symbol: str, day: str, *, kind: str = "aggTrades") -> str:
    """Return where the exchange's file of a day (``2024-08-08``) or of a month (``2024-08``) lies.

    >>> archive_address("BTCUSDT", "2024-08")
    'https://data.binance.vision/data/futures/um/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-08.zip'
    """
    span = "daily" if len(day) > 7 else "monthly"
    folder = kind if kind == "aggTrades" else f"klines/{symbol}/{kind}"
    where = f"{folder}/{symbol}" if kind == "aggTrades" else folder
    return f"{ADDRESS}/{span}/{where}/{symbol}-{kind}-{day}.zip"


def archive_addresses(symbol: str, since_ns: int, until_ns: int, *, kind: str = "aggTrades") -> list[str]:
    """Return where the files of a range of time lie: whole months as such, else days, the oldest first.

    >>> len(archive_addresses("BTCUSDT", 1_719_792_000 * 10**9, 1_722_643_200 * 10**9))  # July 2024 and two days
    3
    """
    day, end = (datetime.fromtimestamp(ns // 10**9, UTC).date() for ns in (since_ns, max(since_ns, until_ns - 1)))
    found = []
    while day <= end:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        whole = day.day == 1 and following - timedelta(days=1) <= end
        found.append(archive_address(symbol, f"{day:%Y-%m}" if whole else f"{day:%Y-%m-%d}", kind=kind))
        day = following if whole else day + timedelta(days=1)
    return found


def exchange_files(folder: Path) -> list[Path]:
    """Return the archive files below a folder by time, then by symbol; of a zip and its CSV only the zip."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in {".zip", ".csv"} and is_exchange_name(path.name):
            key = path.name.lower().removesuffix(".zip").removesuffix(".csv")
            if key not in found or path.suffix.lower() == ".zip":
                found[key] = path

    return sorted(found.values(), key=lambda path: (named_time(path.name), path.name))


def named_time(name: str) -> str:
    """Return the day or month that a file's name tells of, as it stands there; empty where it tells of none."""
    found = _NAME.fullmatch(Path(name).name)
    return "" if found is None else found["date"]


def _period(date: str) -> tuple[int, int]:
    """Return the day or month that a name tells of."""
    try:
        start = datetime.strptime(date if len(date) > 7 else f"{date}-01", "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return 0, 0
    end = start + timedelta(days=1) if len(date) > 7 else (start + timedelta(days=32)).replace(day=1)
    return int(start.timestamp()) * 10**9, int(end.timestamp()) * 10**9
