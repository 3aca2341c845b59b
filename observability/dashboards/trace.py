"""Trace: the spans of one request and its log records."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.tracing import LINE_FORMAT, found_traces, log_lines, service_graph, trace_view

DASHBOARD = Dashboard(
    uid="trace",
    title="Trace",
    description="One request: its spans and its log records. Exemplars and log records link to this dashboard.",
    rows=[
        Row(
            "Trace",
            [
                trace_view(
                    "Spans",
                    "The spans of the trace whose id is entered above: where its time went, and what failed. Empty "
                    "without an id, and if the trace is older than Tempo's retention.",
                    "${traceId}",
                ),
                log_lines(
                    "Log lines of the trace",
                    "Log records written while the request was handled. Only requests that fail or are slow write one.",
                    '{service_name=~".+"} | trace_id!="" | trace_id="${traceId}" ' + LINE_FORMAT,
                    height=6,
                ),
            ],
        ),
        Row(
            "Find one",
            [
                found_traces(
                    "Failed and slow requests",
                    "The newest traces of requests that failed, or took longer than half a second. Click an id to "
                    "open the trace.",
                    "{ kind = server && (status = error || duration > 500ms) }",
                ),
            ],
        ),
        Row(
            "Service graph",
            [
                service_graph(
                    "Service graph of sampled requests",
                    "Which component calls which, and how fast it answers, for the requests that were traced: a "
                    "share of the ordinary ones, and every one that failed or was slow. Rates are not those of all "
                    "requests.",
                ),
            ],
        ),
    ],
    parameters=["traceId"],
    since="now-24h",
)
