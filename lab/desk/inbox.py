"""What Alertmanager told: the newest notifications, and when its dead-man's switch was last heard.

Kept in memory only. What fired in the past is in Prometheus' `ALERTS`; the inbox shows what was sent and when.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

MOST_NOTIFICATIONS = 200


class SentAlert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of a notification, as Alertmanager's webhook has it."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """The body of Alertmanager's webhook (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

    status: str
    receiver: str
    group_labels: dict[str, str]
    alerts: list[SentAlert]


class Notification(msgspec.Struct, frozen=True):
    """A message and when it came, in unix seconds. Numbers rise by one from 1 on."""

    number: int
    received: float
    message: Message


class Inbox:
    """The newest notifications."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: deque[Notification] = deque(maxlen=MOST_NOTIFICATIONS)
        self._number = 0
        self.heartbeat: float | None = None
        """When the dead-man's switch was last heard, in unix seconds."""

    @property
    def received(self) -> int:
        """How many notifications came, with those that are no longer kept."""
        return self._number

    def put(self, message: Message) -> None:
        """Takes a notification in."""
        self._number += 1
        self._kept.append(Notification(self._number, self._clock(), message))

    def beat(self) -> None:
        """Hears the dead-man's switch."""
        self.heartbeat = self._clock()

    def newest(self) -> list[Notification]:
        """What is kept, newest first."""
        return list(reversed(self._kept))
