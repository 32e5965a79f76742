"""What every process of Pairscope begins with: its settings, the lines it logs, its event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import ValidationError

from pairscope.config import Settings
from pairscope.errors import ConfigError

__all__ = ["configure_logs", "guard_host", "load_settings", "loop_factory", "stop_event"]


def load_settings(**given: Any) -> Settings:
    """Make the settings from what is given, the environment and ``.env``; an error names the variable at fault."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise ConfigError(f"{name}: {first['msg'].lower()}", loc=f"PAIRSCOPE_{name}") from error


def guard_host(settings: Settings, host: str, flag: str) -> None:
    """Refuse to listen beyond loopback where no API key is asked for: ``ConfigError`` that names the flag."""
    if host not in {"127.0.0.1", "localhost", "::1"} and not settings.api_keys:
        raise ConfigError(
            f"listening on {host} without an API key is refused",
            loc=flag,
            hint="set PAIRSCOPE_API_KEYS=sha256:<hex of a key>, or listen on 127.0.0.1",
        )


def configure_logs(settings: Settings) -> None:
    """Send structured lines to standard error."""
    level = logging.getLevelName(settings.log_level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's maker of event loops, None where it is not installed (Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def stop_event() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    return stop
