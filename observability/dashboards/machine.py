"""CPU, memory and pressure of the machine and of the parts that are not ours, which several dashboards show."""

from grafana_foundation_sdk.models.dashboard import Panel

from observability.dashboards.palette import BLUE, GREY, NUMBERED, ORANGE, PURPLE, YELLOW
from observability.dashboards.panels import lines
from observability.dashboards.queries import Query

PARTS = {**NUMBERED, "/^postgres$/": GREY, "/^gateway$/": YELLOW}


def machine() -> list[Panel]:
    """Where the limit was, if not in the service: utilization and pressure of the machine, then its parts."""
    return [
        lines(
            "Host CPU and memory",
            "Share of all cores that is busy, and of the memory that is in use, on the machine that runs the stack. "
            "CPU near 100 %: the machine is the limit, and the generator may be part of it.",
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
            "Share of time in which some process waited for the resource, as the kernel counts it; good is near 0. "
            "It rises before utilization is full.",
            "percentunit",
            [
                Query(f'host:pressure:ratio_rate1m{{resource="{resource}"}}', resource, colour)
                for resource, colour in (("cpu", BLUE), ("memory", PURPLE), ("io", ORANGE))
            ],
            most=1,
            width=12,
            before="the kernel counts no pressure",
        ),
        part_cpu(".*", width=12),
        part_memory(".*", width=12),
    ]


def part_cpu(parts: str, title: str = "CPU by part", width: int = 8) -> Panel:
    """Cores that parts (a regular expression) use."""
    return lines(
        title,
        "Cores that PostgreSQL, the gateway and each Redis node keep busy. "
        "A Redis node and a gateway worker use at most one.",
        "none",
        [Query(f'part:cpu_cores:rate1m{{part=~"{parts}"}}', "{{part}}")],
        colours=PARTS,
        width=width,
    )


def part_memory(parts: str, title: str = "Memory by part", width: int = 8) -> Panel:
    """Bytes that parts (a regular expression) hold."""
    return lines(
        title,
        "Resident memory of PostgreSQL, the gateway and each Redis node. "
        "PostgreSQL's shared buffers count once for each of its processes.",
        "bytes",
        [Query(f'part:memory_bytes:resident{{part=~"{parts}"}}', "{{part}}")],
        colours=PARTS,
        width=width,
    )
