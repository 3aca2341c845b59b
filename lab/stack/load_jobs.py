"""The Jobs of a load on Kubernetes: Locust's coordinator and workers, created for one run and deleted after it."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import yaml

from lab.settings import ROOT
from lab.stack.kubernetes import NAME, Kubectl
from lab.stack.native import StackError

OVERLAY = ROOT / "deploy/kubernetes/overlays/load"
# the URL that the workers load
GATEWAY = "http://gateway:5000"
COORDINATOR, WORKER = "load", "load-worker"
# the label of all objects of one run, so that two loads at the same time do not conflict
RUN = "glasshouse/run"
# the Deployment from which the Jobs take the lab's image, because it has the registry of this cluster
LAB = "desk"
START_SECONDS = 120.0
ASK_SECONDS = 0.5
# added to twice the load's duration: for the start, the preparation, and a search that takes longer
DEADLINE_SECONDS = 900
# a container that waits for one of these reasons will not start without intervention
HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)

Object = dict[str, Any]


@contextmanager
def load_jobs(
    kubectl: Kubectl, workers: int, seconds: float, is_stopped: Callable[[], bool] = lambda: False
) -> Iterator[list[str]]:
    """Creates the Jobs of a coordinator and its workers, and deletes them after the block. Raises `StackError`.
    Yields the command line that attaches to the coordinator's standard input and output. The load ends with it.
    """
    run = secrets.token_hex(2)
    overlay = list(yaml.safe_load_all(kubectl("kustomize", str(OVERLAY))))
    first, *others = objects_of_run(overlay, _lab(kubectl), run, workers, seconds)
    try:
        created = json.loads(kubectl("create", "--filename", "-", "--output", "json", given=json.dumps(first)))
        # if this command is killed, the cluster deletes the coordinator's Job a minute after its end, and these with it
        owner = {key: created[key] for key in ("apiVersion", "kind")}
        owner |= {key: created["metadata"][key] for key in ("name", "uid")}
        for each in others:
            each["metadata"]["ownerReferences"] = [owner]
        everything = {"apiVersion": "v1", "kind": "List", "items": others}
        kubectl("create", "--filename", "-", given=json.dumps(everything))
        pod = _running(kubectl, run, workers + 1, is_stopped)
        yield kubectl.command("attach", pod, "--container", COORDINATOR, "--stdin", "--quiet")
    finally:
        _remove(kubectl, run)


def objects_of_run(
    overlay: Sequence[Object], lab: Mapping[str, Any], run: str, workers: int, seconds: float
) -> list[Object]:
    """The overlay's objects for one run, the coordinator's Job first. `lab` is a pod spec with the lab's image."""
    found = []
    for each in overlay:
        metadata = each["metadata"]
        metadata.pop("namespace", None)
        labels = {**metadata.get("labels", {}), RUN: run}
        each["metadata"] = {**metadata, "name": f"{metadata['name']}-{run}", "labels": labels}
        if each["kind"] == "Service":
            each["spec"]["selector"][RUN] = run
        if each["kind"] == "Job":
            _configure(each, lab, run, workers, seconds)
        found.append(each)
    return sorted(found, key=lambda each: (each["kind"], each["metadata"]["labels"].get(NAME)) != ("Job", COORDINATOR))


def _configure(job: Object, lab: Mapping[str, Any], run: str, workers: int, seconds: float) -> None:
    spec = job["spec"]
    template = spec["template"]
    template["metadata"]["labels"][RUN] = run
    if lab.get("imagePullSecrets"):
        template["spec"]["imagePullSecrets"] = lab["imagePullSecrets"]
    spec["activeDeadlineSeconds"] = DEADLINE_SECONDS + round(2 * seconds)
    (container,) = template["spec"]["containers"]
    container["image"] = next(each["image"] for each in lab["containers"] if each["name"] == LAB)
    if template["metadata"]["labels"][NAME] == COORDINATOR:
        container["args"] = _with_value(container["args"], "--workers", str(workers))
    else:
        spec["parallelism"] = spec["completions"] = workers
        container["args"] = _with_value(container["args"], "--master", f"{COORDINATOR}-{run}")


def _with_value(arguments: Sequence[str], option: str, value: str) -> list[str]:
    after = arguments.index(option) + 1
    return [*arguments[:after], value, *arguments[after + 1 :]]


def _lab(kubectl: Kubectl) -> Mapping[str, Any]:
    found = json.loads(kubectl("get", "deployment", LAB, "--output", "json"))
    pod: Mapping[str, Any] = found["spec"]["template"]["spec"]
    return pod


def _running(kubectl: Kubectl, run: str, count: int, is_stopped: Callable[[], bool]) -> str:
    """Waits until all `count` pods of the run are running, and returns the name of the coordinator's pod.
    Raises `StackError`.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        pods = json.loads(kubectl("get", "pods", "--selector", f"{RUN}={run}", "--output", "json"))["items"]
        if sum(pod["status"].get("phase") == "Running" for pod in pods) == count:
            return next(
                str(pod["metadata"]["name"]) for pod in pods if pod["metadata"]["labels"].get(NAME) == COORDINATOR
            )
        states = {str(pod["metadata"]["name"]): _state(pod) for pod in pods}
        for name, (reason, message) in states.items():
            if reason in HOPELESS or reason == "Failed":
                raise StackError(f"pod {name} does not start: {message}")
        if is_stopped():
            raise StackError("stopped before the load began")
        if time.monotonic() > deadline:
            found = "; ".join(f"{name}: {message}" for name, (_, message) in states.items()) or "none was created"
            raise StackError(f"the load's {count} pods are not all running after {START_SECONDS:.0f} s ({found})")
        time.sleep(ASK_SECONDS)


def _state(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Why a pod is not running: Kubernetes' reason, and the reason with its message."""
    status = pod["status"]
    for container in status.get("containerStatuses", []):
        if waiting := container.get("state", {}).get("waiting"):
            return waiting.get("reason", ""), ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
    for condition in status.get("conditions", []):
        if condition["status"] == "False" and condition.get("message"):
            return condition.get("reason", ""), f"{condition.get('reason', '')}: {condition['message']}"
    phase = str(status.get("phase", "Unknown"))
    return phase, phase


def _remove(kubectl: Kubectl, run: str) -> None:
    kinds, selector = "jobs,services,networkpolicies", f"{RUN}={run}"
    try:
        kubectl("delete", kinds, "--selector", selector, "--cascade=foreground", "--wait=true")
    except StackError as error:
        command = " ".join(kubectl.command("delete", kinds, "--selector", selector))
        click.echo(f"glasshouse load: cannot delete its Jobs ({error}): use `{command}`", err=True)
