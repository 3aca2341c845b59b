"""The stack on Kubernetes, controlled with kubectl: its parts, faults, forwarded ports, and updates of its rules."""

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
from lab.stack import ends_with_parent, pausing
from lab.stack.native import StackError

# environment variable that `glasshouse --kubernetes` sets for this command and its child processes
NAMESPACE = "GLASSHOUSE_KUBERNETES"
PART_OF = "app.kubernetes.io/part-of=glasshouse"
NAME = "app.kubernetes.io/name"
# annotation of a workload: the number of its pods before `stop`
REPLICAS = "glasshouse/replicas"
# annotation of a pod: when a Deployment is scaled down, the pod with the lowest cost is deleted first
COST = "controller.kubernetes.io/pod-deletion-cost"
# workloads of which each pod is a part, numbered from 1; otherwise all pods of a workload are one part
NUMBERED = ("todo", "redis")
# the ports of the Services
FORWARDED = {"gateway": 5000, "prometheus": 9090, "alertmanager": 9093, "desk": 8060, "tempo": 3200, "loki": 3100}
# parts that a stack may lack; commands that query them report that they are missing
OPTIONAL = frozenset({"tempo", "loki"})
FORWARD_SECONDS = 30.0
KUBECTL_SECONDS = 120
# The kubelet updates mounted ConfigMaps about once a minute, or at once after a change of the pod.
RULES_SECONDS = 150.0
RULES = {"alert-rules": ROOT / "alerts/rules", "recording-rules": ROOT / "observability/prometheus/rules"}


class Kubectl:
    """kubectl for one namespace of the cluster in kubectl's configuration."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return ["kubectl", "--namespace", self.namespace, *arguments]

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Runs kubectl with `given` as standard input, and returns its output. Raises `StackError`."""
        try:
            # in a session of its own: Ctrl-C must reach only the command, which may still need kubectl to clean up
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
    """A Deployment, StatefulSet or DaemonSet, and its pods."""

    kind: str
    name: str
    wanted: int
    """How many pods it has when no part is stopped."""
    replicas: int
    pods: Sequence[Mapping[str, Any]]

    @property
    def resource(self) -> str:
        """Kind and name, as arguments of kubectl have them."""
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Part:
    """A part of `glasshouse status`, and its pods."""

    workload: Workload
    pods: Sequence[Mapping[str, Any]]
    is_numbered: bool


