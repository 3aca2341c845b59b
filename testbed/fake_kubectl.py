"""A fake kubectl and cluster: `python fake_kubectl.py STATE …`. It fails on commands that it does not know.

STATE is a JSON file with `objects` as in `kubectl get --output json`, `ports` by service, `files` of Prometheus' pod,
and `calls`, to which each call is appended. Deployments, StatefulSets and Jobs get the requested number of pods
immediately; pods with an image in `missing` stay pending. `attach` starts the processes of a load on this machine.
"""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

NAMESPACE = "glasshouse"
KINDS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "pod": "Pod",
    "pods": "Pod",
    "configmap": "ConfigMap",
    "job": "Job",
}
ROOT = Path(__file__).parents[1]
LOAD = ROOT / "deploy/kubernetes/components/load"
OF_LOAD = {"jobs": "Job", "services": "Service", "networkpolicies": "NetworkPolicy"}
RUN = "glasshouse/run"
# these pods share their process namespace
PAUSABLE = {"todo", "redis", "postgres"}
KILL = re.compile(r"kill -(STOP|CONT) -1")
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
        # one call at a time, until it has saved
        self._lock = file.with_suffix(".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.state: dict[str, Any] = json.loads(file.read_text())

    def save(self) -> None:
        """Creates or removes pods for every workload, and writes the state."""
        for each in self.objects("Deployment") + self.objects("StatefulSet"):
            self._reconcile(each)
        for each in self.objects("Job"):
            self._start(each)
        whole = self._file.with_suffix(".new")
        whole.write_text(json.dumps(self.state))
        whole.replace(self._file)
        self._lock.close()

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

    def _start(self, job: dict[str, Any]) -> None:
        if job.setdefault("status", {}).get("started"):
            return
        job["status"]["started"] = True
        template = job["spec"]["template"]
        for _ in range(job["spec"].get("parallelism", 1)):
            self.state["made"] = self.state.get("made", 0) + 1
            pod = self._new_pod("", f"{job['metadata']['name']}-{self.state['made']:04d}")
            pod["metadata"]["labels"] = template["metadata"]["labels"]
            pod["spec"] = template["spec"]
            image = template["spec"]["containers"][0]["image"]
            if image in self.state.get("missing", []):
                waiting = {"reason": "ImagePullBackOff", "message": f"Back-off pulling image {image}"}
                pod["status"] = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}

    def of_run(self, kind: str, run: str) -> list[dict[str, Any]]:
        """All objects of a kind with the label of a load."""
        return [each for each in self.objects(kind) if each["metadata"]["labels"].get(RUN) == run]

    def _new_pod(self, name: str, pod_name: str) -> dict[str, Any]:
        stamp = f"2026-01-01T00:00:{self.state['made'] % 60:02d}Z"
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": pod_name,
                "creationTimestamp": stamp,
                "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "glasshouse"},
            },
            "spec": {"shareProcessNamespace": name in PAUSABLE, "containers": [{"name": name}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"ready": True, "restartCount": 0, "containerID": f"containerd://{self.state['made']}"}
                ],
            },
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
    elif verb == "attach":
        cluster.save()
        attach(cluster, rest)
    elif verb == "kustomize" and rest == [str(ROOT / "deploy/kubernetes/overlays/load")]:
        print("---\n".join((LOAD / name).read_text() for name in ("load.yaml", "network.yaml")))
    elif verb == "create" and rest in (["--filename", "-"], ["--filename", "-", "--output", "json"]):
        create(cluster, json.loads(sys.stdin.read()), answers=len(rest) > 2)
    elif verb == "get":
        print(get(cluster, rest))
    elif verb == "delete" and rest[0] == "pod":
        delete(cluster, rest[1:])
    elif verb == "delete" and rest[0] == ",".join(OF_LOAD):
        delete_load(cluster, rest[1:])
    elif verb == "scale" and len(rest) == 2 and (count := re.fullmatch(r"--replicas=(\d+)", rest[1])):
        cluster.find(rest[0])["spec"]["replicas"] = int(count[1])
    elif verb == "annotate":
        annotate(cluster, rest)
    elif verb == "apply" and rest == APPLY:
        apply(cluster, json.loads(sys.stdin.read()))
    elif verb == "exec" and rest[1:] == ["--container", "redis", "--", "redis-cli", "FLUSHALL"]:
        cluster.find(f"pod/{rest[0]}")
        print("OK")
    elif verb == "exec" and rest[1:2] == ["--container"] and rest[3:6] == ["--", "sh", "-c"]:
        signal_all(cluster, rest[0], rest[2], rest[6])
    elif verb == "exec" and rest[:1] == ["--stdin"] and rest[4:7] == ["--", "sh", "-c"]:
        cluster.save()
        stutter(cluster, rest[1], rest[3], rest[7])
        return
    elif verb == "exec" and rest[1:5] == ["--container", "prometheus", "--", "cat"]:
        cluster.find(f"pod/{rest[0].removeprefix('pod/')}")
        print("".join(cluster.state["files"].get(path, "") for path in rest[5:]), end="")
    else:
        fail(f"error: unknown command or flag: {' '.join(call)}")
    cluster.save()


