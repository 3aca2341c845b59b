"""Metrics of notifications: how often each alert caused one, and which alerts Alertmanager inhibits or silences."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from lab.desk.inbox import Message
from lab.settings import ROOT
from lab.yaml_file import read_yaml

# timeout for Alertmanager's whole response during a scrape, however slowly it arrives
ASK_SECONDS = 0.5
# limit of alert names, against unbounded labels
MAX_NAMES = 500


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    silenced_by: list[str] | None
    inhibited_by: list[str] | None


class HeldAlert(msgspec.Struct, frozen=True):
    """An alert as Alertmanager's API has it, as far as it is read here."""

    status: _Status
    labels: dict[str, str]


LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Notified:
    """Counts notifications by alert, and asks the Alertmanager at `url` which alerts are inhibited or silenced.

    The counters of `alerts` exist from the start with 0: Prometheus does not see the first increase of a new counter.
    """

    def __init__(self, url: str = "", alerts: Iterable[str] = ()) -> None:
        self._url = url
        self._registry = CollectorRegistry()
        self._notified = Counter(
            "alert_notifications",
            "Times that an alert fired and notified.",
            ["alertname"],
            registry=self._registry,
        )
        self._held = Gauge(
            "alert_held",
            "1 while an alert fires and notifies nobody, because all its instances are inhibited or silenced.",
            ["alertname", "by"],
            registry=self._registry,
        )
        self._started: dict[str, datetime] = {}
        for name in alerts:
            self._notified.labels(name)

    def count(self, message: Message) -> None:
        """Counts the alerts that started since their last notification; an alert of three replicas counts once."""
        started: dict[str, datetime] = {}
        for alert in message.alerts:
            name = alert.labels.get("alertname", "")
            if alert.status == "firing" and alert.starts_at > started.get(name, self._started.get(name, LONG_AGO)):
                started[name] = alert.starts_at
        for name, at in started.items():
            if name in self._started or len(self._started) < MAX_NAMES:
                self._notified.labels(name).inc()
                self._started[name] = at

    async def exposition(self) -> str:
        """The metrics in Prometheus' text format; `alert_held` only if Alertmanager answers."""
        self._held.clear()
        for name, by in (await self._ask()).items():
            self._held.labels(name, by).set(1)
        return generate_latest(self._registry).decode()

    async def _ask(self) -> Mapping[str, str]:
        if self._url:
            with suppress(httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError):
                async with (
                    asyncio.timeout(ASK_SECONDS),
                    httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False) as client,
                ):
                    answer = await client.get(f"{self._url}/api/v2/alerts")
                    return held(msgspec.json.decode(answer.raise_for_status().content, type=list[HeldAlert]))
        return {}


def known_alerts(folder: Path = ROOT / "alerts") -> list[str]:
    """The names in thresholds.yml; none if it cannot be read."""
    with suppress(OSError, ValueError, yaml.YAMLError, TypeError):
        return list(read_yaml(folder / "thresholds.yml"))
    return []


def held(alerts: Iterable[HeldAlert]) -> dict[str, str]:
    """The alerts of which no instance notifies anybody, each with the reason: `silence` or `inhibition`."""
    found: dict[str, set[str]] = {}
    for alert in alerts:
        by = "silence" if alert.status.silenced_by else "inhibition" if alert.status.inhibited_by else ""
        found.setdefault(alert.labels.get("alertname", ""), set()).add(by)
    return {name: max(by) for name, by in found.items() if "" not in by}
