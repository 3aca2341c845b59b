"""The service's connections to the Redis Cluster: pools, redirects, TLS, user and password."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.infrastructure.breaker import CLOSED, OPEN, Unavailable
from service.infrastructure.cluster import RedisCluster as Cluster
from service.settings import load_settings
from service.telemetry.metrics import Metrics
from testbed import Process, RedisCluster, Replica, until, wait_for
from testbed.process import free_redis_block


def open_cluster(**environment: str) -> Cluster:
    metrics = Metrics(is_on=True, replica="test", max_concurrent_requests=1)
    return Cluster(load_settings({"REDIS_TIMEOUT_SECONDS": "2"} | environment), metrics)


async def test_an_exhausted_pool_opens_no_breaker_and_does_not_affect_health_checks(
    clean_cluster: RedisCluster,
) -> None:
    """Even if the only connection for batches to each node is in use, pings and topology queries are answered."""
    cluster = open_cluster(REDIS_URL=clean_cluster.url, REDIS_CONNECTIONS="1", BREAKER_FAILURES="1")
    await cluster.start()
    try:
        reads = [asyncio.create_task(cluster.command("GET", f"key-{number}")) for number in range(300)]
        for _ in range(30):
            await asyncio.gather(cluster.ping(), cluster.config_epoch(), cluster.ping())
            reads += [asyncio.create_task(cluster.command("GET", f"key-{number}")) for number in range(100)]
            assert cluster.breaker_state == CLOSED
        assert await asyncio.gather(*reads) == [None] * len(reads)
        assert cluster.breaker_state == CLOSED
    finally:
        await cluster.close()


async def test_a_cluster_that_is_created_after_the_start_is_used(tmp_path: Path) -> None:
    """As on Kubernetes, where replicas start while the nodes already run, but have no slots yet."""
    port = free_redis_block(1)
    program = shutil.which("redis-server")
    assert program
    options = ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", "", "--dir"]
    node = Process([program, *options, str(tmp_path)], tmp_path / "log")
    node.start()
    cluster = open_cluster(REDIS_URL=f"redis://127.0.0.1:{port}")

    def ask(*command: str) -> str:
        line = ["redis-cli", "-p", str(port), *command]
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout

    async def is_read() -> bool:
        with suppress(Unavailable):
            return await cluster.command("GET", "key") is None
        return False

    try:
        wait_for(lambda: "PONG" in ask("ping"), what="the node")
        await cluster.start()
        # the slot map was loaded at least once more, without slots
        for _ in range(2):
            assert not await is_read()
            await asyncio.wait(cluster._client.look_again())
        ask("cluster", "addslotsrange", "0", "16383")
        await until(is_read, 20, "the cluster")
    finally:
        await cluster.close()
        node.stop()


async def test_redirected_commands_are_sent_outside_the_pipelines(clean_cluster: RedisCluster) -> None:
    """A slot has moved: many concurrent commands are redirected, and none fails or opens a breaker."""
    cluster = open_cluster(REDIS_URL=clean_cluster.url, REDIS_CONNECTIONS="1", BREAKER_FAILURES="1")
    await cluster.start()
    source, slot = clean_cluster.master_of("{moved}"), str(clean_cluster.nodes[0].client.cluster("KEYSLOT", "{moved}"))
    target = next(master for master in clean_cluster.masters() if master is not source)
    try:
        move(clean_cluster, slot, target)
        answers = await asyncio.gather(*(cluster.command("GET", f"{{moved}}:{number}") for number in range(200)))
        assert answers == [None] * 200
        assert cluster.breaker_state == CLOSED
    finally:
        move(clean_cluster, slot, source)
        await cluster.close()


def move(cluster: RedisCluster, slot: str, target: Any) -> None:
    """Moves an empty slot to another primary."""
    node_id = str(target.ask("CLUSTER MYID"))
    for node in (target, *(each for each in cluster.masters() if each is not target)):
        node.ask("CLUSTER SETSLOT", slot, "NODE", node_id)


async def test_a_successful_ping_closes_the_breaker(clean_cluster: RedisCluster) -> None:
    cluster = open_cluster(
        REDIS_URL=clean_cluster.url, BREAKER_FAILURES="1", BREAKER_OPEN_SECONDS="3600", REDIS_TIMEOUT_SECONDS="0.1"
    )
    await cluster.start()
    node = clean_cluster.master_of("a")
    write = ("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "a")
    try:
        node.pause()
        with pytest.raises(Exception, match="redis"):
            await cluster.command(*write)
        assert cluster.breaker_state == OPEN
        node.resume()

        async def is_closed() -> bool:
            try:
                await cluster.ping()
            except Exception:
                return False
            return cluster.breaker_state == CLOSED

        await until(is_closed, 10, "a closed breaker")
    finally:
        node.resume()
        await cluster.close()


# --- TLS, a user and a password


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A one-node cluster that accepts TLS only, from one user with a password that needs quoting; its certificate."""
    home = tmp_path_factory.mktemp("secured")
    certificate, key = home / "node.crt", home / "node.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    port = free_redis_block(1)
    (home / "redis.conf").write_text(
        f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        f"tls-ca-cert-file {certificate}\ntls-auth-clients no\ntls-cluster yes\ntls-replication yes\n"
        f'dir {home}\nsave ""\ncluster-enabled yes\ncluster-require-full-coverage no\n'
        "user default off\nuser todo on >p@s/s% ~* &* +@all\n"
    )
    program = shutil.which("redis-server")
    assert program
    node = Process([program, str(home / "redis.conf")], home / "log")
    node.start()

    def ask(*command: str) -> str:
        base = [
            "redis-cli",
            "--tls",
            "--cacert",
            str(certificate),
            "-p",
            str(port),
            "--user",
            "todo",
            "--pass",
            "p@s/s%",
        ]
        return subprocess.run([*base, *command], capture_output=True, text=True, check=False).stdout

    try:
        wait_for(lambda: "PONG" in ask("ping"), what="the node")
        ask("cluster", "addslotsrange", "0", "16383")
        wait_for(lambda: "cluster_state:ok" in ask("cluster", "info"), what="the cluster")
        yield port, certificate
    finally:
        node.kill()


