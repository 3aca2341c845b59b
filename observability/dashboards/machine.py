"""Panels that several dashboards share: CPU, memory and pressure of the machine, PostgreSQL, the gateway and Redis."""

from grafana_foundation_sdk.models.dashboard import Panel

from observability.dashboards.palette import BLUE, GREY, NUMBERED, ORANGE, PURPLE, YELLOW
from observability.dashboards.panels import lines
from observability.dashboards.queries import Query

PARTS = {**NUMBERED, "/^postgres$/": GREY, "/^gateway$/": YELLOW}


def machine() -> list[Panel]:
    """Bottlenecks outside the service: utilization and pressure of the machine, then of its components."""
    return [
        lines(
            "Host CPU and memory",
            "Share of all cores that is busy, and of the memory in use, on the machine that runs the stack. CPU "
            "near 100 %: the machine is the bottleneck, and the load generator may be one cause.",
            "percentunit",
            [
                Query("host:cpu:utilization_rate1m", "CPU", BLUE),
                Query("host:memory:utilization", "memory", PURPLE),
            ],
            most=1,
            width=12,
        ),
        lines(
            "Host pressure (PSI)",
            "Share of time in which some process waited for the resource, as measured by the kernel; good is near "
            "0. It rises before utilization reaches 100 %.",
            "percentunit",
            [
                Query(f'host:pressure:ratio_rate1m{{resource="{resource}"}}', resource, colour)
                for resource, colour in (("cpu", BLUE), ("memory", PURPLE), ("io", ORANGE))
            ],
            most=1,
            width=12,
            before="this kernel does not measure pressure",
        ),
        part_cpu(".*", width=12),
        part_memory(".*", width=12),
    ]


def part_cpu(parts: str, title: str = "CPU by part", width: int = 8) -> Panel:
    """CPU cores used by each component; `parts` is a regular expression of labels."""
    return lines(
        title,
        "CPU cores used by PostgreSQL, the gateway and each Redis node. "
        "A Redis node and a gateway worker use at most one.",
        "none",
        [Query(f'part:cpu_cores:rate1m{{part=~"{parts}"}}', "{{part}}")],
        colours=PARTS,
        width=width,
    )


def part_memory(parts: str, title: str = "Memory by part", width: int = 8) -> Panel:
    """Resident memory of each component; `parts` is a regular expression of labels."""
    return lines(
        title,
        "Resident memory of PostgreSQL, the gateway and each Redis node. "
        "PostgreSQL's shared buffers count once for each of its processes.",
        "bytes",
        [Query(f'part:memory_bytes:resident{{part=~"{parts}"}}', "{{part}}")],
        colours=PARTS,
        width=width,
    )
