"""A native stack with the data of release 0.1.0, taken over by this one.

tests/data/release-0.1.0 has what a stack of that release left: its `.env.example`, the dump of its database, the Redis
Cluster's `nodes.conf`, and the names of its files.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.stack.native import find_postgres, postgres_user
from testbed.conditions import wait_for
from testbed.process import Process
from tests.stack.stacks import ClonedStack

DATA = Path(__file__).parents[2] / "data/release-0.1.0"
FIRST_REDIS, NODES = 7000, 6
# the counters of that release in Prometheus, an hour old
SERIES = """# TYPE gateway_responses_5xx counter
gateway_responses_5xx_total{{instance="127.0.0.1:8060",job="desk"}} 7 {at}
# TYPE http_server_active_requests gauge
http_server_active_requests{{instance="127.0.0.1:8000",job="todo"}} 3 {at}
# EOF
"""


@pytest.fixture
def stack() -> Iterator[ClonedStack]:
    """The files of this release with the data of release 0.1.0; nothing is running."""
    # not in pytest's directories, which PostgreSQL's user cannot access
    folder = Path(tempfile.mkdtemp(prefix="glasshouse-upgrade-"))
    folder.chmod(0o755)
    made = ClonedStack(folder)
    write_env(made)
    for name in (DATA / "files.txt").read_text().splitlines():
        file = made.home / name
        (file if name.endswith("/") else file.parent).mkdir(parents=True, exist_ok=True)
        file.touch()
    write_nodes(made.home / "data", int(made.ports["REDIS_PORT"]))
    write_database(made.home, int(made.ports["POSTGRES_PORT"]))
    yield made
    made.http.close()
    made.prometheus.close()
    made.stop()
    shutil.rmtree(folder)


def write_env(stack: ClonedStack) -> None:
    """That release's settings, with free ports."""
    text = re.sub(
        r"^(\w+_PORT)=.*$", lambda found: f"{found[1]}={stack.ports[found[1]]}", (DATA / "env").read_text(), flags=re.M
    )
    later = "".join(f"{name}={port}\n" for name, port in stack.ports.items() if f"\n{name}=" not in text)
    (stack.folder / ".env").write_text(text + later)


def write_nodes(data: Path, first: int) -> None:
    """Every node's view of the cluster: that of the first node, with another line marked as its own."""
    table = (DATA / "nodes.conf").read_text()
    for number in range(NODES):
        port = FIRST_REDIS + number
        table = table.replace(f":{port}@{port + 10000}", f":{first + number}@{first + number + 10000}")
    table = table.replace("myself,", "")
    for number in range(NODES):
        own = re.sub(rf"(:{first + number}@\d+) ", r"\1 myself,", table)
        (data / f"redis-{number + 1}/nodes.conf").write_text(own)


def write_database(home: Path, port: int) -> None:
    """A database as that release created it, in the locale of its environment, with its tables and rows."""
    data, user = home / "data/postgres", postgres_user() or None
    data.mkdir()
    if user:
        shutil.chown(data, user, user)
    make = [find_postgres("initdb", data), "-D", str(data), "-U", "todo", "--auth=trust", "-E", "UTF8"]
    as_user: dict[str, Any] = {"user": user, "cwd": "/", "capture_output": True}
    subprocess.run(make, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, **as_user)
    single = [find_postgres("postgres", data), "--single", "-D", str(data), "postgres"]
    subprocess.run(single, check=True, input=b"CREATE DATABASE todo;\n", **as_user)
    serve = [find_postgres("postgres", data), "-D", str(data), "-c", "listen_addresses=127.0.0.1", "-c", f"port={port}"]
    server = Process([*serve, "-c", "unix_socket_directories="], home / "log/postgres.log", user=user)
    psql = [find_postgres("psql", data), "-h", "127.0.0.1", "-p", str(port), "-U", "todo", "-d", "todo", "-q"]
    server.start()
    try:
        wait_for(
            lambda: subprocess.run([*psql, "-c", "SELECT 1"], capture_output=True, check=False).returncode == 0,
            30,
            "PostgreSQL",
        )
        load = [*psql, "-v", "ON_ERROR_STOP=1", "-f", str(DATA / "database.sql")]
        done = subprocess.run(load, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        server.stop()


def write_series(home: Path, at: int) -> None:
    """Writes samples into Prometheus' data with promtool."""
    file = home / "series.om"
    file.write_text(SERIES.format(at=at))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(home / "data/prometheus")]
    subprocess.run(command, check=True, capture_output=True)
    file.unlink()


def node_ids(stack: ClonedStack) -> set[str]:
    """The ids of the cluster's nodes according to its first node."""
    command = ["redis-cli", "-p", stack.ports["REDIS_PORT"], "cluster", "nodes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line.split()[0] for line in done.stdout.splitlines()}


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(1800)
def test_a_native_stack_uses_the_data_of_release_0_1_0(stack: ClonedStack) -> None:
    then = int(time.time()) - 3600
    (stack.home / "data/prometheus").mkdir()
    write_series(stack.home, then)
    up = stack.glasshouse("up", timeout=600)
    print(up.stdout)
    assert (up.returncode, ".env" in up.stderr) == (0, False), up.stdout + up.stderr
    # tasks can be read and written
    kept = {item["task"]: item for item in stack.http.get("/tasks").json()["items"]}
    assert set(kept) == {"Water the plants", "Zoë's über-task: 日本", "done already"}
    done = kept["done already"]
    assert (done["done"], done["version"], done["created_at"]) == (True, 2, "2026-11-27T08:21:48.193792Z")
    changed = stack.http.patch(f"/tasks/{done['id']}", json={"done": False}, headers={"If-Match": '"2"'})
    assert (changed.status_code, changed.json()["version"]) == (200, 3)
    wait_for(lambda: stack.http.get(f"/tasks/{done['id']}").json()["version"] == 3, 5, "the change in every read")
    # the cluster's nodes, the metrics, the settings
    assert node_ids(stack) == {line.split()[0] for line in (DATA / "nodes.conf").read_text().splitlines()[:NODES]}
    wait_for(stack.is_scraped, 60, "every target of Prometheus")
    old = stack.prometheus.query("gateway_responses_5xx_total", at=then + 1)
    assert [series.value for series in old] == [7]
    flags = httpx.get(f"{stack.prometheus_url}/api/v1/status/flags", trust_env=False).json()["data"]
    assert flags["storage.tsdb.retention.time"] == "4d"
    # the inbox starts empty; everything is still there after a restart
    assert httpx.get(f"{stack.desk}/inbox.json", trust_env=False).json()["notifications"] == []
    assert (stack.home / "data/inbox.sqlite").exists()
    assert stack.glasshouse("down").returncode == 0
    assert stack.glasshouse("up", timeout=600).returncode == 0
    assert stack.http.get(f"/tasks/{done['id']}").json() == changed.json()
    wait_for(lambda: stack.health().get("status") == "healthy", 60, "health")
