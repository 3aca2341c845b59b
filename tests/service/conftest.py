"""The service in three variants: alone; with PostgreSQL and Redis Cluster; and with PgBouncer in between."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from testbed import Replica, pgbouncer

FORMS = ("alone", "together")


@pytest.fixture(scope="module", params=FORMS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica: on SQLite and its own memory, or on PostgreSQL, with or without a pooler, and Redis Cluster."""
    settings = {}
    with ExitStack() as stack:
        if request.param != "alone":
            settings["REDIS_URL"] = request.getfixturevalue("redis_cluster").url
            settings["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
            request.getfixturevalue("redis_cluster").flush()
        if request.param == "pooled":
            if not pgbouncer.is_installed():
                pytest.skip("pgbouncer is not installed")
            pooler = stack.enter_context(pgbouncer.PgBouncer(request.getfixturevalue("postgres")))
            settings |= {"DATABASE_URL": pooler.through(settings["DATABASE_URL"]), "DATABASE_POOLER": "transaction"}
        yield stack.enter_context(Replica(tmp_path_factory.mktemp("service"), **settings))


@pytest.fixture(scope="module")
def client(service: Replica) -> Iterator[httpx.Client]:
    """A client of the service."""
    with httpx.Client(base_url=service.url, timeout=10) as made:
        yield made
