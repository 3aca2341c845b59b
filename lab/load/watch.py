"""Reads the stack's own figures from Prometheus during a load, for the live display."""

import threading
import time
from dataclasses import dataclass, field

from lab.prometheus import Prometheus, PrometheusError
from lab.runs.queries import REAL_ALERTS, hit_ratio_query

ASK_SECONDS = 2.0


@dataclass(frozen=True)
class Inside:
    """Hit ratio of the run so far, each replica's share of requests, and firing alerts; None or empty if unknown."""

    hit_ratio: float | None = None
    shares: dict[str, float] = field(default_factory=dict)
    firing: tuple[str, ...] = ()
    error: str | None = None


class Watch:
    """Queries Prometheus every two seconds in a thread, so that a slow response does not delay the display."""

    def __init__(self, url: str) -> None:
        self.inside = Inside()
        self._url = url
        self._began = time.monotonic()
        self._stopped = threading.Event()
        threading.Thread(target=self._ask_again, daemon=True).start()

    def stop(self) -> None:
        """Stops the thread."""
        self._stopped.set()

    def _ask_again(self) -> None:
        with Prometheus(self._url, timeout=1.0) as prometheus:
            while not self._stopped.wait(ASK_SECONDS):
                try:
                    self.inside = look(prometheus, time.monotonic() - self._began)
                except PrometheusError as error:
                    self.inside = Inside(error=str(error))


def look(prometheus: Prometheus, seconds: float) -> Inside:
    """The stack's figures over the last `seconds`. Raises `PrometheusError`."""
    ratio = prometheus.query(hit_ratio_query(seconds))
    shares = prometheus.query("replica:http_requests:share1m")
    alerts = prometheus.query(f'ALERTS{{alertstate="firing",{REAL_ALERTS}}}')
    return Inside(
        hit_ratio=ratio[0].value if ratio and ratio[0].value == ratio[0].value else None,
        shares={each.labels.get("replica", "?"): each.value for each in sorted(shares, key=_replica)},
        firing=tuple(sorted({each.labels["alertname"] for each in alerts})),
    )


def _replica(series: object) -> str:
    return str(getattr(series, "labels", {}).get("replica", ""))
