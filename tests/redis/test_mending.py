"""The script that creates and repairs the Redis Cluster, with six real nodes."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis
from testbed import Process, wait_for
from testbed.process import free_redis_block

COUNT = 6
# enough for a busy machine
SECONDS = 90
SLOTS = 16384


class Nodes:
    """Six nodes with the repository's own configuration, and the script."""

    def __init__(self, directory: Path, root: Path) -> None:
        self._root = root
        first = free_redis_block(COUNT)
        self.ports = list(range(first, first + COUNT))
        self.homes = [directory / f"redis-{number}" for number in range(1, COUNT + 1)]
        for home in self.homes:
            home.mkdir()
        self.running: list[Process] = []
        nodes = " ".join(f"127.0.0.1:{port}" for port in self.ports)
        self.script = Process(
            ["sh", str(root / "redis/cluster.sh")],
            directory / "script.log",
            env={"PATH": "/usr/bin:/bin", "NODES": nodes},
        )

    def start(self, ports: list[int]) -> None:
        """Starts each node at its given port."""
        self.running = [self._node(home, port) for home, port in zip(self.homes, ports, strict=True)]
        for node in self.running:
            node.start()

    def stop(self) -> None:
        for node in self.running:
            node.kill()

    def _node(self, home: Path, port: int) -> Process:
        config = (self._root / "redis/redis.conf").read_text().replace("port 6379", f"port {port}")
        config = config.replace("dir /data", f"dir {home}").replace(
            "protected-mode no", "protected-mode no\nbind 127.0.0.1"
        )
        (home / "redis.conf").write_text(config)
        return Process(["redis-server", str(home / "redis.conf")], home / "log")

    def client(self, port: int) -> "redis.Redis":
        return redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def ask(self, port: int, *command: str) -> object:
        with self.client(port) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def reset(self, port: int) -> None:
        """CLUSTER RESET HARD: the node forgets its id and the others. A primary must be empty before."""
        with self.client(port) as client:
            if client.info("replication")["role"] == "master":
                client.flushall()
        self.ask(port, "CLUSTER RESET HARD")

    def lines(self, port: int) -> list[tuple[str, str, str, int]]:
        """What a node knows of each node: id, flags, id of its primary, and number of slots."""
        with self.client(port) as client:
            nodes = client.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
        return [
            (
                each["node_id"],
                each["flags"],
                each["master_id"],
                sum(int(slots[-1]) - int(slots[0]) + 1 for slots in each["slots"]),
            )
            for each in nodes.values()
        ]

    def addresses(self, port: int) -> dict[str, str]:
        """The address of each node as one node knows it, by node id."""
        with self.client(port) as client:
            nodes = client.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
        return {each["node_id"]: address.split("@")[0].rsplit(":", 1)[-1] for address, each in nodes.items()}

    def is_whole(self) -> bool:
        """Whether every node sees three primaries that serve all slots, each with a replica, at the right addresses."""
        try:
            true = {str(self.ask(port, "CLUSTER MYID")): str(port) for port in self.ports}
            for port in self.ports:
                if self.addresses(port) != true:
                    return False
                nodes = self.lines(port)
                primaries = {node for node, flags, _, slots in nodes if "master" in flags and slots}
                followed = {primary for _, flags, primary, _ in nodes if "slave" in flags}
                if (
                    len(nodes) != COUNT
                    or any("fail" in flags or "noaddr" in flags for _, flags, _, _ in nodes)
                    or sum(slots for *_, slots in nodes) != SLOTS
                    or len(primaries) != COUNT // 2
                    or followed != primaries
                ):
                    return False
        except (redis.RedisError, OSError):
            return False
        return True

    def wait_whole(self) -> None:
        try:
            wait_for(self.is_whole, SECONDS, "a whole cluster")
        except AssertionError as error:
            seen = "\n".join(f"{port}: {self.lines(port)}" for port in self.ports)
            raise AssertionError(f"{error}\n{self.script.output()[-3000:]}\n{seen}") from error

    def pair(self) -> tuple[int, int]:
        """The ports of a primary and its replica, not the first of the nodes, which the script queries first."""
        for port in self.ports:
            with self.client(port) as client:
                found = client.info("replication")
            if found["role"] == "slave":
                return int(found["master_port"]), port
        raise AssertionError("no replica")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path_factory.mktemp("mending"), root)
    try:
        made.start(made.ports)
        made.script.start()
        made.wait_whole()
        yield made
    finally:
        made.script.stop()
        made.stop()


@pytest.mark.case("mending the cluster")
@pytest.mark.parametrize("how", ["reset", "wiped while down"])
def test_a_primary_and_its_replica_without_data_are_repaired(nodes: Nodes, how: str) -> None:
    pair = nodes.pair()
    if how == "reset":
        for port in reversed(pair):
            nodes.reset(port)
    else:
        wiped = [node for node, port in zip(nodes.running, nodes.ports, strict=True) if port in pair]
        homes = [home for home, port in zip(nodes.homes, nodes.ports, strict=True) if port in pair]
        for node in wiped:
            node.kill()
        for home in homes:
            (home / "nodes.conf").unlink()
        for node in wiped:
            node.start()
    wait_for(lambda: not nodes.is_whole(), 10, "the loss")
    nodes.wait_whole()


def test_a_node_without_data_is_repaired(nodes: Nodes) -> None:
    _, replica = nodes.pair()
    nodes.reset(replica)
    wait_for(lambda: not nodes.is_whole(), 10, "the loss")
    nodes.wait_whole()


def test_nodes_that_all_lost_their_data_form_a_new_cluster(nodes: Nodes) -> None:
    # at once: in between, the script would give all slots to the last primary, which is complete but not what is tested
    nodes.script.pause()
    for port in nodes.ports:
        nodes.reset(port)
    nodes.script.resume()
    nodes.wait_whole()


def test_nodes_that_swapped_their_addresses_are_repaired(nodes: Nodes) -> None:
    """Docker assigns new addresses when all containers restart."""
    nodes.stop()
    ports = list(itertools.islice(itertools.cycle(nodes.ports), 1, COUNT + 1))
    nodes.start(ports)
    nodes.wait_whole()
