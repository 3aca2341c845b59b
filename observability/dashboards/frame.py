"""What all dashboards share: variables, links, annotations, the layout of panels, and rendering to JSON."""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from observability.dashboards.palette import BLUE, GREY, ORANGE, PURPLE, VERMILLION
from observability.dashboards.panels import PROMETHEUS
from observability.dashboards.queries import REAL_ALERTS

COLUMNS = 24
TAG = "glasshouse"

# name → (label above the dashboard, query)
VARIABLES = {
    "route": ("Route", "label_values(route:http_requests:rate1m, http_route)"),
    "replica": ("Replica", "label_values(service_info, replica)"),
    "node": ("Redis node", 'label_values(up{job="redis"}, node)'),
}

# name → label above the dashboard
PARAMETERS = {"traceId": "Trace id"}


@dataclass(frozen=True)
class Row:
    """Panels under one heading, left to right and top to bottom."""

    title: str
    panels: Sequence[model.Panel]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard. `variables` are the visible ones; the others are hidden, so that links keep their values.

    A dashboard with `parameters`, text that is typed in or set by a link, shows a single item and does not refresh.
    `since` is the start of its default time range.
    """

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[str] = ()
    parameters: Sequence[str] = ()
    since: str = "now-15m"


def render(dashboard: Dashboard) -> str:
    """The dashboard's JSON as Grafana loads it; deterministic."""
    builder = (
        builders.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(dashboard.since, "now")
        .refresh("" if dashboard.parameters else "5s")
        .timepicker(builders.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m"]))
        .variables(
            [
                *(_parameter(name) for name in dashboard.parameters),
                *(_variable(name, is_shown=name in dashboard.variables) for name in VARIABLES),
            ]
        )
        .annotations([_annotation(item) for item in ANNOTATIONS])
        .link(_other_dashboards())
    )
    resource = builder.build()
    # Grafana 12 and 13 use 42, the SDK still writes 41; the migration between them concerns `hideFrom`, unused here
    resource.schema_version = 42
    resource.panels = list(_laid_out(dashboard))
    data = json.loads(json.dumps(resource, cls=JSONEncoder))
    for source, item in zip(data["annotations"]["list"], ANNOTATIONS, strict=True):
        source.update(_prometheus_annotation(item))
    _leave_out_what_grafana_13_lacks(data)
    # indented by one space: `kubectl apply` copies each dashboard into an annotation of at most 256 KiB
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _leave_out_what_grafana_13_lacks(data: dict[str, Any]) -> None:
    """Removes the SDK's defaults for options that are no longer in the schema."""
    for variable in data["templating"]["list"]:
        for option in ("auto", "auto_count", "auto_min"):
            variable.pop(option, None)
    for panel in data["panels"]:
        if panel["type"] == "table":
            panel.get("options", {}).pop("footer", None)


@dataclass(frozen=True)
class Annotation:
    """Marks the times at which `expr` has a value."""

    name: str
    expr: str
    title: str
    text: str
    colour: str


def _edges(expr: str) -> str:
    """The points at which series of `expr` start and end, with the label `edge` set to `started` or `ended`.

    `@` in `expr` marks where an offset is inserted.
    """
    now, before = expr.replace("@", ""), expr.replace("@", " offset $__interval")
    return (
        f'label_replace({now} unless {before}, "edge", "started", "", "")'
        f' or label_replace({before} unless {now}, "edge", "ended", "", "")'
    )


ANNOTATIONS = (
    Annotation("Load", _edges('max by (profile) (load:phase{phase!="idle"}@)'), "Load {{profile}}", "{{edge}}", PURPLE),
    Annotation(
        "Restarts",
        # exists now, with another value than one step ago
        "replica:process_start_time_seconds:max > time() - 120"
        " unless replica:process_start_time_seconds:max == replica:process_start_time_seconds:max offset $__interval",
        "{{replica}}",
        "started",
        ORANGE,
    ),
    Annotation(
        "Thresholds",
        'count_values by (alert) ("to", alert_threshold != on (alert) alert_threshold offset $__interval)'
        " * on (alert) group_left (from)"
        ' count_values by (alert) ("from", alert_threshold offset $__interval != on (alert) alert_threshold)',
        "{{alert}}: threshold changed",
        "from {{from}} to {{to}}",
        BLUE,
    ),
    Annotation(
        "Faults",
        _edges("max by (part, kind) (fault_active@ == 1)"),
        "{{kind}} {{part}}",
        "fault caused by the lab: {{edge}}",
        GREY,
    ),
    Annotation(
        "Alerts",
        _edges(f'max by (alertname, severity) (ALERTS{{alertstate="firing", {REAL_ALERTS}}}@)'),
        "{{alertname}}",
        "{{severity}} {{edge}}",
        VERMILLION,
    ),
)


def _prometheus_annotation(item: Annotation) -> dict[str, Any]:
    """Fields of Prometheus annotations that the SDK's model lacks."""
    return {
        "titleFormat": item.title,
        "textFormat": item.text,
        "tagKeys": "",
        "useValueForTime": False,
        "target": {
            "datasource": {"type": "prometheus", "uid": "prometheus"},
            "expr": item.expr,
            "interval": "15s",
            "legendFormat": "",
            "range": True,
            "refId": "Anno",
        },
    }


def _annotation(item: Annotation) -> builders.AnnotationQuery:
    # Grafana draws the lines in this colour over the data, so it lets the data through
    colour = item.colour + "66"
    return builders.AnnotationQuery().name(item.name).datasource(PROMETHEUS).enable(True).icon_color(colour)


def _variable(name: str, *, is_shown: bool) -> builders.QueryVariable:
    label, query = VARIABLES[name]
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": f"Variable-{name}", "qryType": 5})
        .hide(model.VariableHide.DONT_HIDE if is_shown else model.VariableHide.HIDE_VARIABLE)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _parameter(name: str) -> builders.TextBoxVariable:
    return builders.TextBoxVariable(name).label(PARAMETERS[name]).default_value("")


def _other_dashboards() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .tooltip("Another dashboard with the same time range and variables")
    )


def _laid_out(dashboard: Dashboard) -> Iterator[model.Panel | model.RowPanel]:
    """Rows and panels in reading order, each with a position and an id that does not depend on other panels."""
    top = 0
    for row in dashboard.rows:
        heading = builders.Row(row.title).build()
        heading.id_val = _id("row", row.title)
        heading.grid_pos = model.GridPos(x=0, y=top, w=COLUMNS, h=1)
        heading.panels = []
        yield heading
        top += 1
        left = tallest = 0
        for panel in row.panels:
            place = panel.grid_pos or model.GridPos()
            if left + place.w > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            panel.id_val = _id("panel", panel.title or "")
            panel.grid_pos = model.GridPos(x=left, y=top, w=place.w, h=place.h)
            yield panel
            left, tallest = left + place.w, max(tallest, place.h)
        top += tallest


def _id(kind: str, title: str) -> int:
    return zlib.crc32(f"{kind} {title}".encode()) % 1_000_000 + 1
