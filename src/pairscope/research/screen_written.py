"""A screen's table as people and programs read it: lines for a terminal, JSON, and files in CSV or Parquet."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pairscope.errors import ConfigError, InputError
from pairscope.market.ticks import F8
from pairscope.research.closes import iso
from pairscope.research.screen_table import COLUMNS, ScreenResult
from pairscope.research.surrogates import EmpiricalNull

__all__ = ["SORTS", "document", "extension_of", "lines", "null_lines", "ranked", "write_table"]

SORTS: Final = COLUMNS
"""What a table can be sorted by."""

_LARGEST_FIRST: Final = frozenset({"lags", "zscore", "spread_std", "correlation"})
_FORMATS: Final = (
    "{}", "{}", "{:.5g}", "{:.5g}", "{:.3f}", "{:.2e}", "{:.2e}", "{}", "{:.1f}", "{:+.2f}", "{:.3g}", "{:+.3f}",
)  # fmt: skip


def ranked(result: ScreenResult, sort: str, fdr: float) -> ScreenResult:
    """Return the rows with the discoveries first, and within these and the others sorted by a column.

    Names, statistic, p, q, alpha, beta and half-life ascend; z-scores (by their size), correlation, deviation and lags
    descend; a half-life that there is none of comes last.
    """
    if sort not in SORTS:
        raise InputError(f"cannot sort by {sort!r}", loc="sort", hint=f"one of {', '.join(SORTS)}")
    column = result[sort]
    if sort in _LARGEST_FIRST:
        column = -np.abs(column) if sort == "zscore" else -column
    return result.take(np.lexsort((result.pvalue, column, result.qvalue > fdr)))


def lines(result: ScreenResult, *, fdr: float, limit: int, chance: F8 | None = None) -> list[str]:
    """Return the first ``limit`` rows (0: all) as lines, a discovery marked by a star; ``chance`` adds a column."""
    shown = result.take(slice(limit or None))
    heads = ["", *COLUMNS, *(["qvalue_empirical"] if chance is not None else [])]
    rows = [heads]
    for place, row in enumerate(shown):
        cells = [_cell(form, value) for form, value in zip(_FORMATS, row, strict=True)]
        extra = [f"{chance[place]:.2e}"] if chance is not None else []
        rows.append(["*" if row.qvalue <= fdr else "", *cells, *extra])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return ["  ".join(_padded(cell, widths[i], left=i < 3) for i, cell in enumerate(row)).rstrip() for row in rows]


def null_lines(null: EmpiricalNull) -> list[str]:
    """Return, for each threshold on p, the discoveries beside the false ones of theory and of surrogates, as lines."""
    rows = [
        ["p at most", "discoveries", "false by theory", "false by surrogates", "FDR by theory", "FDR by surrogates"]
    ]
    columns = (null.thresholds, null.discoveries, null.theory, null.false, null.fdr_of_theory, null.fdr)
    for level, found, theory, false, promised, real in zip(*(column.tolist() for column in columns), strict=True):
        rates = ["none" if math.isnan(rate) else f"{rate:.1%}" for rate in (promised, real)]
        rows.append([f"{level:g}", f"{found:,}", f"{theory:,.3g}", f"{false:,.3g}", *rates])
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return ["  ".join(_padded(cell, widths[i], left=False) for i, cell in enumerate(row)).rstrip() for row in rows]


def document(
    result: ScreenResult,
    *,
    limit: int,
    as_of_ns: int,
    told: Mapping[str, Any],
    excluded: Mapping[str, str],
    chance: F8 | None = None,
    null: EmpiricalNull | None = None,
) -> bytes:
    """Return the answer as JSON: the endpoint's fields, the first ``limit`` pairs (0: all), a missing number null."""
    pairs = []
    for place, row in enumerate(result.take(slice(limit or None))):
        pair: dict[str, Any] = row._asdict()
        if chance is not None:
            pair["qvalue_empirical"] = float(chance[place])
        pairs.append({name: None if _missing(value) else value for name, value in pair.items()})
    answer = {
        "as_of": as_of_ns // 1_000_000,
        "universe": result.universe,
        "tests": result.tests,
        "elapsed_ms": round(result.elapsed_ms, 1),
        **told,
        "family": result.family,
        "excluded": dict(excluded),
        "pairs": pairs,
    }
    if null is not None:
        answer["empirical_null"] = {
            "markets": len(null.surrogate),
            "threshold": null.thresholds.tolist(),
            "discoveries": null.discoveries.tolist(),
            "false_by_theory": null.theory.tolist(),
            "false_by_surrogates": null.false.tolist(),
            "fdr_by_theory": _nullable(null.fdr_of_theory),
            "fdr_by_surrogates": _nullable(null.fdr),
        }
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2)


def extension_of(path: Path) -> str:
    """Return ``.csv`` or ``.parquet``; ``InputError`` where a table cannot be written to such a file."""
    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise InputError(f"{path.name} is neither .csv nor .parquet", loc="out")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", loc="out")
    return kind


def write_table(path: Path, result: ScreenResult, *, as_of_ns: int, timeframe: str, chance: F8 | None) -> None:
    """Write every row, in one go: the endpoint's columns, then ``as_of`` (the newest bar's open time, ISO).

    A number that there is none of is empty in CSV and null in Parquet.
    """
    kind = extension_of(path)
    columns: dict[str, Any] = {name: _column(result[name]) for name in COLUMNS}
    if chance is not None:
        columns["qvalue_empirical"] = _column(chance)
    columns["as_of"] = pa.array([iso(as_of_ns)] * len(result), pa.string())
    table = pa.table(columns).replace_schema_metadata({"timeframe": timeframe, "family": result.family})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if kind == ".csv":
            plain = not any(set(name) & set('",\r\n') for name in result.universe)
            style = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none" if plain else "needed")
            with part.open("wb") as file:
                file.write(f"{','.join(table.column_names)}\n".encode())
                pyarrow.csv.write_csv(table, file, style)
        else:
            pyarrow.parquet.write_table(table, part)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", loc="--out") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _column(values: Any) -> Any:
    """Return a column of Arrow's; what is not finite is null."""
    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    return pa.array(values, mask=~np.isfinite(values) if values.dtype.kind == "f" else None)


def _nullable(values: F8) -> Sequence[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _missing(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _cell(form: str, value: object) -> str:
    return "none" if _missing(value) else form.format(value)


def _padded(cell: str, width: int, *, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
