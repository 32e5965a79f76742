#!/usr/bin/env python3
"""Ask the process of this container whether it does its work: exit code 0 where it does."""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

ASKED = {
    "run": ("PAIRSCOPE_PORT", 8000, "/api/health/ready"),
    "api": ("PAIRSCOPE_PORT", 8000, "/api/health/ready"),
    "ingest": ("PAIRSCOPE_INGEST_PORT", 8010, "/api/health/ready"),
    "dashboard": ("PAIRSCOPE_DASHBOARD_PORT", 8501, "/_stcore/health"),
}
"""Role: the variable of its port, its default, and what to ask for."""


def role_of(words: list[str]) -> str | None:
    """Return the role in a command line like ``docker-init -- pairscope api``; None where there is none."""
    return next((word for word in words if word in ASKED), None)


def main(words: list[str]) -> int:
    """Ask; the words are the role, else the command line of the container's first process."""
    if not words:
        words = Path("/proc/1/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    role = role_of(words)
    if role is None:
        sys.stderr.write(f"none of {', '.join(ASKED)} runs here\n")
        return 1
    variable, default, path = ASKED[role]
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get(variable) or default), timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        sys.stdout.write(f"{answer.status} {answer.read(500).decode('utf-8', 'replace')}\n")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
