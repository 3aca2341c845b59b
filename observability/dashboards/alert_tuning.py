"""Alert tuning: each alert's signal with its threshold, what fired, how often, how long, and which are noise."""

from dataclasses import dataclass

from grafana_foundation_sdk.models.dashboard import Panel

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, WARNING
from observability.dashboards.panels import bars, lines, listing, number, timeline
from observability.dashboards.queries import REAL_ALERTS, Query, or_zero, threshold

# every alert that has a threshold, at 0: so that what never fired has a row too
SILENT = '0 * max by (alertname) (label_replace(alert_threshold, "alertname", "$1", "alert", "(.+)"))'
FIRING = f'ALERTS{{alertstate="firing", {REAL_ALERTS}}}'
PENDING = f'ALERTS{{alertstate="pending", {REAL_ALERTS}}}'
EVALUATION_SECONDS = 5
STATES = {0: ("silent", GOOD), 1: ("pending", WARNING), 2: ("firing", BAD)}

# a point of ALERTS every evaluation, so their number is a time
SECONDS_FIRING = f"sum by (alertname) (count_over_time({FIRING}[$__range])) * {EVALUATION_SECONDS} or {SILENT}"
# a point that firing has now and had not one step ago is a start
TIMES_FIRED = f"sum by (alertname) (count_over_time(({FIRING} unless {FIRING} offset 15s)[$__range:15s])) or {SILENT}"


@dataclass(frozen=True)
class Signal:
    """What an alert watches, in the unit of its threshold."""

    alert: str
    unit: str
    expr: str
    bad: str = "above"


def _share(part: str, whole: str) -> str:
    return or_zero(f"sum({part}) / (sum({whole}) > 0)")


DECISIONS = "rate_limit_decisions_total"
GATEWAY_RATE = "rate(nginx_http_requests_total[1m])"

SIGNALS = (
    Signal("ErrorRatioHigh", "percentunit", "http:errors:ratio_rate1m"),
    Signal("LatencyP99High", "s", "http:request_duration_seconds:p99"),
    # of what the gateway or the load generator says was asked
    Signal(
        "NoTraffic",
        "percentunit",
        "http:requests:rate1m / on () (max("
        f'label_replace(sum({GATEWAY_RATE}), "side", "gateway", "", "")'
        ' or label_replace(load:requests_offered:rate1m, "side", "load", "", "")) > 0) or vector(1)',
        bad="below",
    ),
    Signal("ReplicasMissing", "none", or_zero('sum(up{job="todo"})'), bad="below"),
    Signal("ReplicaRestarted", "none", or_zero('max(changes(process_start_time_seconds{job="todo"}[5m]))')),
    Signal("ReplicaImbalance", "none", "replica:http_requests:imbalance1m"),
    Signal(
        "RequestsNearBound",
        "percentunit",
        or_zero(
            "max(max_over_time(http_server_active_requests[15s]) / on (instance) http_server_active_requests_limit)"
        ),
    ),
    Signal("EventLoopLagHigh", "s", or_zero("max(replica:event_loop_lag_seconds:p99)")),
    Signal("CPUThrottled", "percentunit", or_zero("max(rate(process_cpu_throttled_seconds_total[1m]))")),
    Signal(
        "MemoryNearLimit",
        "percentunit",
        or_zero('max(process_resident_memory_bytes{job="todo"} / on (instance) process_memory_limit_bytes)'),
    ),
    Signal(
        "CacheHitRatioLow", "percentunit", 'max(cache:requests:hit_ratio1m{cache="task"}) or vector(1)', bad="below"
    ),
    Signal(
        "CacheErrors",
        "percentunit",
        _share('cache:requests:rate1m{result=~"error|bypass"}', "cache:requests:rate1m"),
    ),
    Signal("RedisBreakerOpen", "none", or_zero('count(circuit_breaker_state{dependency="redis"} == 2)')),
    Signal("RedisSlotsUncovered", "none", or_zero("16384 - min(redis_cluster_slots_ok)")),
    Signal(
        "RedisMemoryNearLimit", "percentunit", or_zero("max(redis_memory_used_bytes / (redis_memory_max_bytes > 0))")
    ),
    Signal("RedisEvictions", "ops", or_zero("max(rate(redis_evicted_keys_total[1m]))")),
    Signal(
        "RedisFailover",
        "none",
        or_zero(
            'count(redis_instance_info{role="master"}'
            ' and on (node) max_over_time(redis_instance_info{role="slave"}[2m]))'
        ),
    ),
    Signal("DatabaseBreakerOpen", "none", or_zero('count(circuit_breaker_state{dependency="database"} == 2)')),
    Signal(
        "DatabasePoolExhausted",
        "percentunit",
        or_zero(
            'max(sum by (instance) (avg_over_time(db_client_connection_count{db_client_connection_state="used"}[15s]))'
            " / sum by (instance) (db_client_connection_max))"
        ),
    ),
    Signal("DatabaseSlow", "s", or_zero("max(operation:db_client_operation_duration_seconds:p95)")),
    Signal(
        "DatabaseConnectionsNearLimit",
        "percentunit",
        or_zero("sum(pg_stat_activity_count) / max(pg_settings_max_connections)"),
    ),
    Signal(
        "RateLimitRejections",
        "percentunit",
        _share(f'rate({DECISIONS}{{decision="rejected"}}[1m])', f"rate({DECISIONS}[1m])"),
    ),
    Signal(
        "RateLimitBypassed",
        "percentunit",
        _share(f'rate({DECISIONS}{{decision="bypassed"}}[1m])', f"rate({DECISIONS}[1m])"),
    ),
    Signal("GatewayErrorRatioHigh", "percentunit", _share("rate(gateway_responses_5xx_total[1m])", GATEWAY_RATE)),
    Signal("GatewayUpstreamErrors", "percentunit", _share("rate(gateway_upstream_errors_total[1m])", GATEWAY_RATE)),
    Signal("ScrapeSlow", "s", "max(scrape_duration_seconds)"),
    Signal(
        "RuleEvaluationLate",
        "percentunit",
        or_zero("max(prometheus_rule_group_last_duration_seconds / prometheus_rule_group_interval_seconds)"),
    ),
    Signal("RuleEvaluationFailing", "short", or_zero("max(increase(prometheus_rule_evaluation_failures_total[5m]))")),
    Signal("SpansDropped", "ops", or_zero("max(sum by (reason) (rate(telemetry_spans_dropped_total[1m])))")),
    Signal("AlertmanagerUnreachable", "ops", or_zero("sum(rate(prometheus_notifications_errors_total[1m]))")),
    Signal("NotificationsFailing", "ops", or_zero("max(rate(alertmanager_notifications_failed_total[5m]))")),
)


