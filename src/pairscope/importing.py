"""``pairscope import``: bars of one's own, exports and the exchange's archive, into the store or who holds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from pairscope.client import Client
from pairscope.config import Settings
from pairscope.errors import ApiRefused, ConfigError, InputError
from pairscope.feed.archive_names import exchange_files, is_exchange_name
from pairscope.feed.exchange_archive import ExchangeFile
from pairscope.feed.exchange_import import import_file
from pairscope.feed.older_ticks import Shelf
from pairscope.feed.tick_import import import_ticks
from pairscope.market.bars import TIMEFRAMES
from pairscope.research.closes import iso
from pairscope.supervisor import already_running
from pairscope.terminal import Meter, spoken
from pairscope.transfer.tick_file import TickFile, is_tick_file
from pairscope.transfer.upload_reading import UploadAsked, read_upload, upload_symbol
from pairscope.transfer.upload_storing import judge_upload, store_upload
from pairscope.transfer.upload_unpacking import UploadLimits

__all__ = ["Asked", "import_files", "lines"]

Say = Callable[[str], None]
Document = dict[str, Any]
_Shown = Callable[[int, int], None]

_MS: Final = 1_000_000
_SHOWN: Final = 20
_PATIENCE_S: Final = 600.0
_ENDINGS: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".arrows")
_PACKED: Final = (".gz", ".zip", ".zst")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks to have read in; see ``pairscope import --help``."""

    paths: Sequence[Path]
    symbol: str | None = None
    timeframe: str | None = None
    partial: bool = False
    dry_run: bool = False
    json: bool = False


class _Into(Protocol):
    """Where files go: a store, or a Pairscope that holds one."""

    def bars(self, path: Path, asked: Asked) -> Document: ...

    def exchange(self, path: Path, asked: Asked, shown: _Shown) -> Document: ...

    def ticks(self, path: Path, asked: Asked, shown: _Shown) -> Document: ...


