"""The network policies allow the connections that the components need, and no others."""

from collections.abc import Iterator

import pytest

from tests.kubernetes.conftest import rendered
from tests.kubernetes.manifests import Object, Pods, of_kind, pods

Flow = tuple[str, str, int]
SERVING: set[Flow] = {
    ("gateway", "todo", 8000),
    ("todo", "redis", 6379),
    ("todo", "postgres", 5432),
    ("redis", "redis", 6379),
    ("redis", "redis", 16379),
    ("redis-cluster", "redis", 6379),
}
WATCHING: set[Flow] = {
    ("redis-exporter", "redis", 6379),
    ("postgres-exporter", "postgres", 5432),
    ("prometheus", "prometheus", 9090),
    ("prometheus", "todo", 9464),
    ("prometheus", "gateway", 9113),
    ("prometheus", "gateway", 8060),
    ("prometheus", "redis-exporter", 9121),
    ("prometheus", "postgres-exporter", 9187),
    ("prometheus", "host-exporter", 9100),
    ("prometheus", "alertmanager", 9093),
    ("prometheus", "desk", 8060),
    ("prometheus", "grafana", 3000),
    ("prometheus", "tempo", 3200),
    ("prometheus", "loki", 3100),
    ("todo", "tempo", 4318),
    ("todo", "loki", 3100),
    ("alertmanager", "alertmanager", 9094),
    ("alertmanager", "desk", 8060),
    ("desk", "alertmanager", 9093),
    ("grafana", "prometheus", 9090),
    ("grafana", "tempo", 3200),
    ("grafana", "loki", 3100),
    ("tempo", "prometheus", 9090),
}


TO_DATABASE: set[Flow] = {("todo", "postgres", 5432), ("postgres-exporter", "postgres", 5432)}
EXPECTED: dict[str, set[Flow]] = {
    "small": SERVING | WATCHING,
    "production": SERVING | WATCHING,
    "managed": (SERVING | WATCHING) - TO_DATABASE,
    "operator": SERVING | {("redis-exporter", "redis", 6379), ("postgres-exporter", "postgres", 5432)},
    "large": (SERVING | WATCHING | {("todo", "pooler", 6432), ("pooler", "postgres", 5432)})
    - {("todo", "postgres", 5432)},
    "load": SERVING | WATCHING | {("load-worker", "load", 8089), ("load-worker", "gateway", 5000)},
}
# the ports at which parts may connect to any address
API = {("prometheus", port) for port in ("443", "6443", "8443", "16443", "10250")}
OUTSIDE: dict[str, set[tuple[str, str]]] = {
    "small": API,
    "production": API,
    "managed": API | {("todo", "5432"), ("postgres-exporter", "5432")},
    "operator": set(),
    "large": API | {("tempo", "443"), ("loki", "443")},
    "load": API,
}


def flows(objects: list[Object]) -> Iterator[Flow]:
    """The connections (from part, to part, port) that the policies of both ends allow."""
    everything = pods(objects)
    for source in everything:
        for target in everything:
            for name, number, protocol in target.ports():
                if _allows(objects, "egress", source, target, name, number, protocol) and _allows(
                    objects, "ingress", target, source, name, number, protocol
                ):
                    yield source.name, target.name, number


def _allows(objects: list[Object], way: str, own: Pods, other: Pods, name: str, number: int, protocol: str) -> bool:
    policies = [
        policy["spec"]
        for policy in of_kind(objects, "NetworkPolicy").values()
        if way.title() in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], own)
    ]
    # without a policy, a pod may connect to everything
    return not policies or any(
        _has_peer(rule.get("from" if way == "ingress" else "to"), other)
        and _has_port(rule.get("ports"), name, number, protocol)
        for policy in policies
        for rule in policy.get(way, [])
    )


def _selects(selector: Object, each: Pods) -> bool:
    labels: dict[str, str] = selector.get("matchLabels", {})
    return labels.items() <= each.labels.items()


def _has_peer(peers: list[Object] | None, other: Pods) -> bool:
    return peers is None or any(
        "podSelector" in peer and "namespaceSelector" not in peer and _selects(peer["podSelector"], other)
        for peer in peers
    )


def _has_port(ports: list[Object] | None, name: str, number: int, protocol: str) -> bool:
    return ports is None or any(
        each["port"] in (name, number) and each.get("protocol", "TCP") == protocol for each in ports
    )


def open_ends(objects: list[Object], way: str) -> set[tuple[str, str]]:
    """Parts, and the ports at which anyone may reach them (ingress) or at which they may reach anyone (egress)."""
    return {
        (each.name, str(port["port"]))
        for policy in of_kind(objects, "NetworkPolicy").values()
        for rule in policy["spec"].get(way, [])
        if not rule or ("from" if way == "ingress" else "to") not in rule
        for each in pods(objects)
        if _selects(policy["spec"]["podSelector"], each)
        for port in (rule or {}).get("ports", [{"port": "any"}])
    }


def unfenced(objects: list[Object]) -> set[tuple[str, str]]:
    """Parts without a policy, which may therefore connect to everything."""
    return {
        (each.name, way)
        for each in pods(objects)
        for way in ("Ingress", "Egress")
        if not any(
            way in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], each)
            for policy in of_kind(objects, "NetworkPolicy").values()
        )
    }


def without(objects: list[Object], name: str) -> list[Object]:
    return [each for each in objects if (each["kind"], each["metadata"]["name"]) != ("NetworkPolicy", name)]


@pytest.mark.parametrize("overlay_name", EXPECTED)
def test_parts_can_connect_only_to_what_they_need(overlay_name: str) -> None:
    assert set(flows(rendered(overlay_name))) == EXPECTED[overlay_name]


def test_only_the_gateway_accepts_connections_from_outside(overlay: list[Object]) -> None:
    assert open_ends(overlay, "ingress") == {("gateway", "http")}


@pytest.mark.parametrize("overlay_name", OUTSIDE)
def test_only_few_parts_may_connect_outside_the_namespace(overlay_name: str) -> None:
    assert open_ends(rendered(overlay_name), "egress") == OUTSIDE[overlay_name]


def test_every_part_has_network_policies_in_both_directions(overlay: list[Object]) -> None:
    assert unfenced(overlay) == set()
    assert unfenced(without(overlay, "default-deny")) != set()


@pytest.mark.parametrize("name", ["todo", "redis", "prometheus", "gateway-scraped", "postgres-from-exporter"])
def test_a_missing_policy_is_detected(name: str) -> None:
    assert set(flows(without(rendered("small"), name))) != SERVING | WATCHING


def test_a_policy_that_allows_everything_is_detected(small: list[Object]) -> None:
    of_kind(small, "NetworkPolicy")["desk"]["spec"]["ingress"].append({})
    assert ("desk", "any") in open_ends(small, "ingress")
