"""What every process of server mode needs before anything runs: the two servers that it works with."""

from __future__ import annotations

from pairscope.config import Settings
from pairscope.errors import ConfigError

__all__ = ["demand_servers"]


def demand_servers(settings: Settings, command: str) -> None:
    """Raise ``ConfigError`` where the settings do not name both servers that a command of server mode works with."""
    kind = settings.database_url.partition("://")[0]
    lacking = []
    if kind not in {"postgresql", "postgres"}:
        lacking.append("PAIRSCOPE_DATABASE_URL=postgresql://…")
    if not settings.redis_url:
        lacking.append("PAIRSCOPE_REDIS_URL=redis://…")
    if lacking:
        raise ConfigError(
            f"`pairscope {command}` is a part of server mode, which works with PostgreSQL and Redis",
            loc=lacking[0].partition("=")[0],
            hint=f"set {' and '.join(lacking)}; `pairscope run` needs neither",
        )