def test_a_cluster_with_tls_and_a_password_is_used(tmp_path: Path, secured: tuple[int, Path]) -> None:
    port, certificate = secured
    url = f"rediss://todo:p%40s%2Fs%25@127.0.0.1:{port}?ssl_ca_certs={certificate}"
    (tmp_path / "redis_url").write_text(url + "\n")
    with Replica(tmp_path, REDIS_URL_FILE=str(tmp_path / "redis_url"), REDIS_TIMEOUT_SECONDS="5") as replica:
        wait_for(lambda: httpx.get(f"{replica.url}/health").json()["status"] == "healthy", what="health")
        path = httpx.post(f"{replica.url}/tasks", json={"task": "x"}).headers["location"]
        assert httpx.get(replica.url + path).status_code == 200
        assert replica.metrics().value("cache_requests_total", cache="task", result="hit") == 1


@pytest.mark.parametrize(
    "url", ["redis://todo:p%40s%2Fs%25@127.0.0.1:{port}", "rediss://127.0.0.1:{port}?ssl_cert_reqs=none"]
)
def test_without_tls_or_password_it_is_degraded_and_hides_the_password(
    tmp_path: Path, secured: tuple[int, Path], url: str
) -> None:
    settings = {
        "REDIS_URL": url.format(port=secured[0]),
        "REDIS_TIMEOUT_SECONDS": "0.5",
        "STARTUP_TIMEOUT_SECONDS": "0.1",
    }
    with Replica(tmp_path, **settings) as replica:
        wait_for(lambda: httpx.get(f"{replica.url}/health").json()["status"] == "degraded", what="degraded health")
        assert httpx.post(f"{replica.url}/tasks", json={"task": "x"}).status_code == 201
        assert "p@s" not in replica.output()
