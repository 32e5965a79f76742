"""Alerts as a service: the desk that makes rules and keeps what came of them, its history and its words."""

from pairscope.alerts.desk import AlertDesk, Taken

__all__ = ["AlertDesk", "Taken"]
