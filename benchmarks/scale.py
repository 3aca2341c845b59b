"""(g) One Prometheus with the project's rules and an increasing number of replicas."""

import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from benchmarks.bench import ROOT, Bench, CannotRun
from benchmarks.figures import Figure
from benchmarks.legs import cpu_seconds
from benchmarks.part import Part, Scale, Table
from lab.desk.gateway_log import GatewayLog
from testbed import Replica, wait_for
from testbed.expositions import Expositions, Page

# the values of observability/prometheus/prometheus.yml
INTERVAL_SECONDS = 5
RULES = [*ROOT.glob("observability/prometheus/rules/*.yml"), *ROOT.glob("alerts/rules/*.yml")]
# the metrics of the other components from the tests; they do not change
OTHERS = {"gateway": "nginx", "postgres": "postgres", "host": "host", "processes": "processes"}
EXPOSITIONS = ROOT / "tests/data/exposition"
REDIS_NODES = 6
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CUMULATIVE = ("_total", "_bucket", "_count", "_sum")
MEGABYTE = 1e6
# for rules over long ranges: the amount of history that is generated and queried
HISTORY_SERIES, HISTORY_DAYS = 10, 3


@dataclass(frozen=True)
class Watched:
    """The resources of one Prometheus for a number of replicas. Times are of the last minute."""

    replicas: int
    series_a_replica: float
    head_series: float
    samples_a_second: float
    scrape_ms: float
    slowest_scrape_ms: float
    rules_ms: float
    """All groups that are evaluated every interval, added up."""
    slowest_group: str
    slowest_group_ms: float
    """The longest duration in the last minute."""
    missed: float
    memory_mb: float
    cpu_cores: float


def measure(bench: Bench, scale: Scale) -> Part:
    """Measures each number of replicas for some minutes, each with a new Prometheus."""
    exposition = _exposition(bench)
    watched = [_watch(bench, exposition, count, scale.watch_minutes) for count in scale.watched_replicas]
    history = _history(bench)
    columns = (
        *("replicas", "series each", "head series", "samples/s", "scrape ms", "slowest", "rules ms"),
        *("slowest group", "ms", "missed", "memory MB", "CPU %"),
    )
    rows = [
        (
            *(f"{value:,.0f}" for value in (each.replicas, each.series_a_replica, each.head_series)),
            *(f"{value:,.0f}" for value in (each.samples_a_second, each.scrape_ms, each.slowest_scrape_ms)),
            *(f"{each.rules_ms:,.0f}", each.slowest_group, f"{each.slowest_group_ms:,.0f}", f"{each.missed:.0f}"),
            *(f"{each.memory_mb:,.0f}", f"{each.cpu_cores * 100:.0f}"),
        )
        for each in watched
    ]
    title = (
        f"One Prometheus on one core, scrapes and rules every {INTERVAL_SECONDS} s, after {scale.watch_minutes:g} min"
    )
    most = watched[-1]
    figures = [
        Figure(f"slowest scrape of {most.replicas} replicas", most.slowest_scrape_ms, 4000, " ms", is_ceiling=True),
        Figure("its slowest rule group", most.slowest_group_ms, INTERVAL_SECONDS * 1000, " ms", is_ceiling=True),
        Figure("evaluations that it missed", most.missed, 0, is_ceiling=True),
        Figure("the rules' share of a core", most.rules_ms / INTERVAL_SECONDS / 10, 25, " %", is_ceiling=True),
    ]
    text = f"sum(increase(…[{HISTORY_DAYS}d])) over raw series: {history:.0f} ms for a million samples"
    data = {"watched": [asdict(each) for each in watched], "history_ms_a_million_samples": history}
    return Part([Table(title, columns, rows)], figures, data, text)


def _exposition(bench: Bench) -> str:
    """The metrics of a real replica after it has answered requests of all kinds."""
    with bench.replica({"DATABASE_URL": bench.postgres.new_database()}) as replica:
        for _ in range(50):
            _ask(replica)
        answer = httpx.get(replica.metrics_url, headers={"Accept": OPENMETRICS})
        return answer.text.replace(f'replica="{replica.name}"', 'replica="REPLICA"')


def _ask(replica: Replica) -> None:
    with httpx.Client(base_url=replica.url) as client:
        path = client.post("/tasks", json={"task": "Water the plants"}).headers["location"]
        for method, what, body in (
            *(("GET", path, None), ("GET", path, None), ("GET", "/tasks?limit=20", None)),
            *(("PATCH", path, {"done": True}), ("POST", "/tasks", {}), ("GET", "/nowhere", None)),
            *(("GET", "/health", None), ("DELETE", path, None), ("GET", path, None)),
        ):
            client.request(method, what, json=body)


