"""A fake kubectl and cluster: `python fake_kubectl.py STATE …`. It fails on commands that it does not know.

STATE is a JSON file with `objects` as in `kubectl get --output json`, `ports` by service, `files` of Prometheus' pod,
and `calls`, to which each call is appended. Deployments and StatefulSets get the requested number of pods immediately.
"""

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

NAMESPACE = "glasshouse"
KINDS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "pod": "Pod",
    "pods": "Pod",
    "configmap": "ConfigMap",
}
MOUNTED = {"alert-rules": "/etc/alerts", "recording-rules": "/etc/prometheus/rules"}
APPLY = ["--server-side", "--force-conflicts", "--field-manager", "glasshouse", "--filename", "-"]


def fail(text: str) -> NoReturn:
    """Fails like kubectl."""
    print(text, file=sys.stderr)
    sys.exit(1)


class Cluster:
    """The state, read and written by each call."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.state: dict[str, Any] = json.loads(file.read_text())

    def save(self) -> None:
        """Creates or removes pods for every workload, and writes the state."""
        for each in self.objects("Deployment") + self.objects("StatefulSet"):
            self._reconcile(each)
        self._file.write_text(json.dumps(self.state))

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return [each for each in self.state["objects"] if each["kind"] == kind]

    def find(self, resource: str) -> dict[str, Any]:
        """The object named `kind/name`."""
        kind, _, name = resource.partition("/")
        for each in self.objects(KINDS.get(kind, "")):
            if each["metadata"]["name"] == name:
                return each
        fail(f'Error from server (NotFound): {kind}s "{name}" not found')

    def _reconcile(self, workload: dict[str, Any]) -> None:
        name, wanted = workload["metadata"]["name"], workload["spec"]["replicas"]
        pods = [each for each in self.objects("Pod") if each["metadata"]["labels"]["app.kubernetes.io/name"] == name]
        is_set = workload["kind"] == "StatefulSet"

        def cost(pod: dict[str, Any]) -> tuple[int, str]:
            annotations = pod["metadata"].get("annotations", {})
            return int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0)), pod["metadata"]["name"]

        for each in sorted(pods, key=cost)[: max(0, len(pods) - wanted)]:
            self.state["objects"].remove(each)
        for number in range(wanted - len(pods)):
            self.state["made"] = self.state.get("made", 0) + 1
            there = {pod["metadata"]["name"] for pod in pods}
            free = next(f"{name}-{n}" for n in range(wanted + number + 1) if f"{name}-{n}" not in there)
            pod_name = free if is_set else f"{name}-{self.state['made']:04d}"
            pods.append(self._new_pod(name, pod_name))

    def _new_pod(self, name: str, pod_name: str) -> dict[str, Any]:
        stamp = f"2026-01-01T00:00:{self.state['made'] % 60:02d}Z"
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": pod_name,
                "creationTimestamp": stamp,
                "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "glasshouse"},
            },
            "spec": {},
            "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 0}]},
        }
        self.state["objects"].append(pod)
        return pod


def main(arguments: list[str]) -> None:
    """Handles one call of kubectl."""
    cluster = Cluster(Path(arguments[0]))
    if arguments[1:3] != ["--namespace", NAMESPACE]:
        fail(f'Error from server (NotFound): namespaces "{arguments[2]}" not found')
    call = arguments[3:]
    cluster.state["calls"].append(" ".join(call))
    verb, rest = call[0], call[1:]
    if verb == "port-forward":
        cluster.save()
        forward(cluster, rest)
    elif verb == "get":
        print(get(cluster, rest))
    elif verb == "delete" and rest[0] == "pod":
        delete(cluster, rest[1:])
    elif verb == "scale" and len(rest) == 2 and (count := re.fullmatch(r"--replicas=(\d+)", rest[1])):
        cluster.find(rest[0])["spec"]["replicas"] = int(count[1])
    elif verb == "annotate":
        annotate(cluster, rest)
    elif verb == "apply" and rest == APPLY:
        apply(cluster, json.loads(sys.stdin.read()))
    elif verb == "exec" and rest[1:5] == ["--container", "prometheus", "--", "cat"]:
        cluster.find(f"pod/{rest[0].removeprefix('pod/')}")
        print("".join(cluster.state["files"].get(path, "") for path in rest[5:]), end="")
    else:
        fail(f"error: unknown command or flag: {' '.join(call)}")
    cluster.save()


def get(cluster: Cluster, rest: list[str]) -> str:
    """`get`, in the forms that are used."""
    if rest == [
        *("deployments,statefulsets,daemonsets,pods", "--selector", "app.kubernetes.io/part-of=glasshouse"),
        *("--output", "json"),
    ]:
        kinds = ("Deployment", "StatefulSet", "DaemonSet", "Pod")
        return json.dumps({"items": [each for each in cluster.state["objects"] if each["kind"] in kinds]})
    if rest[:1] == ["configmap"] and rest[2:] == ["--output", "json"]:
        return json.dumps(cluster.find(f"configmap/{rest[1]}"))
    if rest == ["pods", "--selector", "app.kubernetes.io/name=prometheus", "--output", "name"]:
        names = [each["metadata"]["name"] for each in cluster.objects("Pod")]
        return "\n".join(f"pod/{name}" for name in names if name.startswith("prometheus"))
    fail(f"error: unknown get: {' '.join(rest)}")


def delete(cluster: Cluster, rest: list[str]) -> None:
    """`delete pod`."""
    flags = [each for each in rest if each.startswith("-")]
    if flags not in (["--grace-period=0", "--force", "--wait=false"], ["--wait=true"]):
        fail(f"error: unknown flags: {flags}")
    for name in rest[: len(rest) - len(flags)]:
        cluster.state["objects"].remove(cluster.find(f"pod/{name}"))


def annotate(cluster: Cluster, rest: list[str]) -> None:
    """`annotate RESOURCE KEY=VALUE --overwrite`."""
    if rest[0] == "pod":
        rest = [f"pod/{rest[1]}", *rest[2:]]
    if len(rest) != 3 or rest[2] != "--overwrite":
        fail(f"error: unknown annotate: {' '.join(rest)}")
    key, _, value = rest[1].partition("=")
    cluster.find(rest[0])["metadata"].setdefault("annotations", {})[key] = value


def apply(cluster: Cluster, made: dict[str, Any]) -> None:
    """`apply` of a ConfigMap, which Prometheus' pod has immediately."""
    name = made["metadata"]["name"]
    there = cluster.find(f"configmap/{name}")
    there["metadata"]["labels"] = made["metadata"]["labels"]
    for file, text in made["data"].items():
        cluster.state["files"][f"{MOUNTED[name]}/{file}"] = text


def forward(cluster: Cluster, rest: list[str]) -> None:
    """`port-forward`: prints its port and stays. The test runs the server on that port."""
    if rest[:2] != ["--address", "127.0.0.1"] or len(rest) != 4 or not re.fullmatch(r"\d*:\d+", rest[3]):
        fail(f"error: unknown port-forward: {' '.join(rest)}")
    service = rest[2].removeprefix("service/")
    if service not in cluster.state["ports"]:
        fail(f'Error from server (NotFound): services "{service}" not found')
    print(f"Forwarding from 127.0.0.1:{cluster.state['ports'][service]} -> {rest[3].partition(':')[2]}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
