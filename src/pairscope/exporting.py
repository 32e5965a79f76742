"""``pairscope export``: stored rows into a file or a pipe, from whoever holds the store; what broke off goes on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from pairscope.api.parameters import parse_time_ns
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, UnknownSymbol
from pairscope.market.bars import TIMEFRAMES
from pairscope.market.symbols import normalize_symbol
from pairscope.market_closes import store_to_read
from pairscope.supervisor import already_running
from pairscope.terminal import Meter, spoken
from pairscope.transfer.export_format import Format
from pairscope.transfer.export_history import HISTORIES
from pairscope.transfer.export_name import file_name
from pairscope.transfer.export_origin import FromApi, FromStore, Origin, Wish

__all__ = ["Asked", "export"]

Say = Callable[[str], None]

_MS: Final = 1_000_000
_FORMATS: Final = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".arrows": "arrow", ".arrow": "arrow",
}  # fmt: skip
_PACKINGS: Final = {".gz": "gzip", ".zst": "zstd"}
_FOREIGN: Final = frozenset({".xlsx", ".xls", ".ods", ".zip", ".7z", ".bz2", ".xz", ".feather", ".json"})
"""Endings that promise what is not written."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks to have exported; see ``pairscope export --help``."""

    symbols: str | None = None
    timeframe: str = "1m"
    start: str | None = None
    end: str | None = None
    format: str | None = None
    compression: str | None = None
    columns: str = "contract"
    pair: str | None = None
    lookback: int = 1440
    window: int = 60
    method: str = "ols"
    price_space: str = "log"
    history: str | None = None
    out: Path | None = None
    resume: bool = False


def export(settings: Settings, asked: Asked, *, say: Say, pipe: BinaryIO) -> int:
    """Export as asked, into ``asked.out`` or else into ``pipe``; return the exit code.

    A file is written beside its place, as ``….part``, and moved there when it is whole. What is left by an export that
    broke off is taken up again with ``asked.resume``.
    """
    try:
        return asyncio.run(_exported(settings, asked, say, pipe))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"{asked.out or 'the output'} cannot be written: {error.strerror}", loc="--out") from error


async def _exported(settings: Settings, asked: Asked, say: Say, pipe: BinaryIO) -> int:
    wish = _wish(asked)
    async with _opened(settings, say) as source:
        there = await source.symbols()
        wish = _with_symbols(wish, there)
        if asked.out is None or str(asked.out) == "-":
            async with source.file(wish, 0, "") as (_, _, pieces):
                async for piece in pieces:
                    pipe.write(piece)
            pipe.flush()
            return 0
        path = asked.out
        if path.is_dir():
            ending = Format(wish.format, wish.compression).ending
            path /= file_name(wish.pair or wish.symbols, wish.kind, wish.start_ns, wish.end_ns, ending)
        return await _into_file(source, wish, path, asked, say)


async def _into_file(source: Origin, wish: Wish, path: Path, asked: Asked, say: Say) -> int:
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    begun = _begun(note, wish, asked) if asked.resume else None
    start, etag = 0, ""
    if begun is not None and part.exists():
        wish, etag = begun
        start = part.stat().st_size if etag else 0
    if asked.resume and not start:
        say(f"there is nothing of {path.name} to go on with: begun anew")
    meter = Meter()
    told = meter.of("exporting")
    try:
        async with source.file(wish, start, etag) as (begin, named, pieces):
            if start and not begin:
                say("the rows have changed since: begun anew")
            size = begin
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()  # first: what is left of other rows must not be gone on with under this note
                note.write_bytes(orjson.dumps({"wish": asdict(wish), "etag": named}))
                async for piece in pieces:
                    file.write(piece)
                    size += len(piece)
                    told(size, size)
                file.flush()
                os.fsync(file.fileno())
    finally:
        meter.clear()
    part.replace(path)
    note.unlink(missing_ok=True)
    say(f"{size:,} bytes written to {path}" + (f", the first {begin:,} of them before" if begin else ""))
    return 0


