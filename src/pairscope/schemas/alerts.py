"""Alerts as they cross HTTP and WebSocket: rules with how they stand, firings, and what came of messages."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from pairscope.schemas.encoders import plain_json

__all__ = [
    "AlertCreated",
    "AlertOut",
    "AlertPreviewOut",
    "AlertTested",
    "AlertsOut",
    "FiringOut",
    "FiringsOut",
    "MessageSent",
    "encode_alert",
]

_EXPONENT: Final = re.compile(rb"[:\[,]-?[0-9.]+e-?[0-9]+[,\]}]")


class _Part(BaseModel):
    """A part of a document; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")


class MessageSent(_Part):
    """What came of a message to one target."""

    target: str = Field(description="The address, without what is secret in it.")
    ok: bool
    error: str | None = Field(description="Why it did not arrive.")


class AlertOut(_Part):
    """A rule and how it stands: beside these the fields that it was made with, its defaults written out."""

    id: str
    type: str | None = Field(None, description="Of its only condition; else see `conditions`.")
    symbol: str | None = None
    y: str | None = None
    x: str | None = None
    condition: str | None = None
    threshold: float | None = None
    conditions: list[dict[str, Any]] | None = None
    frequency: str
    once: bool
    cooldown_s: float
    expires: int | None = Field(description="ms.")
    notify: list[str] = Field(description="Its targets, without what is secret in them.")
    note: str
    message: str = Field(description="Words of one's own for a firing; empty: the usual ones.")
    status: Literal["active", "paused", "done"]
    reason: str = Field(description="Why it stands so, or why no value is known.")
    created: int = Field(description="ms.")
    fired: int = Field(description="How often it has fired.")
    last_fired: int | None = Field(description="Event time of its newest firing, ms.")
    suppressed: int = Field(description="How often a cooldown or a bar kept a firing back.")
    values: list[float | None] = Field(description="Of each condition, now.")
    distance: list[float | None] = Field(description="How far each value is from where something happens.")
    holds: list[bool | None] = Field(description="Whether each condition holds.")


class AlertCreated(AlertOut):
    """A rule as it was made or changed, with what came of a test message to each target that is new."""

    delivery: list[MessageSent]


class AlertsOut(BaseModel):
    """Rules, the newest first."""

    alerts: list[AlertOut]


class FiringOut(_Part):
    """A firing: a rule has come true."""

    id: str
    alert_id: str
    seq: int = Field(description="Grows by one a firing; that of the topic `alerts`.")
    timestamp: int = Field(description="When it happened, by the exchange's clock, ms.")
    received: int = Field(description="When the trade that made it reached us, ms.")
    type: str
    condition: str
    symbol: str | None = None
    y: str | None = None
    x: str | None = None
    value: float | None
    threshold: float | None
    values: list[float | None] = Field(description="Of all conditions.")
    message: str
    late: bool = Field(description="Found in trades that came afterwards, by back-fill.")
    storm: bool = Field(description="It fired too often, and is paused by this.")
    test: bool = Field(description="Somebody asked for it.")
    note: str
    deliveries: list[dict[str, Any]] | None = Field(None, description="How its messages stand, a row a target.")


class FiringsOut(BaseModel):
    """A page of firings, newest first."""

    alerts: list[FiringOut]
    next: str | None = Field(description="`cursor` of the next page; null at the end.")


class AlertTested(FiringOut):
    """A firing that somebody asked for, with what came of its messages."""

    delivery: list[MessageSent]


class AlertPreviewOut(_Part):
    """How a rule would stand now, and when it would have fired."""

    values: list[float | None]
    distance: list[float | None]
    holds: list[bool | None]
    fired: int | None = Field(description="null: nothing is stored that could tell.")
    suppressed: int
    times: list[int] = Field(description="The newest of them, newest first, ms.")
    basis: str = Field(description="What was looked at, in words.")


def encode_alert(document: dict[str, Any]) -> bytes:
    """Return an alert or a firing as JSON without an exponent in a number; the slow way where there would be one.

    >>> encode_alert({"id": "1e7", "threshold": 0.000001})
    b'{"id":"1e7","threshold":0.000001}'
    """
    text = orjson.dumps(document)
    return plain_json(document) if _EXPONENT.search(text) else text
