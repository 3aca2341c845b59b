"""The ports that the native stack listens on, and whether they are free."""

import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields

from lab.settings import LabSettings
from lab.stack.loopback import has_ipv6_loopback
from lab.stack.native import REDIS_NODES, REPLICAS, StackError

HIGHEST = 65535
# each node of a Redis Cluster listens on a second port, for the other nodes
BUS_OFFSET = 10_000
# parts with several instances, on consecutive ports
COUNTS = {"todo": REPLICAS, "metrics": REPLICAS, "redis": REDIS_NODES}
# settings of parts that only some stacks have, or that are started only on demand
OPTIONAL = {"grafana", "viewer", "loki", "locust"}
# settings whose name differs from that of their part
PARTS = {"tempo_grpc": "tempo"}
# parts whose port compose.yaml publishes
PUBLISHED = ("gateway", "prometheus", "alertmanager", "desk", "grafana", "tempo", "otlp", "loki")
# parts that also listen on ::1, if this machine has it
BOTH_LOOPBACKS = {"gateway"}


def check_ports(settings: LabSettings, programs: Collection[str]) -> None:
    """Raises `StackError` if a port is invalid, used twice, or in use by another program.

    `programs` are the names of the parts that will run. The message has every port and its setting.
    """
    _check(settings, _wanted(settings, programs))


def check_published_ports(settings: LabSettings) -> None:
    """`check_ports` for the ports that Docker publishes on this machine."""
    _check(settings, ((getattr(settings, f"{part}_port"), f"{part.upper()}_PORT") for part in PUBLISHED))


def _check(settings: LabSettings, ports: Iterable[tuple[int, str]]) -> None:
    wanted: dict[int, str] = {}
    for port, name in ports:
        if port > HIGHEST:
            raise StackError(
                f"{name}={getattr(settings, name.lower())}: would need port {port}, but {HIGHEST} is the highest"
            )
        if port in wanted:
            both = name if wanted[port] == name else f"{wanted[port]} and {name}"
            raise StackError(f"{both} both need port {port}: change one of them in the environment or .env")
        wanted[port] = name
    is_there = has_ipv6_loopback()
    taken = [
        f"{port} ({name})"
        for port, name in wanted.items()
        if _is_taken(port, by_ipv6=is_there and name.removesuffix("_PORT").lower() in BOTH_LOOPBACKS)
    ]
    if taken:
        raise StackError(f"port {', '.join(taken)} is in use by another program: stop it, or set another port in .env")


def _wanted(settings: LabSettings, programs: Collection[str]) -> Iterator[tuple[int, str]]:
    """Each port with the name of its setting."""
    for field in fields(LabSettings):
        part, first = field.name.removesuffix("_port"), getattr(settings, field.name)
        if (part in OPTIONAL or part in PARTS) and PARTS.get(part, part) not in programs:
            continue
        for n in range(COUNTS.get(part, 1)):
            yield first + n, field.name.upper()
            if part == "redis":
                yield first + BUS_OFFSET + n, field.name.upper()


def _is_taken(port: int, *, by_ipv6: bool) -> bool:
    """Whether another program listens on the port at 127.0.0.1 or, `by_ipv6`, at `::1`."""
    families = {socket.AF_INET: "127.0.0.1"} | ({socket.AF_INET6: "::1"} if by_ipv6 else {})
    for family, address in families.items():
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return True
    return False
