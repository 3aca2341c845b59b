"""Rules and monitors for a Prometheus operator, generated from the same files.

Its Prometheus also monitors other applications and has its own evaluation interval. All selectors are limited to this
namespace, groups have an explicit interval, and alerts about Prometheus and Alertmanager are left to that stack.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lab.manifests.prometheus import NAMESPACE, PODS, SOURCE
from lab.promql import selectors
from lab.settings import ROOT

RULES = ("observability/prometheus/rules", "alerts/rules")
# the label by which that Prometheus selects rules and monitors, if its release has the name of the chart
CHOSEN = {"release": "kube-prometheus-stack"}
# base URLs of links, by default of forwarded ports
LINKS = {"desk_url": "http://127.0.0.1:8060", "dashboards_url": "http://127.0.0.1:3000"}
# alerts about the monitoring itself, for which that stack has its own
LEFT_OUT = {
    "ConfigReloadFailed",
    "AlertmanagerUnreachable",
    "NotificationsFailing",
    "PrometheusStorageFailing",
    "DeadMansSwitch",
}
# matchers of series of the whole cluster, and of Prometheus itself, instead of the namespace
MATCHERS = {
    "node_": "",
    "prometheus_rule_": 'rule_group=~".*/glasshouse-.*"',
    # the operator's names of jobs, such as `podMonitor/glasshouse/desk/0`
    "prometheus_target_scrape_pool_": f'scrape_job=~".+/{NAMESPACE}/.+"',
    "process_start_time_seconds": "",
}
OWN = f'namespace="{NAMESPACE}"'
# process-exporter's metrics, derived from the kubelets' cAdvisor, which that Prometheus scrapes anyway
CONTAINERS = {
    "name": "containers",
    "interval": "5s",
    "rules": [
        {
            "record": "namedprocess_namegroup_cpu_seconds_total",
            "expr": (
                'label_replace(sum by (namespace, pod) (container_cpu_usage_seconds_total{namespace="glasshouse",'
                ' container=~"redis|postgres|gateway"}), "groupname", "$1", "pod", "(redis-[0-9]+|postgres|gateway).*")'
            ),
        },
        {
            "record": "namedprocess_namegroup_memory_bytes",
            "labels": {"memtype": "resident"},
            "expr": (
                'label_replace(sum by (namespace, pod) (container_memory_rss{namespace="glasshouse",'
                ' container=~"redis|postgres|gateway"}), "groupname", "$1", "pod", "(redis-[0-9]+|postgres|gateway).*")'
            ),
        },
    ],
}
HEADER = "# Written by `make manifests` from {} and lab/manifests: do not edit.\n"


def rules() -> str:
    """The PrometheusRule objects, one for each folder of rule files."""
    objects = [
        _object("PrometheusRule", name, {"groups": groups})
        for name, groups in (
            ("glasshouse-recording", [CONTAINERS, *_groups(ROOT / RULES[0])]),
            ("glasshouse-alerts", _groups(ROOT / RULES[1])),
        )
    ]
    return HEADER.format(" and ".join(RULES)) + _dump(objects)


def monitors() -> str:
    """PodMonitor, ServiceMonitor and Probe objects for the jobs of this stack in prometheus.yml."""
    config = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    timing = {"interval": config["global"]["scrape_interval"], "scrapeTimeout": config["global"]["scrape_timeout"]}
    objects = []
    for job in ("todo", "gateway", "desk"):
        for part, port in PODS[job]:
            name = part if port in ("metrics", "exporter", part) else f"{part}-{port}"
            endpoint = {"port": port, **timing, "relabelings": [{"targetLabel": "job", "replacement": job}]}
            spec = {"selector": {"matchLabels": {"app.kubernetes.io/name": part}}, "podMetricsEndpoints": [endpoint]}
            objects.append(_object("PodMonitor", name, spec))
    endpoint = {"port": "exporter", **timing, "relabelings": [{"targetLabel": "job", "replacement": "postgres"}]}
    spec = {"selector": {"matchLabels": {"app.kubernetes.io/name": "postgres-exporter"}}, "endpoints": [endpoint]}
    objects.append(_object("ServiceMonitor", "postgres", spec))
    redis = next(job for job in config["scrape_configs"] if job["job_name"] == "redis")
    nodes = [target.split(":") for each in redis["static_configs"] for target in each["targets"]]
    static = {
        "static": [f"redis://{node}.redis:{port}" for node, port in nodes],
        "relabelingConfigs": [
            {"sourceLabels": ["__param_target"], "regex": "redis://(redis-[0-9]+)[.].*", "targetLabel": "node"},
            {"sourceLabels": ["__param_target"], "regex": "redis://(.*)", "targetLabel": "instance"},
            {"targetLabel": "job", "replacement": "redis"},
        ],
    }
    prober = {"url": f"redis-exporter.{NAMESPACE}.svc:9121", "path": redis["metrics_path"]}
    objects.append(_object("Probe", "redis", {**timing, "prober": prober, "targets": {"staticConfig": static}}))
    return HEADER.format("observability/prometheus/prometheus.yml") + _dump(objects)


def scoped(promql: str) -> str:
    """An expression limited to series of this namespace; recorded series already are."""
    for name in dict.fromkeys(each.name for each in selectors(promql)):
        if ":" in name or name.startswith("alert_"):
            continue
        matcher = next((text for start, text in MATCHERS.items() if name.startswith(start)), OWN)
        # the job of Prometheus has another name there, that of the replicas has not
        if name == "process_start_time_seconds":
            promql = promql.replace('process_start_time_seconds{job="prometheus"}', _OF_PROMETHEUS)
            promql = promql.replace(
                'process_start_time_seconds{job="todo"', f'process_start_time_seconds{{{OWN}, job="todo"'
            )
        elif matcher:
            pattern = rf'(?<![\w:.$"|]){name}(?![\w:"|])(?:(?P<open>\{{)(?P<closed>\}})?)?'
            promql = re.sub(pattern, partial(_with, name, matcher), promql)
    return promql


_OF_PROMETHEUS = 'process_start_time_seconds{container="prometheus"}'


def _with(name: str, matcher: str, found: re.Match[str]) -> str:
    return f"{name}{{{matcher}, " if found["open"] and not found["closed"] else f"{name}{{{matcher}}}"


def _groups(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            kept = [_rule(rule) for rule in group["rules"] if _is_kept(rule)]
            found.append({**group, "interval": group.get("interval", "5s"), "rules": kept})
    return found


def _is_kept(rule: dict[str, Any]) -> bool:
    names = {rule.get("alert"), rule.get("labels", {}).get("alert")}
    # all thresholds are kept, because an alert counts them
    return not names & LEFT_OUT or rule.get("record") in ("alert_threshold", "alert_floor")


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    annotations = {
        key: re.sub(r"\{\{ \$externalLabels[.](\w+) \}\}", lambda found: LINKS[found[1]], text)
        for key, text in rule.get("annotations", {}).items()
    }
    return {**rule, "expr": scoped(rule["expr"]), **({"annotations": annotations} if annotations else {})}


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": CHOSEN}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, so that each object is complete."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(objects: list[dict[str, Any]]) -> str:
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120)
