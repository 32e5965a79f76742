"""The nginx of deploy/ on this machine: the same files, with hosts mapped to loopback and ports that are free."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[2] / "deploy" / "nginx"
DEADLINE_S = 30.0
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE
"""For certificates of one's own."""


@dataclass(frozen=True)
class Front:
    """Where it listens: for people without TLS and with it, and for the dashboard's own server."""

    plain: int
    tls: int
    inner: int
    lines: Path


def nginx() -> str:
    """The program; the test is skipped where there is none."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.skip("no nginx here: apt-get install nginx-light")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def self_signed(folder: Path) -> None:
    """A certificate for localhost."""
    words = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    places = ["-keyout", str(folder / "tls_key"), "-out", str(folder / "tls_certificate")]
    subprocess.run(["openssl", *words, *places], check=True, capture_output=True)


def written(folder: Path, hosts: Mapping[str, Sequence[int]]) -> tuple[Path, Front]:
    """Write the files for this machine; ``hosts`` has for ``api-0:8000`` and the like the ports of loopback."""
    plain, tls, inner = free_ports(3)
    shutil.copytree(PLACE, folder / "nginx")
    self_signed(folder)
    text = (PLACE / "nginx.conf").read_text()
    for host, ports in hosts.items():
        found = re.search(rf"^ *server {re.escape(host)}( .*)?;$", text, re.MULTILINE)
        assert found, f"nothing is handed on to {host}"
        lines = "\n".join(f"server 127.0.0.1:{port}{found[1] or ''};" for port in ports)
        text = text.replace(found[0], lines)
    for port, here in ((8080, plain), (8443, tls), (8081, inner)):
        text, changed = re.subn(rf"listen {port}\b", f"listen 127.0.0.1:{here}", text)
        assert changed == 1, f"nobody listens on {port}"
    text = re.sub(r"(/run/secrets|/tmp)/", f"{folder}/", text)
    text = text.replace("access_log /dev/stdout", f"access_log {folder}/lines").replace(
        "/dev/stderr", f"{folder}/errors"
    )
    text = text.replace("worker_processes auto", "worker_processes 1")
    if os.geteuid() == 0:
        text = text.replace("pid ", "user root;\npid ", 1)
    place = folder / "nginx" / "nginx.conf"
    place.write_text(text)
    return place, Front(plain, tls, inner, folder / "lines")


def agreed(place: Path) -> subprocess.CompletedProcess[str]:
    """What ``nginx -t`` says of a file."""
    return subprocess.run(
        [nginx(), "-t", "-e", str(place.parent / "start"), "-c", str(place)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def running(place: Path, front: Front) -> Iterator[Front]:
    """Run it in the foreground until the end."""
    words = [nginx(), "-e", str(place.parent / "start"), "-c", str(place), "-g", "daemon off;"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", front.tls), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield front
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)