class KubernetesStack:
    """The stack in one namespace."""

    way = "kubernetes"

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        # drills act on several parts concurrently, and stopping a replica reads a number and writes it decremented
        self._lock = threading.Lock()

    def parts(self) -> dict[str, str]:
        """Every part and its state. Raises `StackError`."""
        found = self._parts().items()
        with _readable():
            return {name: _state(part) for name, part in found}

    def act(self, action: str, part: str) -> None:
        """Does one of `lab.stack.faults.ACTIONS` to a part. Raises `StackError`."""
        with self._lock:
            # the name of a stopped replica is still the name of a part
            found = self._parts().get(part)
            if found is None:
                raise StackError(f"cannot {action} {part}: the part no longer exists")
            if action in ("stop", "start"):
                self._scale(action, part, found)
                return
        pods = [str(pod["metadata"]["name"]) for pod in found.pods]
        if not pods:
            raise StackError(f"cannot {action} {part}: it has no pod")
        if action in pausing.SIGNALS:
            with _readable():
                pausing.act(self._kubectl, action, part, found.pods)
            return
        at_once = ("--grace-period=0", "--force") if action == "kill" else ()
        self._kubectl("delete", "pod", *pods, *at_once, f"--wait={'false' if action == 'kill' else 'true'}")

    def stuttering(self, parts: Sequence[str], every: float, pause: float) -> AbstractContextManager[None]:
        """Pauses parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block."""
        found = self._parts()
        pods = {part: found[part].pods if part in found else () for part in parts}
        if missing := [part for part, each in pods.items() if not each]:
            raise StackError(f"cannot stutter {missing[0]}: it has no pod")
        return pausing.stuttering(self._kubectl.command, pods, every, pause)

    def command(self, part: str, settings: LabSettings) -> list[str]:
        """A command line to which SQL (for `postgres`) or a Redis command (for a node) can be appended."""
        found = self._parts()[part]
        inside = ["psql", "-U", "todo", "todo", "-qc"] if part == "postgres" else ["redis-cli"]
        if not found.pods:
            raise StackError(f"{part} has no pod")
        pod = str(found.pods[0]["metadata"]["name"])
        return self._kubectl.command("exec", pod, "--container", found.workload.name, "--", *inside)

    def send_rules(self) -> None:
        """Updates Prometheus' rules to those of this repository. Raises `StackError`."""
        send_rules(self._kubectl)

    def _parts(self) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for workload in self._workloads():
            if workload.name not in NUMBERED:
                found[workload.name] = Part(workload, workload.pods, is_numbered=False)
                continue
            for n in range(max(workload.wanted, len(workload.pods))):
                found[f"{workload.name}-{n + 1}"] = Part(workload, workload.pods[n : n + 1], is_numbered=True)
        if not found:
            raise StackError(
                f"no part of Glasshouse is in the namespace {self._kubectl.namespace}: `kubectl apply -k` one of "
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
            raise StackError(f"cannot {action} {name}: a {workload.kind} restarts its pods; kill works")
        count = workload.replicas + (1 if action == "start" else -1) if part.is_numbered else 0
        if action == "start":
            count = min(count, workload.wanted) if part.is_numbered else workload.wanted
        elif part.is_numbered and part.pods:
            self._kubectl("annotate", "pod", str(part.pods[0]["metadata"]["name"]), f"{COST}=-1", "--overwrite")
        self._kubectl("annotate", workload.resource, f"{REPLICAS}={workload.wanted}", "--overwrite")
        self._kubectl("scale", workload.resource, f"--replicas={max(0, count)}")


@contextmanager
def _readable() -> Iterator[None]:
    """Turns errors of the block, caused by unexpected output of kubectl, into a `StackError`."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StackError(f"cannot read what `kubectl get` printed: {error!r}") from error


def _workloads(items: Sequence[Mapping[str, Any]]) -> list[Workload]:
    """The workloads in the output of `kubectl get`, each with its pods."""
    pods: dict[str, list[Mapping[str, Any]]] = {}
    for each in items:
        # a pod that is being deleted is not an object of actions
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
        phase = "paused" if pausing.is_paused(pod) else str(pod.get("status", {}).get("phase", "Unknown")).lower()
        said.append(f"{phase} ({pod['metadata']['name']}, {ready} of {len(containers)} ready, {restarts} restarts)")
    return "; ".join(said)


def chosen_cluster() -> Kubectl | None:
    """kubectl for the namespace of `--kubernetes`; None without this option."""
    namespace = os.environ.get(NAMESPACE)
    return Kubectl(namespace) if namespace else None


def chosen_stack() -> KubernetesStack | None:
    """The stack in the namespace of `--kubernetes`; None without this option."""
    cluster = chosen_cluster()
    return KubernetesStack(cluster) if cluster else None


@contextmanager
def chosen(namespace: str, parts: Sequence[str]) -> Iterator[None]:
    """Selects the stack in a namespace for the block, and forwards the ports of these parts. Raises `StackError`."""
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
                # not the default port, which may be that of another stack on this machine
                port = stack.enter_context(_refused_port())
            os.environ[f"{part.upper()}_PORT"] = str(port)
        yield


@contextmanager
def _refused_port() -> Iterator[int]:
    """A local port that refuses connections, and that no other process can use during the block."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def _set_environment(before: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


@contextmanager
def forwarded(kubectl: Kubectl, part: str) -> Iterator[int]:
    """A local port that is forwarded to a part's Service, also after its pod was replaced. Raises `StackError`."""
    stopping = threading.Event()
    child, port = _forward(kubectl, part, 0)
    running = [child]

    def restart() -> None:
        # `kubectl port-forward` ends with the pod that it has selected
        while not stopping.wait(0.5):
            if running[-1].poll() is not None:
                try:
                    running.append(_forward(kubectl, part, port)[0])
                except StackError:
                    continue

    watching = threading.Thread(target=restart, daemon=True)
    watching.start()
    try:
        yield port
    finally:
        stopping.set()
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
    output: Queue[str] = Queue()

    def read() -> None:
        # reads on until kubectl ends, because a full pipe would block it
        for each in child.stdout or ():
            output.put(each)

    threading.Thread(target=read, daemon=True).start()
    deadline, lines = time.monotonic() + FORWARD_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            text = output.get(timeout=0.1)
        except Empty:
            if child.poll() is not None and output.empty():
                break
            continue
        if found := re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", text):
            return child, int(found[1])
        lines += text
    _end(child)
    raise StackError(f"the port of {part} cannot be forwarded: {lines.strip() or 'no output of kubectl'}")


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin:
        child.stdin.close()
    child.wait()


def send_rules(kubectl: Kubectl) -> None:
    """Applies the ConfigMaps of the rules, and waits until their files are in Prometheus' pods. Raises `StackError`."""
    texts = {name: _texts(folder) for name, folder in RULES.items()}
    for name, data in texts.items():
        # fails if the namespace has no such Prometheus, or one whose rules are PrometheusRules
        existing = json.loads(kubectl("get", "configmap", name, "--output", "json"))["metadata"]
        # a server-side apply takes over the fields of an earlier client-side one, and deletes those that it omits
        metadata = {"name": name, "labels": existing.get("labels", {})}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        applied = ("--server-side", "--force-conflicts", "--field-manager", "glasshouse", "--filename", "-")
        kubectl("apply", *applied, given=json.dumps(config_map))
    pods = kubectl("get", "pods", "--selector", f"{NAME}=prometheus", "--output", "name").split()
    if not pods:
        raise StackError("Prometheus has no pod")
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
            raise StackError(f"{pod} did not receive the rules within {RULES_SECONDS:.0f} s")
        time.sleep(1)


def _texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yml"))}
