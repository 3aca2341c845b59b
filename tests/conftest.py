"""Servers that tests share, and which tests run one after another. A test that hurts a server repairs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Postgres, RedisCluster

# What waits longest starts first: the stacks mostly wait for timers, and the other tests run meanwhile.
FOLDERS = ("stack", "browser", "integration", "alerts", "unit")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Groups the tests for `pytest -n`: a module's tests share servers, and a stack's tests share the stack."""
    # (later would be too late: pytest-xdist reads the groups as soon as all tests are collected)
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts first what waits longest."""
    items.sort(key=lambda item: FOLDERS.index(_folder(item)))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


def _group(item: pytest.Item) -> str:
    if _folder(item) in ("stack", "browser"):
        parameters = getattr(item, "callspec", None)
        return f"{_folder(item)} {parameters.params.get('stack', '') if parameters else ''}".strip()
    if _folder(item) == "alerts":
        # they share nothing
        return item.nodeid
    return str(item.path.relative_to(Path(__file__).parent))


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
    """The Redis Cluster, well and empty, and made well again after the test."""
    redis_cluster.repair()
    yield redis_cluster
    redis_cluster.repair()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
