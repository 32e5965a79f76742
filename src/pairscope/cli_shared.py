"""What every command of the command line uses: its common flags, its settings, its voice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["All", "DataDir", "Debug", "Symbols", "Top", "load", "quiet", "say"]

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the store lives (default: ./data).")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Symbols to follow, comma-separated.")]
Top = Annotated[int | None, typer.Option("--top", min=1, help="Follow the N busiest by 24 h quote volume.")]
All = Annotated[bool, typer.Option("--all", help="Follow the whole market.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")]


def say(line: str) -> None:
    """Say something to the person, beside what the command answers."""
    typer.echo(line, err=True)


def load(**given: Any) -> Any:
    """Make the settings from the environment and the flags that were given."""
    from pairscope.process import load_settings

    return load_settings(**{name: value for name, value in given.items() if value is not None})


def quiet(*, debug: bool) -> None:
    """Set up logs where a command has no settings of its own."""
    from pairscope.process import configure_logs

    configure_logs(load(log_level="debug" if debug else "warning"))