def import_files(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Read files in, each whole or not at all; return the exit code, 1 where one of them was refused.

    What was stored by then stays where it is interrupted; the same command again changes nothing of it.
    """
    _check(asked)
    files = _files(asked.paths)
    meter, found = Meter(), list[Document]()
    running = already_running(settings.data_dir)
    if running is not None:
        say(f"through the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
        with Client(str(running["api"]), api_key=settings.dashboard_key or None, timeout=_PATIENCE_S) as api:
            _each(_ThroughApi(api), files, asked, found, meter, say=say, show=show)
    else:
        say(f"into the store {spoken(settings.store_url)}")
        with asyncio.Runner() as runner:
            store = _IntoStore(settings, runner)
            try:
                _each(store, files, asked, found, meter, say=say, show=show)
            finally:
                store.close()
    if asked.json:
        show(orjson.dumps({"files": found}).decode())
    return 1 if any(_failed(document) for document in found) else 0


def lines(document: Mapping[str, Any], *, dry_run: bool = False) -> list[str]:
    """Return what came of one file, for people."""
    name = document["file"]
    if document.get("error"):
        told = [f"{name}: {document['error']}"]
    elif "kind" in document:
        told = [_of_exchange(document)]
    else:
        told = [f"{name}: {_of_bars(document, dry_run=dry_run)}"]
    rejected = document.get("rejected") or ()
    if isinstance(rejected, list | tuple):
        named = [fault for fault in rejected if fault["row"] is not None]
        for fault in named[:_SHOWN]:
            column = f", column {fault['column']}" if fault["column"] else ""
            told.append(f"  row {fault['row']:,}{column}: {fault['reason']}")
        more = int(document.get("rejected_total", len(named))) - len(named[:_SHOWN])
        if named and more > 0:
            told.append(f"  and {more:,} more")
    return told


def _of_bars(document: Mapping[str, Any], *, dry_run: bool) -> str:
    """Say how many bars of whom went in, or would."""
    whose = ", ".join(document["symbols"][:5]) + (" …" if len(document["symbols"]) > 5 else "")
    what = f"{document['inserted']:,} new, {document['updated']:,} changed, {document['unchanged']:,} as they were"
    bad = int(document["rejected_rows"])
    if not document["accepted"]:
        return (
            f"{bad:,} of {document['rows']:,} rows {'is' if bad == 1 else 'are'} bad: nothing {_done(dry_run=dry_run)}"
        )
    span = ""
    if document["first_timestamp"] is not None:
        span = ", " + " to ".join(iso(document[name] * _MS) for name in ("first_timestamp", "last_timestamp"))
    left = f", {bad:,} bad rows left out" if bad else ""
    return f"{document['timeframe']} bars of {whose} {_done(dry_run=dry_run)}: {what}{left}{span}"


def _of_exchange(document: Mapping[str, Any]) -> str:
    """Say what came of one of the exchange's files."""
    what = "trades" if document["kind"] == "trades" else f"{document['timeframe'] or ''} bars".strip()
    if document.get("dry_run"):
        return f"{document['file']}: {document['rows']:,} lines of {document['symbol']}, whole and readable"
    told = f"{document['file']}: {document['stored']:,} {what} of {document['symbol']} stored"
    told += f", {document['repeats']:,} were there" if document["repeats"] else ""
    told += f", {document['healed']:,} of them in holes" if document["healed"] else ""
    return told + (f", {document['rejected']:,} rows left out" if document["rejected"] else "")


def _done(*, dry_run: bool) -> str:
    return "would be stored" if dry_run else "stored"


def _failed(document: Mapping[str, Any]) -> bool:
    return bool(document.get("error")) or document.get("accepted") is False


def _check(asked: Asked) -> None:
    """Refuse flags that make no sense before any file is read."""
    if asked.timeframe is not None and asked.timeframe not in TIMEFRAMES:
        raise InputError(
            f"there is no timeframe {asked.timeframe!r}", loc="--timeframe", hint=f"one of {' '.join(TIMEFRAMES)}"
        )
    if asked.symbol is not None:
        try:
            upload_symbol(asked.symbol)
        except InputError as error:
            error.loc = "--symbol"
            raise


def _files(paths: Sequence[Path]) -> list[Path]:
    """Return the files to read: those named, and of folders all that are tables, the exchange's in order of time."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            theirs = exchange_files(path)
            own = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_table(file)]
            inside = [*(file for file in own if file not in set(theirs)), *theirs]
            if not inside:
                raise InputError(f"{path} holds no file of bars or trades", loc="PATH")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"there is no file {path}", loc="PATH")
    return list(dict.fromkeys(found))


def _is_table(file: Path) -> bool:
    name = file.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.endswith(_ENDINGS) and not file.name.startswith(".") and not is_exchange_name(file.name)


def _each(
    into: _Into, files: Sequence[Path], asked: Asked, found: list[Document], meter: Meter, *, say: Say, show: Say
) -> None:
    """Read one file after the other; one that is refused keeps no other out."""
    for place, path in enumerate(files):
        shown = meter.of(path.name if len(files) == 1 else f"{path.name} ({place + 1} of {len(files)})")
        try:
            if is_exchange_name(path.name):
                document = into.exchange(path, asked, shown)
            elif is_tick_file(path, path.name):
                document = into.ticks(path, asked, shown)
            else:
                shown(0, 1)
                document = {"file": path.name, **into.bars(path, asked)}
        except InputError as error:
            told = dict(getattr(error, "problem", None) or {})
            document = {"file": path.name, "error": error.line(), **{k: v for k, v in told.items() if "reject" in k}}
        except ApiRefused as error:
            if error.http_status == 401:
                raise ConfigError.key_wanted() from error
            document = {"file": path.name, "error": error.line()}
        finally:
            meter.clear()
        found.append(document)
        if not asked.json:
            for line in lines(document, dry_run=asked.dry_run):
                (say if document.get("error") or line.startswith("  row") else show)(line)


class _IntoStore:
    """A store that nobody else holds; opened with the first file that may change it."""

    def __init__(self, settings: Settings, runner: asyncio.Runner) -> None:
        self._settings = settings
        self._runner = runner
        self._store: Any = None
        self._limits = UploadLimits(bytes=settings.upload_mb << 20)

    def bars(self, path: Path, asked: Asked) -> Document:
        """Read a person's bars."""
        now_ns = time.time_ns()
        if path.stat().st_size > self._limits.bytes:
            most = self._settings.upload_mb
            raise InputError(f"the file has more than {most} MB", loc="PATH", hint="set PAIRSCOPE_UPLOAD_MB")
        said = UploadAsked(asked.symbol or "", asked.timeframe or "", path.name)
        try:
            reading = read_upload(path.read_bytes(), said, now_ns=now_ns, limits=self._limits)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}", loc="PATH") from error
        store = self._opened()
        if asked.dry_run:
            work = judge_upload(store, reading, partial=asked.partial)
        else:
            work = store_upload(store, reading, partial=asked.partial, filename=path.name, now_ns=now_ns)
        return self._runner.run(work).document()

    def exchange(self, path: Path, asked: Asked, shown: _Shown) -> Document:
        """Read one of the exchange's files."""
        if asked.dry_run:
            return _checked(path, asked)
        store = self._opened()
        shelf = Shelf(store, store, lambda _bars: None)
        work = import_file(path, shelf, clock=time.time_ns, symbol=asked.symbol, progress=shown)
        return self._runner.run(work)

    def ticks(self, path: Path, asked: Asked, shown: _Shown) -> Document:
        """Read a file of trades that an export wrote."""
        store = self._opened()
        shelf = Shelf(store, store, lambda _bars: None)
        file = TickFile(path, symbol=asked.symbol)
        work = import_ticks(file, shelf, clock=time.time_ns, progress=shown, dry_run=asked.dry_run)
        return {**self._runner.run(work), "dry_run": asked.dry_run}

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._store is not None:
            self._runner.run(self._store.close())

    def _opened(self) -> Any:
        if self._store is None:
            from pairscope.storage.tick_storage import open_store

            self._store = self._runner.run(open_store(self._settings.store_url))
        return self._store


