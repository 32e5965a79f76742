"""Alerts as a service: the desk that makes rules and keeps what came of them, its history and its words."""

from pairscope.alerts.desk import AlertDesk, Taken
from pairscope.alerts.shared_firings import SharedFirings, number_of

__all__ = ["AlertDesk", "SharedFirings", "Taken", "number_of"]
