"""Panels for traces and log records, which query Tempo and Loki."""

from grafana_foundation_sdk.builders import common, logs, loki, nodegraph, table, tempo
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import tempo as tempo_model

TEMPO = model.DataSourceRef(type_val="tempo", uid="tempo")
LOKI = model.DataSourceRef(type_val="loki", uid="loki")
TRACE_LINK = "/d/trace?var-traceId=${__value.raw}"
MAX_LINES = 500
# the message, and for a request its method, route, status and failure; the viewer uses the same format
LINE_FORMAT = (
    '| line_format "{{__line__}} {{.method}} {{.route}} {{.status}} {{.duration_seconds}} {{.dependency}} {{.reason}}"'
)


def log_lines(title: str, description: str, logql: str, *, width: int = 24, height: int = 10) -> model.Panel:
    """Log records, newest first; the details of each have its labels and a link to its trace."""
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .span(width)
        .height(height)
        .unit("none")
        .show_time(True)
        .show_labels(False)
        .show_common_labels(False)
        .wrap_log_message(True)
        .prettify_log_message(False)
        .enable_log_details(True)
        .sort_order(looks.LogsSortOrder.DESCENDING)
        .dedup_strategy(looks.LogsDedupStrategy.NONE)
        .with_target(loki.Dataquery().ref_id("A").datasource(LOKI).expr(logql).query_type("range").max_lines(MAX_LINES))
        .build()
    )


def trace_view(title: str, description: str, trace_id: str, *, width: int = 24, height: int = 18) -> model.Panel:
    """One trace as a waterfall."""
    # the SDK has no builder for this type of panel
    return model.Panel(
        type_val="traces",
        title=title,
        description=description,
        datasource=TEMPO,
        grid_pos=model.GridPos(w=width, h=height),
        field_config=model.FieldConfigSource(defaults=model.FieldConfig(unit="none")),
        targets=[_tempo("traceql").query(trace_id).build()],
    )


def found_traces(title: str, description: str, traceql: str, *, width: int = 24, height: int = 9) -> model.Panel:
    """Results of a trace search. Ids link to this dashboard, because Grafana's role Viewer has no Explore."""
    target = _tempo("traceql").query(traceql).limit(50).spss(1).table_type(tempo_model.SearchTableType.TRACES)
    link = {"title": "View the trace", "url": TRACE_LINK}
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(TEMPO)
        .span(width)
        .height(height)
        .unit("none")
        .sort_by([common.TableSortByFieldState().display_name("Start time").desc(True)])
        .override_by_name("traceID", [model.DynamicConfigValue(id_val="links", value=[link])])
        .with_target(target)
        .build()
    )


def service_graph(title: str, description: str, *, width: int = 24, height: int = 12) -> model.Panel:
    """Which component calls which, derived by Tempo from the spans."""
    return (
        nodegraph.Panel()
        .title(title)
        .description(description)
        .datasource(TEMPO)
        .span(width)
        .height(height)
        .unit("none")
        .with_target(_tempo("serviceMap").query(""))
        .build()
    )


def _tempo(kind: str) -> tempo.TempoQuery:
    return tempo.TempoQuery().ref_id("A").datasource(TEMPO).query_type(kind).filters([])
