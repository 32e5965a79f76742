"""Which script files the live views consist of: ours beside this module, the chart library in its installed wheel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["ASSETS", "LIBRARY", "PREFIX", "VERSION"]

PREFIX: Final = "pairscope-assets"
"""First part of the path that the dashboard serves them under."""

LIBRARY: Final = "lightweight-charts.standalone.production.js"


def _library_path() -> Path:
    """Find the chart library without importing the wheel that carries it (its import needs pandas)."""
    spec = find_spec("lwcharts")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path("lwcharts")
    return folder / "vendor" / LIBRARY


def _files() -> dict[str, Path]:
    own = {path.name: path for path in sorted(Path(__file__).parent.glob("*.js"))}
    return {**own, LIBRARY: _library_path()}


def _version(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()[:12]


ASSETS: Final[Mapping[str, Path]] = _files()
VERSION: Final = _version(ASSETS)
"""Changes with any of the files: part of their address, so that browsers may keep them for ever."""
