"""Compose and Kubernetes have equal images, sizes, settings, rules, dashboards and configuration."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.manifests.files import generated
from lab.manifests.prometheus import PODS
from lab.settings import ROOT
from tests.kubernetes.manifests import Object, config_map, container, environment, mounted, of_kind, pods

# workload and container, and the corresponding service of compose.yaml
SAME = {
    ("todo", "todo"): "todo",
    ("gateway", "gateway"): "gateway",
    ("gateway", "exporter"): "gateway-exporter",
    ("gateway", "counter"): "desk",
    ("redis", "redis"): "redis-1",
    ("redis-cluster", "redis-cluster"): "redis-cluster",
    ("postgres", "postgres"): "postgres",
    ("prometheus", "prometheus"): "prometheus",
    ("alertmanager", "alertmanager"): "alertmanager",
    ("redis-exporter", "redis-exporter"): "redis-exporter",
    ("postgres-exporter", "postgres-exporter"): "postgres-exporter",
    ("host-exporter", "host-exporter"): "host-exporter",
    ("desk", "desk"): "desk",
    ("grafana", "grafana"): "grafana",
    ("tempo", "tempo"): "tempo",
    ("loki", "loki"): "loki",
}
# the kubelets replace the process exporter, and fsGroup the service that sets the volume's owner; the load runs only on
# demand
ONLY_COMPOSE = {"process-exporter", "load", "load-worker", "gateway-volume", *(f"redis-{n}" for n in range(2, 7))}
# settings whose value must differ, because the parts have other names; and settings that only Kubernetes has
OTHER_SETTINGS = {"REDIS_URL", "GATEWAY_REQUEST_LOG", "NODE", "NODES", "DESK_DATABASE", "REPLICA", "WORKERS"}
# the request counter beside a gateway has no page with links, and receives no alerts
UNUSED = {("gateway", "counter"): {"DASHBOARDS_URL", "ALERTMANAGER_URL"}}
BY_SECRET = {"PGPASSWORD", "POSTGRES_PASSWORD", "DATA_SOURCE_PASS"}


class AsWritten(yaml.SafeLoader):
    """Environment variables with all values as strings, and with anchors merged."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012 (PyYAML's)


def compose() -> dict[str, Any]:
    """compose.yaml with the defaults of its variables."""
    text = (ROOT / "compose.yaml").read_text()
    inner = re.compile(r"\$\{[A-Z_]+(?::?-(?P<default>[^${}]*)|:\+[^${}]*)?\}")
    while inner.search(text):
        text = inner.sub(lambda found: found["default"] or "", text)
    services: dict[str, Any] = yaml.load(text, Loader=AsWritten)["services"]
    return services


COMPOSE = compose()


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", size).groups()  # type: ignore[union-attr]
    return int(number) << {"": 0, "Mi": 20, "M": 20, "Gi": 30, "G": 30}[unit]


