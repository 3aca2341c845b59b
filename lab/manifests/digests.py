"""Sets the digest of every image of the production overlays, from the registries: `make k8s-digests`."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from lab.programs import run_program
from lab.settings import ROOT

OVERLAYS = ROOT / "deploy/kubernetes/overlays"
IN_PRODUCTION = ("production", "managed", "large")
OUR_OWN = ("glasshouse-todo", "glasshouse-lab")
HEADER = "# The digests of all images, written by `make k8s-digests`. Until then the tags of base are used.\n"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class DigestError(Exception):
    """A registry returned no digest; the message has the image."""


def images(rendered: str) -> list[str]:
    """The images of rendered objects, without duplicates and digests."""
    found = re.findall(r"^\s*(?:- )?image: (\S+)$", rendered, re.MULTILINE)
    return sorted({each.partition("@")[0] for each in found})


def component(names: list[str], digest_of: Callable[[str], str], registry: str = "") -> str:
    """The text of `images/kustomization.yaml`. Raises `DigestError`.

    `registry` is the registry of our own images, such as `registry.example.com/team`; `digest_of` gets a name with tag.
    """
    entries = []
    for each in names:
        name, _, tag = each.rpartition(":")
        entry = {"name": name}
        if name in OUR_OWN and registry:
            entry["newName"] = f"{registry.rstrip('/')}/{name}"
        digest = digest_of(f"{entry.get('newName', name)}:{tag}")
        if not _DIGEST.fullmatch(digest):
            raise DigestError(f"{each}: {digest!r} is not a digest")
        entries.append({**entry, "digest": digest})
    head = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    return HEADER + yaml.safe_dump({**head, "images": entries}, sort_keys=False, width=120)


def ask_registry(image: str) -> str:
    """The digest of an image's tag, for all platforms together. Raises `DigestError`."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    done = run_program(command)
    if done.returncode:
        raise DigestError(f"{image}: {done.stderr.strip()}")
    return done.stdout.strip()


def main(overlays: Path = OVERLAYS, digest_of: Callable[[str], str] = ask_registry) -> None:
    """Writes the current digests."""
    target = overlays / "production/images/kustomization.yaml"
    # without digests first, so that the images are rendered with their tags
    target.write_text(component([], digest_of), encoding="utf-8")
    rendered = "".join(_render(overlays / name) for name in IN_PRODUCTION)
    try:
        target.write_text(component(images(rendered), digest_of, os.environ.get("REGISTRY", "")), encoding="utf-8")
    except DigestError as error:
        raise SystemExit(f"k8s-digests: {error}") from error


def _render(overlay: Path) -> str:
    command = ["kubectl", "kustomize", str(overlay)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True).stdout


if __name__ == "__main__":
    main()
