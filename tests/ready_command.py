"""A command line that has been imported once: each call runs in a process of its own, forked from it.

A start of Python with all that a command imports takes a second; a fork takes milliseconds. What a command does is the
same: its words, its folder, its outputs, its exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path


class ReadyCommand:
    """Runs ``pairscope`` with some words. ``python`` is the process that has imported it and forks."""

    def __init__(self, python: subprocess.Popen[str]) -> None:
        self._python = python

    def __call__(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        assert self._python.stdin is not None and self._python.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            asked = {"words": words, "cwd": str(cwd or Path.cwd()), "out": str(out), "err": str(err)}
            self._python.stdin.write(json.dumps(asked) + "\n")
            self._python.stdin.flush()
            code = int(self._python.stdout.readline())
            return subprocess.CompletedProcess(["pairscope", *words], code, out.read_text(), err.read_text())


@contextmanager
def ready_command() -> Iterator[ReadyCommand]:
    """Import the command line in a process, and end that process afterwards."""
    python = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield ReadyCommand(python)
    finally:
        assert python.stdin is not None and python.stdout is not None
        python.stdin.close()
        python.wait(60)
        python.stdout.close()


def serve() -> None:
    """Fork a command for each line that comes, and answer with its exit code."""
    from pairscope.cli import main

    for module in ("playback", "process", "screening", "wiring.embedded"):
        import_module(f"pairscope.{module}")

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            for name, target in (("out", 1), ("err", 2)):
                os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(asked["cwd"])
            sys.argv = ["pairscope", *asked["words"]]
            code = 1
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # taking down all that was imported would last longer than the command
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
