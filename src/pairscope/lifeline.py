"""A child process that ends with its parent, even where the parent is killed.

``python -m pairscope.lifeline MODULE ARGS…`` runs a module and watches standard input, which the parent holds open:
when it ends, the parent is gone, and the process asks itself to stop (SIGTERM), then insists.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

__all__ = ["watch_parent"]

PATIENCE_S = 8.0
"""How long an orderly stop may take once the parent is gone."""


def watch_parent(fd: int = 0) -> None:
    """Start a thread that stops this process when ``fd`` reaches its end."""
    threading.Thread(target=_wait, args=(fd,), name="lifeline", daemon=True).start()


def _wait(fd: int) -> None:
    try:
        while os.read(fd, 1024):
            continue
    except OSError:
        pass  # a closed descriptor says the same as its end
    threading.Timer(PATIENCE_S, os._exit, args=(1,)).start()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the module named on the command line under a watch."""
    module, arguments = sys.argv[1], sys.argv[2:]
    watch_parent()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
