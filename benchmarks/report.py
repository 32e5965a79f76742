"""Figures as rows: what was measured, by whom, against which goal; printed, and written to ``benchmarks/results``."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

__all__ = ["RESULTS", "Figure", "Report", "median", "write"]

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value as it reads, with what it was to reach; ``reached`` is None where there is no goal."""

    what: str
    value: str
    goal: str = ""
    reached: bool | None = None


@dataclass(slots=True)
class Report:
    """What one benchmark found. ``checked`` says what was compared before anything was timed."""

    name: str
    about: str
    checked: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, value: str, goal: str = "", reached: bool | None = None) -> None:
        self.figures.append(Figure(what, value, goal, None if reached is None else bool(reached)))

    def text(self) -> str:
        """The report as Markdown."""
        rows = [
            ("measured", "value", "goal", ""),
            *((f.what, f.value, f.goal, _mark(f.reached)) for f in self.figures),
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        parts = [f"## {self.name}", "", self.about, "", *lines, "", f"Checked first: {self.checked}"]
        return "\n".join([*parts, *(f"\n{note}" for note in self.notes)]) + "\n"


def _mark(reached: bool | None) -> str:
    return "" if reached is None else "reached" if reached else "missed"


def median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def machine() -> str:
    """The machine and the versions that the figures hold for."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    packages = ("duckdb", "fastapi", "msgspec", "numba", "numpy", "picows", "uvicorn", "uvloop", "websockets")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} cores of {model}; Python {platform.python_version()}; {versions}"


def write(reports: Sequence[Report]) -> list[Path]:
    """Write each report over the one of the same name: Markdown for people, JSON for programs."""
    RESULTS.mkdir(exist_ok=True)
    written = []
    for report in reports:
        path = RESULTS / f"{report.name}.md"
        path.write_text(f"{report.text()}\nOn {machine()}.\n", encoding="utf-8")
        (RESULTS / f"{report.name}.json").write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
        written.append(path)
    return written
