"""What became of alerts on their way to people, as metrics: told, or held back by Alertmanager."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from lab.desk.inbox import Message
from lab.settings import ROOT

# a scrape waits no longer for Alertmanager
ASK_SECONDS = 0.5
# more alerts than that are nobody's
MOST_NAMES = 500
LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Told:
    """Counts the alerts that were told, and asks the Alertmanager at `url` which it holds back.

    `alerts` are names that are counted from 0 on: of a counter that begins with 1, Prometheus does not see the first.
    """

    def __init__(self, url: str = "", alerts: Iterable[str] = ()) -> None:
        self._url = url
        self._registry = CollectorRegistry()
        self._told = Counter(
            "alert_told", "Times that an alert began to fire and was told.", ["alertname"], registry=self._registry
        )
        self._held = Gauge(
            "alert_held",
            "1 while an alert fires and nobody is told: all of it is inhibited, or silenced.",
            ["alertname", "by"],
            registry=self._registry,
        )
        self._begun: dict[str, datetime] = {}
        for name in alerts:
            self._told.labels(name)

    def count(self, message: Message) -> None:
        """Counts what this notification is the first to tell of; an alert of three replicas once."""
        begun: dict[str, datetime] = {}
        for alert in message.alerts:
            name = alert.labels.get("alertname", "")
            if alert.status == "firing" and alert.starts_at > begun.get(name, self._begun.get(name, LONG_AGO)):
                begun[name] = alert.starts_at
        for name, at in begun.items():
            if name in self._begun or len(self._begun) < MOST_NAMES:
                self._told.labels(name).inc()
                self._begun[name] = at

    async def exposition(self) -> str:
        """Both in Prometheus' text format; what is held, only where Alertmanager answers."""
        self._held.clear()
        for name, by in (await self._ask()).items():
            self._held.labels(name, by).set(1)
        return generate_latest(self._registry).decode()

    async def _ask(self) -> Mapping[str, str]:
        if self._url:
            with suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
                async with httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False) as client:
                    answer = await client.get(f"{self._url}/api/v2/alerts")
                    return held(answer.raise_for_status().json())
        return {}


def known_alerts(folder: Path = ROOT / "alerts") -> list[str]:
    """The names in thresholds.yml; none where it cannot be read."""
    with suppress(OSError, yaml.YAMLError, TypeError):
        return list(yaml.safe_load((folder / "thresholds.yml").read_text()))
    return []


def held(alerts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By what each alert is held back of which nothing is told: `silence`, or `inhibition`."""
    found: dict[str, set[str]] = {}
    for alert in alerts:
        status = alert["status"]
        by = "silence" if status["silencedBy"] else "inhibition" if status["inhibitedBy"] else ""
        found.setdefault(alert["labels"].get("alertname", ""), set()).add(by)
    return {name: max(by) for name, by in found.items() if "" not in by}
