"""(a) The cost of telemetry: a cached `GET /tasks/{id}` on one replica, with and without it."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict

import httpx
import psutil

from benchmarks.bench import Bench, CannotRun
from benchmarks.figures import Figure, differences, ratios, spread
from benchmarks.legs import Leg, cached_tasks, cpu_seconds, interleaved
from benchmarks.part import Part, Scale, Table
from testbed import Replica

OFF, METRICS, UNSAMPLED, ON, ALL, LOGGED = (
    "off",
    "metrics alone",
    "traces at ratio 0",
    "all, default ratio",
    "all, ratio 1",
    "all, a log line each",
)
SCRAPES = 50
SCRAPE_SECONDS = 5


def measure(bench: Bench, scale: Scale) -> Part:
    """Compares replicas that differ only in their telemetry, all on the same core."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}
    settings = {
        OFF: {"TELEMETRY": "off"},
        METRICS: {},
        UNSAMPLED: traced | {"TRACE_SAMPLE_RATIO": "0"},
        ON: traced,
        ALL: traced | {"TRACE_SAMPLE_RATIO": "1"},
        LOGGED: traced | {"LOG_LEVEL": "debug"},
    }
    with ExitStack() as started:
        replicas = {name: started.enter_context(bench.replica(each)) for name, each in settings.items()}
        targets = [cached_tasks(name, replica) for name, replica in replicas.items()]
        legs = interleaved(targets, scale.rounds, scale.leg_seconds)
        scrape_ms = _scrape_ms(replicas[ON])
        dropped = _dropped(replicas.values())
    received = bench.received_spans()
    if not received:
        raise CannotRun("no span reached the receiver, so tracing was not measured")
    return Part(
        [_against_off(legs), _pieces(legs, scrape_ms)],
        [
            Figure("requests a CPU second, all telemetry at the default ratio over off", _ratio(legs, ON), 0.90),
            Figure("requests a CPU second, all telemetry at ratio 1 over off", _ratio(legs, ALL), 0.50),
        ],
        {
            "legs": {name: [asdict(leg) for leg in each] for name, each in legs.items()},
            "scrape_ms": scrape_ms,
            "spans_received": received,
            "spans_dropped": dropped,
        },
    )


def _ratio(legs: dict[str, list[Leg]], name: str) -> float:
    # on a busy core this is the ratio of throughputs; on a shared core it is still comparable
    return ratios(_cpu(legs[OFF]), _cpu(legs[name])).median


def _against_off(legs: dict[str, list[Leg]]) -> Table:
    rows = []
    for name, each in legs.items():
        rows.append(
            (
                name,
                spread(_cpu(each)).text(1),
                ratios(_cpu(legs[OFF]), _cpu(each)).text(3),
                f"{spread(_rates(each)).median:,.0f}",
                ratios(_rates(each), _rates(legs[OFF])).text(3),
                f"{spread([leg.busy for leg in each]).median:.0%}",
                f"{spread([leg.p99_ms for leg in each]).median:.1f}",
            )
        )
    columns = (
        "telemetry",
        "CPU µs",
        "per CPU s, over off",
        "requests/s",
        "over off",
        "core used",
        "p99 ms",
    )
    return Table("Cost of telemetry: CPU time per request, cached GET, one replica, medians (quartiles)", columns, rows)


def _pieces(legs: dict[str, list[Leg]], scrape_ms: float) -> Table:
    pieces = (
        ("metrics of every request", METRICS, OFF),
        ("tracing: deciding that a request is not sampled", UNSAMPLED, METRICS),
        ("tracing: the default share of requests sampled, and sent", ON, UNSAMPLED),
        ("tracing: every request sampled, and sent", ALL, UNSAMPLED),
        ("a log line for every request (LOG_LEVEL=debug)", LOGGED, ON),
    )
    off = spread(_cpu(legs[OFF])).median
    rows = []
    for piece, name, without in pieces:
        cost = differences(_cpu(legs[name]), _cpu(legs[without]))
        rows.append((piece, cost.text(1), f"{cost.median / off:.1%}"))
    share = scrape_ms / 1e3 / SCRAPE_SECONDS
    rows.append((f"a scrape, {scrape_ms:.1f} ms every {SCRAPE_SECONDS} s", "", f"{share:.1%} of a core"))
    return Table("Each piece alone", ("piece", "CPU µs a request", "of a request without telemetry"), rows)


def _scrape_ms(replica: Replica) -> float:
    """The CPU time of one scrape in milliseconds, with Prometheus' Accept header."""
    process = psutil.Process(replica.pid)
    with httpx.Client(headers={"Accept": "application/openmetrics-text;version=1.0.0"}) as client:
        before = cpu_seconds(process)
        for _ in range(SCRAPES):
            client.get(replica.metrics_url).raise_for_status()
        return (cpu_seconds(process) - before) / SCRAPES * 1e3


def _dropped(replicas: Iterable[Replica]) -> float:
    return sum(each.metrics().value("telemetry_spans_dropped_total") for each in replicas)


def _rates(legs: Sequence[Leg]) -> list[float]:
    return [leg.per_second for leg in legs]


def _cpu(legs: Sequence[Leg]) -> list[float]:
    return [leg.cpu_us for leg in legs]
