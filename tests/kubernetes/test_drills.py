"""Every drill can be run on Kubernetes: its parts exist there, and its fault can be caused in their pods."""

import pytest

from lab.alerts.drills.definition import Cause, Drill, for_way, load_drills
from lab.stack.kubernetes import NUMBERED
from tests.kubernetes.manifests import Object, Pods, pods

DRILLS = {name: each for name, each in for_way(load_drills(), "kubernetes").items() if each.cause}


def obstacles(objects: list[Object], cause: Cause) -> list[str]:
    """Why a fault cannot be caused, by part."""
    found = []
    parts = dict(_parts(objects))
    for part in cause.parts:
        each = parts.get(part)
        if each is None:
            found.append(f"there is no {part}")
        elif cause.do in ("pause", "stutter") and not (
            each.spec.get("shareProcessNamespace") and len(each.containers) == 1
        ):
            found.append(f"{part} cannot be paused")
        elif cause.do == "stop" and (each.kind == "DaemonSet" or (_is_numbered(each) and each.kind == "StatefulSet")):
            found.append(f"{part} is started again")
    return found


def _parts(objects: list[Object]) -> list[tuple[str, Pods]]:
    return [
        (f"{each.name}-{number + 1}" if _is_numbered(each) else each.name, each)
        for each in pods(objects)
        for number in range(each.owner["spec"].get("replicas", 1) if _is_numbered(each) else 1)
    ]


def _is_numbered(each: Pods) -> bool:
    return each.name in NUMBERED


@pytest.mark.parametrize("name", sorted(DRILLS))
def test_the_fault_of_a_drill_can_be_caused(small: list[Object], name: str) -> None:
    cause = DRILLS[name].cause
    assert cause
    assert obstacles(small, cause) == []


@pytest.mark.parametrize(
    ("cause", "found"),
    [
        (Cause("pause", ["gateway", "redis-1"]), ["gateway cannot be paused"]),
        (Cause("stutter", ["redis-exporter"]), ["redis-exporter cannot be paused"]),
        (Cause("stop", ["redis-6", "todo-3", "postgres"]), ["redis-6 is started again"]),
        (Cause("kill", ["redis-7"]), ["there is no redis-7"]),
    ],
)
def test_a_fault_that_cannot_be_caused_is_detected(small: list[Object], cause: Cause, found: list[str]) -> None:
    assert obstacles(small, cause) == found


def test_a_drill_with_another_fault_on_kubernetes_is_unchanged_in_other_stacks() -> None:
    drills = {"A": Drill(Cause("stop", ["a"]), within="30s", may=["X"])}
    assert for_way(drills, "kubernetes") == for_way(drills, "docker") == drills
    varied = load_drills()["ReplicaRestarted"]
    assert for_way({"A": varied}, "native") == {"A": varied}
    (there,) = for_way({"A": varied}, "kubernetes").values()
    assert there.cause == Cause("pause", ["todo-2"])
    assert (varied.within, there.within, there.clears, there.may) == ("45s", "180s", varied.clears, varied.may)
