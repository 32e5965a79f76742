"""Which column of a file is which: the usual names of a bar's columns, in any case and spelling.

A name is compared by its letters and digits alone: ``Open time``, ``open_time`` and ``OPEN-TIME`` are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pairscope.errors import ForeignFile

__all__ = ["EXCHANGE_ORDER", "NAMES", "NEEDED", "recognised", "spelled_alike"]

NEEDED: Final = ("timestamp", "open", "high", "low", "close", "volume")
"""What a bar cannot do without."""

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "timestamp": (
            "timestamp", "opentime", "time", "datetime", "date", "ts", "t", "opentimestamp", "timestampms",
            "timestampns", "timeutc", "dateutc", "datetimeutc", "starttime", "start", "begin", "unix", "unixtime",
            "unixtimestamp", "epoch", "bartime", "index",
        ),
        "open": ("open", "o", "openprice", "priceopen", "first"),
        "high": ("high", "h", "highprice", "pricehigh", "max"),
        "low": ("low", "l", "lowprice", "pricelow", "min"),
        "close": ("close", "c", "closeprice", "priceclose", "last"),
        "volume": (
            "volume", "vol", "v", "basevolume", "volumebase", "basevol", "baseassetvolume", "volumebaseasset",
            "volumefrom", "size",
        ),
        "quote_volume": (
            "quotevolume", "quoteassetvolume", "volumequote", "quotevol", "qv", "q", "turnover", "volumeto",
            "volumequoteasset", "notional",
        ),
        "buy_volume": (
            "buyvolume", "takerbuybaseassetvolume", "takerbuyvolume", "takerbuybasevolume", "takerbasevolume",
            "takerbuybase",
        ),
        "symbol": ("symbol", "ticker", "pair", "instrument", "sym", "market"),
    }
)  # fmt: skip
"""Names of each column, the likeliest first; of two that a file has the first is taken."""

EXCHANGE_ORDER: Final = (
    "timestamp", "open", "high", "low", "close", "volume", "closetime", "quote_volume", "trades", "buy_volume",
    "takerbuyquotevolume", "ignore",
)  # fmt: skip
"""The columns of the exchange's own bars, which come without names."""

_QUOTES: Final = ("usdt", "usdc", "fdusd", "busd", "tusd", "usd", "eur", "gbp", "try", "jpy", "krw")


def recognised(names: Sequence[str]) -> dict[str, int]:
    """Return the place of each column that a bar uses; ``ForeignFile`` names one that is absent or there twice.

    ``volume`` followed by a currency that prices are told in (``Volume USDT``) is the quote volume, by any other asset
    the volume. A column without a name is the time where no other is, as tables of pandas leave.

    >>> recognised(["Date", "Open", "High", "Low", "Close", "Volume BTC", "Volume USDT"])["quote_volume"]
    6
    """
    alike = [spelled_alike(name) for name in names]
    found: dict[str, int] = {}
    for column, known in NAMES.items():
        for name in known:
            places = [place for place, other in enumerate(alike) if other == name]
            if len(places) > 1:
                raise ForeignFile(f"the column {names[places[0]]!r} is there twice", loc="file")
            if places:
                found[column] = places[0]
                break
    for place, name in enumerate(alike):
        asset = name.removeprefix("volume") if name.startswith("volume") else name.removeprefix("vol")
        if name.startswith("vol") and asset and place not in found.values():
            found.setdefault("quote_volume" if asset in _QUOTES else "volume", place)
    unnamed = [place for place, name in enumerate(alike) if name in {"", "unnamed0", "indexlevel0"}]
    if "timestamp" not in found and unnamed:
        found["timestamp"] = unnamed[0]
    for column in NEEDED:
        if column not in found:
            has = ", ".join(name[:40] or "(no name)" for name in names[:20]) + (" …" if len(names) > 20 else "")
            raise ForeignFile(
                f"there is no column for {'the time' if column == 'timestamp' else column}; there are {has}",
                loc="file",
                hint="name the columns timestamp,open,high,low,close,volume",
            )
    return found


def spelled_alike(name: str) -> str:
    """Return a name's letters and digits in lower case, which is what names are compared by.

    >>> spelled_alike(" <Open time> ")
    'opentime'
    """
    return "".join(character for character in name.lower() if character.isalnum())
