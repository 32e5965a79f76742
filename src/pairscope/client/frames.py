"""Answers as tables of the library that a person works with: pandas, polars or Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from pairscope.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameKind", "arrow_of", "checked_kind", "frame_of", "matrix_of", "table_of"]

FrameKind: TypeAlias = Literal["pandas", "polars", "arrow"]
"""What tables are made of: ``pandas.DataFrame``, ``polars.DataFrame`` or ``pyarrow.Table``.

A type checker is told of the first only: what a table is made of is chosen while a program runs.
"""

_LIBRARIES: Final = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}
_ARROW_TIME: Final = "datetime64[ms, UTC]"
_PANDAS_TIME: Final = "datetime64[us, UTC]"


def checked_kind(frame: str) -> FrameKind:
    """Return the kind of table that is asked for; ``InputError`` where there is no such kind.

    >>> checked_kind("polars")
    'polars'
    """
    if frame not in get_args(FrameKind):
        raise InputError(f"frame is one of {', '.join(get_args(FrameKind))}; got {frame!r}", loc="frame")
    return frame  # type: ignore[return-value]  # it was looked for above


def table_of(
    frame: FrameKind,
    rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    *,
    columns: Iterable[str] = (),
    times: Iterable[str] = (),
    index: str | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Make a table of rows, or of columns; without rows it has ``columns``.

    ``times`` are milliseconds and become UTC timestamps. ``index`` and ``attrs`` are pandas' alone: elsewhere the index
    is a column like others.
    """
    if frame != "pandas":
        return frame_of(frame, arrow_of(rows, columns=columns, times=times))
    pandas = _library("pandas")
    table: pd.DataFrame = pandas.DataFrame(rows)
    if not len(table.columns):
        table = pandas.DataFrame({name: pandas.Series(dtype="float64") for name in columns})
    for name in times:
        if name in table:
            table[name] = pandas.to_datetime(table[name].astype("Int64"), unit="ms", utc=True)
    if index is not None:
        table = table.set_index(index)
    table.attrs.update(attrs or {})
    return table


def matrix_of(
    frame: FrameKind,
    values: Sequence[Sequence[Any]],
    rows: Sequence[Any],
    columns: Sequence[Any],
    names: tuple[str | None, str | None],
) -> pd.DataFrame:
    """Make a table of a matrix; ``names`` are those of its two axes. What stands at its left is pandas' index."""
    if frame == "pandas":
        pandas = _library("pandas")
        down, across = (
            pandas.Index(list(found), name=name) for found, name in zip((rows, columns), names, strict=True)
        )
        matrix: pd.DataFrame = pandas.DataFrame(values, down, across, dtype="float64")
        return matrix
    across_values = zip(*values, strict=True) if values else [[] for _ in columns]
    found = {str(name): _floats(column) for name, column in zip(columns, across_values, strict=True)}
    return frame_of(frame, _library("arrow").table({str(names[0] or "symbol"): list(rows), **found}))


def frame_of(frame: FrameKind, table: Any, *, index: str | None = None) -> pd.DataFrame:
    """Turn an Arrow table into what is asked for; times keep their zone."""
    made: pd.DataFrame = table
    if frame == "polars":
        made = _library("polars").from_arrow(table)
    elif frame == "pandas":
        _library("pandas")
        made = table.to_pandas()
        for name in made.columns:
            if str(made[name].dtype) == _ARROW_TIME:
                made[name] = made[name].astype(_PANDAS_TIME)
        made = made if index is None else made.set_index(index)
    return made


def arrow_of(
    rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    *,
    columns: Iterable[str] = (),
    times: Iterable[str] = (),
) -> Any:
    """Make an Arrow table of rows, or of columns; what fits no type of Arrow's is written as JSON text."""
    pa = _library("arrow")
    if isinstance(rows, Mapping):
        found: Mapping[str, Sequence[Any]] = rows
    else:
        names = dict.fromkeys(name for row in rows for name in row)
        found = {name: [row.get(name) for row in rows] for name in names}
    whens = set(times)
    made = {
        name: pa.array(column, pa.timestamp("ms", tz="UTC")) if name in whens else _array(pa, column)
        for name, column in (found or dict.fromkeys(columns, _NOTHING)).items()
    }
    return pa.table(made)


_NOTHING: Final[tuple[float, ...]] = ()


def _array(pa: Any, column: Sequence[Any]) -> Any:
    if not len(column):
        return pa.array([], pa.float64())
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        import json

        return pa.array([None if value is None else json.dumps(value) for value in column])


def _floats(column: Iterable[Any]) -> Any:
    pa = _library("arrow")
    return pa.array(column, pa.float64(), from_pandas=True)


def _library(frame: str) -> Any:
    """Import what a kind of table needs when it is used."""
    name = _LIBRARIES[frame]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f'frame="{frame}" needs {name}: pip install {name}', loc="frame") from error
