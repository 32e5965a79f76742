"""``pairscope backfill``: history from the exchange into the store, through the instance that holds it, if one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import orjson

from pairscope.api.parameters import parse_time_ns
from pairscope.client import Client
from pairscope.config import Settings
from pairscope.errors import ConfigError, InputError
from pairscope.feed.bulk_fill import BulkFill
from pairscope.feed.bulk_history import checked
from pairscope.feed.older_ticks import Shelf
from pairscope.feed.rest import ExchangeRest
from pairscope.ports_bulk import BulkRequest, Kind
from pairscope.research.closes import iso
from pairscope.supervisor import already_running
from pairscope.terminal import Meter, spoken

__all__ = ["Asked", "backfill"]

Say = Callable[[str], None]

_MS: Final = 1_000_000
_PATIENCE_S: Final = 60.0
_SHOWN: Final = 10
_WORTH_TELLING_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks to have fetched; see ``pairscope backfill --help``."""

    symbols: str | None
    since: str
    until: str | None = None
    kind: str = "bars"
    top: int | None = None
    every: bool = False
    json: bool = False


def backfill(settings: Settings, asked: Asked, *, say: Say, show: Say) -> int:
    """Fetch as asked; return the exit code, 1 where the exchange gave nothing for some symbol.

    What was stored by then stays where it is interrupted, and the same command goes on from there.
    """
    request = _request(asked)
    meter = Meter()
    try:
        running = already_running(settings.data_dir)
        if running is not None:
            say(f"through the Pairscope that runs at {running['api']} (source {running.get('source', 'unknown')})")
            found = _through(str(running["api"]), settings.dashboard_key, request, meter)
        else:
            say(f"into the store {spoken(settings.store_url)}")
            found = asyncio.run(_filled(settings, request, say, meter))
    finally:
        meter.clear()
    if asked.json:
        show(orjson.dumps(found).decode())
    else:
        for line in lines(found):
            show(line)
    return 1 if found["failed"] else 0


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return what came of a back-fill, for people."""
    what = "minutes" if found["kind"] == "bars" else "trades"
    since, until = (iso(found[name] * _MS) for name in ("since", "until"))
    count = len(found["symbols"])
    whose = f"{count:,} symbol{'' if count == 1 else 's'}"
    told = [f"{found['stored']:,} {what} stored of {whose}, {since} to {until}, in {found['requests']:,} requests"]
    told += [f"  {symbol}: {why}" for symbol, why in found["failed"].items()]
    old = found["too_old"]
    if old:
        told.append(f"trades before {iso(old['until'] * _MS)} are no longer answered for: fetch these files, then")
        told.append("read them with `pairscope import FOLDER`:")
        told += [f"  {file}" for file in old["files"][:_SHOWN]]
        if len(old["files"]) > _SHOWN:
            told.append(f"  and {len(old['files']) - _SHOWN:,} more (--json lists all)")
    return told


def _request(asked: Asked) -> BulkRequest:
    """Return what is asked for; ``InputError`` names the flag at fault."""
    if asked.kind not in get_args(Kind):
        raise InputError(f"{asked.kind!r} is neither bars nor trades", loc="--kind")
    names = tuple(part for part in (asked.symbols or "").split(",") if part.strip())
    request = BulkRequest(
        names,
        _time("--since", asked.since),
        None if asked.until is None else _time("--until", asked.until),
        "bars" if asked.kind == "bars" else "trades",
        asked.top,
        asked.every,
    )
    try:
        return checked(request, time.time_ns())
    except InputError as error:
        error.loc = f"--{error.loc}"
        raise


def _time(flag: str, text: str) -> int:
    try:
        return parse_time_ns(text)
    except ValueError as error:
        raise InputError(f"{flag} {error}", loc=flag) from error


async def _filled(settings: Settings, request: BulkRequest, say: Say, meter: Meter) -> dict[str, Any]:
    """Fetch into a store that nobody else holds."""
    from pairscope.storage.tick_storage import open_store

    rest = ExchangeRest(settings.exchange_rest_url, clock=time.time_ns)
    try:
        await rest.time()  # no store is made for an exchange that does not answer
        store = await open_store(settings.store_url)
    except BaseException:
        await rest.close()
        raise
    try:
        shelf = Shelf(store, store, lambda _bars: None)
        await shelf.finish()
        shown = meter.of("minutes" if request.kind == "bars" else "trades")
        fill = BulkFill(request, shelf, rest, clock=time.time_ns)
        said = False

        def told(done: int, total: int) -> None:
            nonlocal said
            if not said and done and fill.eta_s > _WORTH_TELLING_S:
                said = True
                minutes = f"{fill.eta_s / 60:,.0f} minutes"
                say(f"the exchange's limits let it take up to {minutes}; Ctrl-C keeps what is stored")
            shown(done, total)

        fill.progress = told
        return await fill.run()
    finally:
        await rest.close()
        await store.close()


def _through(url: str, key: str, request: BulkRequest, meter: Meter) -> dict[str, Any]:
    """Have a running instance fetch, and wait for it; its job ends where the waiting is broken off."""
    body: dict[str, Any] = {"since": request.since_ns // _MS, "kind": request.kind}
    if request.symbols:
        body["symbols"] = list(request.symbols)
    body |= {"top": request.top} if request.top is not None else {}
    body |= {"all": True} if request.every else {}
    body |= {"until": request.until_ns // _MS} if request.until_ns is not None else {}
    shown = meter.of("minutes" if request.kind == "bars" else "trades")
    with Client(url, api_key=key or None, timeout=_PATIENCE_S) as api:
        job = _asked(api, body)
        try:
            found: dict[str, Any] = api.wait(job, progress=lambda view: shown(int(view["done"]), int(view["total"])))
        except KeyboardInterrupt:
            api.cancel_job(str(job["id"]))
            raise
    return found


def _asked(api: Client, body: Mapping[str, Any]) -> Mapping[str, Any]:
    from pairscope.errors import ApiRefused

    try:
        job: Mapping[str, Any] = api.send("POST", "/api/backfill", body)
    except ApiRefused as error:
        if error.http_status != 401:
            raise
        raise ConfigError.key_wanted() from error
    return job
