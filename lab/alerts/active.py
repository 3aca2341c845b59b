"""What is pending and firing, as Prometheus says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.prometheus import Prometheus

# always fires, and is no trouble
DEAD_MANS_SWITCH = "DeadMansSwitch"
# a candidate that is only watched
SHADOW = "shadow"
# labels that every alert has, which a line on it needs not name again
COMMON = {"alertname", "severity", "part", "job"}


@dataclass(frozen=True)
class ActiveAlert:
    """An alert that is pending or firing. `threshold` is None where the alert watches a state and not a number."""

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
        """The labels that tell it from its like."""
        return " ".join(f"{key}={value}" for key, value in sorted(self.labels.items()) if key not in COMMON)


def active_alerts(prometheus: Prometheus) -> list[ActiveAlert]:
    """Everything pending or firing but the dead-man's switch and shadows: pages first, the oldest first.

    Raises `PrometheusError`.
    """
    thresholds = {series.labels["alert"]: series.value for series in prometheus.query("alert_threshold")}
    found = _read(prometheus.get("alerts")["alerts"], thresholds)
    return sorted(found, key=lambda alert: (alert.state != "firing", alert.severity, alert.since))


def is_starting(prometheus: Prometheus) -> bool:
    """Whether Prometheus has only just been started: alerts on states wait until its stack is up.

    Raises `PrometheusError`.
    """
    return any(series.value == 1 for series in prometheus.query("prometheus:starting"))


def _read(rows: list[dict[str, Any]], thresholds: Mapping[str, float]) -> Iterator[ActiveAlert]:
    for row in rows:
        labels = row["labels"]
        if labels["alertname"] != DEAD_MANS_SWITCH and labels.get("severity") != SHADOW:
            yield ActiveAlert(
                name=labels["alertname"],
                severity=labels.get("severity", ""),
                state=row["state"],
                since=_time(row["activeAt"]),
                value=float(row["value"]),
                threshold=thresholds.get(labels["alertname"]),
                labels=labels,
                runbook=row["annotations"].get("runbook_url", ""),
            )


def _time(text: str) -> datetime:
    # Go writes nanoseconds, which Python does not read
    whole, _, _ = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00")