def _begun(note: Path, wish: Wish, asked: Asked) -> tuple[Wish, str] | None:
    """Return with what a file was begun, where that is asked for now; an end that is left out stays."""
    try:
        kept = orjson.loads(note.read_bytes())
        found, etag = kept["wish"], str(kept["etag"])
        found["symbols"] = tuple(found["symbols"])
        found["pair"] = None if found["pair"] is None else tuple(found["pair"])
        earlier = Wish(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    same = asdict(wish) | ({"end_ns": earlier.end_ns} if asked.end is None else {})
    if asked.symbols is None:
        same |= {"symbols": earlier.symbols}
    return (earlier, etag) if same == asdict(earlier) else None


def _wish(asked: Asked) -> Wish:
    """Return what is asked for; ``InputError`` names the flag that cannot be. Without an end it ends now."""
    written, packed = _format(asked)
    if asked.timeframe not in {"tick", *TIMEFRAMES} or (asked.pair and asked.timeframe == "tick"):
        choices = " ".join(TIMEFRAMES) if asked.pair else f"tick {' '.join(TIMEFRAMES)}"
        raise InputError(f"there is no timeframe {asked.timeframe!r}", loc="--timeframe", hint=f"one of {choices}")
    if asked.resume and (asked.out is None or str(asked.out) == "-"):
        raise InputError("only a file can be gone on with", loc="--resume", hint="name it with --out")
    if asked.columns not in {"contract", "all"}:
        raise InputError(f"{asked.columns!r} are no columns", loc="--columns", hint="contract or all")
    if asked.history is not None and asked.history not in HISTORIES:
        raise InputError(
            f"there is no history {asked.history!r}", loc="--history", hint=f"one of {' '.join(HISTORIES)}"
        )
    if sum(flag is not None for flag in (asked.symbols, asked.pair, asked.history)) > 1:
        raise InputError("choose one of --symbols, --pair and --history", loc="--symbols")
    names = _named(asked.symbols or "", "--symbols")
    pair = None
    if asked.pair is not None:
        legs = _named(asked.pair, "--pair")
        if len(legs) != 2:
            raise InputError("a pair is written Y,X", loc="--pair")
        pair = (legs[0], legs[1])
    start_ns = _time(asked.start, "--start", 0)
    end_ns = _time(asked.end, "--end", time.time_ns() // _MS * _MS)
    if start_ns >= end_ns:
        raise InputError("must be later than --start", loc="--end")
    method: Any = asked.method
    space: Any = asked.price_space
    history: Any = asked.history
    wish = Wish(
        names, asked.timeframe, start_ns, end_ns, written, packed, asked.columns, pair, asked.lookback, asked.window,
        method, space, history,
    )  # fmt: skip
    if pair is not None:
        with _flags({"x": "--pair"}):
            wish.pair_settings()
    return wish


@contextmanager
def _flags(other: Mapping[str, str]) -> Iterator[None]:
    """Let an error name the flag at fault."""
    try:
        yield
    except InputError as error:
        error.loc = other.get(error.loc, f"--{error.loc.replace('_', '-')}")
        raise


def _format(asked: Asked) -> tuple[Any, Any]:
    """Return format and packing: as they are asked for, else as the file's name ends."""
    endings = [suffix.lower() for suffix in asked.out.suffixes] if asked.out else []
    packing = _PACKINGS.get(endings[-1]) if endings else None
    by_name = endings[-2 if packing else -1] if len(endings) > (1 if packing else 0) else ""
    if by_name in _FOREIGN and asked.format is None:
        raise InputError(
            f"no {by_name} files are written",
            loc="--out",
            hint=f"end its name in {', '.join(_FORMATS)}, or say --format",
        )
    written: Any = asked.format or _FORMATS.get(by_name, "csv")
    packed: Any = asked.compression or packing or "none"
    with _flags({}):
        Format(written, packed)
    return written, packed


def _named(text: str, flag: str) -> tuple[str, ...]:
    names = tuple(normalize_symbol(word) for word in text.split(",") if word.strip())
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{twice} stands there twice", loc=flag)
    return names


def _time(text: str | None, flag: str, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return parse_time_ns(text)
    except ValueError as error:
        raise InputError(str(error), loc=flag) from error


def _with_symbols(wish: Wish, there: list[str]) -> Wish:
    """Return the wish with every symbol there is where none was named; ``UnknownSymbol`` of one that is not there."""
    for flag, names in (("--symbols", wish.symbols), ("--pair", wish.pair or ())):
        for name in names:
            if name not in there:
                error = UnknownSymbol(name, tuple(get_close_matches(name, there, 3)))
                error.loc = flag
                raise error
    if wish.symbols or wish.pair or wish.history:
        return wish
    if not there:
        raise InputError("nothing is stored yet", loc="--symbols")
    return replace(wish, symbols=tuple(sorted(there)))


@asynccontextmanager
async def _opened(settings: Settings, say: Say) -> AsyncGenerator[Origin, None]:
    """Open the store, or the Pairscope that holds it."""
    running = already_running(settings.data_dir)
    if running is not None:
        say(f"reading from the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
        yield FromApi(str(running["api"]), settings.dashboard_key)
        return
    from pairscope.storage.tick_storage import open_store

    url = store_to_read(settings.data_dir, settings.database_url)
    say(f"reading from the store {spoken(url)}")
    store = await open_store(url)
    try:
        yield FromStore(store)
    finally:
        await store.close()
