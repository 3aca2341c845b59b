"""For a Prometheus operator: the same rules, limited to this namespace, and monitors that find their pods."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.manifests.operator import LEFT_OUT, scoped
from lab.promql import selectors
from lab.settings import ROOT
from tests.kubernetes.conftest import rendered
from tests.kubernetes.manifests import NAME, Object, container, environment, of_kind, pods

FIELDS = {
    "PrometheusRule": {"groups"},
    "PodMonitor": {"selector", "podMetricsEndpoints"},
    "ServiceMonitor": {"selector", "endpoints"},
    "Probe": {"interval", "scrapeTimeout", "prober", "targets"},
}
ENDPOINT = {"port", "interval", "scrapeTimeout", "relabelings"}
# series of the whole cluster or of Prometheus itself
ELSEWHERE = ("node_", "prometheus_rule_", "prometheus_target_scrape_pool_", "process_start_time_seconds")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")


@pytest.fixture(name="objects")
def operator() -> list[Object]:
    return rendered("operator")


def rule_files(objects: list[Object], folder: Path) -> list[str]:
    """The rules of each object as the operator writes them for its Prometheus, one file per object."""
    for name, each in of_kind(objects, "PrometheusRule").items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump(each["spec"]))
    return [f"{name}.yml" for name in of_kind(objects, "PrometheusRule")]


def groups(objects: list[Object]) -> list[dict[str, Any]]:
    return [group for each in of_kind(objects, "PrometheusRule").values() for group in each["spec"]["groups"]]


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_custom_resources_use_only_fields_of_their_schemas(objects: list[Object]) -> None:
    found = [each for each in objects if each["apiVersion"] == "monitoring.coreos.com/v1"]
    assert {each["kind"] for each in found} == set(FIELDS)
    for each in found:
        assert set(each["spec"]) == FIELDS[each["kind"]], each["metadata"]["name"]
        assert each["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        for endpoint in each["spec"].get("podMetricsEndpoints", []) + each["spec"].get("endpoints", []):
            assert set(endpoint) == ENDPOINT


@needs_promtool
def test_prometheus_accepts_the_rules(objects: list[Object], tmp_path: Path) -> None:
    promtool("check", "rules", *(str(tmp_path / name) for name in rule_files(objects, tmp_path)))


def test_every_alert_exists_except_those_of_the_operators_own_stack(objects: list[Object]) -> None:
    ours = {rule["alert"] for group in groups(objects) for rule in group["rules"] if "alert" in rule}
    theirs = {
        rule["alert"]
        for path in ROOT.glob("alerts/rules/*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert ours | LEFT_OUT == theirs
    assert not ours & LEFT_OUT


def test_every_series_not_recorded_here_is_selected_by_namespace(objects: list[Object]) -> None:
    for group in groups(objects):
        for rule in group["rules"]:
            for each in selectors(rule["expr"]):
                if ":" in each.name or each.name.startswith(("alert_", *ELSEWHERE)):
                    continue
                assert 'namespace="glasshouse"' in each.labels, rule


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("sum(up)", 'sum(up{namespace="glasshouse"})'),
        ('up{job!~"up|redis"} == 0', 'up{namespace="glasshouse", job!~"up|redis"} == 0'),
        ("rate(redis_up{}[1m])", 'rate(redis_up{namespace="glasshouse"}[1m])'),
        ("redis_up and up", 'redis_up{namespace="glasshouse"} and up{namespace="glasshouse"}'),
        ("http:requests:rate1m > 0", "http:requests:rate1m > 0"),
        ("node_memory_MemTotal_bytes", "node_memory_MemTotal_bytes"),
        (
            'prometheus_target_scrape_pool_targets{scrape_job!~"todo"}',
            'prometheus_target_scrape_pool_targets{scrape_job=~".+/glasshouse/.+", scrape_job!~"todo"}',
        ),
    ],
)
def test_an_expression_is_narrowed_to_the_namespace(promql: str, expected: str) -> None:
    assert scoped(promql) == expected


@needs_promtool
def test_a_target_outside_the_stack_that_is_down_fires_no_alert(objects: list[Object], tmp_path: Path) -> None:
    def case(*namespaces: str, firing: list[dict[str, Any]]) -> dict[str, Any]:
        found = "prometheus_target_scrape_pool_targets"
        series = [f'up{{job="gateway", namespace="{namespace}"}}' for namespace in namespaces]
        series += [f'{found}{{scrape_job="serviceMonitor/{namespace}/postgres/0"}}' for namespace in namespaces]
        return {
            "interval": "5s",
            "input_series": [{"series": each, "values": "0x60"} for each in series],
            "promql_expr_test": [
                {
                    "expr": 'count(ALERTS{alertname="TargetDown", alertstate="firing"})',
                    "eval_time": "2m",
                    "exp_samples": firing,
                }
            ],
        }

    cases = {
        "rule_files": rule_files(objects, tmp_path),
        "evaluation_interval": "5s",
        "tests": [
            # the one that is down, and the one that discovery does not find
            case("glasshouse", "neighbour", firing=[{"labels": "{}", "value": 2}]),
            case("neighbour", firing=[]),
        ],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(cases))
    promtool("test", "rules", str(tmp_path / "case.yml"))


def test_monitors_match_prometheus_jobs_and_select_their_pods(objects: list[Object]) -> None:
    there = {(each.name, port) for each in pods(objects) for port, _, _ in each.ports()}
    jobs = set()
    for kind, endpoints in (("PodMonitor", "podMetricsEndpoints"), ("ServiceMonitor", "endpoints")):
        for each in of_kind(objects, kind).values():
            part = each["spec"]["selector"]["matchLabels"][NAME]
            for endpoint in each["spec"][endpoints]:
                assert (part, endpoint["port"]) in there
                jobs |= {rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"}
    probe = of_kind(objects, "Probe")["redis"]["spec"]
    nodes = of_kind(objects, "StatefulSet")["redis"]["spec"]["replicas"]
    assert probe["targets"]["staticConfig"]["static"] == [f"redis://redis-{n + 1}.redis:6379" for n in range(nodes)]
    assert jobs | {"redis"} == {"todo", "gateway", "desk", "postgres", "redis"}


def test_desk_queries_the_operators_alertmanager_and_its_policy_allows_it(objects: list[Object]) -> None:
    url = environment(objects, container(objects, "desk", "desk"))["ALERTMANAGER_URL"]
    assert url == "http://kube-prometheus-stack-alertmanager.monitoring.svc:9093"
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {NAME: "alertmanager"}},
    }
    assert {"to": [peer], "ports": [{"port": 9093}]} in of_kind(objects, "NetworkPolicy")["desk"]["spec"]["egress"]


def test_dashboards_have_the_label_that_grafanas_sidecar_watches(objects: list[Object]) -> None:
    found = {
        name: each
        for name, each in of_kind(objects, "ConfigMap").items()
        if "grafana_dashboard" in each["metadata"]["labels"]
    }
    assert {f"dashboard-{path.stem}" for path in ROOT.glob("observability/grafana/dashboards/*.json")} == set(found)
    assert all(each["metadata"]["annotations"]["grafana_folder"] == "Glasshouse" for each in found.values())
