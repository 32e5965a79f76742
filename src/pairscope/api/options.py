"""What the API is told at its start: who may call, how often, and from where."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ApiOptions"]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Settings of the API, made by the composition root.

    ``api_keys`` and ``dashboard_key`` are ``sha256:<hex of the key>``; without ``api_keys`` no key is asked for.
    ``dashboard_key`` is accepted as well and not rate-limited. ``rate_limit`` is like ``600/minute``, empty for none;
    ``rate_storage`` says where its counters live. ``hosts`` are the names in a request's ``Host`` header that are
    answered, without port; empty for any. ``jwt_secret`` signs WebSocket tickets; empty for one made at start.
    ``desk_wait_s`` is how long a request that is the desk's waits at a replica for there to be one.
    """

    api_keys: tuple[str, ...] = ()
    dashboard_key: str = ""
    jwt_secret: str = ""
    cors_origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    rate_limit: str = ""
    rate_storage: str = "async+memory://"
    docs: bool = True
    max_body_bytes: int = 32 * 1024 * 1024
    max_json_bytes: int = 1024 * 1024
    max_upload_bytes: int = 64 * 1024 * 1024
    max_file_bytes: int = 1024 * 1024 * 1024
    max_clients: int = 5000
    max_topics: int = 2048
    stall_s: float = 10.0
    stats_period_s: float = 1.0
    desk_wait_s: float = 8.0
