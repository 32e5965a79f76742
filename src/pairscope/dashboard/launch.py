"""How Streamlit is started: the module, the arguments and the environment of its process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["StreamlitCommand", "streamlit_command"]

_HERE: Final = Path(__file__).parent

_OPTIONS: Final[Mapping[str, str]] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.maxUploadSize": "25",
    "server.enableXsrfProtection": "true",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "global.developmentMode": "false",
    "global.disableWidgetStateDuplicationWarning": "true",  # opening a pair sets its settings: their defaults are first
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
    "runner.magicEnabled": "false",
}


@dataclass(frozen=True, slots=True)
class StreamlitCommand:
    """``python -m {module} {arguments}`` with ``environment`` added to the process's own."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


def streamlit_command(host: str, port: int) -> StreamlitCommand:
    """Return what serves the dashboard on a host and port: headless, without telemetry, with our theme.

    Where the API is, the page reads from the ``PAIRSCOPE_…`` variables of the process.
    """
    options = {
        **_OPTIONS,
        "server.address": host,
        "server.port": str(port),
        "theme.base": str(_HERE / "theme.toml"),
    }
    arguments = ["run", str(_HERE / "server.py"), *(f"--{name}={value}" for name, value in options.items())]
    return StreamlitCommand("streamlit", arguments, {"STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false"})