def get(cluster: Cluster, rest: list[str]) -> str:
    """`get`, in the forms that the lab uses."""
    if rest == [
        *("deployments,statefulsets,daemonsets,pods", "--selector", "app.kubernetes.io/part-of=glasshouse"),
        *("--output", "json"),
    ]:
        kinds = ("Deployment", "StatefulSet", "DaemonSet", "Pod")
        return json.dumps({"items": [each for each in cluster.state["objects"] if each["kind"] in kinds]})
    if rest == ["deployment", "desk", "--output", "json"]:
        return json.dumps(cluster.find("deployment/desk"))
    if rest[:2] == ["pods", "--selector"] and rest[2].startswith(f"{RUN}=") and rest[3:] == ["--output", "json"]:
        return json.dumps({"items": cluster.of_run("Pod", rest[2].partition("=")[2])})
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


def create(cluster: Cluster, made: dict[str, Any], answers: bool) -> None:
    """`create`, for the objects of a load; their owners must exist."""
    items = made["items"] if made["kind"] == "List" else [made]
    for each in items:
        metadata = each["metadata"]
        if each["kind"] not in OF_LOAD.values() or "namespace" in metadata or RUN not in metadata["labels"]:
            fail(f"error: not of a load: {each}")
        if made["kind"] == "List" and "ownerReferences" not in metadata:
            fail(f"error: without an owner it stays where the command is killed: {metadata['name']}")
        for owner in metadata.get("ownerReferences", []):
            if cluster.find(f"{owner['kind'].lower()}/{owner['name']}")["metadata"]["uid"] != owner["uid"]:
                fail(f"error: no such owner: {owner}")
        if any(each["metadata"]["name"] == metadata["name"] for each in cluster.objects(each["kind"])):
            fail(f'Error from server (AlreadyExists): "{metadata["name"]}" already exists')
        metadata["uid"] = f"uid-of-{metadata['name']}"
        cluster.state["objects"].append(each)
    if answers:
        print(json.dumps(made))


def delete_load(cluster: Cluster, rest: list[str]) -> None:
    """`delete`, of the objects of a load; the pods of a Job go with it."""
    if (
        rest[0] != "--selector"
        or not rest[1].startswith(f"{RUN}=")
        or rest[2:] != ["--cascade=foreground", "--wait=true"]
    ):
        fail(f"error: unknown delete: {' '.join(rest)}")
    for kind in (*OF_LOAD.values(), "Pod"):
        for each in cluster.of_run(kind, rest[1].partition("=")[2]):
            cluster.state["objects"].remove(each)


