"""Prometheus' configuration for Kubernetes: that of Docker with other targets."""

import re
from typing import Any

import yaml

from lab.settings import ROOT

SOURCE = ROOT / "observability/prometheus/prometheus.yml"
NAMESPACE = "glasshouse"
# jobs whose pods are discovered through the API: names of the component and of its port
PODS = {
    "todo": [("todo", "metrics")],
    "gateway": [("gateway", "exporter")],
    "host": [("host-exporter", "exporter")],
    "alertmanager": [("alertmanager", "web")],
    # the inbox, and the containers that count requests in the gateways' pods
    "desk": [("desk", "desk"), ("gateway", "desk")],
}
HEADER = "# Written by `make manifests` from observability/prometheus/prometheus.yml and lab/manifests: do not edit.\n"
KUBELET_CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def configuration() -> dict[str, Any]:
    """The configuration of components/watch."""
    config: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    config["alerting"]["alertmanagers"] = [_pods(PODS["alertmanager"])]
    config["scrape_configs"] = [_job(job) for job in config["scrape_configs"]]
    return config


def text(config: dict[str, Any]) -> str:
    """The content of the file."""
    return HEADER + yaml.safe_dump(config, sort_keys=False, width=120)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    name = job["job_name"]
    if name in PODS:
        return {"job_name": name, **_pods(PODS[name])}
    if name == "processes":
        return {"job_name": name, **_containers()}
    if name == "redis":
        # by the nodes' stable names instead of discovery, so that a node without a pod counts as down
        for target in job["static_configs"]:
            target["targets"] = [_pod_name(address) for address in target["targets"]]
    return job


def _pod_name(address: str) -> str:
    """The DNS name of `redis-1:6379` in the headless service."""
    node, port = address.split(":")
    return f"{node}.{re.sub('-[0-9]+$', '', node)}:{port}"


def _pods(parts: list[tuple[str, str]]) -> dict[str, Any]:
    """Service discovery of pods by component and port name."""
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
            # a terminated pod's address may already belong to another pod
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Failed|Succeeded", "action": "drop"},
            # labels by which an autoscaler's adapter identifies pods
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    }


def _containers() -> dict[str, Any]:
    """CPU and memory of PostgreSQL, nginx and Redis from the kubelets' cAdvisor, with process-exporter's metric names.

    The names keep rules and dashboards unchanged. Resident memory is cAdvisor's RSS, without pages of mapped files.
    """
    return {
        "scheme": "https",
        "metrics_path": "/metrics/cadvisor",
        # cAdvisor measures about every 10 s; with its timestamps, samples would look stale in between
        "honor_timestamps": False,
        "authorization": {"credentials_file": KUBELET_CREDENTIALS},
        # most kubelets have self-signed certificates
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