def _watch(bench: Bench, exposition: str, count: int, minutes: float) -> Watched:
    pages = {f"/todo/{number}": moving(exposition, number) for number in range(count)}
    fixed: dict[str, Page] = {f"/{job}": (EXPOSITIONS / f"{name}.prom").read_bytes for job, name in OTHERS.items()}
    for node in range(REDIS_NODES):
        kind = "redis-master" if node < REDIS_NODES / 2 else "redis-replica"
        fixed[f"/redis/{node}"] = (EXPOSITIONS / f"{kind}.prom").read_bytes
    # the service levels are computed from the gateway's requests, which desk counts
    fixed["/desk"] = moving(GatewayLog(Path("/nonexistent")).exposition(), 0)
    with Expositions(pages, OPENMETRICS) as todo, Expositions(fixed) as others:
        scrapes = [
            _job("todo", todo.address, {path: f"10.0.0.{number}:9464" for number, path in enumerate(pages)}),
            *(_job(job, others.address, {f"/{job}": f"{job}:1"}) for job in (*OTHERS, "desk")),
            _job("redis", others.address, {f"/redis/{node}": f"redis-{node + 1}:6379" for node in range(REDIS_NODES)}),
        ]
        with bench.prometheus(scrapes, RULES, f"{INTERVAL_SECONDS}s") as server:
            process = psutil.Process(server.process.pid)
            _sleep_until(time.monotonic() + max(0.0, minutes - 1) * 60)
            cpu, began = cpu_seconds(process), time.monotonic()
            _sleep_until(began + 60)
            cores = (cpu_seconds(process) - cpu) / (time.monotonic() - began)
            return _seen(server.url, count, process.memory_info().rss / MEGABYTE, cores)


def _sleep_until(then: float) -> None:
    time.sleep(max(0.0, then - time.monotonic()))


def _job(name: str, address: str, instances: Mapping[str, str]) -> dict[str, Any]:
    return {
        "job_name": name,
        "scrape_timeout": "4s",
        "static_configs": [
            {"targets": [address], "labels": {"__metrics_path__": path, "instance": instance}}
            for path, instance in instances.items()
        ],
    }


def moving(exposition: str, number: int) -> Page:
    """The metrics page of one replica: counters and histograms grow with time, at a different rate for each replica."""
    pieces: list[tuple[str, float, str]] = []
    # for each changing value: the text before it, its increase per second, and the text after it
    before = ""
    for line in exposition.replace('replica="REPLICA"', f'replica="todo-{number}"').splitlines(keepends=True):
        sample, mark, exemplar = line.partition(" # ")
        found = None if line.startswith("#") else re.fullmatch(r"([\w:]+(?:\{.*\})? )(\S+)(\s*)", sample, re.DOTALL)
        if found and found[1].split("{")[0].strip().endswith(CUMULATIVE):
            pieces.append((before + found[1], max(float(found[2]), 1.0), found[3] + mark + exemplar))
            before = ""
        else:
            before += line
    pace = 0.5 + number % 7 / 7
    began = time.monotonic() - 60

    def page() -> bytes:
        grown = (time.monotonic() - began) * pace
        return ("".join(f"{text}{each * grown}{after}" for text, each, after in pieces) + before).encode()

    return page


def _seen(url: str, count: int, memory_mb: float, cores: float) -> Watched:
    def ask(query: str) -> list[tuple[dict[str, str], float]]:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=30)
        answer.raise_for_status()
        return [(each["metric"], float(each["value"][1])) for each in answer.json()["data"]["result"]]

    def one(query: str) -> float:
        found = ask(query)
        if not found:
            raise CannotRun(f"Prometheus has no answer to {query}")
        return found[0][1]

    up = one('sum(up{job="todo"})')
    if up != count:
        raise CannotRun(f"of {count} replicas {up:.0f} were scraped: the machine is too slow or too busy")
    frequent = f"prometheus_rule_group_interval_seconds == {INTERVAL_SECONDS}"
    groups = ask("topk(1, max_over_time(prometheus_rule_group_last_duration_seconds[1m]))")
    return Watched(
        count,
        one('max(scrape_samples_scraped{job="todo"})'),
        one("prometheus_tsdb_head_series"),
        one("rate(prometheus_tsdb_head_samples_appended_total[1m])"),
        one('avg(avg_over_time(scrape_duration_seconds{job="todo"}[1m]))') * 1000,
        one('max(max_over_time(scrape_duration_seconds{job="todo"}[1m]))') * 1000,
        one(f"sum(avg_over_time(prometheus_rule_group_last_duration_seconds[1m]) and ({frequent}))") * 1000,
        groups[0][0]["rule_group"].rpartition(";")[2],
        groups[0][1] * 1000,
        one("sum(prometheus_rule_group_iterations_missed_total)"),
        memory_mb,
        cores,
    )


def _history(bench: Bench) -> float:
    """Milliseconds for a million samples of `sum(increase())` over days of raw series."""
    now = int(time.time()) // 60 * 60
    times = range(now - HISTORY_DAYS * 86_400, now, INTERVAL_SECONDS)
    folder = bench.directory / "history"
    folder.mkdir(exist_ok=True)
    lines = [f'x_total{{series="{n}"}} {at - times.start} {at}\n' for at in times for n in range(HISTORY_SERIES)]
    (folder / "x.om").write_text("# TYPE x counter\n" + "".join(lines) + "# EOF\n")
    made = ("promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "x.om"), str(folder / "data"))
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    with bench.prometheus([], [], "1m", folder) as server:
        query = {"query": f"sum(increase(x_total[{HISTORY_DAYS}d]))", "time": str(now), "stats": "all"}

        def took() -> tuple[float, float]:
            answer = httpx.get(f"{server.url}/api/v1/query", params=query, timeout=60).json()
            stats = answer["data"]["stats"]
            return stats["timings"]["execTotalTime"], stats["samples"]["totalQueryableSamples"]

        wait_for(lambda: took()[1] > 0, 30, "the history that was made")
        seconds, samples = zip(*(took() for _ in range(9)), strict=True)
    return float(median(seconds) * 1000 / (samples[0] / 1e6))
