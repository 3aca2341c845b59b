"""Pending and firing alerts, from Prometheus' API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab.prometheus import Prometheus, well_formed

# always fires, by design
DEAD_MANS_SWITCH = "DeadMansSwitch"
# the severity of a shadow alert, which notifies nobody
SHADOW = "shadow"
# labels that every alert has, and that are not repeated in its line
COMMON = {"alertname", "severity", "part", "job"}


@dataclass(frozen=True)
class ActiveAlert:
    """A pending or firing alert. `threshold` is None if the alert has a condition instead of a threshold."""

    name: str
    severity: str
    state: str
    since: datetime
    value: float
    threshold: float | None
    labels: Mapping[str, str]
    runbook: str

    @property
    def where(self) -> str:
        """The labels that distinguish it from other alerts of the same name."""
        return " ".join(f"{key}={value}" for key, value in sorted(self.labels.items()) if key not in COMMON)


def active_alerts(prometheus: Prometheus) -> list[ActiveAlert]:
    """All pending and firing alerts except the dead man's switch and shadows: firing first, then pages, then oldest.

    Raises `PrometheusError`.
    """
    thresholds = {series.labels.get("alert", ""): series.value for series in prometheus.query("alert_threshold")}
    rows = prometheus.get("alerts")
    with well_formed(prometheus.url):
        found = list(_read(rows["alerts"], thresholds))
    return sorted(found, key=lambda alert: (alert.state != "firing", alert.severity, alert.since))


def _read(rows: list[dict[str, Any]], thresholds: Mapping[str, float]) -> Iterator[ActiveAlert]:
    for row in rows:
        labels = row["labels"]
        if labels["alertname"] != DEAD_MANS_SWITCH and labels.get("severity") != SHADOW:
            yield ActiveAlert(
                name=labels["alertname"],
                severity=labels.get("severity", ""),
                state=row["state"],
                since=datetime.fromisoformat(row["activeAt"]).astimezone(UTC),
                value=float(row["value"]),
                threshold=thresholds.get(labels["alertname"]),
                labels=labels,
                runbook=row["annotations"].get("runbook_url", ""),
            )
