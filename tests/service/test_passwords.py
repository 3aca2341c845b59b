"""Passwords with any characters reach the database through PGPASSWORD, as in compose.yaml, and are in no URL."""

from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from testbed import Postgres, Replica

PASSWORD = "p@s/s%"


def way_of_compose(root: Path) -> tuple[str, str]:
    """User and database in the DATABASE_URL that compose.yaml gives to the service; the password is separate."""
    environment = yaml.safe_load((root / "compose.yaml").read_text())["services"]["todo"]["environment"]
    assert environment["PGPASSWORD"] == "${POSTGRES_PASSWORD:-todo}"
    url = httpx.URL(environment["DATABASE_URL"])
    assert not url.password
    return url.username, url.path.removeprefix("/")


@pytest.mark.case("passwords")
def test_a_password_of_any_characters_works_and_a_wrong_one_does_not(tmp_path: Path, root: Path) -> None:
    user, _ = way_of_compose(root)
    with Postgres() as server:
        url = server.new_database()
        database = url.rpartition("/")[2]
        server.sql(f"ALTER ROLE {user} PASSWORD '{PASSWORD}'", database)
        rules = server.directory / "data/pg_hba.conf"
        rules.write_text(f"host {database} {user} all scram-sha-256\n" + rules.read_text())
        server.sql("SELECT pg_reload_conf()", "postgres")
        with Replica(tmp_path, DATABASE_URL=url, PGPASSWORD=PASSWORD) as replica:
            assert httpx.get(f"{replica.url}/health/ready").status_code == 200
            assert httpx.post(f"{replica.url}/tasks", json={"task": "x"}).status_code == 201
            assert PASSWORD not in httpx.get(f"{replica.url}/health").text + replica.output()
            assert PASSWORD not in " ".join(psutil.Process(replica.pid).cmdline())
        settings = {"DATABASE_URL": url, "PGPASSWORD": "p@s", "STARTUP_TIMEOUT_SECONDS": "0.1"}
        with (
            pytest.raises(AssertionError, match="password authentication failed"),
            Replica(tmp_path, "other", **settings),
        ):
            pass
