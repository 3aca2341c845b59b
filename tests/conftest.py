"""Servers that tests share, and the order of tests. A test that damages a server repairs it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from testbed import Postgres, RedisCluster
from testbed.conditions import patient
from testbed.leftovers import pytest_configure, pytest_unconfigure

__all__ = ["pytest_configure", "pytest_unconfigure"]

# The order of the folders: those whose tests take longest start first; the many short ones are done at the end.
# Chromium comes after a while, because a drill on the native stack waits until no alert fires, which needs CPU time.
FOLDERS = (
    *("stack", "lab/load", "service", "gateway", "redis", "lab/viewer", "lab/stack", "lab/tracestore", "observability"),
    *("repository", "examples", "alerts", "lab/alerts", "lab/desk", "lab/report", "lab/runs", "lab", "benchmarks"),
    "kubernetes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests in the order of their folders."""
    tests = Path(__file__).parent
    place = {tests / folder: number for number, folder in enumerate(FOLDERS)}
    items.sort(key=lambda item: place.get(item.path.parent, len(place)))


# the tests of these modules take long and share nothing, so that each may run in any worker
SHARE_NOTHING = ("tests/alerts/test_budget_left.py", "tests/alerts/test_cases.py", "tests/alerts/test_mutations.py")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Gives a test more time on a busy machine; before pytest-timeout reads the limit."""
    mark = item.get_closest_marker("timeout")
    limit = float(mark.args[0] if mark else item.config.getoption("timeout") or item.config.getini("timeout"))
    item.add_marker(pytest.mark.timeout(patient(limit)), append=False)
    return (yield)


class SharedServers(LoadScopeScheduling):
    """Which tests one worker of `pytest -n` runs: those of a module, stack or viewer share servers.

    Grouped by name, since under pytest 9.2 pytest-xdist 3.8 does not distinguish its own groups (`--dist loadgroup`).
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module.startswith("tests/stack/"):
            return "docker" if re.search(r"[\[-]docker[]-]", nodeid) else "native"
        if module.startswith("tests/lab/viewer/"):
            return "viewer"
        return nodeid if module in SHARE_NOTHING else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedServers:
    """The scheduler for `--dist loadscope`."""
    return SharedServers(config, log)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster of six nodes."""
    with RedisCluster(tmp_path_factory.mktemp("redis")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with Postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.new_database()


@pytest.fixture
def clean_cluster(redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """The Redis Cluster, healthy and empty; repaired after the test."""
    redis_cluster.repair()
    yield redis_cluster
    redis_cluster.repair()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
