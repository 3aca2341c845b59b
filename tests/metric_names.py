"""The metrics in a query, and those that exist."""

import re
from functools import cache

import yaml

from lab.promql import selectors
from lab.settings import ROOT
from tests import idle_stack_metrics

# Metrics of Prometheus, Alertmanager, Tempo and Grafana themselves, and series that Prometheus generates.
WATCHERS = {
    "ALERTS",
    # of desk, while a fault is active
    "fault_active",
    # of desk, while an alert is inhibited or silenced
    "alert_held",
    # of a shadow's rules, while it runs
    "shadow_threshold",
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "prometheus_http_requests_total",
    "prometheus_notifications_dropped_total",
    "prometheus_notifications_errors_total",
    "prometheus_notifications_sent_total",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_rule_group_interval_seconds",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_tsdb_exemplar_exemplars_appended_total",
    "prometheus_tsdb_exemplar_exemplars_in_storage",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_head_series_created_total",
    "alertmanager_notifications_failed_total",
    "tempo_distributor_spans_received_total",
    "tracestore_records_received_total",
    "grafana_datasource_request_total",
}


def metric_names(promql: str) -> set[str]:
    """The metrics in a query."""
    return {selector.name for selector in selectors(promql)}


@cache
def known_names() -> set[str]:
    """Every metric that a part of the stack exposes or records."""
    names = set(WATCHERS) | idle_stack_metrics.load_metric_names()
    for page in idle_stack_metrics.pages().values():
        for line in page().decode().splitlines():
            if line and not line.startswith("#"):
                names.add(re.split(r"[{ ]", line, maxsplit=1)[0])
    for file in [*ROOT.glob("observability/prometheus/rules/*.yml"), *ROOT.glob("alerts/rules/*.yml")]:
        for group in (yaml.safe_load(file.read_text()) or {}).get("groups", []):
            names |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return names
