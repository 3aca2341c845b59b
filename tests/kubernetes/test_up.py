"""`make k8s-up` and `make k8s-down`, with programs that only record how they are called."""

import subprocess
from pathlib import Path

import pytest

from lab.settings import ROOT
from tests.kubernetes.manifests import KUBERNETES

SMALL = "deploy/kubernetes/overlays/small"
FAKE = """#!/bin/sh
echo "${0##*/} $*" >> "%(log)s"
case "$*" in build*) [ "$BUILDX_NO_DEFAULT_ATTESTATIONS" = 1 ] || exit 9 ;; esac
case "$*" in
    "config current-context") echo %(context)s ;;
    *"get deployments"*) echo deployment.apps/todo ;;
esac
"""


def calls(tmp_path: Path, context: str, *arguments: str) -> list[str]:
    log = tmp_path / "calls"
    for name in ("kubectl", "docker", "kind", "k3d", "minikube"):
        (tmp_path / name).write_text(FAKE % {"log": log, "context": context})
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(KUBERNETES / "up.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


@pytest.mark.parametrize(
    ("context", "loads"),
    [
        ("kind-kind", ["kind load docker-image --name kind {todo} {lab}"]),
        ("kind-my-own", ["kind load docker-image --name my-own {todo} {lab}"]),
        ("k3d-trial", ["k3d image import -c trial {todo} {lab}"]),
        ("minikube", [f"minikube --profile minikube image load {{{each}}}" for each in ("todo", "lab")]),
        ("cloud", []),
    ],
)
def test_images_are_built_and_loaded_before_the_overlay_is_applied(
    tmp_path: Path, context: str, loads: list[str]
) -> None:
    version = next(
        line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version")
    )
    names = {"todo": f"glasshouse-todo:{version}", "lab": f"glasshouse-lab:{version}"}
    found = calls(tmp_path, context, "up", "small")
    builds = [f"docker build -q -f {part}/Dockerfile -t {names[name]} ." for part, name in _DOCKERFILES]
    done = [f"kubectl apply -k {SMALL}", "kubectl -n glasshouse get deployments,statefulsets,daemonsets -o name"]
    done += ["kubectl -n glasshouse rollout status deployment.apps/todo --timeout=10m"]
    assert found[1 : 3 + len(loads) + 3] == [*builds, *(each.format(**names) for each in loads), *done]


_DOCKERFILES = (("service", "todo"), ("lab", "lab"))


def test_down_deletes_what_up_applied(tmp_path: Path) -> None:
    assert calls(tmp_path, "kind-kind", "down")[1:] == [f"kubectl delete -k {SMALL} --ignore-not-found"]
