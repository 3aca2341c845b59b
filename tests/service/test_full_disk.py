"""A full disk of the database: it is reported, and acknowledged writes survive."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed import Postgres, Replica, wait_for
from tests.small_disk import fill, small_disk

TEXT_LENGTH = 500


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(160) as place:
        yield place


def test_a_full_disk_loses_no_acknowledged_task(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(disk))
        postgres = Postgres(is_durable=True)
    settings = {"RATE_LIMIT": "off", "REDIS_URL": ""}
    with postgres, Replica(tmp_path, DATABASE_URL=postgres.new_database(), **settings) as replica:
        with httpx.Client(base_url=replica.url, timeout=30, trust_env=False) as client:
            acknowledged: list[str] = []

            def write() -> int:
                # all different, because equal ones would be compressed
                answer = client.post("/tasks", json={"task": os.urandom(TEXT_LENGTH // 2).hex()})
                if answer.status_code == 201:
                    acknowledged.append(answer.headers["location"])
                elif answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) > 0
                else:
                    pytest.fail(f"{answer.status_code}: {answer.text}")
                return answer.status_code

            assert write() == 201
            filler = fill(disk)
            wait_for(lambda: write() == 503, 120, "a write that is rejected")
            assert "database" in client.get("/health").text
            filler.unlink()
            # as supervisor does
            if not postgres.is_running:
                postgres.start()
            wait_for(lambda: write() == 201, 60, "a write that succeeds again")
            assert [path for path in acknowledged if client.get(path).status_code != 200] == []
            wait_for(lambda: client.get("/health").json()["status"] == "healthy", 30, "health")
        lines = replica.output()
    assert "No space left on device" in lines or "space" in lines.lower()
