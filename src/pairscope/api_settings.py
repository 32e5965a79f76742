"""The API's share of the settings: its keys, the names it answers to, its limits."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final
from urllib.parse import urlsplit

from pairscope.api.options import ApiOptions
from pairscope.config import Settings

__all__ = ["api_options"]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def api_options(settings: Settings) -> ApiOptions:
    """Return the API's share of the settings."""
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
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    """Return the names that a request may call us by: on loopback ours alone, else any."""
    if settings.host not in LOOPBACK:
        return ()
    public = urlsplit(settings.public_api_url).hostname
    return (*LOOPBACK, public) if public else LOOPBACK
