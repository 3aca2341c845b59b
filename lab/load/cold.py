"""Flushes the stack's cache, so that a run starts cold."""

import re
import socket
import subprocess
from collections.abc import Sequence
from urllib.parse import urlsplit

from lab.load.errors import CannotRunError
from lab.load.target import addresses_of, local_addresses
from lab.programs import run_program
from lab.settings import PLACE, START, LabSettings
from lab.stack.kubernetes import KubernetesStack, chosen_stack
from lab.stack.load_jobs import GATEWAY
from lab.stack.native import StackError
from lab.stack.supervisor import Supervisor
from lab.stack.up import HOME

NODES = 6
# the gateway's name in the Compose network
INSIDE = "gateway"
ANSWER_SECONDS = 5.0

Address = tuple[str, int]


def empty_cache(settings: LabSettings, host: str) -> None:
    """Flushes every primary of the Redis Cluster behind the base URL `host`. Raises `CannotRunError` if there is none.

    Only cache entries and rate limit counters are lost.
    """
    cluster = chosen_stack()
    name = urlsplit(host).hostname or ""
    if cluster is not None and host in (GATEWAY, settings.url("gateway")):
        done = _emptied_in_cluster(cluster, settings)
    elif name == INSIDE:
        # only inside the Compose network, because elsewhere these names could belong to other servers
        done = _emptied([(f"redis-{node + 1}", 6379) for node in range(NODES)])
    elif not addresses_of(name) <= local_addresses():
        raise CannotRunError(f"{name} is not this machine: cold-cache empties only the cache of the stack here")
    elif Supervisor(HOME).is_running():
        done = _emptied([("127.0.0.1", settings.redis_port + node) for node in range(NODES)])
    else:
        # not by port, because without a native stack other processes may listen on its ports
        done = _emptied_by_compose()
    if not done:
        raise CannotRunError(f"no Redis Cluster to empty: cold-cache needs the whole stack, {START}")


def _emptied_in_cluster(cluster: KubernetesStack, settings: LabSettings) -> bool:
    try:
        nodes = [part for part in cluster.parts() if re.fullmatch(r"redis-\d+", part)]
        done = sum(_prints_ok([*cluster.command(node, settings), "FLUSHALL"]) for node in nodes)
    except StackError as error:
        raise CannotRunError(f"no Redis Cluster to empty: {error}") from error
    return bool(nodes) and done >= len(nodes) // 2


def _emptied(nodes: Sequence[Address]) -> bool:
    # a Redis replica rejects the command, and receives it from its primary
    return sum(_flush(node) for node in nodes) >= NODES // 2


def _flush(node: Address) -> bool:
    try:
        with socket.create_connection(node, ANSWER_SECONDS) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            return connection.recv(16).startswith(b"+OK")
    except OSError:
        return False


def _emptied_by_compose() -> bool:
    redis_cli = [["docker", "compose", "exec", "-T", f"redis-{node + 1}", "redis-cli"] for node in range(NODES)]
    return sum(_prints_ok([*command, "FLUSHALL"]) for command in redis_cli) >= NODES // 2


def _prints_ok(command: Sequence[str]) -> bool:
    try:
        answer = run_program(command, cwd=PLACE, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.startswith("OK")
