"""Renders an overlay with kubectl, and finds objects in it."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.settings import ROOT

Object = dict[str, Any]
KUBERNETES = ROOT / "deploy/kubernetes"
NAME = "app.kubernetes.io/name"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def kubectl() -> list[str] | None:
    """The command that renders: the kubectl that lab/stack/kubectl.sh downloaded, or the machine's own."""
    own = ROOT / ".stack/bin/kubectl"
    if own.exists():
        return [str(own), "kustomize"]
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    if found := shutil.which("kustomize"):
        return [found, "build"]
    return None


def render(folder: Path) -> list[Object]:
    """The objects that `kubectl apply -k` would send; only options that `kubectl apply` has as well are used."""
    command = kubectl()
    assert command
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]


@dataclass(frozen=True)
class Pods:
    """The pods of one workload. `name` is the part's name, from its label."""

    kind: str
    workload: str
    template: Object
    owner: Object

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.template["metadata"].get("labels", {})
        return labels

    @property
    def name(self) -> str:
        return self.labels.get(NAME, "")

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Object]:
        containers: list[Object] = self.spec["containers"]
        return containers

    @property
    def all_containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.containers]

    def ports(self) -> Iterator[tuple[str, int, str]]:
        """Name, number and protocol of each port."""
        for container in self.containers:
            for port in container.get("ports", []):
                yield port["name"], port["containerPort"], port.get("protocol", "TCP")


def pods(objects: list[Object]) -> list[Pods]:
    return [
        Pods(each["kind"], each["metadata"]["name"], each["spec"]["template"], each)
        for each in objects
        if each["kind"] in WORKLOADS
    ]


def container(objects: list[Object], workload: str, name: str) -> Object:
    found = [
        box for each in pods(objects) if each.workload == workload for box in each.all_containers if box["name"] == name
    ]
    assert len(found) == 1, (workload, name)
    return found[0]


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def config_map(objects: list[Object], name: str) -> dict[str, str]:
    """The data of the ConfigMap with this name, without the hash that Kustomize appends."""
    found = [
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap"
        and (each["metadata"]["name"] == name or _without_hash(each["metadata"]["name"]) == name)
    ]
    assert len(found) == 1, name
    data: dict[str, str] = found[0]
    return data


def _without_hash(name: str) -> str:
    stem, _, end = name.rpartition("-")
    return stem if len(end) == 10 else name


def environment(objects: list[Object], box: Object) -> dict[str, str]:
    """The plain environment variables of a container, its own and those from ConfigMaps."""
    found: dict[str, str] = {}
    for source in box.get("envFrom", []):
        found |= of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {each["name"]: each["value"] for each in box.get("env", []) if "value" in each}


def mounted(objects: list[Object], each: Pods, box: Object) -> dict[str, str]:
    """The text of every file that is mounted into a container from a ConfigMap, by its path there."""
    maps = of_kind(objects, "ConfigMap")
    files: dict[str, str] = {}
    volumes = {volume["name"]: volume for volume in each.spec.get("volumes", [])}
    for mount in box.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        sources = [volume["configMap"]] if "configMap" in volume else []
        sources += [part["configMap"] for part in volume.get("projected", {}).get("sources", []) if "configMap" in part]
        for source in sources:
            data = maps[source["name"]]["data"]
            paths = {item["key"]: item["path"] for item in source.get("items", [])} or {key: key for key in data}
            files |= {f"{mount['mountPath']}/{path}": data[key] for key, path in paths.items()}
    return files
