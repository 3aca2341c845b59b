"""A fake Kubernetes cluster, whose state is a file, and whose kubectl is `fake_kubectl`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from lab.stack.kubernetes import RULES
from testbed import fake_kubectl

WORKLOADS = {"todo": ("Deployment", 3), "gateway": ("Deployment", 2), "redis": ("StatefulSet", 6)}
WORKLOADS |= {"postgres": ("StatefulSet", 1), "prometheus": ("StatefulSet", 1), "desk": ("Deployment", 1)}
PORTS = {"prometheus": 22001, "alertmanager": 22002, "desk": 22003}
LAB_IMAGE = "registry.example.com/glasshouse-lab@sha256:0"


class FakeCluster:
    """The small overlay's workloads, in a folder. `path` is the PATH on which its kubectl is found first."""

    def __init__(self, folder: Path, **ports: int) -> None:
        self._file = folder / "state.json"
        program = folder / "kubectl"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {fake_kubectl.__file__} {self._file} "$@"\n')
        program.chmod(0o755)
        self.path = f"{folder}:{os.environ['PATH']}"
        lab = {"spec": {"containers": [{"name": "desk", "image": LAB_IMAGE}]}}
        objects = [
            {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": count, "template": lab}}
            for name, (kind, count) in WORKLOADS.items()
        ]
        objects += [{"kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}} for name in RULES]
        self._write({"objects": objects, "ports": PORTS | ports, "files": {}, "calls": []})
        fake_kubectl.Cluster(self._file).save()

    @property
    def state(self) -> dict[str, Any]:
        """The state of the fake cluster."""
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found

    def set(self, **values: Any) -> None:
        """Changes the state."""
        self._write(self.state | values)

    def pods(self, of: str) -> list[str]:
        """The names of a workload's pods."""
        names = [each["metadata"]["name"] for each in self.state["objects"] if each["kind"] == "Pod"]
        return sorted(name for name in names if name.startswith(of))

    def restart_container(self, pod: str) -> None:
        """The pod gets another container, and its processes run."""
        state = self.state
        (found,) = (each for each in state["objects"] if each["metadata"]["name"] == pod and each["kind"] == "Pod")
        (container,) = found["status"]["containerStatuses"]
        container["containerID"] += "-again"
        container["restartCount"] += 1
        state["stopped"] = [each for each in state.get("stopped", []) if each != pod]
        self._write(state)

    def calls(self, verb: str) -> list[str]:
        """The calls of kubectl that start with this text."""
        return [call for call in self.state["calls"] if call.startswith(verb)]

    def of_loads(self) -> list[str]:
        """Kind and name of each object of a load."""
        found = [each for each in self.state["objects"] if fake_kubectl.RUN in each["metadata"].get("labels", {})]
        return sorted(f"{each['kind']}/{each['metadata']['name']}" for each in found)

    def _write(self, state: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(state))