def _panel(signal: Signal) -> Panel:
    return lines(
        signal.alert,
        f"The alert's signal and its threshold from alerts/thresholds.yml; bad is {signal.bad} it. "
        "If the line is crossed on good days, tune it.",
        signal.unit,
        [Query(signal.expr, "signal", BLUE), threshold(signal.alert, signal.unit)],
        width=8,
        height=6,
    )


NOW = Row(
    "Firing and pending",
    [
        number(
            "Firing",
            "Pages and tickets that fire now. Each has a runbook in alerts/runbooks.",
            "none",
            or_zero(f"count({FIRING})"),
            steps=((0, GOOD), (1, BAD)),
            height=8,
        ),
        number(
            "Pending",
            "Alerts whose condition holds, but not yet for long enough. "
            "Often pending and never firing: well tuned, or too slow.",
            "none",
            or_zero(f"count({PENDING})"),
            steps=((0, GOOD), (1, WARNING)),
            height=8,
        ),
        bars(
            "Noisiest alerts",
            "The five alerts that fired most often in the chosen time. "
            "One that fires often and briefly wants a longer time or another threshold.",
            "short",
            Query(f"topk(5, {TIMES_FIRED})", "{{alertname}}"),
            steps=((0, GOOD), (1, WARNING), (5, BAD)),
            width=8,
            height=8,
        ),
        listing(
            "Alert history",
            "Times fired and time spent firing in the chosen time. Often and short is noise; "
            "long and alone is what the runbook is for.",
            "alertname",
            "Alert",
            {
                "Times fired": ("short", TIMES_FIRED),
                "Time firing": ("s", SECONDS_FIRING),
                "Threshold": (
                    "short",
                    'max by (alertname) (label_replace(alert_threshold, "alertname", "$1", "alert", "(.+)"))',
                ),
            },
            sort_by="Times fired",
            width=8,
        ),
        timeline(
            "Alert states",
            "Silent, pending or firing; an alert without a threshold has a row once it was raised."
            " Stripes of pending: the threshold is near the ordinary; of firing: flapping.",
            Query(
                f"2 * max by (alertname) ({FIRING}) or max by (alertname) ({PENDING}) or {SILENT}",
                "{{alertname}}",
            ),
            STATES,
            width=24,
            height=16,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="alert-tuning",
    title="Alert tuning",
    description=(
        "Each alert's signal with its threshold, pending and firing over time, how often and how long, the noisiest."
    ),
    rows=[NOW, Row("Signals and thresholds", [_panel(signal) for signal in SIGNALS])],
)
