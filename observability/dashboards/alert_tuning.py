"""Alert tuning: each alert's signal and threshold, what fired, how often and how long, and which alerts are noise."""

from dataclasses import replace

from grafana_foundation_sdk.models.dashboard import Panel

from lab.alerts.catalog import Alert, load_alerts
from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, WARNING
from observability.dashboards.panels import bars, lines, listing, number, timeline
from observability.dashboards.queries import REAL_ALERTS, Query, bound, or_zero, threshold

# every alert with a threshold, at 0, so that alerts that never fired have a row too
SILENT = '0 * max by (alertname) (label_replace(alert_threshold, "alertname", "$1", "alert", "(.+)"))'
FIRING = f'ALERTS{{alertstate="firing", {REAL_ALERTS}}}'
PENDING = f'ALERTS{{alertstate="pending", {REAL_ALERTS}}}'
EVALUATION_SECONDS = 5
STATES = {0: ("silent", GOOD), 1: ("pending", WARNING), 2: ("firing", BAD)}

# ALERTS has one sample per evaluation, so the count is a duration; an alert of three replicas counts once
SECONDS_FIRING = f"count_over_time(max by (alertname) ({FIRING})[$__range:5s]) * {EVALUATION_SECONDS} or {SILENT}"


def _starts(selector: str) -> str:
    """The alerts that `selector` matches now but did not one step ago."""
    return f"(max by (alertname) ({selector}) unless max by (alertname) ({selector} offset 15s))"


def _times(starts: str) -> str:
    """How often each alert started within the selected time range, 0 if never."""
    return f"count_over_time({starts}[$__range:15s]) or {SILENT}"


def _held(by: str) -> str:
    return _times(_starts(f'alert_held{{by="{by}"}}'))


TIMES_FIRED = _times(_starts(FIRING))
# fired again within five minutes of resolving
FLAPPED = _times(f"({_starts(FIRING)} and count by (alertname) (count_over_time({FIRING}[5m] offset 15s)))")
PER_DAY = f"({TIMES_FIRED}) / $__range_s * 86400"
NOTIFIED = f"sum by (alertname) (round(increase(alert_notifications_total[$__range]))) or {SILENT}"


# a signal's unit in the catalog → Grafana's
UNITS = {"ratio": "percentunit", "seconds": "s", "per_second": "ops"}
# the worst of an alert's series
WORST = {"above": "max", "below": "min"}


def _panel(alert: Alert) -> Panel:
    definition = alert.definition
    unit = UNITS.get(definition.unit, "none")
    text = (
        f"The alert's signal and its threshold from alerts/thresholds.yml; the alert fires {definition.fires} it. "
        "If the signal crosses the threshold on good days, tune it."
    )
    if definition.events:
        text += " It also requires at least alert_floor bad events (alert_events) in its window."
    return lines(
        alert.name,
        text,
        unit,
        [
            Query(f'{WORST[definition.fires]}(alert_signal{{alert="{alert.name}"}})', "signal", BLUE),
            threshold(alert.name, unit),
            replace(bound(f'max(shadow_threshold{{alert="{alert.name}"}})', unit, "shadow"), colour=WARNING),
        ],
        before="no signal in this time",
        width=8,
        height=6,
    )


NOW = Row(
    "Firing and pending",
    [
        number(
            "Firing",
            "Pages and tickets that are firing now. Each has a runbook in alerts/runbooks.",
            "none",
            or_zero(f"count({FIRING})"),
            steps=((0, GOOD), (1, BAD)),
            height=8,
        ),
        number(
            "Pending",
            "Alerts whose condition is true, but not yet for their `for` time. Often pending but never firing: well "
            "tuned, or too slow.",
            "none",
            or_zero(f"count({PENDING})"),
            steps=((0, GOOD), (1, WARNING)),
            height=8,
        ),
        bars(
            "Noisiest alerts",
            "The five alerts that fired most often in the selected time range. An alert that fires often and "
            "briefly needs a longer `for` or another threshold.",
            "short",
            Query(f"topk(5, {TIMES_FIRED})", "{{alertname}}"),
            steps=((0, GOOD), (1, WARNING), (5, BAD)),
            has_names_above=True,
            width=6,
            height=8,
        ),
        lines(
            "Fires by hour",
            "How often each alert began to fire in the preceding hour. The same hour every day points to a job or a "
            "daily peak rather than a fault.",
            "short",
            [Query(f"count_over_time({_starts(FIRING)}[1h:15s]) > 0", "{{alertname}}")],
            before="nothing fired",
            width=10,
            height=8,
        ),
        listing(
            "Alert history",
            "Each alert in the selected time range: how often it fired, sent a notification, was inhibited or "
            "silenced, and fired again within five minutes of resolving. Often, short and flapping is noise; long "
            "and alone is what the runbook is for.",
            "alertname",
            "Alert",
            {
                "Fired": ("short", TIMES_FIRED),
                "Per day": ("short", PER_DAY),
                "Notified": ("short", NOTIFIED),
                "Inhibited": ("short", _held("inhibition")),
                "Silenced": ("short", _held("silence")),
                "Flapped": ("short", FLAPPED),
                "Time firing": ("s", SECONDS_FIRING),
                "Threshold": (
                    "short",
                    'max by (alertname) (label_replace(alert_threshold, "alertname", "$1", "alert", "(.+)"))',
                ),
            },
            sort_by="Fired",
            heading_pixels=240,
            width=24,
            height=10,
        ),
        timeline(
            "Alert states",
            "Silent, pending or firing; an alert without a threshold has a row once it has been pending. Stripes of "
            "pending: the threshold is close to normal values; stripes of firing: flapping.",
            Query(
                f"2 * max by (alertname) ({FIRING}) or max by (alertname) ({PENDING}) or {SILENT}",
                "{{alertname}}",
            ),
            STATES,
            width=24,
            # a row of 13 pixels for each alert, or Grafana writes the names over each other
            height=22,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="alert-tuning",
    title="Alert tuning",
    description=(
        "Each alert's signal with its threshold, pending and firing over time, how often and how long, the noisiest."
    ),
    rows=[NOW, Row("Signals and thresholds", [_panel(alert) for alert in load_alerts() if alert.definition.signal])],
)
