"""What a person is told of a firing: a title and a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Words", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """A title, the text, and the id that every attempt of this message has."""

    title: str
    text: str
    message_id: str


def words_of(firing: Mapping[str, Any], name: str) -> Words:
    r"""Return what a person is told of a firing: its message, its note where that is not in it, and when it was.

    >>> words_of({"symbol": "BTCUSDT", "message": "BTCUSDT is above 70000", "late": True, "timestamp": 0}, "a-1")
    Words(title='Pairscope: BTCUSDT (late)', text='BTCUSDT is above 70000\n1970-01-01 00:00:00 UTC', message_id='a-1')
    """
    subject = firing.get("symbol") or " / ".join(str(firing[leg]) for leg in ("y", "x") if firing.get(leg))
    marks = [word for word in ("test", "late") if firing.get(word)]
    title = f"Pairscope: {subject or 'alert'}" + (f" ({', '.join(marks)})" if marks else "")
    lines = [str(firing.get("message") or "An alert has come true.")]
    note = str(firing.get("note") or "")
    if note and note not in lines[0]:
        lines.append(note)
    at = firing.get("timestamp")
    if isinstance(at, int | float) and 0 <= at < 1e14:
        lines.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    return Words(title, "\n".join(lines), name)
