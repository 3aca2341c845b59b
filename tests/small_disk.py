"""A separate disk of some megabytes that a test fills up; only root may mount one."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """The folder where it is mounted; skips the test if this machine does not allow that."""
    place = Path(tempfile.mkdtemp(prefix="glasshouse-disk-"))
    options = f"size={megabytes}m,mode=0755"
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
