"""What `desk` receives: notifications of Alertmanager, and lines of the gateway's request log."""

from typing import Any

JSON = {"Content-Type": "application/json"}


def notification(status: str = "firing", **labels: str) -> dict[str, Any]:
    """A notification of Alertmanager's webhook, with fields that the inbox does not read."""
    return {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "ticket",
        "groupLabels": {"part": "redis"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "RedisNodeDown", "severity": "ticket", **labels},
                "annotations": {
                    "summary": "redis-1 is down",
                    "dashboard_url": "http://127.0.0.1:3000/d/cache-redis",
                    "runbook_url": "http://127.0.0.1:8060/runbooks/RedisNodeDown",
                },
                "startsAt": "2026-01-02T03:04:05.678901234Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": "f",
            }
        ],
    }


def line(status: int, addresses: str = "", statuses: str = "", kind: str = "read", seconds: float = 0.003) -> str:
    """A line of the gateway's request log."""
    return f"{kind}|{status}|{seconds:.3f}|{addresses}|{statuses}\n"
