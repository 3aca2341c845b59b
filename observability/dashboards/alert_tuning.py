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


SIGNALS = (
    Signal("ErrorRatioHigh", "percentunit", "http:errors:ratio_rate1m"),
    Signal("LatencyP99High", "s", "http:request_duration_seconds:p99"),
    Signal(
        "RequestsNearBound",
        "percentunit",
        or_zero("max(http_server_active_requests / on (instance) http_server_active_requests_limit)"),
    ),
    Signal("EventLoopLagHigh", "s", or_zero("max(replica:event_loop_lag_seconds:p99)")),
    Signal("CPUThrottled", "percentunit", or_zero("max(rate(process_cpu_throttled_seconds_total[1m]))")),
    Signal(
        "MemoryNearLimit",
        "percentunit",
        or_zero('max(process_resident_memory_bytes{job="todo"} / on (instance) process_memory_limit_bytes)'),
    ),
    Signal("ReplicaImbalance", "none", "replica:http_requests:imbalance1m"),
    Signal("CacheHitRatioLow", "percentunit", "cache:requests:hit_ratio1m_all"),
    Signal("CacheErrors", "reqps", or_zero('sum(cache:requests:rate1m{result="error"})')),
    Signal(
        "RedisMemoryNearLimit",
        "percentunit",
        or_zero("max(redis_memory_used_bytes / (redis_memory_max_bytes > 0))"),
    ),
    Signal("RedisEvictions", "ops", or_zero("sum(rate(redis_evicted_keys_total[1m]))")),
    Signal("DatabaseSlow", "s", or_zero("max(operation:db_client_operation_duration_seconds:p95)")),
    Signal(
        "DatabasePoolExhausted",
        "percentunit",
        or_zero(
            'max(sum by (instance) (db_client_connection_count{state="used"})'
            " / sum by (instance) (db_client_connection_max))"
        ),
    ),
    Signal(
        "DatabaseConnectionsNearLimit",
        "percentunit",
        or_zero("sum(pg_stat_database_numbackends) / max(pg_settings_max_connections)"),
    ),
    Signal("RateLimitRejections", "reqps", or_zero('sum(rate(rate_limit_decisions_total{decision="rejected"}[1m]))')),
    Signal("RateLimitBypassed", "reqps", or_zero('sum(rate(rate_limit_decisions_total{decision="bypassed"}[1m]))')),
    Signal("GatewayUpstreamErrors", "reqps", or_zero("sum(rate(gateway_upstream_errors_total[1m]))")),
    Signal("ScrapeSlow", "s", "max(scrape_duration_seconds)"),
    Signal("SpansDropped", "ops", or_zero("sum(rate(telemetry_spans_dropped_total[1m]))")),
)


def _panel(signal: Signal) -> Panel:
    return lines(
        f"{signal.alert} (bad: beyond the dashed line)",
        "The alert's signal and its threshold from alerts/thresholds.yml. "
        "If the line is crossed on good days, turn it.",
        signal.unit,
        [Query(signal.expr, "signal", BLUE), threshold(signal.alert)],
        width=6,
        height=6,
    )


NOW = Row(
    "What fires",
    [
        number(
            "Firing (good: 0)",
            "Pages and tickets that fire now. Each has a runbook in alerts/runbooks.",
            "none",
            or_zero(f"count({FIRING})"),
            steps=((0, GOOD), (1, BAD)),
            height=8,
        ),
        number(
            "Pending (good: 0)",
            "Alerts whose condition holds, but not yet for long enough. "
            "Often pending and never firing: well tuned, or too slow.",
            "none",
            or_zero(f"count({PENDING})"),
            steps=((0, GOOD), (1, WARNING)),
            height=8,
        ),
        bars(
            "The noisiest: times fired in the chosen time",
            "The five alerts that fired most often. "
            "One that fires often and briefly wants a longer time or another threshold.",
            "short",
            Query(f"topk(5, {TIMES_FIRED})", "{{alertname}}"),
            steps=((0, GOOD), (1, WARNING), (5, BAD)),
            width=8,
            height=8,
        ),
        listing(
            "How often and how long each fired in the chosen time",
            "Times fired, time spent firing. Often and short is noise; long and alone is what the runbook is for.",
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
            "Each alert over time (bad: firing)",
            "Silent, pending or firing. Stripes of pending: the threshold is near the ordinary; "
            "stripes of firing: flapping.",
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
