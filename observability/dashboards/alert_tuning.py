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
        ),
        number(
            "Pending (good: 0)",
            "Alerts whose condition holds, but not yet for long enough. "
            "Often pending and never firing: well tuned, or too slow.",
            "none",
            or_zero(f"count({PENDING})"),
            steps=((0, GOOD), (1, WARNING)),
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
