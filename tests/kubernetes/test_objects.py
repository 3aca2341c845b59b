"""Every object of every overlay complies with Kubernetes' schemas and our own rules; violations are found."""

import copy
import json
from collections.abc import Callable
from functools import cache

import kubernetes_validate.utils
import pytest

from lab.stack.load_jobs import objects_of_run
from testbed.fake_kubectl import OF_LOAD, RUN
from tests.kubernetes.conftest import OVERLAYS, rendered
from tests.kubernetes.manifests import KUBERNETES, NAME, Object, container, of_kind, render
from tests.kubernetes.rules import complaints

# the oldest supported version, and the newest with schemas
VERSIONS = ("1.31", kubernetes_validate.latest_version())


# the validator reads the schema again for each object
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def _broken(objects: list[Object], version: str) -> list[str]:
    found = []
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(f"{each['kind']}: {error}")
        except kubernetes_validate.ValidationError as error:
            found.append(f"{each['kind']}/{each['metadata']['name']}: {error.message}")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_by_the_kubernetes_schemas(version: str) -> None:
    # most are the same in every overlay
    each_once = {json.dumps(each): each for overlay in OVERLAYS for each in rendered(overlay) if not _is_custom(each)}
    assert _broken(list(each_once.values()), version) == []


def test_every_object_follows_our_own_rules(overlay: list[Object]) -> None:
    assert complaints(overlay) == []


def test_an_object_with_an_unknown_field_is_detected(small: list[Object]) -> None:
    of_kind(small, "Deployment")["todo"]["spec"]["replica"] = 3
    assert any("replica" in line for line in _broken(small, VERSIONS[-1]))


def _is_custom(each: Object) -> bool:
    return ".coreos.com/" in each["apiVersion"]


def _todo(objects: list[Object]) -> Object:
    return container(objects, "todo", "todo")


def _pod(objects: list[Object], kind: str, name: str) -> Object:
    spec: Object = of_kind(objects, kind)[name]["spec"]["template"]["spec"]
    return spec


def _drop(objects: list[Object], kind: str, name: str) -> None:
    objects.remove(of_kind(objects, kind)[name])


