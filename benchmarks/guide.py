"""(b) The guide's table: create, list and delete, sequentially, with PostgreSQL and Redis Cluster."""

import json
from dataclasses import asdict

from benchmarks.bench import Bench
from benchmarks.part import Part, Scale
from benchmarks.requests import Request, Timings, timed

NEW_TASK = json.dumps({"task": "Load test task"})
WARM_UP_REQUESTS = 50


def measure(bench: Bench, scale: Scale) -> Part:
    """Times the guide's three operations on one replica with all telemetry on."""
    count = scale.guide_requests
    create = Request("POST", "/tasks", 201, NEW_TASK)
    settings = {"DATABASE_URL": bench.postgres.new_database(), "OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}
    with bench.replica(settings) as replica:
        _, made = timed(replica.url, [create] * WARM_UP_REQUESTS)
        timed(replica.url, [Request("DELETE", f"/tasks/{task['id']}", 204) for task in made])
        creating, created = timed(replica.url, [create] * count)
        listing, _ = timed(replica.url, [Request("GET", "/tasks", 200)] * count)
        deleting, _ = timed(replica.url, [Request("DELETE", f"/tasks/{task['id']}", 204) for task in created])
    rows = {"Create Task": creating, "Get Tasks": listing, "Delete Task": deleting}
    return Part([], [], {name: asdict(timings) for name, timings in rows.items()}, tree(rows))


def tree(rows: dict[str, Timings]) -> str:
    """The timings in the guide's format, plus the 99th percentile."""
    lines = []
    for number, (name, timings) in enumerate(rows.items(), 1):
        branch, stem = ("└──", "   ") if number == len(rows) else ("├──", "│  ")
        lines.append(f"{branch} {name}")
        lines.append(
            f"{stem} └── {timings.requests} requests: "
            f"Avg {timings.average_ms:.2f}ms, p99 {timings.p99_ms:.2f}ms, Max {timings.max_ms:.2f}ms"
        )
    return "\n".join(lines)
