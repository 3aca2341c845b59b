"""Flushes the stack's cache, so that a run starts cold."""

import socket
import subprocess
from collections.abc import Sequence

from lab.load.errors import CannotRunError
from lab.settings import PLACE, START, LabSettings
from lab.stack.supervisor import Supervisor
from lab.stack.up import HOME

NODES = 6
ANSWER_SECONDS = 5.0

Address = tuple[str, int]


def empty_cache(settings: LabSettings) -> None:
    """Flushes every primary of the Redis Cluster. Raises `CannotRunError` if there is none.

    Only cache entries and rate limit counters are lost.
    """
    native = [("127.0.0.1", settings.redis_port + node) for node in range(NODES)]
    inside_docker = [(f"redis-{node + 1}", 6379) for node in range(NODES)]
    # another process on these ports may belong to somebody else
    is_native = Supervisor(HOME).is_running()
    done = _emptied(native) if is_native else _emptied(inside_docker) or _emptied_by_compose()
    if not done:
        raise CannotRunError(f"no Redis Cluster to empty: cold-cache needs the whole stack, {START}")


def _emptied(nodes: Sequence[Address]) -> bool:
    # a replica refuses the command, and gets it from its primary
    return sum(_flush(node) for node in nodes) >= NODES // 2


def _flush(node: Address) -> bool:
    try:
        with socket.create_connection(node, ANSWER_SECONDS) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            return connection.recv(16).startswith(b"+OK")
    except OSError:
        return False


def _emptied_by_compose() -> bool:
    done = 0
    for node in range(NODES):
        command = ["docker", "compose", "exec", "-T", f"redis-{node + 1}", "redis-cli", "FLUSHALL"]
        try:
            answer = subprocess.run(
                command, cwd=PLACE, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=30
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False
        done += answer.stdout.startswith("OK")
    return done >= NODES // 2
