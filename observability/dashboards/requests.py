"""Requests: which route? Rate, errors and duration by route and status, down to traces."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BLUE, ORANGE, PURPLE, ROUTES, SKY, STATUSES, VERMILLION
from observability.dashboards.panels import heat, lines, listing
from observability.dashboards.queries import Query, quantile, threshold

ON_ROUTE = 'http_route=~"$route", http_route!~"/health.*"'
DURATION = f"http_server_request_duration_seconds_bucket{{{ON_ROUTE}}}"


def _of_route(rule: str) -> str:
    return f'{rule}{{http_route=~"$route"}}'


BY_ROUTE = Row(
    "By route",
    [
        lines(
            "Requests a second by route",
            "Rate of each route. A route that falls alone points at its clients; all at once at the gateway.",
            "reqps",
            [Query(_of_route("route:http_requests:rate1m"), "{{http_route}}")],
            is_stacked=True,
            colours=ROUTES,
        ),
        lines(
            "Failed requests by route (good: 0)",
            "Share of each route's requests answered 5xx. Only writes fail: the database. All fail: the replicas.",
            "percentunit",
            [Query(_of_route("route:http_errors:ratio_rate1m"), "{{http_route}}"), threshold("ErrorRatioHigh")],
            colours=ROUTES,
        ),
        lines(
            "95th percentile of duration by route (good: flat and low)",
            "One request in twenty of the route takes longer. "
            "Compare with query latency on Database and hits on Cache.",
            "s",
            [Query(_of_route("route:http_request_duration_seconds:p95"), "{{http_route}}")],
            colours=ROUTES,
        ),
        listing(
            "Slowest routes",
            "Routes by their 99th percentile now. Start with the one at the top, and open its traces below.",
            "http_route",
            "Route",
            {
                "Requests a second": ("reqps", _of_route("route:http_requests:rate1m")),
                "Failed": ("percentunit", _of_route("route:http_errors:ratio_rate1m")),
                "p50": ("s", _of_route("route:http_request_duration_seconds:p50")),
                "p95": ("s", _of_route("route:http_request_duration_seconds:p95")),
                "p99": ("s", _of_route("route:http_request_duration_seconds:p99")),
            },
            sort_by="p99",
        ),
        lines(
            "Durations with traces (points: open one)",
            "Percentiles of the chosen routes. "
            "Each point is a trace that was kept: open a high one to see where time went.",
            "s",
            [
                Query(quantile(0.50, DURATION), "p50", SKY),
                Query(quantile(0.95, DURATION), "p95", BLUE),
                Query(quantile(0.99, DURATION), "p99", ORANGE, has_exemplars=True),
                threshold("LatencyP99High", "threshold of p99"),
            ],
            width=12,
        ),
    ],
)

BY_STATUS = Row(
    "By status and method",
    [
        lines(
            "Answers by status (bad: 5xx; 429: rejected)",
            "Answers a second of the chosen routes by status code. "
            "503 says a dependency or a bound turned requests away.",
            "reqps",
            [
                Query(
                    "sum by (http_response_status_code)"
                    f" (rate(http_server_request_duration_seconds_count{{{ON_ROUTE}}}[1m]))",
                    "{{http_response_status_code}}",
                )
            ],
            is_stacked=True,
            colours=STATUSES,
        ),
        lines(
            "Requests by method",
            "Reads and writes a second of the chosen routes. More writes than usual empty the list cache more often.",
            "reqps",
            [
                Query(
                    "sum by (http_request_method) "
                    f"(rate(http_server_request_duration_seconds_count{{{ON_ROUTE}}}[1m]))",
                    "{{http_request_method}}",
                )
            ],
            is_stacked=True,
            colours={"/^GET$/": BLUE, "/^POST$/": ORANGE, "/^PATCH$/": PURPLE, "/^DELETE$/": VERMILLION},
        ),
        lines(
            "Rate limit (bad: rejected or bypassed rise)",
            "Requests by what the rate limit said. Rejected: a client is over its limit. "
            "Bypassed: Redis does not answer.",
            "reqps",
            [
                Query(
                    f'sum(rate(rate_limit_decisions_total{{decision="{decision}"}}[1m])) or vector(0)', decision, colour
                )
                for decision, colour in (("allowed", BLUE), ("rejected", ORANGE), ("bypassed", VERMILLION))
            ],
        ),
    ],
)

SPREAD = Row(
    "How durations are spread, route by route",
    [
        heat(
            f"Durations of {route} (bad: a second band above)",
            f"Requests a second to {words} in each span of duration. "
            "A new band above the old one is a new way to be slow.",
            f'route:http_request_duration_seconds_bucket:rate1m{{http_route="{route}"}}',
        )
        for route, words in (("/tasks", "the list, and of new tasks,"), ("/tasks/{task_id}", "single tasks"))
    ],
)

DASHBOARD = Dashboard(
    uid="requests",
    title="Requests",
    description="Which route: rate, errors and duration by route and status, the slowest routes, and traces.",
    rows=[BY_ROUTE, BY_STATUS, SPREAD],
    variables=["route"],
)