def attach(cluster: Cluster, rest: list[str]) -> None:
    """`attach` to the coordinator of a load: its process and its workers', as their pods say, on this machine."""
    pod = cluster.find(f"pod/{rest[0]}")
    if rest[1:] != ["--container", "load", "--stdin", "--quiet"] or pod["status"]["phase"] != "Running":
        fail(f"error: unknown attach: {' '.join(rest)}")
    run = pod["metadata"]["labels"][RUN]
    workers = [each for each in cluster.of_run("Pod", run) if each is not pod]
    (box,) = pod["spec"]["containers"]
    (service,) = cluster.of_run("Service", run)
    labels = pod["metadata"]["labels"].items()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    python, *module = box["command"]
    plan = json.loads(sys.stdin.buffer.readline())
    wanted = [
        (python, "python"),
        (module, ["-m", "lab.load.generator"]),
        ((box["stdin"], box["stdinOnce"]), (True, True)),
        (box["args"], ["--workers", str(len(workers)), "--bind", "0.0.0.0", "--port", "8089"]),
        (service["spec"]["selector"].items() <= labels, True),
        (plan["host"], "http://gateway:5000"),
    ]
    if wrong := [(is_so, ought) for is_so, ought in wanted if is_so != ought]:
        fail(f"error: {wrong}")
    master = ["--workers", str(len(workers)), "--bind", "127.0.0.1", "--port", port]
    processes = [subprocess.Popen([sys.executable, *module, *master], cwd=ROOT, stdin=subprocess.PIPE)]
    for each in workers:
        (box,) = each["spec"]["containers"]
        if (box["command"], box["args"]) != (
            ["python", *module],
            ["--master", service["metadata"]["name"], "--port", "8089"],
        ):
            fail(f"error: {box}")
        joins = [sys.executable, *module, "--master", "127.0.0.1", "--port", port]
        processes.append(subprocess.Popen(joins, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    sys.exit(_carry(cluster, plan, processes))


def _carry(cluster: Cluster, plan: dict[str, Any], processes: list["subprocess.Popen[bytes]"]) -> int:
    """Gives the coordinator its plan, closes its input with ours, ends with it, and like kubectl with status 0."""
    lead = processes[0]
    assert lead.stdin
    plan["host"] = f"http://127.0.0.1:{cluster.state['ports']['gateway']}"
    lead.stdin.write(json.dumps(plan).encode() + b"\n")
    lead.stdin.flush()

    def close() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            continue
        lead.stdin.close()  # type: ignore[union-attr]

    threading.Thread(target=close, daemon=True).start()
    lead.wait()
    for each in processes[1:]:
        each.kill()
        each.wait()
    return 0


def signal_all(cluster: Cluster, pod: str, container: str, script: str) -> None:
    """`exec` of a shell that stops or continues all processes of a pod's container."""
    found = cluster.find(f"pod/{pod}")
    what = KILL.fullmatch(script)
    if not what or container != found["metadata"]["labels"]["app.kubernetes.io/name"]:
        fail(f"error: unknown exec: {pod} {container} {script}")
    if (left := cluster.state.get("failing", 0)) > 0:
        cluster.state["failing"] = left - 1
        cluster.save()
        fail("error: Internal error occurred: container is not running")
    stopped = set(cluster.state.get("stopped", []))
    cluster.state["stopped"] = sorted(stopped | {pod} if what[1] == "STOP" else stopped - {pod})


def stutter(cluster: Cluster, pod: str, container: str, script: str) -> None:
    """`exec` of a loop in a pod's container that runs until standard input is closed."""
    found = cluster.find(f"pod/{pod}")
    if container != found["metadata"]["labels"]["app.kubernetes.io/name"] or not KILL.search(script):
        fail(f"error: unknown exec: {pod} {container} {script}")
    if cluster.state.get("failing"):
        fail("error: Internal error occurred: container is not running")
    while os.read(sys.stdin.fileno(), 4096):
        continue


def annotate(cluster: Cluster, rest: list[str]) -> None:
    """`annotate RESOURCE KEY=VALUE --overwrite`, and `annotate pod NAME KEY-`."""
    if rest[0] == "pod":
        rest = [f"pod/{rest[1]}", *rest[2:]]
    if len(rest) == 2 and rest[1].endswith("-"):
        cluster.find(rest[0])["metadata"].get("annotations", {}).pop(rest[1][:-1], None)
        return
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
