"""Requests: rate, errors and duration by route and status, with links to traces."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BLUE, ORANGE, PURPLE, ROUTES, SKY, STATUSES, VERMILLION
from observability.dashboards.panels import NO_REQUESTS, heatmap, lines, listing
from observability.dashboards.queries import Query, buckets, measured, or_zero, quantile, threshold
from observability.dashboards.tracing import LINE_FORMAT, log_lines

COUNT = "http_server_request_duration_seconds_count"
ON_ROUTE = 'http_route=~"$route", http_route!~"/health.*"'
DURATION = f"http_server_request_duration_seconds_bucket{{{ON_ROUTE}}}"


def _of_route(rule: str) -> str:
    return f'{rule}{{http_route=~"$route"}}'


BY_ROUTE = Row(
    "RED by route",
    [
        lines(
            "Request rate by route",
            "Requests per second of each route. If one route drops, look at its clients; if all drop at once, look "
            "at the gateway.",
            "reqps",
            [Query(_of_route("route:http_requests:rate1m"), "{{http_route}}")],
            is_stacked=True,
            colours=ROUTES,
            before=NO_REQUESTS,
        ),
        lines(
            "Error rate by route",
            "Share of each route's requests answered 5xx. Only writes fail: the database. All fail: the replicas.",
            "percentunit",
            [
                Query(_of_route("route:http_errors:ratio_rate1m"), "{{http_route}}"),
                threshold(
                    "ErrorRatioHigh",
                    "percentunit",
                    "threshold for all routes",
                    near="max(route:http_errors:ratio_rate1m)",
                ),
            ],
            colours=ROUTES,
            before=NO_REQUESTS,
        ),
        lines(
            "p95 latency by route",
            "One in twenty requests of the route takes longer. Compare with query latency on Database and hits on "
            "Cache.",
            "s",
            [Query(measured(_of_route("route:http_request_duration_seconds:p95")), "{{http_route}}")],
            colours=ROUTES,
            before=NO_REQUESTS,
        ),
        listing(
            "Slowest routes",
            "Routes by their current 99th percentile. Start with the one at the top, and open its traces below.",
            "http_route",
            "Route",
            {
                "Rate": ("reqps", _of_route("route:http_requests:rate1m")),
                "Error rate": ("percentunit", _of_route("route:http_errors:ratio_rate1m")),
                "p50": ("s", measured(_of_route("route:http_request_duration_seconds:p50"))),
                "p95": ("s", measured(_of_route("route:http_request_duration_seconds:p95"))),
                "p99": ("s", measured(_of_route("route:http_request_duration_seconds:p99"))),
            },
            sort_by="p99",
            # in each cell without a value
            before="n/a",
        ),
        lines(
            "Latency with traces",
            "Percentiles of the selected routes. Each point is a trace that was kept: open a high one to see where "
            "the time went.",
            "s",
            [
                Query(quantile(0.50, DURATION), "p50", SKY),
                Query(quantile(0.95, DURATION), "p95", BLUE),
                Query(quantile(0.99, DURATION), "p99", ORANGE, has_exemplars=True),
                threshold("LatencyP99High", "s", "p99 threshold"),
            ],
            width=12,
            before=NO_REQUESTS,
        ),
    ],
)

BY_STATUS = Row(
    "By status and method",
    [
        lines(
            "Request rate by status",
            "Responses per second of the selected routes by status code. 503: a dependency failed, or a limit was "
            "reached; 429: the rate limit.",
            "reqps",
            [
                Query(
                    f"sum by (http_response_status_code) (rate({COUNT}{{{ON_ROUTE}}}[1m]))",
                    "{{http_response_status_code}}",
                )
            ],
            is_stacked=True,
            colours=STATUSES,
            before=NO_REQUESTS,
        ),
        lines(
            "Request rate by method",
            "Reads and writes per second of the selected routes. More writes than usual invalidate the cached lists "
            "more often.",
            "reqps",
            [
                Query(
                    f"sum by (http_request_method) (rate({COUNT}{{{ON_ROUTE}}}[1m]))",
                    "{{http_request_method}}",
                )
            ],
            is_stacked=True,
            colours={"/^GET$/": BLUE, "/^POST$/": ORANGE, "/^PATCH$/": PURPLE, "/^DELETE$/": VERMILLION},
            before=NO_REQUESTS,
        ),
        lines(
            "Rate limit decisions",
            "Requests by decision of the rate limit. Rejected: a client is over its limit. Bypassed: Redis does not "
            "answer.",
            "reqps",
            [
                Query(or_zero(f'sum(rate(rate_limit_decisions_total{{decision="{decision}"}}[1m]))'), decision, colour)
                for decision, colour in (("allowed", BLUE), ("rejected", ORANGE), ("bypassed", VERMILLION))
            ],
        ),
    ],
)

SPREAD = Row(
    "Duration heatmaps",
    [
        heatmap(
            f"Duration heatmap: {route}",
            f"Requests per second to {words} by duration; each point opens a trace. "
            "A new band above the old one is a new kind of slow request.",
            Query(
                buckets(f'http_server_request_duration_seconds_bucket{{http_route="{route}"}}'),
                "{{le}}",
                has_exemplars=True,
            ),
        )
        for route, words in (("/tasks", "the list, and of new tasks,"), ("/tasks/{task_id}", "single tasks"))
    ],
)

LOGGED = Row(
    "Log lines",
    [
        log_lines(
            "Failed and slow requests",
            "One line for each request that failed or was slow, and for other warnings of the service: what failed, "
            "and why. Open a line for its labels and its trace.",
            '{service_name="todo"} | severity_number >= 13 | route=~"$route" ' + LINE_FORMAT,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="requests",
    title="Requests",
    description="Which route: rate, errors and duration by route and status, the slowest routes, and traces.",
    rows=[BY_ROUTE, BY_STATUS, SPREAD, LOGGED],
    variables=["route"],
)
