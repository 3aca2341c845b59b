"""The stack on Kubernetes, by way of kubectl: its parts, faults on them, forwarded ports, and rules put in force."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from lab.programs import run_program
from lab.settings import ROOT, LabSettings
from lab.stack import ends_with_parent, pause
from lab.stack.native import StackError

# set by `glasshouse --kubernetes`, for this command and those that it starts
NAMESPACE = "GLASSHOUSE_KUBERNETES"
PART_OF = "app.kubernetes.io/part-of=glasshouse"
NAME = "app.kubernetes.io/name"
# how many pods there were before `stop`
REPLICAS = "glasshouse/replicas"
# of the pods of a Deployment, the one of the lowest cost goes first
COST = "controller.kubernetes.io/pod-deletion-cost"
# whose pods are parts of their own, numbered from 1; of the others, all pods together are the part
NUMBERED = ("todo", "redis")
# ports of the services
FORWARDED = {"gateway": 5000, "prometheus": 9090, "alertmanager": 9093, "desk": 8060, "tempo": 3200, "loki": 3100}
# a stack may run without these; what asks them says so
OPTIONAL = frozenset({"tempo", "loki"})
FORWARD_SECONDS = 30.0
KUBECTL_SECONDS = 120
# the kubelet looks at a ConfigMap once a minute, and at once where its pod has changed
RULES_SECONDS = 150.0
RULES = {"alert-rules": ROOT / "alerts/rules", "recording-rules": ROOT / "observability/prometheus/rules"}


class Kubectl:
    """kubectl, in one namespace of the cluster that its configuration names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return ["kubectl", "--namespace", self.namespace, *arguments]

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """What it prints. Raises `StackError`."""
        try:
            # in a session of its own: Ctrl-C is for the command, which may have to ask for something before it ends
            done = run_program(self.command(*arguments), given=given, timeout=KUBECTL_SECONDS, start_new_session=True)
        except FileNotFoundError as error:
            raise StackError("kubectl is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise StackError(f"kubectl {arguments[0]}: no answer within {KUBECTL_SECONDS} s") from error
        if done.returncode:
            raise StackError(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet, and the pods that it has."""

    kind: str
    name: str
    wanted: int
    """How many pods there are without a `stop`."""
    replicas: int
    pods: Sequence[Mapping[str, Any]]

    @property
    def resource(self) -> str:
        """As kubectl names it."""
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Part:
    """A part as `glasshouse status` names it, and its pods."""

    workload: Workload
    pods: Sequence[Mapping[str, Any]]
    is_numbered: bool


class KubernetesStack:
    """The stack in one namespace."""

    way = "kubernetes"

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        # drills act on parts at once, and a stop of one replica reads a number and writes one less
        self._lock = threading.Lock()

    def parts(self) -> dict[str, str]:
        """Every part and its state. Raises `StackError`."""
        found = self._parts().items()
        with _readable():
            return {name: _state(part) for name, part in found}

    def act(self, action: str, part: str) -> None:
        """Does one of `lab.stack.faults.ACTIONS` to a part. Raises `StackError`."""
        with self._lock:
            # the number of a replica that has gone is that of one that is stopped
            found = self._parts().get(part)
            if found is None:
                raise StackError(f"cannot {action} {part}: there is no such part any more")
            if action in ("stop", "start"):
                self._scale(action, part, found)
                return
        pods = [str(pod["metadata"]["name"]) for pod in found.pods]
        if not pods:
            raise StackError(f"cannot {action} {part}: it has no pod")
        if action in pause.SIGNALS:
            with _readable():
                pause.act(self._kubectl, action, part, found.pods)
            return
        at_once = ("--grace-period=0", "--force") if action == "kill" else ()
        self._kubectl("delete", "pod", *pods, *at_once, f"--wait={'false' if action == 'kill' else 'true'}")

    def stuttering(self, part: str, every: float, seconds: float) -> AbstractContextManager[None]:
        """Pauses a part for `seconds`, lets it run for `every` seconds, and so on, during the block."""
        found = self._parts().get(part)
        return pause.stuttering(self._kubectl.command, part, found.pods if found else (), every, seconds)

    def command(self, part: str, settings: LabSettings) -> list[str]:
        """The command that takes SQL (of `postgres`) or a Redis command (of a node) as its further arguments."""
        found = self._parts()[part]
        inside = ["psql", "-U", "todo", "todo", "-qc"] if part == "postgres" else ["redis-cli"]
        if not found.pods:
            raise StackError(f"{part} has no pod")
        pod = str(found.pods[0]["metadata"]["name"])
        return self._kubectl.command("exec", pod, "--container", found.workload.name, "--", *inside)

    def send_rules(self) -> None:
        """Brings the rules of this repository to Prometheus. Raises `StackError`."""
        send_rules(self._kubectl)

    def _parts(self) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for workload in self._workloads():
            if workload.name not in NUMBERED:
                found[workload.name] = Part(workload, workload.pods, is_numbered=False)
                continue
            for at in range(max(workload.wanted, len(workload.pods))):
                found[f"{workload.name}-{at + 1}"] = Part(workload, workload.pods[at : at + 1], is_numbered=True)
        if not found:
            raise StackError(
                f"in the namespace {self._kubectl.namespace} there is nothing of Glasshouse: `kubectl apply -k` one of "
                "deploy/kubernetes/overlays"
            )
        return found

    def _workloads(self) -> list[Workload]:
        kinds = "deployments,statefulsets,daemonsets,pods"
        printed = self._kubectl("get", kinds, "--selector", PART_OF, "--output", "json")
        with _readable():
            return _workloads(json.loads(printed)["items"])

    def _scale(self, action: str, name: str, part: Part) -> None:
        workload = part.workload
        if workload.kind == "DaemonSet" or (part.is_numbered and workload.kind != "Deployment"):
            raise StackError(f"cannot {action} {name}: a {workload.kind} starts each of its pods again; kill works")
        count = workload.replicas + (1 if action == "start" else -1) if part.is_numbered else 0
        if action == "start":
            count = min(count, workload.wanted) if part.is_numbered else workload.wanted
        elif part.is_numbered and part.pods:
            self._kubectl("annotate", "pod", str(part.pods[0]["metadata"]["name"]), f"{COST}=-1", "--overwrite")
        self._kubectl("annotate", workload.resource, f"{REPLICAS}={workload.wanted}", "--overwrite")
        self._kubectl("scale", workload.resource, f"--replicas={max(0, count)}")


@contextmanager
def _readable() -> Iterator[None]:
    """Raises `StackError` where the block finds that kubectl printed something else than a list of objects."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StackError(f"cannot read what `kubectl get` printed: {error!r}") from error


def _workloads(items: Sequence[Mapping[str, Any]]) -> list[Workload]:
    """The workloads among the items of a list, each with its pods."""
    pods: dict[str, list[Mapping[str, Any]]] = {}
    for each in items:
        # one that is going is none to do anything to
        if each["kind"] == "Pod" and "deletionTimestamp" not in each["metadata"]:
            pods.setdefault(each["metadata"]["labels"].get(NAME, ""), []).append(each)
    found = []
    for each in items:
        metadata, spec = each["metadata"], each["spec"]
        if each["kind"] == "Pod":
            continue
        name, own = metadata["name"], pods.get(metadata["name"], [])
        replicas = int(spec.get("replicas", len(own)))
        wanted = int(metadata.get("annotations", {}).get(REPLICAS, replicas))
        ordered = sorted(own, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        if each["kind"] == "StatefulSet":
            ordered = sorted(own, key=lambda pod: int(pod["metadata"]["name"].rpartition("-")[2]))
        found.append(Workload(each["kind"], name, max(wanted, replicas), replicas, ordered))
    return found


def _state(part: Part) -> str:
    if not part.pods:
        return "stopped" if part.workload.replicas < part.workload.wanted or not part.workload.wanted else "no pod"
    said = []
    for pod in part.pods:
        containers = pod.get("status", {}).get("containerStatuses", [])
        ready = sum(bool(each["ready"]) for each in containers)
        restarts = sum(int(each["restartCount"]) for each in containers)
        phase = "paused" if pause.is_paused(pod) else str(pod.get("status", {}).get("phase", "Unknown")).lower()
        said.append(f"{phase} ({pod['metadata']['name']}, {ready} of {len(containers)} ready, {restarts} restarts)")
    return "; ".join(said)


def chosen_cluster() -> Kubectl | None:
    """The namespace that `--kubernetes` chose."""
    namespace = os.environ.get(NAMESPACE)
    return Kubectl(namespace) if namespace else None


def chosen_stack() -> KubernetesStack | None:
    """The stack that `--kubernetes` chose."""
    cluster = chosen_cluster()
    return KubernetesStack(cluster) if cluster else None


@contextmanager
def chosen(namespace: str, parts: Sequence[str]) -> Iterator[None]:
    """This command's stack is that of a namespace; the ports of these parts are forwarded. Raises `StackError`."""
    before = dict(os.environ)
    kubectl = Kubectl(namespace)
    with ExitStack() as stack:
        stack.callback(_set_environment, before)
        os.environ[NAMESPACE] = namespace
        for part in parts:
            try:
                port = stack.enter_context(forwarded(kubectl, part))
            except StackError:
                if part not in OPTIONAL:
                    raise
                # the default port may be that of another stack on this machine
                port = stack.enter_context(_refused_port())
            os.environ[f"{part.upper()}_PORT"] = str(port)
        yield


@contextmanager
def _refused_port() -> Iterator[int]:
    """A port of this machine that refuses connections, and that no other process can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def _set_environment(before: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


@contextmanager
def forwarded(kubectl: Kubectl, part: str) -> Iterator[int]:
    """A port of this machine that leads to a part's service, also after its pod was replaced. Raises `StackError`."""
    ends = threading.Event()
    child, port = _forward(kubectl, part, 0)
    running = [child]

    def again() -> None:
        # kubectl ends with the pod that it had chosen
        while not ends.wait(0.5):
            if running[-1].poll() is not None:
                try:
                    running.append(_forward(kubectl, part, port)[0])
                except StackError:
                    continue

    watching = threading.Thread(target=again, daemon=True)
    watching.start()
    try:
        yield port
    finally:
        ends.set()
        watching.join(FORWARD_SECONDS)
        for each in running:
            _end(each)


def _forward(kubectl: Kubectl, part: str, port: int) -> tuple[subprocess.Popen[str], int]:
    line = kubectl.command(
        "port-forward", "--address", "127.0.0.1", f"service/{part}", f"{port or ''}:{FORWARDED[part]}"
    )
    if not shutil.which("kubectl"):
        raise StackError("kubectl is not installed")
    child = subprocess.Popen(
        [sys.executable, "-IS", ends_with_parent.__file__, *line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    said: Queue[str] = Queue()

    def read() -> None:
        # to the end, or a full pipe would hold it up
        for each in child.stdout or ():
            said.put(each)

    threading.Thread(target=read, daemon=True).start()
    deadline, lines = time.monotonic() + FORWARD_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            text = said.get(timeout=0.1)
        except Empty:
            if child.poll() is not None and said.empty():
                break
            continue
        if found := re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", text):
            return child, int(found[1])
        lines += text
    _end(child)
    raise StackError(f"the port of {part} cannot be forwarded: {lines.strip() or 'kubectl says nothing'}")


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin:
        child.stdin.close()
    child.wait()


def send_rules(kubectl: Kubectl) -> None:
    """Applies the ConfigMaps of the rules, and waits until Prometheus' pods have their files. Raises `StackError`."""
    texts = {name: _texts(folder) for name, folder in RULES.items()}
    for name, data in texts.items():
        # else the namespace has no such Prometheus, or one whose rules are PrometheusRules
        there = json.loads(kubectl("get", "configmap", name, "--output", "json"))["metadata"]
        # what was applied of it by another is this apply's to keep
        metadata = {"name": name, "labels": there.get("labels", {})}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        applied = ("--server-side", "--force-conflicts", "--field-manager", "glasshouse", "--filename", "-")
        kubectl("apply", *applied, given=json.dumps(made))
    pods = kubectl("get", "pods", "--selector", f"{NAME}=prometheus", "--output", "name").split()
    if not pods:
        raise StackError("there is no pod of Prometheus")
    for pod in pods:
        kubectl("annotate", pod, f"glasshouse/rules={time.time():.0f}", "--overwrite")
        _await_files(kubectl, pod, texts)


def _await_files(kubectl: Kubectl, pod: str, texts: Mapping[str, Mapping[str, str]]) -> None:
    folders = {"alert-rules": "/etc/alerts", "recording-rules": "/etc/prometheus/rules"}
    paths = [f"{folders[name]}/{file}" for name, data in texts.items() for file in data]
    wanted = "".join(text for data in texts.values() for text in data.values())
    deadline = time.monotonic() + RULES_SECONDS
    while kubectl("exec", pod, "--container", "prometheus", "--", "cat", *paths) != wanted:
        if time.monotonic() > deadline:
            raise StackError(f"{pod} has not got the rules within {RULES_SECONDS:.0f} s")
        time.sleep(1)


def _texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yml"))}
