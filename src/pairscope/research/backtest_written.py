"""What a backtest leaves behind in files: its report, its trades, a sweep's rows; each whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pairscope.errors import ConfigError, InputError
from pairscope.research.backtest_html import report_html
from pairscope.research.closes import iso

__all__ = ["EXTENSIONS", "extension_of", "write_report", "write_table"]

EXTENSIONS: Final = (".html", ".csv", ".parquet")
"""Kinds of files that can be written."""


def extension_of(path: Path) -> str:
    """Return one of ``EXTENSIONS``; ``InputError`` where nothing can be written to such a file."""
    kind = path.suffix.lower()
    if kind not in EXTENSIONS:
        raise InputError(f"{path.name} is none of {', '.join(EXTENSIONS)}", loc="out")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", loc="out")
    return kind


def write_report(path: Path, document: Mapping[str, Any]) -> None:
    """Write the page of a backtest, a sweep or a walk-forward, in one go."""
    page = report_html(document).encode()
    _replace(path, lambda part: part.write_bytes(page))


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a table, in one go: times are ISO 8601 in CSV, what there is not is empty or null."""
    kind = extension_of(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name in names:
        if name.endswith("_timestamp") and kind == ".csv":
            columns[name] = [None if at is None else iso(at * 1_000_000) for at in columns[name]]
        if any(isinstance(value, str) for value in columns[name]):
            columns[name] = [None if value is None else str(value) for value in columns[name]]
        elif any(isinstance(value, (list, tuple)) for value in columns[name]):
            columns[name] = [_per_leg(value) for value in columns[name]]
    table = pa.table(columns)
    if kind == ".parquet":
        for place, name in enumerate(names):
            if name.endswith("_timestamp"):
                times = table.column(name).cast(pa.timestamp("ms", tz="UTC"))
                table = table.set_column(place, name, times)
        _replace(path, lambda part: pyarrow.parquet.write_table(table, part))
        return
    style = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            file.write(f"{','.join(names)}\n".encode())
            pyarrow.csv.write_csv(table, file, style)

    _replace(path, write)


def _per_leg(value: Any) -> str:
    """Return a cost of both legs, or of y and of x, as the command line takes it."""
    return "/".join(f"{part:g}" for part in value) if isinstance(value, (list, tuple)) else f"{value:g}"


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside the one it then takes the place of."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", loc="--out") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
