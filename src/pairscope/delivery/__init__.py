"""Where firings are sent: targets and what may be called, signed webhooks, services, mail, and the outbox."""

from pairscope.delivery.courier import Courier
from pairscope.delivery.outbox import DELIVERIES, OUTBOX, seq_of_message, statuses, waiting
from pairscope.delivery.targets import Target, check_target, masked, restored
from pairscope.delivery.webhook import secret_of

__all__ = [
    "DELIVERIES",
    "OUTBOX",
    "Courier",
    "Target",
    "check_target",
    "masked",
    "restored",
    "secret_of",
    "seq_of_message",
    "statuses",
    "waiting",
]
