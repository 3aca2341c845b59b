"""What the Docker tests need: an engine, and the images of compose.yaml."""

import os
import subprocess

import pytest
import yaml

from lab.settings import ROOT

REQUIRED = os.environ.get("DOCKER_TESTS") == "required"
# those without a recipe in ../shared/docker: the stack is tested without them where they are missing
OPTIONAL = ("grafana", "loki", "tempo")
BASE_IMAGE = "python:3.14-slim"
"""The image that those of this repository are built from."""


def has_image(reference: str) -> bool:
    """Whether the engine has this image."""
    return subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False).returncode == 0


def require_docker(*images: str) -> None:
    """Skips a test that needs Docker and these images (by default, those of the stack), with what is missing.

    With `DOCKER_TESTS=required`, which `.ci/run` sets where it has an engine and the images, such a test fails instead.
    """
    if reason := _missing(images):
        (pytest.fail if REQUIRED else pytest.skip)(reason)


def _missing(images: tuple[str, ...]) -> str:
    try:
        if subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode:
            return "no Docker engine answers"
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return "there is no Docker here"
    missing = [image for image in images or _images() if not has_image(image)]
    return (
        f"missing images, which `make up` fetches, or ../shared/docker/images.sh builds: {missing}" if missing else ""
    )


def _images() -> list[str]:
    """Of the stack, and the base image, unless what is built from it is already here."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    built = {each["image"] for each in services.values() if "build" in each}
    images = {each["image"] for name, each in services.items() if name not in OPTIONAL} - built
    return sorted(images if all(map(has_image, built)) else images | {BASE_IMAGE})
