"""Makes ``.venv`` from a lock of hashes: ``python scripts/bootstrap.py [run|dev]``. Needs only Python.

A stamp of the lock's hash makes a second call a no-op. ``uv`` installs where it can be had (seconds), else ``pip``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCKS = {"run": ["requirements.lock"], "dev": ["requirements.lock", "requirements-dev.lock"]}


def call(*command: str | Path, quiet: bool = False) -> bool:
    """Run a command; False where it fails or is not there."""
    stream = subprocess.DEVNULL if quiet else None
    try:
        return (
            subprocess.run([str(part) for part in command], stdout=stream, stderr=stream, check=False).returncode == 0
        )
    except OSError:
        return False


def uv() -> Path | None:
    """Return the environment's own uv, installing it if need be; None where it cannot be had."""
    found = BIN / ("uv.exe" if os.name == "nt" else "uv")
    if not found.exists():
        call(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv", quiet=True)
    return found if found.exists() and call(found, "--version", quiet=True) else None


def install(lock: Path) -> bool:
    """Install a lock, and nothing that it does not name."""
    tool = uv()
    if tool and call(
        tool, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "--compile-bytecode", "-r", lock
    ):
        return True
    return call(
        PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock
    )


def main(kind: str) -> int:
    """Bring ``.venv`` to what the lock says."""
    if sys.version_info < (3, 11):
        print(
            f"Pairscope needs Python 3.11 or newer; this is {sys.version.split()[0]}. "
            f"Try: make PYTHON=python3.12 {'test' if kind == 'dev' else 'run'}",
            file=sys.stderr,
        )
        return 1
    locks = [ROOT / name for name in LOCKS[kind]]
    digest = hashlib.sha256(
        b"".join(p.read_bytes() for p in [*locks, ROOT / "pyproject.toml"]) + sys.version.encode()
    ).hexdigest()
    stamp = VENV / f"stamp-{kind}"
    if stamp.exists() and stamp.read_text() == digest and PYTHON.exists():
        return 0
    began = time.monotonic()
    print(f"setting up .venv ({kind}) ...", flush=True)
    if not PYTHON.exists() and not call(sys.executable, "-m", "venv", VENV):
        print("python -m venv failed; on Debian or Ubuntu: apt install python3-venv", file=sys.stderr)
        return 1
    for lock in locks:
        if not install(lock):
            print(f"installing {lock.name} failed; is a package index within reach?", file=sys.stderr)
            return 1
    if not link_package():
        print("installing the package itself failed", file=sys.stderr)
        return 1
    stamp.write_text(digest)
    if kind == "dev":
        run_digest = hashlib.sha256(
            b"".join(p.read_bytes() for p in [locks[0], ROOT / "pyproject.toml"]) + sys.version.encode()
        ).hexdigest()
        (VENV / "stamp-run").write_text(run_digest)
    print(f"ready in {time.monotonic() - began:.1f} s", flush=True)
    return 0


def link_package() -> bool:
    """Install the working tree itself, editable, without asking an index for anything (setuptools is in the lock)."""
    tool = uv()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    if tool and call(tool, "pip", "install", "--python", PYTHON, *options):
        return True
    return call(PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
