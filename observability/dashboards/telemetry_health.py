"""Telemetry health: can the other dashboards be believed?"""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, WARNING
from observability.dashboards.panels import bars, lines, listing, number, timeline
from observability.dashboards.queries import Query, or_zero, threshold

JOBS = {
    "/^todo$/": BLUE,
    "/^gateway$/": ORANGE,
    "/^redis$/": VERMILLION,
    "/^postgres$/": PURPLE,
    "/^prometheus$/": SKY,
    "/^desk$/": GREEN,
}

NOW = Row(
    "Health of the telemetry",
    [
        number(
            "Targets down",
            "Targets that Prometheus cannot scrape. What they would tell is missing everywhere: start them again.",
            "none",
            "count(up == 0) or vector(0)",
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Slowest scrape",
            "Longest time that a target took to answer. Over five seconds, points go missing.",
            "s",
            "max(scrape_duration_seconds)",
            steps=((0, GOOD), (1, WARNING), (4, BAD)),
        ),
        number(
            "Series",
            "Series in Prometheus's memory. A climb under load means that some label is not bounded.",
            "short",
            "max(prometheus_tsdb_head_series)",
        ),
        number(
            "Rule failures, 5m",
            "Rules that could not be evaluated. "
            "If any, panels and alerts on them are blind: see the page of Prometheus's rules.",
            "short",
            or_zero("sum(increase(prometheus_rule_evaluation_failures_total[5m]))"),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Spans lost, 5m",
            "Spans that never reached the collector. Requests are not slowed by it; see whether Tempo is up.",
            "short",
            or_zero("sum(increase(telemetry_spans_dropped_total[5m]))"),
            steps=((0, GOOD), (1, WARNING)),
        ),
        number(
            "Exemplars",
            "Links from points to traces that Prometheus keeps. "
            "0 under traffic: no trace was kept, or the scrape drops them.",
            "short",
            or_zero("max(prometheus_tsdb_exemplar_exemplars_in_storage)"),
        ),
    ],
)

SCRAPES = Row(
    "Scrapes and rules",
    [
        timeline(
            "Targets by job",
            "Each job's reachable targets: all, some or none. None: its panels show what was last known, then nothing.",
            Query("(min by (job) (up) + max by (job) (up))", "{{job}}"),
            {0: ("none up", BAD), 1: ("some down", WARNING), 2: ("all up", GOOD)},
            width=8,
        ),
        lines(
            "Scrape duration by job",
            "Slowest target of each job. One that grows has too many series, or too little processor time.",
            "s",
            [Query("max by (job) (scrape_duration_seconds)", "{{job}}"), threshold("ScrapeSlow", "s")],
            colours=JOBS,
        ),
        bars(
            "Samples per scrape by job",
            "Samples that all targets of a job give at a scrape. Compare after a change: more labels cost memory.",
            "short",
            Query("sum by (job) (scrape_samples_post_metric_relabeling)", "{{job}}"),
        ),
        lines(
            "Rule evaluation time by group",
            "How long each group took last time. A group that nears the interval of five seconds comes late.",
            "s",
            [
                Query(
                    "max by (group) (label_replace(prometheus_rule_group_last_duration_seconds,"
                    ' "group", "$1", "rule_group", ".*;(.*)"))',
                    "{{group}}",
                )
            ],
        ),
        lines(
            "Series in memory and created",
            "Series held, and those created a second. Many new ones without a restart: "
            "a label that changes all the time.",
            "short",
            [
                Query("max(prometheus_tsdb_head_series)", "held", BLUE),
                Query(
                    or_zero("sum(rate(prometheus_tsdb_head_series_created_total[1m]))"), "created per second", ORANGE
                ),
            ],
        ),
        listing(
            "Scrape cost by job",
            "What each job costs and gives: targets up and asked, samples, and the slowest scrape.",
            "job",
            "Job",
            {
                "Up": ("none", "sum by (job) (up)"),
                "Asked": ("none", "count by (job) (up)"),
                "Samples": ("short", "sum by (job) (scrape_samples_scraped)"),
                "Slowest scrape": ("s", "max by (job) (scrape_duration_seconds)"),
            },
            sort_by="Slowest scrape",
            width=8,
        ),
    ],
)

TRACES = Row(
    "Traces and exemplars",
    [
        lines(
            "Trace sampling decisions",
            "Head: sampled as they began. Tail: failed or slow, kept as they ended. "
            "Many of the tail: something is wrong.",
            "reqps",
            [
                Query(or_zero(f'sum(rate(telemetry_traces_total{{decision="{decision}"}}[1m]))'), words, colour)
                for decision, words, colour in (
                    ("head", "sampled", BLUE),
                    ("tail", "kept since failed or slow", ORANGE),
                    ("none", "not traced", GREY),
                )
            ],
        ),
        lines(
            "Spans sent and received",
            "Sent counts what the collector acknowledged; Tempo is the lab's store of traces where there is none. "
            "0 from Tempo while sent is not: the collector is another, or Tempo is away.",
            "ops",
            [
                Query(or_zero("sum(rate(telemetry_spans_exported_total[1m]))"), "sent", BLUE),
                Query(
                    "sum(rate(tempo_distributor_spans_received_total[1m]))"
                    ' or sum(rate(tracestore_records_received_total{signal="traces"}[1m])) or vector(0)',
                    "Tempo received",
                    ORANGE,
                ),
            ],
        ),
        lines(
            "Spans lost by reason",
            "Queue full: more spans than can be sent. "
            "Export failed: the collector is away or refuses. No request waits for it.",
            "ops",
            [
                Query(
                    or_zero('sum(rate(telemetry_spans_dropped_total{reason="queue_full"}[1m]))'), "queue full", ORANGE
                ),
                Query(
                    or_zero('sum(rate(telemetry_spans_dropped_total{reason="export_failed"}[1m]))'),
                    "export failed",
                    VERMILLION,
                ),
            ],
        ),
        lines(
            "Exemplar rate",
            "Exemplars that Prometheus stores a second. "
            "0 under traffic: nothing was sampled, or exemplar storage is off.",
            "ops",
            [Query(or_zero("sum(rate(prometheus_tsdb_exemplar_exemplars_appended_total[1m]))"), "taken in", BLUE)],
        ),
        lines(
            "Data source errors",
            "Queries a second that Prometheus refused, and that Grafana saw fail. "
            "If any: a panel asks what cannot be answered.",
            "reqps",
            [
                Query(
                    or_zero(
                        'sum(rate(prometheus_http_requests_total{handler=~"/api/v1/query.*", code=~"4..|5.."}[1m]))'
                    ),
                    "Prometheus refused",
                    ORANGE,
                ),
                Query(
                    or_zero('sum(rate(grafana_datasource_request_total{code!~"2.."}[1m]))'),
                    "Grafana saw fail",
                    VERMILLION,
                ),
            ],
        ),
        lines(
            "Notifications",
            "Alerts that Prometheus hands on and that Alertmanager sends. "
            "Failed or dropped: nobody hears of what fires.",
            "ops",
            [
                Query(or_zero("sum(rate(prometheus_notifications_sent_total[1m]))"), "handed on", BLUE),
                Query(or_zero("sum(rate(prometheus_notifications_dropped_total[1m]))"), "dropped", VERMILLION),
                Query(or_zero("sum(rate(alertmanager_notifications_failed_total[1m]))"), "failed to send", ORANGE),
            ],
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="telemetry-health",
    title="Telemetry health",
    description=(
        "Can the other dashboards be believed: targets, scrapes, series, rules, spans, exemplars, data sources."
    ),
    rows=[NOW, SCRAPES, TRACES],
)
