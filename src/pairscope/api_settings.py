"""The API's share of the settings: its keys, the names it answers to, its limits."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final
from urllib.parse import urlsplit

from pairscope.api.options import ApiOptions
from pairscope.api.shared_counts import shared_storage
from pairscope.config import Settings
from pairscope.errors import ConfigError

__all__ = ["api_options"]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def api_options(settings: Settings, *, shared: bool = False) -> ApiOptions:
    """Return the API's share of the settings.

    ``shared``: of one replica among several, which count calls and spent tickets together in Redis, and need one secret
    where they ask for a key or limit calls: ``ConfigError`` where it is missing.
    """
    if shared and not settings.jwt_secret and (settings.api_keys or settings.rate_limit):
        raise ConfigError(
            "the replicas of an API that asks for keys or limits calls need one secret",
            loc="PAIRSCOPE_JWT_SECRET",
            hint="set it to the same long random text for each of them",
        )
    own = tuple(f"http://{name}:{settings.dashboard_port}" for name in ("127.0.0.1", "localhost"))
    key = settings.dashboard_key
    dashboard_key = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" if key else ""
    return ApiOptions(
        api_keys=settings.api_keys,
        dashboard_key=dashboard_key,
        jwt_secret=settings.jwt_secret or secrets.token_urlsafe(32),
        cors_origins=settings.cors_origins or own,
        hosts=_hosts(settings),
        max_upload_bytes=settings.upload_mb << 20,
        rate_limit=settings.rate_limit or ("600/minute" if settings.api_keys else ""),
        rate_storage=shared_storage(settings.redis_url if shared else ""),
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    """Return the names that a request may call us by: on loopback ours alone, else any."""
    if settings.host not in LOOPBACK:
        return ()
    public = urlsplit(settings.public_api_url).hostname
    return (*LOOPBACK, public) if public else LOOPBACK
