"""Servers that tests share. A test that hurts one repairs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Postgres, RedisCluster


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
