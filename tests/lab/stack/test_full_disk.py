"""A native stack on a disk that fills up: it is reported, and acknowledged writes survive."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.alerts.active import active_alerts
from lab.prometheus import PrometheusError
from testbed import Load, wait_for
from tests.small_disk import fill, small_disk
from tests.stack.stacks import NativeStack

TEXT_LENGTH = 500


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(500) as place:
        yield place


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
async def test_a_stack_reports_a_full_disk_and_loses_no_acknowledged_task(disk: Path) -> None:
    stack = NativeStack(disk / "stack")
    # all different, because equal ones would be compressed
    create = lambda client: client.post("/tasks", json={"task": os.urandom(TEXT_LENGTH // 2).hex()})  # noqa: E731
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
