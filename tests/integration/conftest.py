"""The service in its two forms: alone, and on PostgreSQL and Redis Cluster."""

from collections.abc import Iterator

import httpx
import pytest

from testbed import Replica

FORMS = ("alone", "together")


@pytest.fixture(scope="module", params=FORMS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica: on SQLite and its own memory, or on PostgreSQL and Redis Cluster."""
    settings = {}
    if request.param == "together":
        settings["REDIS_URL"] = request.getfixturevalue("redis_cluster").url
        settings["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
        request.getfixturevalue("redis_cluster").flush()
    with Replica(tmp_path_factory.mktemp("service"), **settings) as replica:
        yield replica


@pytest.fixture(scope="module")
def client(service: Replica) -> Iterator[httpx.Client]:
    """A client of the service."""
    with httpx.Client(base_url=service.url, timeout=10) as made:
        yield made
