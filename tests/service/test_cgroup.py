"""The limits of the service's cgroup."""

import os
from pathlib import Path

import pytest

from service.telemetry.cgroup import Cgroup


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cpu.max", b"max 100000"),
        ("cpu.max", b"5 0"),
        ("cpu.max", b"\xff"),
        ("cpu.stat", b"throttled_usec x"),
        ("memory.max", b"-1"),
    ],
)
def test_with_unreadable_cgroup_files_the_machines_limits_apply(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / name).write_bytes(content)
    found = Cgroup(tmp_path)
    assert found.cpu_limit_cores() == os.cpu_count()
    assert found.memory_limit_bytes() > 1 << 20
    assert found.throttled_seconds() == 0
