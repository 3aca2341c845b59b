"""A Redis Cluster of three primaries with one replica each, configured like `redis/redis.conf`."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

import redis
from testbed.conditions import wait_for
from testbed.process import Process, free_port

MASTERS = 3
SLOTS = 16384
CONFIG = """
bind 127.0.0.1
port {port}
cluster-port {bus}
dir {directory}
save ""
appendonly no
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 2000
cluster-require-full-coverage no
replica-serve-stale-data no
repl-diskless-sync yes
repl-diskless-sync-delay 0
"""


class Node(Process):
    """One Redis server."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        home = directory / name
        home.mkdir(parents=True)
        config = home / "redis.conf"
        config.write_text(CONFIG.format(port=self.port, bus=free_port(), directory=home))
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed"
        super().__init__([program, str(config)], home / "log")
        self.client = redis.Redis(
            port=self.port,
            socket_timeout=2,
            socket_connect_timeout=2,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, *command: str) -> Any:
        """The response to a command."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    @property
    def is_answering(self) -> bool:
        """Whether it answers, also while it is loading."""
        try:
            return bool(self.client.ping())
        except (redis.RedisError, OSError):
            return False


class RedisCluster:
    """Six nodes. `with RedisCluster(directory) as cluster:` starts and stops them."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [Node(directory, f"redis-{number}") for number in range(1, 2 * MASTERS + 1)]

    def __enter__(self) -> "RedisCluster":
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            wait_for(lambda node=node: node.is_answering, what=f"{node.name}'s answer")  # type: ignore[misc]
        self._join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.client.close()
            node.kill()

    @property
    def url(self) -> str:
        """A `REDIS_URL` with every node."""
        return ",".join(f"redis://127.0.0.1:{node.port}" for node in self.nodes)

    def masters(self) -> list[Node]:
        """The nodes that report themselves as primaries; nodes that do not answer are skipped."""
        return [node for node in self.nodes if node.is_answering and _role(node) == "master"]

    def master_of(self, key: str) -> Node:
        """The node that serves a key's slot for writes."""
        asked = next(node for node in self.nodes if node.is_answering)
        slot = int(asked.client.cluster("KEYSLOT", key))
        for node, flags, ranges in self._view(asked):
            if "master" in flags and "fail" not in flags and any(low <= slot <= high for low, high in ranges):
                return node
        raise AssertionError(f"no master serves {key}")

    def replica_of(self, master: Node) -> Node:
        """A replica of a primary."""
        return next(
            node
            for node in self.nodes
            if node is not master
            and _role(node) == "slave"
            and int(node.client.info("replication")["master_port"]) == master.port
        )

    def is_well(self) -> bool:
        """Whether all slots are covered by three primaries, each with a replica in sync."""
        try:
            for node in self.nodes:
                state = node.ask("CLUSTER INFO")
                if state["cluster_state"] != "ok" or int(state["cluster_slots_ok"]) != SLOTS:
                    return False
                replication = node.client.info("replication")
                if replication["role"] == "master":
                    if replication["connected_slaves"] != 1:
                        return False
                elif replication["master_link_status"] != "up":
                    return False
        except (redis.RedisError, OSError, KeyError):
            return False
        return len(self.masters()) == MASTERS

    def repair(self) -> None:
        """Resumes and starts all nodes, and waits until the cluster is healthy and empty."""
        for node in self.nodes:
            node.resume()
            node.start()
        wait_for(self.is_well, 30, "a cluster that is well")
        self.flush()

    def flush(self) -> None:
        """Deletes every key."""
        for master in self.masters():
            master.client.flushall()

    def evict(self, part: str) -> int:
        """Deletes every key whose name contains `part`, like an eviction, and returns the number."""
        found = [(master, key) for master in self.masters() for key in master.client.keys(f"*{part}*")]
        return sum(int(master.client.delete(key)) for master, key in found)

    def _join(self) -> None:
        first = self.nodes[0]
        share = SLOTS // MASTERS
        for index, node in enumerate(self.nodes):
            node.client.cluster("SET-CONFIG-EPOCH", str(index + 1))
            if index < MASTERS:
                last = SLOTS - 1 if index == MASTERS - 1 else (index + 1) * share - 1
                node.client.cluster("ADDSLOTSRANGE", str(index * share), str(last))
            if node is not first:
                node.client.cluster("MEET", "127.0.0.1", str(first.port), node_bus(first))
        wait_for(lambda: all(self._knows_all(node) for node in self.nodes), what="nodes that know each other")
        for index, node in enumerate(self.nodes[MASTERS:]):
            node.client.cluster("REPLICATE", self.nodes[index].ask("CLUSTER MYID"))
        wait_for(self.is_well, 20, "a cluster that is well")

    def _knows_all(self, node: Node) -> bool:
        lines = node.ask("CLUSTER NODES")
        return len(lines) == len(self.nodes) and not any("handshake" in each["flags"] for each in lines.values())

    def _view(self, asked: Node) -> list[tuple[Node, str, list[tuple[int, int]]]]:
        by_port = {node.port: node for node in self.nodes}
        found = []
        for address, entry in asked.ask("CLUSTER NODES").items():
            ranges = [(int(each[0]), int(each[-1])) for each in entry["slots"]]
            found.append((by_port[int(address.rsplit(":", 1)[1].split("@")[0])], entry["flags"], ranges))
        return found


def node_bus(node: Node) -> str:
    """The port of a node's cluster bus."""
    return str(node.client.config_get("cluster-port")["cluster-port"])


def _role(node: Node) -> str:
    return str(node.client.info("replication")["role"])