def _cores(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def differing_sizes(objects: list[Object]) -> list[str]:
    found = []
    for (workload, name), service in SAME.items():
        box, theirs = container(objects, workload, name), COMPOSE[service]["deploy"]["resources"]["limits"]
        ours = box["resources"]["limits"]
        if _bytes(ours["memory"]) != _bytes(theirs["memory"]):
            found.append(f"{workload}/{name}: {ours['memory']}, and {theirs['memory']} in compose.yaml")
        if _cores(ours["cpu"]) != float(theirs["cpus"]):
            found.append(f"{workload}/{name}: {ours['cpu']} CPU, and {theirs['cpus']} in compose.yaml")
    return found


def differing_images(objects: list[Object]) -> list[str]:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = []
    for (workload, name), service in SAME.items():
        ours, theirs = container(objects, workload, name)["image"], COMPOSE[service]["image"]
        # images that compose.yaml builds have no tag there
        if ours != (theirs if ":" in theirs else f"{theirs}:{version}"):
            found.append(f"{workload}/{name}: {ours}, and {theirs} in compose.yaml")
    return found


def differing_settings(objects: list[Object]) -> list[str]:
    found = []
    for (workload, name), service in SAME.items():
        ours = environment(objects, container(objects, workload, name))
        theirs = {key: value for key, value in COMPOSE[service].get("environment", {}).items() if value}
        for key in theirs.keys() - BY_SECRET - OTHER_SETTINGS - UNUSED.get((workload, name), set()):
            if ours.get(key) != theirs[key]:
                found.append(f"{workload}/{name}: {key} is {ours.get(key)}, and {theirs[key]} in compose.yaml")
    return found


def differing_counts(objects: list[Object]) -> list[str]:
    found = []
    if of_kind(objects, "Deployment")["todo"]["spec"]["replicas"] != int(COMPOSE["todo"]["deploy"]["replicas"]):
        found.append("todo: another number of replicas")
    nodes = sum(name.startswith("redis-") and name[6:].isdigit() for name in COMPOSE)
    if of_kind(objects, "StatefulSet")["redis"]["spec"]["replicas"] != nodes:
        found.append("redis: another number of nodes")
    return found


def differing_files(objects: list[Object]) -> list[str]:
    """Files that differ from those that compose.yaml mounts, byte by byte."""
    expected = {
        "alert-rules": ROOT.glob("alerts/rules/*.yml"),
        "recording-rules": ROOT.glob("observability/prometheus/rules/*.yml"),
        "alertmanager": ROOT.glob("observability/alertmanager/*.yml"),
        "tempo": ROOT.glob("observability/tempo/*.yaml"),
        "loki": ROOT.glob("observability/loki/*.yaml"),
        "grafana-datasources": ROOT.glob("observability/grafana/provisioning/datasources/*.yml"),
        "grafana-providers": ROOT.glob("observability/grafana/provisioning/dashboards/*.yml"),
        "gateway": ROOT.glob("gateway/nginx.conf"),
        "redis": ROOT.glob("redis/redis.conf"),
        "redis-cluster": ROOT.glob("redis/cluster.sh"),
        **{f"dashboard-{path.stem}": [path] for path in ROOT.glob("observability/grafana/dashboards/*.json")},
    }
    found = []
    for name, paths in expected.items():
        theirs = {path.name: path.read_text() for path in paths}
        if config_map(objects, name) != theirs:
            found.append(f"ConfigMap {name} is not {', '.join(sorted(theirs))}")
    return found


CHECKS: tuple[Callable[[list[Object]], list[str]], ...] = (
    differing_sizes, differing_images, differing_settings, differing_counts, differing_files,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kubernetes_and_compose_agree(like_compose: list[Object], check: Callable[[list[Object]], list[str]]) -> None:
    assert check(like_compose) == []


def test_every_part_of_compose_is_in_kubernetes(small: list[Object]) -> None:
    assert set(COMPOSE) - ONLY_COMPOSE == set(SAME.values())
    boxes = {(each.workload, box["name"]) for each in pods(small) for box in each.containers}
    assert boxes == set(SAME)


DRIFTS: dict[str, Callable[[list[Object]], object]] = {
    "todo/todo: 256Mi, and 512M": lambda o: container(o, "todo", "todo")["resources"]["limits"].update(memory="256Mi"),
    "redis/redis: 1 CPU, and 0.5": lambda o: container(o, "redis", "redis")["resources"]["limits"].update(cpu="1"),
    "loki/loki: grafana/loki:3.0.0": lambda o: container(o, "loki", "loki").update(image="grafana/loki:3.0.0"),
    "grafana/grafana: GF_AUTH_ANONYMOUS_ENABLED is false": lambda o: container(o, "grafana", "grafana")["env"][
        0
    ].update(value="false"),
    "ConfigMap alert-rules": lambda o: config_map(o, "alert-rules").pop("slo.yml"),
    "ConfigMap recording-rules": lambda o: config_map(o, "recording-rules").update({"http.yml": "groups: []"}),
    "ConfigMap dashboard-trace": lambda o: config_map(o, "dashboard-trace").update({"trace.json": "{}"}),
    "todo: another number": lambda o: of_kind(o, "Deployment")["todo"]["spec"].update(replicas=2),
}


@pytest.mark.parametrize("complaint", DRIFTS)
def test_drift_is_detected(small: list[Object], complaint: str) -> None:
    DRIFTS[complaint](small)
    assert [line for check in CHECKS for line in check(small) if line.startswith(complaint)]


def test_generated_files_are_what_would_be_written_now() -> None:
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run `make manifests`"


def test_prometheus_has_the_jobs_of_compose_and_finds_every_pod(
    like_compose: list[Object],
) -> None:
    theirs = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yml").read_text())
    ours = yaml.safe_load(config_map(like_compose, "prometheus")["prometheus.yml"])
    assert [job["job_name"] for job in ours["scrape_configs"]] == [job["job_name"] for job in theirs["scrape_configs"]]
    assert ours["global"] == theirs["global"]
    there = {(each.name, name) for each in pods(like_compose) for name, _, _ in each.ports()}
    assert {pair for pairs in PODS.values() for pair in pairs} <= there


# the alert that fires if discovery finds no pod of a job
WITHOUT_PODS = {
    "todo": "ServiceDown",
    "gateway": "GatewayDown",
    "host": "TargetDown",
    "alertmanager": "TargetDown",
    "desk": "TargetDown",
}


@pytest.mark.parametrize("job", PODS)
def test_a_job_without_pods_fires_an_alert(tmp_path: Path, job: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool here")
    # all other jobs have their targets, and this one has no series of its own
    up = [f'up{{job="{each}"}}' for each in PODS if each != job]
    found = [f'prometheus_target_scrape_pool_targets{{scrape_job="{each}"}}' for each in PODS]
    series = {**dict.fromkeys([*up, *found, *([] if job == "gateway" else ["nginx_up"])], "1x30")}
    series[f'prometheus_target_scrape_pool_targets{{scrape_job="{job}"}}'] = "0x30"
    firing = f'count(ALERTS{{alertname=~"ServiceDown|GatewayDown|{WITHOUT_PODS[job]}", alertstate="firing"}})'
    case = {
        "interval": "5s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "2m", "exp_samples": [{"labels": "{}", "value": 1}]}],
    }
    names = ("service", "gateway", "telemetry")
    rules = [str(ROOT / f"alerts/rules/{name}.yml") for name in names]
    cases = {"rule_files": rules, "evaluation_interval": "5s", "tests": [case]}
    (tmp_path / "case.yml").write_text(yaml.safe_dump(cases))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "case.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_every_rule_file_under_the_path_of_compose(like_compose: list[Object]) -> None:
    each = next(each for each in pods(like_compose) if each.workload == "prometheus")
    files = mounted(like_compose, each, each.containers[0])
    config = yaml.safe_load(files["/etc/prometheus/prometheus.yml"])
    read = [text for path, text in files.items() if any(fnmatch(path, glob) for glob in config["rule_files"])]
    sources = [*ROOT.glob("observability/prometheus/rules/*.yml"), *ROOT.glob("alerts/rules/*.yml")]
    assert sorted(read) == sorted(path.read_text() for path in sources)


def test_every_dashboard_is_in_the_folder_of_grafanas_provider(like_compose: list[Object]) -> None:
    each = next(each for each in pods(like_compose) if each.workload == "grafana")
    files = mounted(like_compose, each, each.containers[0])
    provider = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/dashboards.yml"])["providers"][0]
    found = {path for path in files if path.startswith(provider["options"]["path"])}
    assert {Path(path).name for path in found} == {
        path.name for path in ROOT.glob("observability/grafana/dashboards/*.json")
    }
    assert environment(like_compose, each.containers[0])["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in found
    assert "/etc/grafana/provisioning/datasources/datasources.yml" in files


def test_prometheus_accepts_its_configuration(small: list[Object], tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool here")
    config = yaml.safe_load(config_map(small, "prometheus")["prometheus.yml"])
    # Debian's is built without Kubernetes service discovery
    for each in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]:
        if each.pop("kubernetes_sd_configs", None):
            each["static_configs"] = [{"targets": ["pod:80"]}]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_small_overlay_asks_for_less_than_a_laptops_4_gb(small: list[Object]) -> None:
    asked = sum(
        each.owner["spec"].get("replicas", 1)
        * sum(_bytes(box["resources"]["requests"]["memory"]) for box in each.containers)
        for each in pods(small)
    )
    # the rest concerns the cluster itself
    assert asked < 3.25 * 2**30
