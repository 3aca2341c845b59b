"""The metrics that the parts of a healthy, idle stack expose.

The service's and the desk's metrics come from their own code; those of the exporters were recorded from Debian 12's,
the oldest supported ones, and have only names that the newest have too.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.notified import Notified, known_alerts
from lab.load.measured import Measured
from lab.load.metrics import metrics
from service.telemetry.metrics import Metrics
from testbed.expositions import Page

DATA = Path(__file__).parent / "data" / "exposition"
REPLICAS = ("todo-1", "todo-2", "todo-3")
MASTERS = ("redis-1", "redis-2", "redis-3")
FOLLOWERS = ("redis-4", "redis-5", "redis-6")


def pages() -> dict[str, Page]:
    """Path → metrics of one target."""
    made: dict[str, Page] = {}
    for replica in REPLICAS:
        metrics = Metrics(is_on=True, replica=replica, max_concurrent_requests=100)
        metrics.watch_pool(lambda: 0, lambda: 2, 10)
        made[f"/todo/{replica}"] = partial(_replica, metrics)
    for nodes, kind in ((MASTERS, "redis-master"), (FOLLOWERS, "redis-replica")):
        for node in nodes:
            made[f"/redis/{node}"] = (DATA / f"{kind}.prom").read_bytes
    made["/gateway"] = (DATA / "nginx.prom").read_bytes
    made["/postgres"] = (DATA / "postgres.prom").read_bytes
    made["/host"] = (DATA / "host.prom").read_bytes
    made["/processes"] = (DATA / "processes.prom").read_bytes
    made["/alertmanager"] = (DATA / "alertmanager.prom").read_bytes
    gateway_log = GatewayLog(Path("/nonexistent"))
    notified = asyncio.run(Notified(alerts=known_alerts()).exposition())
    made["/desk"] = (gateway_log.exposition() + Disk(Path("/")).exposition() + notified).encode
    return made


def _replica(metrics: Metrics) -> bytes:
    """A replica measures the lag of its event loop without requests too."""
    metrics.loop_lag.observe(0.001)
    return generate_latest(metrics.registry)


def load_metric_names() -> set[str]:
    """The metrics that a load generator writes to Prometheus while it runs; an idle stack has none of them."""
    return {sample.name for metric in metrics(Measured(), "ramp", "ramp") for sample in metric.samples}


def scrapes(address: str) -> list[dict[str, Any]]:
    """A scrape configuration of these pages, with the same jobs and labels as the stack's."""

    def target(path: str, **labels: str) -> dict[str, Any]:
        return {"targets": [address], "labels": {"__metrics_path__": path, **labels}}

    return [
        {
            "job_name": "todo",
            "static_configs": [target(f"/todo/{name}", instance=f"10.0.0.{n}:8000") for n, name in enumerate(REPLICAS)],
        },
        {
            "job_name": "redis",
            "static_configs": [target(f"/redis/{node}", node=node, instance=node) for node in (*MASTERS, *FOLLOWERS)],
        },
        {"job_name": "gateway", "static_configs": [target("/gateway")]},
        {"job_name": "postgres", "static_configs": [target("/postgres")]},
        {"job_name": "host", "static_configs": [target("/host")]},
        {"job_name": "processes", "static_configs": [target("/processes")]},
        {"job_name": "alertmanager", "static_configs": [target("/alertmanager")]},
        {"job_name": "desk", "static_configs": [target("/desk")]},
    ]
