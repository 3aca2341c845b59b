"""In production every image has a digest."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.manifests.digests import IN_PRODUCTION, DigestError, component, images, main
from lab.settings import ROOT
from tests.kubernetes.conftest import rendered
from tests.kubernetes.manifests import KUBERNETES, kubectl, pods, render

DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_each_image_of_an_overlay_is_found_once() -> None:
    text = "      - image: a:1\n        image: b/c:2\n        image: a:1\n        image: d:3@sha256:0\n"
    assert images(text) == ["a:1", "b/c:2", "d:3"]


@pytest.mark.parametrize("name", IN_PRODUCTION)
def test_every_production_image_is_pinned_by_the_digest_from_its_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    command = kubectl()
    if command is None or command[-1] != "kustomize":
        pytest.skip("no kubectl here")
    names = {box["image"] for each in pods(rendered("large")) for box in each.all_containers}
    asked: list[str] = []

    def digest_of(image: str) -> str:
        asked.append(image)
        return DIGEST

    # a copy of all files of the overlay
    for folder in ("deploy", "alerts", "observability", "redis", "gateway"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    overlays = tmp_path / KUBERNETES.relative_to(ROOT) / "overlays"
    monkeypatch.setenv("PATH", f"{Path(shutil.which(command[0]) or '').parent}:{os.environ['PATH']}")
    monkeypatch.setenv("REGISTRY", "registry.example.com/team")
    main(overlays, digest_of)
    found = {box["image"] for each in pods(render(overlays / name)) for box in each.all_containers}
    assert [image for image in found if not image.endswith(f"@{DIGEST}")] == []
    assert f"registry.example.com/team/glasshouse-todo@{DIGEST}" in found
    assert len(asked) == len(set(asked)) == len(names)


def test_an_invalid_digest_is_rejected() -> None:
    with pytest.raises(DigestError, match="redis"):
        component(["redis:8.0"], lambda _: "latest")


def test_production_is_not_applied_while_an_image_has_no_digest(tmp_path: Path) -> None:
    command = kubectl()
    if command is None or command[-1] != "kustomize":
        pytest.skip("no kubectl here")
    # a kubectl that renders, and claims to have a cluster
    fake = tmp_path / "kubectl"
    fake.write_text(f'#!/bin/sh\n[ "$1" != config ] || {{ echo test; exit; }}\nexec {command[0]} "$@"\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", str(KUBERNETES / "up.sh"), "up", "production"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.returncode == 2
    assert "glasshouse-todo:" in done.stderr
