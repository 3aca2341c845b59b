"""A full disk, of the database or of a whole stack: it is reported, and acknowledged writes survive."""

import asyncio
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lab.alerts.active import active_alerts
from lab.prometheus import PrometheusError
from testbed import Load, Postgres, Replica, wait_for
from tests.stack.stacks import NativeStack

# a test may request a larger disk
MEGABYTES = 160
LONGEST = 500


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A separate disk of some megabytes."""
    place = Path(tempfile.mkdtemp(prefix="glasshouse-disk-"))
    options = f"size={getattr(request, 'param', MEGABYTES)}m,mode=0755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


def fill(place: Path, leaves: int = 0) -> Path:
    """Fills the disk except for `leaves` bytes, and returns the file that does."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while not leaves or os.statvfs(place).f_bavail * os.statvfs(place).f_frsize > leaves:
                file.write(bytes(1 << 16))
        except OSError:
            pass
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


def active(stack: NativeStack) -> set[str]:
    """The alerts that are pending or firing."""
    try:
        return {each.name for each in active_alerts(stack.prometheus)}
    except PrometheusError:
        return set()


def reasons(logs: Path) -> Iterator[str]:
    """The reasons of failed requests in the replicas' log lines."""
    for file in logs.glob("todo-*.log"):
        for line in file.read_text().splitlines():
            with suppress(ValueError):
                yield json.loads(line).get("reason", "")


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.parametrize("disk", [500], indirect=True)
async def test_a_stack_reports_a_full_disk_and_loses_no_acknowledged_task(disk: Path) -> None:
    stack = NativeStack(disk / "stack")
    # all different, because equal ones would be compressed
    create = lambda client: client.post("/tasks", json={"task": os.urandom(LONGEST // 2).hex()})  # noqa: E731
    load = Load([stack.gateway], {"create": create}, rate=20)

    def refused() -> Counter[int]:
        return Counter({status: n for status, n in load.statuses("create").items() if status != 201})

    with stack:
        assert not (stack.home / "data/postgres").is_symlink()
        doctor = stack.glasshouse("doctor")
        assert "MB are free in" in doctor.stdout, doctor.stdout
        async with load.running():
            await load.answered("create", 40)
            filler = fill(disk, leaves=20 << 20)
            await asyncio.to_thread(wait_for, lambda: "DiskNearlyFull" in active(stack), 120, "DiskNearlyFull")
            assert not refused()
            fill(disk)
            await asyncio.to_thread(wait_for, refused, 120, "a write that is refused")
            filler.unlink()
            await asyncio.to_thread(wait_for, lambda: stack.health().get("status") == "healthy", 120, "health")
            await load.answered("create", 40)
            await asyncio.to_thread(wait_for, stack.is_scraped, 120, "every target")
            await asyncio.to_thread(
                wait_for, lambda: "DiskNearlyFull" not in active(stack), 120, "the end of the alert"
            )
        said = Counter(filter(None, reasons(stack.home / "log")))
        print(f"refused: {dict(refused())}; {dict(said)}")
        assert set(refused()) == {503}
        made = [each.headers["location"] for each in load.outcomes if each.status == 201 and each.headers]
        assert len(made) > 100
        assert [path for path in made if stack.http.get(path).status_code != 200] == []
        assert any("No space left on device" in reason for reason in said), said
        states = stack.glasshouse("status").stdout
        assert {line.split()[1] for line in states.splitlines()} == {"running"}, states
