"""A full disk of the database: it is reported, acknowledged writes survive, and writing works once there is room."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed import Postgres, Replica, wait_for

MEGABYTES = 160
LONGEST = 500


@pytest.fixture
def disk() -> Iterator[Path]:
    """A separate disk of some megabytes."""
    place = Path(tempfile.mkdtemp(prefix="glasshouse-disk-"))
    options = f"size={MEGABYTES}m,mode=0755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


def fill(place: Path) -> Path:
    """Fills the disk, and returns the file that does."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return filler


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
                answer = client.post("/tasks", json={"task": os.urandom(LONGEST // 2).hex()})
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
