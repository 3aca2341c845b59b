"""Telemetry health: can the other dashboards be trusted?"""

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
            "Down",
            "Targets that Prometheus cannot scrape. Their metrics are missing on all dashboards: start them again.",
            "none",
            or_zero("count(up == 0)"),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Scrape",
            "Longest time that a target took to answer. Beyond the timeout of four seconds, samples are lost.",
            "s",
            "max(scrape_duration_seconds)",
            steps=((0, GOOD), (1, WARNING), (4, BAD)),
        ),
        number(
            "Series",
            "Series in Prometheus' memory. A rise under load means that a label has unbounded values.",
            "short",
            "max(prometheus_tsdb_head_series)",
        ),
        number(
            "Rule errors",
            "Rules that could not be evaluated. If there are any, their panels and alerts have no data: see "
            "Prometheus' rules page.",
            "short",
            or_zero("sum(increase(prometheus_rule_evaluation_failures_total[5m]))"),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Lost spans",
            "Spans that never reached the collector. Requests are not slowed down by it; check whether Tempo is up.",
            "short",
            or_zero("sum(increase(telemetry_spans_dropped_total[5m]))"),
            steps=((0, GOOD), (1, WARNING)),
        ),
        number(
            "Exemplars",
            "Links from samples to traces that Prometheus keeps. 0 under traffic: no trace was kept, or scrapes "
            "drop the exemplars.",
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
            "Each job's reachable targets: all, some or none. None: its panels show the last known values, then "
            "nothing.",
            Query("(min by (job) (up) + max by (job) (up))", "{{job}}"),
            {0: ("none up", BAD), 1: ("some down", WARNING), 2: ("all up", GOOD)},
            width=8,
        ),
        lines(
            "Scrape duration by job",
            "Slowest target of each job. If it grows: too many series, or too little CPU time.",
            "s",
            [Query("max by (job) (scrape_duration_seconds)", "{{job}}"), threshold("ScrapeSlow", "s")],
            colours=JOBS,
        ),
        bars(
            "Samples per scrape by job",
            "Samples that all targets of a job return per scrape. Compare after a change: more labels cost memory.",
            "short",
            Query("sum by (job) (scrape_samples_post_metric_relabeling)", "{{job}}"),
        ),
        lines(
            "Rule evaluation time by group",
            "Duration of each group's last evaluation. A group that takes nearly its interval of five seconds is late.",
            "s",
            [
                Query(
                    "max by (group) (label_replace(prometheus_rule_group_last_duration_seconds,"
                    ' "group", "$1", "rule_group", ".*;(.*)"))',
                    "{{group}}",
                )
            ],
            width=7,
        ),
        lines(
            "Series in memory and created",
            "Series in memory, and series created per second. Many new ones without a restart: a label whose value "
            "keeps changing.",
            "short",
            [
                Query("max(prometheus_tsdb_head_series)", "held", BLUE),
                Query(
                    or_zero("sum(rate(prometheus_tsdb_head_series_created_total[1m]))"), "created per second", ORANGE
                ),
            ],
            width=7,
        ),
        listing(
            "Scrape cost by job",
            "Cost of each job: targets up, all targets, samples, and the slowest scrape.",
            "job",
            "Job",
            {
                "Up": ("none", "sum by (job) (up)"),
                "Asked": ("none", "count by (job) (up)"),
                "Samples": ("short", "sum by (job) (scrape_samples_scraped)"),
                "Slowest": ("s", "max by (job) (scrape_duration_seconds)"),
            },
            sort_by="Slowest",
            heading_pixels=120,
            width=10,
        ),
    ],
)

TRACES = Row(
    "Traces and exemplars",
    [
        lines(
            "Trace sampling decisions",
            "Head: sampled when the request started. Tail: kept when it ended, because it failed or was slow. Many "
            "tail decisions: something is wrong.",
            "reqps",
            [
                Query(or_zero(f'sum(rate(telemetry_traces_total{{decision="{decision}"}}[1m]))'), words, colour)
                for decision, words, colour in (
                    ("head", "sampled", BLUE),
                    ("tail", "kept: failed or slow", ORANGE),
                    ("none", "not traced", GREY),
                )
            ],
        ),
        lines(
            "Spans sent and received",
            "Sent counts what the collector acknowledged; without Tempo, the second line is the lab's trace store. "
            "If it is 0 while sent is not: another collector is configured, or Tempo is down.",
            "ops",
            [
                Query(or_zero("sum(rate(telemetry_spans_exported_total[1m]))"), "sent", BLUE),
                Query(
                    or_zero(
                        "sum(rate(tempo_distributor_spans_received_total[1m]))"
                        ' or sum(rate(tracestore_records_received_total{signal="traces"}[1m]))'
                    ),
                    "Tempo received",
                    ORANGE,
                ),
            ],
        ),
        lines(
            "Spans lost by reason",
            "Queue full: more spans than can be sent. "
            "Export failed: the collector is away or refuses; no request waits for it. "
            "Rejected: it took the batch, but not these spans.",
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
                Query(or_zero('sum(rate(telemetry_spans_dropped_total{reason="rejected"}[1m]))'), "rejected", PURPLE),
            ],
        ),
        lines(
            "Exemplar rate",
            "Exemplars per second that Prometheus stores. 0 under traffic: nothing was sampled, or exemplar storage "
            "is off.",
            "ops",
            [Query(or_zero("sum(rate(prometheus_tsdb_exemplar_exemplars_appended_total[1m]))"), "taken in", BLUE)],
        ),
        lines(
            "Data source errors",
            "Queries per second that Prometheus rejected, and that failed in Grafana. If there are any: a panel has "
            "an invalid query.",
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
            "Alerts that Prometheus sends to Alertmanager, and notifications that Alertmanager failed to send. "
            "Failed or dropped: nobody is notified of firing alerts.",
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
        "Can the other dashboards be trusted? Targets, scrapes, series, rules, spans, exemplars, data sources."
    ),
    rows=[NOW, SCRAPES, TRACES],
)
