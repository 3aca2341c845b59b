"""Notifications from Alertmanager, the verdicts that people gave on them, and the time of the last heartbeat.

Kept in SQLite, the newest few thousand. What fired in the past is in Prometheus' `ALERTS`; the inbox has what was sent.
"""

import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

# how many are shown, and how many are kept
MAX_NOTIFICATIONS = 200
MAX_KEPT = 5000
Verdict = Literal["", "useful", "noise"]
VERDICTS = ("", "useful", "noise")
# must have a UTC offset, so that any two can be compared
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# SQLite's highest row id
MAX_NUMBER = (1 << 63) - 1


class SentAlert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of a notification, as Alertmanager's webhook has it."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: Moment
    ends_at: Moment


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """The body of Alertmanager's webhook (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

    status: str
    receiver: str
    group_labels: dict[str, str]
    alerts: list[SentAlert]


class Notification(msgspec.Struct, frozen=True):
    """A notification, its time of arrival in unix seconds, and its verdict. Numbers start at 1."""

    number: int
    received: float
    message: Message
    verdict: Verdict = ""


class Inbox:
    """The newest notifications, in an SQLite file or in memory. Raises `sqlite3.Error`."""

    def __init__(self, clock: Callable[[], float] = time.time, file: Path | None = None) -> None:
        self._clock = clock
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        # used only in the event loop's thread, which may not be the one that created it
        self._database = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS notification (number INTEGER PRIMARY KEY AUTOINCREMENT,"
            " received REAL NOT NULL, message BLOB NOT NULL, verdict TEXT NOT NULL DEFAULT '')"
        )
        # raises now instead of at each request if the table belongs to another program
        self._database.execute("SELECT number, received, message, verdict FROM notification LIMIT 1").fetchone()
        self.heartbeat: float | None = None
        """The time of the last heartbeat (the dead man's switch), in unix seconds."""
        self._beat = time.monotonic()

    @property
    def received(self) -> int:
        """How many notifications arrived, including those that are no longer kept."""
        row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'notification'").fetchone()
        return int(row[0]) if row else 0

    def put(self, message: Message) -> None:
        """Adds a notification."""
        self._database.execute(
            "INSERT INTO notification (received, message) VALUES (?, ?)", (self._clock(), msgspec.json.encode(message))
        )
        self._database.execute("DELETE FROM notification WHERE number <= ?", (self.received - MAX_KEPT,))

    def beat(self) -> None:
        """Records a heartbeat."""
        self.heartbeat, self._beat = self._clock(), time.monotonic()

    @property
    def silence(self) -> float | None:
        """The seconds since the last heartbeat; None before the first one."""
        return None if self.heartbeat is None else time.monotonic() - self._beat

    def say(self, number: int, verdict: Verdict) -> bool:
        """Sets the verdict on a notification; an empty one removes it. False if there is no such notification."""
        if number > MAX_NUMBER:
            return False
        changed = self._database.execute("UPDATE notification SET verdict = ? WHERE number = ?", (verdict, number))
        return changed.rowcount == 1

    def newest(self) -> list[Notification]:
        """The newest notifications, newest first, without those that this version cannot read."""
        rows = self._database.execute(
            "SELECT number, received, message, verdict FROM notification ORDER BY number DESC LIMIT ?",
            (MAX_NOTIFICATIONS,),
        )
        return [
            Notification(number, received, message, verdict if verdict in VERDICTS else "")
            for number, received, text, verdict in rows
            if (message := _read(text))
        ]

    def verdicts(self) -> dict[str, dict[str, int]]:
        """How many notifications of each alert were marked useful, and noise; resolved ones do not count."""
        found: dict[str, dict[str, int]] = {}
        for text, verdict in self._database.execute(
            "SELECT message, verdict FROM notification WHERE verdict IN ('useful', 'noise')"
        ).fetchall():
            message = _read(text)
            alerts = message.alerts if message else []
            fired = {alert.labels.get("alertname", "") for alert in alerts if alert.status == "firing"}
            for alert in fired:
                counts = found.setdefault(alert, {"useful": 0, "noise": 0})
                counts[verdict] += 1
        return found


def _read(text: bytes) -> Message | None:
    try:
        return msgspec.json.decode(text, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return None
