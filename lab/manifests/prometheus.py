"""Prometheus' configuration for Kubernetes, made from the Docker way's file with other targets."""

import re
from typing import Any

import yaml

from lab.settings import ROOT

SOURCE = ROOT / "observability/prometheus/prometheus.yml"
NAMESPACE = "glasshouse"
# jobs whose pods are found by the API, as they come and go: the part's name, and its port's
PODS = {
    "todo": [("todo", "metrics")],
    "gateway": [("gateway", "exporter")],
    "host": [("host-exporter", "exporter")],
    "alertmanager": [("alertmanager", "web")],
    # the inbox, and the counters beside the gateways
    "desk": [("desk", "desk"), ("gateway", "desk")],
}
HEADER = "# Written by `make manifests` from observability/prometheus/prometheus.yml and lab/manifests: do not edit.\n"
KUBELET_CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def configuration() -> dict[str, Any]:
    """The configuration of components/watch."""
    config: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    config["alerting"]["alertmanagers"] = [_pods(PODS["alertmanager"])]
    config["scrape_configs"] = [_job(job) for job in config["scrape_configs"]]
    return config


def text(config: dict[str, Any]) -> str:
    """A configuration as the file that is committed."""
    return HEADER + yaml.safe_dump(config, sort_keys=False, width=120)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    name = job["job_name"]
    if name in PODS:
        return {"job_name": name, **_pods(PODS[name])}
    if name == "processes":
        return {"job_name": name, **_containers()}
    if name == "redis":
        # by the nodes' lasting names, and not by discovery: a node whose pod is gone is a node that is down
        for target in job["static_configs"]:
            target["targets"] = [_pod_name(address) for address in target["targets"]]
    return job


def _pod_name(address: str) -> str:
    """`redis-1:6379` as the headless service calls it."""
    node, port = address.split(":")
    return f"{node}.{re.sub('-[0-9]+$', '', node)}:{port}"


def _pods(parts: list[tuple[str, str]]) -> dict[str, Any]:
    """Discovery of the pods of some parts, each at the port of that name."""
    names = [part for part, _ in parts]
    label = f"app.kubernetes.io/name in ({','.join(names)})" if len(names) > 1 else f"app.kubernetes.io/name={names[0]}"
    found = "|".join(f"{part};{port}" for part, port in parts)
    return {
        "kubernetes_sd_configs": [
            {"role": "pod", "namespaces": {"own_namespace": True}, "selectors": [{"role": "pod", "label": label}]}
        ],
        "relabel_configs": [
            {
                "source_labels": [
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name",
                    "__meta_kubernetes_pod_container_port_name",
                ],
                "regex": found,
                "action": "keep",
            },
            # its addresses may be another pod's by now
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Failed|Succeeded", "action": "drop"},
            # by which an autoscaler's adapter finds them again
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    }


def _containers() -> dict[str, Any]:
    """CPU and memory of the parts that are not ours, from the kubelets' cAdvisor, under the process exporter's names.

    So rules and dashboards are the same ones. Resident memory is cAdvisor's RSS, without the pages of mapped files.
    """
    return {
        "scheme": "https",
        "metrics_path": "/metrics/cadvisor",
        # cAdvisor looks every 10 s or so, and says when; an old look must not count as a gap
        "honor_timestamps": False,
        "authorization": {"credentials_file": KUBELET_CREDENTIALS},
        # most clusters' kubelets have certificates that nobody signed
        "tls_config": {"insecure_skip_verify": True},
        "kubernetes_sd_configs": [{"role": "node"}],
        "metric_relabel_configs": [
            {
                "source_labels": ["__name__", "namespace", "pod", "container"],
                "regex": f"container_(cpu_usage_seconds_total|memory_rss);{NAMESPACE};.+;(redis|postgres|gateway)",
                "action": "keep",
            },
            {"source_labels": ["pod"], "regex": "(redis-[0-9]+|postgres|gateway).*", "target_label": "groupname"},
            {
                "source_labels": ["__name__"],
                "regex": "container_memory_rss",
                "target_label": "memtype",
                "replacement": "resident",
            },
            {
                "source_labels": ["__name__"],
                "regex": "container_memory_rss",
                "target_label": "__name__",
                "replacement": "namedprocess_namegroup_memory_bytes",
            },
            {
                "source_labels": ["__name__"],
                "regex": "container_cpu_usage_seconds_total",
                "target_label": "__name__",
                "replacement": "namedprocess_namegroup_cpu_seconds_total",
            },
            {"regex": "id|image|name|cpu|container|namespace", "action": "labeldrop"},
        ],
    }
