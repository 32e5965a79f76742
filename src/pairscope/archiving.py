"""``pairscope archive``: moves old days to Parquet, in the store itself or through the instance that has it open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pairscope.api.parameters import parse_time_ns
from pairscope.client import Client
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError, StorageError
from pairscope.market.symbols import normalize_symbol
from pairscope.market_closes import store_to_read
from pairscope.ports_storage import ArchiveRequest
from pairscope.supervisor import already_running
from pairscope.terminal import Meter, spoken

__all__ = ["Asked", "archive"]

Say = Callable[[str], None]

_POLL_S: Final = 0.5
_PATIENCE_S: Final = 120.0
_FLAGS: Final = {"before": "--before", "older_than_days": "--older-than", "symbols": "--symbols", "archive_url": "--to"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks; see ``pairscope archive --help``."""

    before: str | None = None
    older_than: int | None = None
    symbols: str | None = None
    to: str | None = None
    dry_run: bool = False
    json: bool = False


def archive(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Archive as asked: what was or would be moved goes to ``show``, the rest to ``say``; return the exit code."""
    meter = Meter()
    try:
        request = _request(asked)
        running = already_running(settings.data_dir)
        if running is not None:
            found = _through_api(settings, str(running["api"]), asked, request, say, meter)
        else:
            url = store_to_read(settings.data_dir, settings.database_url)
            say(f"archiving from the store {spoken(url)}")
            found = asyncio.run(_in_store(settings, url, asked, request, meter))
        meter.clear()
    except (InputError, ConfigError) as error:
        error.loc = _FLAGS.get(error.loc or "", error.loc)
        raise
    finally:
        meter.clear()
    show(orjson.dumps(found).decode() if asked.json else _line(found, dry_run=asked.dry_run))
    return 0


def _request(asked: Asked) -> ArchiveRequest:
    before_ns = None
    if asked.before is not None:
        try:
            before_ns = parse_time_ns(asked.before)
        except ValueError as error:
            raise InputError(f"{asked.before!r} {error}", loc="before") from error
    if asked.older_than is not None and asked.older_than < 0:
        raise InputError(f"{asked.older_than} days are below 0", loc="older_than_days")
    names = tuple(normalize_symbol(word) for word in (asked.symbols or "").split(",") if word.strip())
    return ArchiveRequest(before_ns, asked.older_than, names)


async def _in_store(
    settings: Settings, url: str, asked: Asked, request: ArchiveRequest, meter: Meter
) -> Mapping[str, Any]:
    """Do it in the store, which nobody has open."""
    from pairscope.storage.keeping import Lifecycle, StoreKeeper
    from pairscope.storage.tick_storage import open_store

    lifecycle = Lifecycle(asked.to or settings.archive_url, settings.archive_days)
    store = await open_store(url)
    try:
        keeper = StoreKeeper(store, jobs=None, clock=time.time_ns, lifecycle=lifecycle)
        if asked.dry_run:
            return await keeper.archivable(request)
        return await keeper.archive_now(request, progress=meter.of("archiving"))
    finally:
        await store.close()


def _through_api(
    settings: Settings, api: str, asked: Asked, request: ArchiveRequest, say: Say, meter: Meter
) -> Mapping[str, Any]:
    """Have the running instance do it, and look on."""
    if asked.to is not None:
        raise InputError(
            f"the Pairscope that runs at {api} archives to its own PAIRSCOPE_ARCHIVE_URL",
            loc="archive_url",
            hint="leave --to out, or stop it first",
        )
    say(f"archiving in the Pairscope that runs at {api}")
    body = {
        "before": None if request.before_ns is None else request.before_ns // 1_000_000,
        "older_than_days": request.older_than_days,
        "symbols": list(request.symbols),
        "dry_run": asked.dry_run,
    }
    progress = meter.of("archiving")
    with Client(api, api_key=settings.dashboard_key or None, timeout=_PATIENCE_S) as client:
        answer: Mapping[str, Any] = client.send("POST", "/api/storage/archive", body)
        if asked.dry_run:
            return answer
        while answer["status"] in {"queued", "running"}:
            progress(answer["done"], answer["total"])
            time.sleep(_POLL_S)
            answer = client.get(f"/api/jobs/{answer['id']}")
        if answer["status"] != "done":
            raise StorageError(f"archiving {answer['status']}: {answer['error'] or 'nobody said why'}")
        found: Mapping[str, Any] = client.get(answer["result"])
        return found


def _line(found: Mapping[str, Any], *, dry_run: bool) -> str:
    """Return what was moved, for people."""
    rows = "".join(f"\n  {row['date']}  {row['symbol']:<16} {row['ticks']:>12,} ticks" for row in found.get("rows", ()))
    what = (
        f"{found['days']:,} day{'' if found['days'] == 1 else 's'}: {found['ticks']:,} ticks and {found['bars']:,} bars"
    )
    if dry_run:
        return f"would archive {what}, about {found['bytes'] / 1e6:,.1f} MB in the store{rows}"
    if not found["files"]:
        return "nothing to archive"
    return f"archived {what} in {found['files']:,} files of {found['bytes'] / 1e6:,.1f} MB"
