"""Alert tuning: each alert's signal with its threshold, what fired, how often, how long, and which are noise."""

from dataclasses import replace

from grafana_foundation_sdk.models.dashboard import Panel

from lab.alerts.catalog import Alert, load_alerts
from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, WARNING
from observability.dashboards.panels import bars, lines, listing, number, timeline
from observability.dashboards.queries import REAL_ALERTS, Query, bound, or_zero, threshold

# every alert that has a threshold, at 0: so that what never fired has a row too
SILENT = '0 * max by (alertname) (label_replace(alert_threshold, "alertname", "$1", "alert", "(.+)"))'
FIRING = f'ALERTS{{alertstate="firing", {REAL_ALERTS}}}'
PENDING = f'ALERTS{{alertstate="pending", {REAL_ALERTS}}}'
EVALUATION_SECONDS = 5
STATES = {0: ("silent", GOOD), 1: ("pending", WARNING), 2: ("firing", BAD)}

# a point of ALERTS every evaluation, so their number is a time; an alert of three replicas is one
SECONDS_FIRING = f"count_over_time(max by (alertname) ({FIRING})[$__range:5s]) * {EVALUATION_SECONDS} or {SILENT}"


def _starts(selector: str) -> str:
    """The alerts that `selector` has now and had not one step ago."""
    return f"(max by (alertname) ({selector}) unless max by (alertname) ({selector} offset 15s))"


def _times(starts: str) -> str:
    """How often each alert did that in the chosen time; 0 for those that did not."""
    return f"count_over_time({starts}[$__range:15s]) or {SILENT}"


def _held(by: str) -> str:
    return _times(_starts(f'alert_held{{by="{by}"}}'))


TIMES_FIRED = _times(_starts(FIRING))
# it begins less than five minutes after it ended
FLAPPED = _times(f"({_starts(FIRING)} and count by (alertname) (count_over_time({FIRING}[5m] offset 15s)))")
A_DAY = f"({TIMES_FIRED}) / $__range_s * 86400"
TOLD = f"sum by (alertname) (round(increase(alert_told_total[$__range]))) or {SILENT}"


# a signal's unit in the catalog → Grafana's
UNITS = {"ratio": "percentunit", "seconds": "s", "per_second": "ops"}
# of an alert's series, the one that is worst
WORST = {"above": "max", "below": "min"}


def _panel(alert: Alert) -> Panel:
    definition = alert.definition
    unit = UNITS.get(definition.unit, "none")
    text = (
        f"The alert's signal and its threshold from alerts/thresholds.yml; bad is {definition.fires} it. "
        "If the line is crossed on good days, tune it."
    )
    if definition.events:
        text += " It also takes alert_floor bad events (alert_events) in its window."
    return lines(
        alert.name,
        text,
        unit,
        [
            Query(f'{WORST[definition.fires]}(alert_signal{{alert="{alert.name}"}})', "signal", BLUE),
            threshold(alert.name, unit),
            replace(bound(f'max(shadow_threshold{{alert="{alert.name}"}})', unit, "shadow"), colour=WARNING),
        ],
        before="nothing to compare",
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
            width=6,
            height=8,
        ),
        lines(
            "Fires by hour",
            "How often each alert began to fire in the hour before. The same hour every day is a job or a peak, "
            "and not a fault.",
            "short",
            [Query(f"count_over_time({_starts(FIRING)}[1h:15s]) > 0", "{{alertname}}")],
            before="nothing fired",
            width=10,
            height=8,
        ),
        listing(
            "Alert history",
            "Each alert in the chosen time: how often it began to fire, was told to somebody, was held back by another "
            "alert or by a silence, and began again within five minutes of its end. Often, short and flapping is "
            "noise; long and alone is what the runbook is for.",
            "alertname",
            "Alert",
            {
                "Fired": ("short", TIMES_FIRED),
                "A day": ("short", A_DAY),
                "Told": ("short", TOLD),
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
            width=24,
            height=10,
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
    rows=[NOW, Row("Signals and thresholds", [_panel(alert) for alert in load_alerts() if alert.definition.signal])],
)
