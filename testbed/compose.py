"""Docker Compose, for tests of what it reads from a file."""

import shutil
import subprocess

import pytest


def need_compose() -> None:
    """Skips the test if `docker compose` is not installed; an engine is not needed."""
    if not shutil.which("docker"):
        pytest.skip("needs Docker Compose, and docker is not installed")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs Docker Compose, and `docker compose version` fails")