BREAKS: dict[str, Callable[[list[Object]], object]] = {
    "todo/todo: image glasshouse-todo has no fixed tag": lambda o: _todo(o).update(image="glasshouse-todo"),
    "todo/todo: image registry:5000/todo has no fixed tag": lambda o: _todo(o).update(image="registry:5000/todo"),
    "todo/todo: no limits of memory": lambda o: _todo(o)["resources"]["limits"].pop("memory"),
    "gateway/render: no requests of cpu": lambda o: container(o, "gateway", "render")["resources"].pop("requests"),
    "todo/todo: no readinessProbe": lambda o: _todo(o).pop("readinessProbe"),
    "todo/todo: is restarted while": lambda o: _todo(o)["startupProbe"].update(failureThreshold=45),
    "todo/todo: livenessProbe at port web, which it does not have": lambda o: _todo(o)["livenessProbe"][
        "httpGet"
    ].update(port="web"),
    "todo: may run as root": lambda o: _pod(o, "Deployment", "todo")["securityContext"].pop("runAsNonRoot"),
    "redis: no seccomp profile": lambda o: _pod(o, "StatefulSet", "redis")["securityContext"].pop("seccompProfile"),
    "redis: has a service account's token": lambda o: _pod(o, "StatefulSet", "redis").pop(
        "automountServiceAccountToken"
    ),
    "todo/todo: keeps capabilities": lambda o: _todo(o)["securityContext"].pop("capabilities"),
    "todo/todo: may gain privileges": lambda o: _todo(o)["securityContext"].pop("allowPrivilegeEscalation"),
    "todo/todo: can write to its root file system": lambda o: _todo(o)["securityContext"].pop("readOnlyRootFilesystem"),
    "gateway: its containers can signal": lambda o: _pod(o, "Deployment", "gateway").update(shareProcessNamespace=True),
    "PodDisruptionBudget/redis: a broken pod": lambda o: of_kind(o, "PodDisruptionBudget")["redis"]["spec"].pop(
        "unhealthyPodEvictionPolicy"
    ),
    "NetworkPolicy/todo: ingress has a rule twice": lambda o: of_kind(o, "NetworkPolicy")["todo"]["spec"][
        "ingress"
    ].append(copy.deepcopy(of_kind(o, "NetworkPolicy")["todo"]["spec"]["ingress"][0])),
    "todo: no PodDisruptionBudget": lambda o: _drop(o, "PodDisruptionBudget", "todo"),
    "alertmanager: its pods may all be on one machine": lambda o: _pod(o, "StatefulSet", "alertmanager").pop(
        "topologySpreadConstraints"
    ),
    "redis: its pods may all be on one machine": lambda o: _pod(o, "StatefulSet", "redis").pop("affinity"),
    "grafana: volume x is a hostPath": lambda o: _pod(o, "Deployment", "grafana")["volumes"].append(
        {"name": "x", "hostPath": {"path": "/"}}
    ),
    "Service/todo: is part of nothing": lambda o: of_kind(o, "Service")["todo"]["metadata"].pop("labels"),
    "todo/todo: PGPASSWORD comes from Secret/nobody/password, which is not there": lambda o: _todo(o)["env"][1][
        "valueFrom"
    ]["secretKeyRef"].update(name="nobody"),
    "desk: no claim desk": lambda o: _drop(o, "PersistentVolumeClaim", "desk"),
    "prometheus: no service account prometheus": lambda o: _drop(o, "ServiceAccount", "prometheus"),
    "RoleBinding/prometheus: no role prometheus": lambda o: _drop(o, "Role", "prometheus"),
    "redis: no service redis": lambda o: _drop(o, "Service", "redis"),
    "prometheus: volume rules is ConfigMap/alert-rules, which is not there": lambda o: _drop(
        o, "ConfigMap", "alert-rules"
    ),
    "Service/gateway: finds no pods": lambda o: of_kind(o, "Service")["gateway"]["spec"].update(
        selector={"app.kubernetes.io/name": "gate"}
    ),
    "Service/todo: todo has no port web": lambda o: of_kind(o, "Service")["todo"]["spec"]["ports"][0].update(
        targetPort="web"
    ),
    "todo: its selector does not find its own pods": lambda o: of_kind(o, "Deployment")["todo"]["spec"].update(
        selector={"matchLabels": {"app": "todo"}}
    ),
    "PodDisruptionBudget/redis: finds no pods": lambda o: of_kind(o, "PodDisruptionBudget")["redis"]["spec"].update(
        selector={"matchLabels": {"app": "redis"}}
    ),
    "NetworkPolicy/todo: redis has no port 6380": lambda o: of_kind(o, "NetworkPolicy")["todo"]["spec"]["egress"][
        0
    ].update(ports=[{"port": 6380}]),
    "NetworkPolicy/todo: egress allows everything": lambda o: of_kind(o, "NetworkPolicy")["todo"]["spec"][
        "egress"
    ].append(None),
    "redis-cluster/redis-cluster: redis-7.redis:6379 leads to no service": lambda o: container(
        o, "redis-cluster", "redis-cluster"
    )["env"][0].update(value="redis-7.redis:6379"),
    "gateway/exporter: gateway has no port 8081": lambda o: container(o, "gateway", "exporter").update(
        args=["--nginx.scrape-uri=http://gateway:8081/stub_status"]
    ),
    "ConfigMap/dashboard-overview: ": lambda o: of_kind(o, "ConfigMap")["dashboard-overview"]["data"].update(
        x="x" * 262144
    ),
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda o: _desk_without(o, "ALERTMANAGER_URL"), "desk/desk: ALERTMANAGER_URL is not set"),
        (
            lambda o: _set(o, "ALERTMANAGER_URL", "http://alertmanager:9093"),
            "desk/desk: alertmanager:9093 leads to no service",
        ),
        (lambda o: _set(o, "ALERTMANAGER_URL", "http://prometheus/"), "desk/desk: prometheus:80 leads to no service"),
        (
            lambda o: of_kind(o, "Probe")["redis"]["spec"]["prober"].update(url="exporter.glasshouse.svc:9121"),
            "Probe/redis: exporter.glasshouse.svc:9121 leads to no service",
        ),
    ],
)
def test_a_setting_that_refers_to_a_part_missing_from_the_overlay_is_detected(
    change: Callable[[list[Object]], object], complaint: str
) -> None:
    objects = copy.deepcopy(rendered("operator"))
    change(objects)
    assert any(line.startswith(complaint) for line in complaints(objects)), complaints(objects)


def _desk_without(objects: list[Object], name: str) -> None:
    box = container(objects, "desk", "desk")
    box["env"] = [each for each in box["env"] if each["name"] != name]


def _set(objects: list[Object], name: str, value: str) -> None:
    _desk_without(objects, name)
    container(objects, "desk", "desk")["env"].append({"name": name, "value": value})


def test_the_objects_of_two_loads_keep_the_rules_and_do_not_conflict(small: list[Object]) -> None:
    overlay = render(KUBERNETES / "overlays/load")
    lab = _pod(small, "Deployment", "desk")
    one, other = (objects_of_run(copy.deepcopy(overlay), lab, run, 3, 60) for run in ("aaaa", "bbbb"))
    names = [(each["kind"], each["metadata"]["name"]) for each in one + other]
    assert len(names) == len(set(names)) == 2 * len(overlay)
    assert {each["kind"] for each in one} <= set(OF_LOAD.values())
    in_namespace = [{**each, "metadata": {**each["metadata"], "namespace": "glasshouse"}} for each in one + other]
    assert complaints(small + in_namespace) == []
    for version in VERSIONS:
        assert _broken(in_namespace, version) == []
    found = {each["metadata"]["name"]: each["spec"]["selector"] for each in one if each["kind"] == "Service"}
    assert found == {"load-aaaa": {NAME: "load", RUN: "aaaa"}}


@pytest.mark.parametrize("complaint", BREAKS)
def test_an_invalid_object_is_detected(small: list[Object], complaint: str) -> None:
    BREAKS[complaint](small)
    assert any(line.startswith(complaint) for line in complaints(small)), complaints(small)
