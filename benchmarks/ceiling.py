"""(c) The ceiling: how a cached read compares with the server and the framework alone."""

from contextlib import ExitStack
from dataclasses import asdict

from benchmarks.bench import Bench
from benchmarks.figures import Figure, differences, ratios, spread
from benchmarks.legs import Target, cached_tasks, interleaved
from benchmarks.part import Part, Scale, Table

ASGI, LITESTAR = "bare ASGI app", "bare Litestar route"
BARE_SERVICE, UNSEEN, WHOLE = "cached GET alone", "and rate limit", "and telemetry"


def measure(bench: Bench, scale: Scale) -> Part:
    """Compares the service with a bare ASGI app and a bare Litestar route on the same server and core."""
    with ExitStack() as started:
        asgi_pid, asgi = started.enter_context(bench.bare("asgi"))
        litestar_pid, litestar = started.enter_context(bench.bare("litestar"))
        alone = started.enter_context(bench.replica({"TELEMETRY": "off", "RATE_LIMIT": "off"}))
        unseen = started.enter_context(bench.replica({"TELEMETRY": "off"}))
        whole = started.enter_context(bench.replica({"OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}))
        targets = [
            Target(ASGI, asgi, ["/tasks/1"], asgi_pid),
            Target(LITESTAR, litestar, ["/tasks/019a0000-0000-7000-8000-000000000000"], litestar_pid),
            cached_tasks(BARE_SERVICE, alone),
            cached_tasks(UNSEEN, unseen),
            cached_tasks(WHOLE, whole),
        ]
        legs = interleaved(targets, scale.rounds, scale.leg_seconds)
    rates = {name: [leg.per_second for leg in each] for name, each in legs.items()}
    cpu = {name: [leg.cpu_us for leg in each] for name, each in legs.items()}
    rows = [
        (
            name,
            spread(cpu[name]).text(1),
            differences(cpu[name], cpu[LITESTAR]).text(1),
            ratios(cpu[LITESTAR], cpu[name]).text(3),
            f"{spread(rates[name]).median:,.0f}",
            ratios(rates[name], rates[LITESTAR]).text(3),
            f"{spread([leg.busy for leg in legs[name]]).median:.0%}",
        )
        for name in legs
    ]
    columns = (
        "what answers",
        "CPU µs",
        "beyond Litestar",
        "per CPU s, over it",
        "requests/s",
        "over it",
        "core used",
    )
    return Part(
        [Table("Ceiling: CPU time per request on the same core, medians (quartiles)", columns, rows)],
        [
            Figure(
                "requests a CPU second, cached GET with rate limit and telemetry over a bare Litestar route",
                ratios(cpu[LITESTAR], cpu[WHOLE]).median,
                0.35,
            )
        ],
        {"legs": {name: [asdict(leg) for leg in each] for name, each in legs.items()}},
    )
