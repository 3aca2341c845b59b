"""Scaling and rolling updates without failed requests, and settings that depend on each other."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.settings import ROOT
from service.telemetry.metrics import METRICS
from tests.kubernetes.conftest import OVERLAYS, rendered
from tests.kubernetes.manifests import KUBERNETES, NAME, Object, config_map, container, environment, of_kind, pods

# the seconds for which the gateway may send requests to an address that is no longer in DNS
FORGETS_AFTER = 5
STOPS_WITHIN = 15


def test_a_stopping_replica_serves_until_the_gateway_has_forgotten_its_address(small: list[Object]) -> None:
    assert f"valid={FORGETS_AFTER}s" in (KUBERNETES / "base/render.sh").read_text()
    for each in pods(small):
        if each.workload in ("todo", "gateway"):
            waits = each.containers[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert waits > FORGETS_AFTER
            assert each.spec["terminationGracePeriodSeconds"] >= waits + STOPS_WITHIN


def test_updates_start_a_new_pod_before_they_stop_an_old_one(small: list[Object]) -> None:
    for name in ("todo", "gateway"):
        update = of_kind(small, "Deployment")[name]["spec"]["strategy"]["rollingUpdate"]
        assert (update["maxUnavailable"], update["maxSurge"]) == (0, 1)


def test_three_alertmanagers_form_a_cluster(like_compose: list[Object]) -> None:
    each = of_kind(like_compose, "StatefulSet")["alertmanager"]
    count = each["spec"]["replicas"]
    arguments = each["spec"]["template"]["spec"]["containers"][0]["args"]
    peers = [text.partition("=")[2] for text in arguments if text.startswith("--cluster.peer=")]
    assert count == 3
    assert peers == [f"alertmanager-{n}.alertmanager:9094" for n in range(count)]
    config = yaml.safe_load(config_map(like_compose, "prometheus")["prometheus.yml"])
    (found,) = config["alerting"]["alertmanagers"]
    assert found["kubernetes_sd_configs"][0]["selectors"] == [{"role": "pod", "label": f"{NAME}=alertmanager"}]


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_overlays_for_a_lab_have_a_secret_in_the_repository(name: str) -> None:
    secrets = set(of_kind(rendered(name), "Secret"))
    assert secrets == ({"postgres"} if name in ("small", "operator", "load") else set())


def test_replicas_are_scaled_by_cpu_and_by_a_metric_of_each_replica() -> None:
    objects = rendered("large")
    (resource, in_flight) = of_kind(objects, "HorizontalPodAutoscaler")["todo"]["spec"]["metrics"]
    assert resource["resource"]["name"] == "cpu"
    assert "cpu" in container(objects, "todo", "todo")["resources"]["requests"]
    metric = in_flight["pods"]["metric"]["name"]
    assert metric in {each.name for each in METRICS}
    values = yaml.safe_load((KUBERNETES / "components/scale/autoscale/adapter.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f'{metric}{{job="todo"')
    # the labels by which the adapter finds pods are those that Prometheus adds to a replica's targets
    config = yaml.safe_load(config_map(objects, "prometheus")["prometheus.yml"])
    (todo,) = (job for job in config["scrape_configs"] if job["job_name"] == "todo")
    added = {each.get("target_label") for each in todo["relabel_configs"]}
    assert set(rule["resources"]["overrides"]) <= added


@pytest.mark.parametrize(("shard", "shards"), [("0", "1"), ("2", "3")])
def test_a_shard_of_prometheus_has_its_share_of_the_replicas(tmp_path: Path, shard: str, shards: str) -> None:
    objects = rendered("large")
    box = container(objects, "prometheus", "shard")
    (tmp_path / "prometheus.yml").write_text(config_map(objects, "prometheus")["prometheus.yml"])
    script = box["command"][2].replace("/source", str(tmp_path)).replace("/sharded/", f"{tmp_path}/sharded-")
    subprocess.run(["sh", "-c", script], check=True, env={**os.environ, "SHARD": shard, "SHARDS": shards})
    config = yaml.safe_load((tmp_path / "sharded-prometheus.yml").read_text())
    rules = [rule for job in config["scrape_configs"] for rule in job.get("relabel_configs", [])]
    (share,) = (rule for rule in rules if rule.get("action") == "hashmod")
    (kept,) = (rule for rule in rules if rule.get("source_labels") == ["__tmp_shard"])
    assert share["modulus"] == int(shards)
    assert str(kept["regex"]) == shard
    assert [write["url"] for write in config["remote_write"]] == ["http://metrics-store:8080/api/v1/push"]


def test_script_and_prometheus_have_the_nodes_of_additional_shards() -> None:
    objects = rendered("large")
    count = of_kind(objects, "StatefulSet")["redis"]["spec"]["replicas"]
    nodes = [f"redis-{n + 1}.redis:6379" for n in range(count)]
    assert environment(objects, container(objects, "redis-cluster", "redis-cluster"))["NODES"].split() == nodes
    config = yaml.safe_load(config_map(objects, "prometheus")["prometheus.yml"])
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "redis")
    assert [target for each in job["static_configs"] for target in each["targets"]] == nodes


def test_with_a_pooler_the_service_has_the_poolers_setting() -> None:
    settings = environment(rendered("large"), container(rendered("large"), "todo", "todo"))
    assert settings["DATABASE_POOLER"] == "transaction"
    assert "@pooler:6432/" in settings["DATABASE_URL"]


def test_only_one_metric_names_the_replica() -> None:
    labelled = {each.name for each in METRICS if "replica" in each.labels}
    assert labelled == {"service_info"}
    recorded = {
        rule["record"]
        for path in ROOT.glob("observability/prometheus/rules/*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if rule["record"].startswith("replica:")
    }
    assert len(recorded) == 7
