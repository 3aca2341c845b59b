"""(d) How the cost of a request changes with more connections, more replicas, and more tasks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any
from uuid import UUID

import psutil

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.legs import CONNECTIONS, IN_TURN, WARM_UP_SECONDS, Leg, cached_tasks, cpu_seconds, run_leg
from benchmarks.part import Part, Scale, Table
from benchmarks.requests import Request, Timings, timed
from testbed import Replica

# ids as UUIDv7 (RFC 9562): 48 bits of time in milliseconds, one per task, so that they sort by creation
SEED = """
INSERT INTO tasks (id, task, done, version, created_at, updated_at)
SELECT (lpad(to_hex(1750000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
       'Task number ' || n, n % 3 = 0, 1, now(), now()
FROM generate_series({first}, {last}) AS n
"""
DEPTHS = (0.0, 0.5, 0.99)
PAGE = 20


def measure(bench: Bench, scale: Scale) -> Part:
    """Varies one parameter at a time; telemetry and rate limit are on."""
    connections = _connections(bench, scale)
    replicas = _replicas(bench, scale)
    tasks = _tasks(bench, scale)
    return Part(
        [_connection_table(connections), _replica_table(replicas, bench.service_core_count), _task_table(tasks)],
        [],
        {
            "connections": {str(count): [asdict(leg) for leg in legs] for count, legs in connections.items()},
            "replicas": {str(count): runs for count, runs in replicas.items()},
            "tasks": {str(count): _as_data(rows) for count, rows in tasks.items()},
        },
    )


def _connections(bench: Bench, scale: Scale) -> dict[int, list[Leg]]:
    legs: dict[int, list[Leg]] = {count: [] for count in scale.connections}
    with bench.replica({"OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}) as replica:
        target = cached_tasks("cached GET", replica)
        run_leg(target, WARM_UP_SECONDS)
        for _ in range(scale.growth_rounds):
            for count in scale.connections:
                legs[count].append(run_leg(target, scale.leg_seconds, count))
    return legs


def _connection_table(legs: dict[int, list[Leg]]) -> Table:
    rows = [
        (
            str(count),
            f"{median(leg.per_second for leg in each):,.0f}",
            f"{median(leg.cpu_us for leg in each):.0f}",
            f"{median(leg.p50_ms for leg in each):.2f}",
            f"{median(leg.p99_ms for leg in each):.2f}",
        )
        for count, each in legs.items()
    ]
    columns = ("connections", "requests/s", "CPU µs a request", "p50 ms", "p99 ms")
    return Table("As connections grow: cached GET, one replica", columns, rows)


def _replicas(bench: Bench, scale: Scale) -> dict[int, list[dict[str, float]]]:
    """Measures each number of replicas with one database and one cache."""
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in scale.replicas}
    settings = {"DATABASE_URL": bench.postgres.new_database(), "OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}
    with ExitStack() as started:
        replicas = [started.enter_context(bench.replica(settings, core)) for core in range(max(scale.replicas))]
        paths = cached_tasks("", replicas[0]).paths
        _load(replicas, paths, WARM_UP_SECONDS)
        for _ in range(scale.growth_rounds):
            for count in scale.replicas:
                runs[count].append(_load(replicas[:count], paths, scale.leg_seconds))
    return runs


def _load(replicas: Sequence[Replica], paths: Sequence[str], seconds: int) -> dict[str, float]:
    """Loads each replica with its own wrk."""
    processes = [psutil.Process(replica.pid) for replica in replicas]
    before = sum(map(cpu_seconds, processes))
    outcomes = wrk.run(
        [wrk.command(replica.url, seconds, CONNECTIONS, script=IN_TURN, arguments=paths) for replica in replicas]
    )
    cpu = sum(map(cpu_seconds, processes)) - before
    return {
        "per_second": sum(outcome.per_second for outcome in outcomes),
        "cpu_us": cpu / sum(outcome.requests for outcome in outcomes) * 1e6,
        "p99_ms": max(outcome.p99_ms for outcome in outcomes),
    }


def _replica_table(runs: dict[int, list[dict[str, float]]], cores: int) -> Table:
    rows = [
        (
            str(count),
            f"{median(run['per_second'] for run in each):,.0f}",
            f"{median(run['cpu_us'] for run in each):.0f}",
            f"{median(run['p99_ms'] for run in each):.2f}",
        )
        for count, each in runs.items()
    ]
    where = "all on one core" if cores == 1 else f"on {cores} cores"
    columns = ("replicas", "requests/s", "CPU µs a request", "p99 ms")
    return Table(f"As replicas grow, {where}: cached GET, {CONNECTIONS} connections each", columns, rows)


def _tasks(bench: Bench, scale: Scale) -> dict[int, dict[str, Timings]]:
    """Sequential latencies with each number of tasks in PostgreSQL."""
    found: dict[int, dict[str, Timings]] = {}
    with _seeded(bench) as (replica, database):
        there = 0
        for count in scale.tasks:
            bench.postgres.sql(SEED.format(first=there + 1, last=count), database)
            bench.postgres.sql("VACUUM ANALYZE tasks", database)
            there = count
            found[count] = _at_size(bench, replica, database, count, scale.page_requests)
    return found


@contextmanager
def _seeded(bench: Bench) -> Iterator[tuple[Replica, str]]:
    url = bench.postgres.new_database()
    with bench.replica({"DATABASE_URL": url, "OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}) as replica:
        yield replica, url.rsplit("/", 1)[1]


def _at_size(bench: Bench, replica: Replica, database: str, count: int, requests: int) -> dict[str, Timings]:
    def repeated(path: str) -> Timings:
        timed(replica.url, [Request("GET", path, 200)] * 10)
        return timed(replica.url, [Request("GET", path, 200)] * requests)[0]

    sought = bench.postgres.sql(f"SELECT id FROM tasks ORDER BY md5(id::text) LIMIT {requests:d}", database)  # noqa: S608
    reads = [Request("GET", f"/tasks/{task_id}", 200) for task_id in sought.split()]
    rows = {
        "read, not in the cache": timed(replica.url, reads)[0],
        "read, in the cache": repeated(reads[0].path),
        "list, first page (cached)": repeated(f"/tasks?limit={PAGE}"),
    }
    for depth in DEPTHS:
        skipped = min(int(count * depth), count - PAGE - 2)
        row = bench.postgres.sql(f"SELECT id FROM tasks ORDER BY id DESC OFFSET {skipped} LIMIT 1", database)  # noqa: S608
        rows[f"list, {PAGE} after {depth:.0%} of all"] = repeated(f"/tasks?limit={PAGE}&cursor={UUID(row).hex}")
    rows["create"] = timed(replica.url, [Request("POST", "/tasks", 201, '{"task": "One more"}')] * requests)[0]
    # created tasks would shift the depths of the next seed
    bench.postgres.sql("DELETE FROM tasks WHERE task = 'One more'", database)
    return rows


def _task_table(found: dict[int, dict[str, Timings]]) -> Table:
    names = next(iter(found.values()))
    rows = [(name, *(f"{rows[name].p50_ms:.2f}" for rows in found.values())) for name in names]
    columns = ("median ms, one at a time", *(f"{count:,} tasks" for count in found))
    return Table("As tasks grow: PostgreSQL, one replica", columns, rows)


def _as_data(rows: dict[str, Timings]) -> dict[str, Any]:
    return {name: asdict(timings) for name, timings in rows.items()}