class _ThroughApi:
    """A running Pairscope."""

    def __init__(self, api: Client) -> None:
        self._api = api

    def bars(self, path: Path, asked: Asked) -> Document:
        """Send a person's bars."""
        document: Document = self._api.upload(
            path, asked.symbol, asked.timeframe, partial=asked.partial, preview=asked.dry_run
        )
        return document

    def exchange(self, path: Path, asked: Asked, shown: _Shown) -> Document:
        """Send one of the exchange's files, and wait for its job."""
        return _checked(path, asked) if asked.dry_run else self._sent(path, asked, shown)

    def ticks(self, path: Path, asked: Asked, shown: _Shown) -> Document:
        """Send a file of trades that an export wrote, and wait for its job."""
        if not asked.dry_run:
            return self._sent(path, asked, shown)
        file = TickFile(path, symbol=asked.symbol)
        for _ in file.batches(now_ns=time.time_ns()):
            pass
        whose = {"kind": "trades", "symbol": ",".join(file.symbols), "timeframe": None}
        return {"file": path.name, **whose, "rows": file.rows, "dry_run": True}

    def _sent(self, path: Path, asked: Asked, shown: _Shown) -> Document:
        job = self._api.import_exchange(path, asked.symbol)
        document: Document = self._api.wait(job, progress=lambda view: shown(int(view["done"]), int(view["total"])))
        return {"file": path.name, **document}


def _checked(path: Path, asked: Asked) -> Document:
    """Look one of the exchange's files through, storing nothing."""
    file = ExchangeFile(path, symbol=asked.symbol)
    file.check()
    kind = {"kind": file.named.kind, "symbol": file.named.symbol, "timeframe": file.named.timeframe}
    return {"file": path.name, **kind, "rows": file.lines, "dry_run": True}
