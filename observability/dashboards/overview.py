"""Overview: is it well? What to look at on a wall, or first at night."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    NUMBERED,
    ORANGE,
    SKY,
    STATUSES,
    VERMILLION,
    WARNING,
)
from observability.dashboards.panels import bars, dial, heat, lines, number
from observability.dashboards.queries import REAL_ALERTS, Query, or_zero, quantile, threshold

BUDGET_STEPS = ((0, BAD), (0.1, WARNING), (0.5, GOOD))

NOW = Row(
    "Is it well?",
    [
        number(
            "Alerts firing (good: 0)",
            "Pages and tickets that are firing. If any: Alert tuning shows which, and its runbook what to do.",
            "none",
            f'count(ALERTS{{alertstate="firing", {REAL_ALERTS}}}) or vector(0)',
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Requests a second",
            "Requests that the replicas answer, health checks not counted. "
            "0 while clients are there: look at the gateway.",
            "reqps",
            "http:requests:rate1m",
            decimals=1,
        ),
        number(
            "Failed (good: under 0.1 %)",
            "Share of requests answered 5xx over a minute. "
            "If it rises, Requests shows the route and Database the usual cause.",
            "percentunit",
            "http:errors:ratio_rate1m",
            steps=((0, GOOD), (0.001, WARNING), (0.01, BAD)),
        ),
        number(
            "p99 (good: under 100 ms)",
            "99th percentile of request durations over a minute. If it rises, see which route on Requests.",
            "s",
            "http:request_duration_seconds:p99",
            steps=((0, GOOD), (0.1, WARNING), (0.5, BAD)),
        ),
        number(
            "Cache hit ratio (good: high)",
            "Share of reads that the cache answered over a minute; 100 % while nobody reads. "
            "If low, see Cache and Redis.",
            "percentunit",
            "cache:requests:hit_ratio1m_all",
            steps=((0, WARNING), (0.5, GOOD)),
        ),
        number(
            "Replicas up",
            "Replicas that Prometheus reaches. If fewer than were started, see Replicas and gateway.",
            "none",
            or_zero('sum(up{job="todo"})'),
            steps=((0, BAD), (1, WARNING), (2, GOOD)),
        ),
    ],
)

REQUESTS = Row(
    "Requests",
    [
        lines(
            "Requests by status (bad: 5xx)",
            "Answers a second by status code. 5xx is ours to mend; a surge of 429 means that the rate limit rejects.",
            "reqps",
            [Query("status:http_requests:rate1m", "{{http_response_status_code}}")],
            is_stacked=True,
            colours=STATUSES,
        ),
        lines(
            "Failed requests against the alert's threshold",
            "Share of requests answered 5xx. Above the dashed line for long enough, an alert fires: "
            "follow its runbook.",
            "percentunit",
            [Query("http:errors:ratio_rate1m", "failed", ORANGE), threshold("ErrorRatioHigh")],
        ),
        lines(
            "Request duration (good: flat and low)",
            "Percentiles over a minute; the points are traces to open. All rise: saturation. "
            "Only p99: one route or replica.",
            "s",
            [
                Query("http:request_duration_seconds:p50", "p50", SKY),
                Query("http:request_duration_seconds:p95", "p95", BLUE),
                # exemplars belong to the service's own series, which no recording rule carries on
                Query(
                    quantile(0.99, 'http_server_request_duration_seconds_bucket{http_route!~"/health.*"}'),
                    "p99",
                    ORANGE,
                    has_exemplars=True,
                ),
                threshold("LatencyP99High", "threshold of p99"),
            ],
        ),
        heat(
            "How request durations are spread (bad: a second band above)",
            "Requests a second in each span of duration. "
            "Two bands are hits and misses; a band near a time limit is a time-out.",
            "http:request_duration_seconds_bucket:rate1m",
        ),
        lines(
            "Cache hit ratio by cache (good: high and flat)",
            "Share of reads answered by the cache. "
            "A fall to 0 is a cache that is away; a slow rise from 0 is a cold start.",
            "percentunit",
            [
                Query('max(cache:requests:hit_ratio1m{cache="task"})', "single tasks", BLUE),
                Query('max(cache:requests:hit_ratio1m{cache="list"})', "lists", ORANGE),
                threshold("CacheHitRatioLow"),
            ],
            most=1,
            width=12,
        ),
    ],
)

STACK = Row(
    "The stack",
    [
        lines(
            "Share of each replica (good: equal)",
            "Part of the requests that each replica answers. Lines that part: one replica is slow, or just started.",
            "percentunit",
            [Query('replica:http_requests:share1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
            width=9,
        ),
        dial(
            "Availability budget left",
            "Part of the errors allowed in three days that is still unspent. "
            "Below 10 %: no risky change until it recovers.",
            "percentunit",
            or_zero("max(slo:availability:error_budget_remaining)"),
            most=1,
            steps=BUDGET_STEPS,
            height=8,
        ),
        dial(
            "Latency budget left",
            "Part of the slow reads allowed in three days that is still unspent. Below 10 %: find what got slower.",
            "percentunit",
            or_zero("max(slo:latency:error_budget_remaining)"),
            most=1,
            steps=BUDGET_STEPS,
            height=8,
        ),
        bars(
            "Running now (bad: a part at 0)",
            "Reachable targets of each job as Prometheus sees it. A part at 0 is down, or cannot be scraped.",
            "none",
            Query("sum by (job) (up)", "{{job}}"),
            steps=((0, VERMILLION), (1, GREEN)),
            width=7,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="overview",
    title="Overview",
    description="Is it well: rates, errors, durations, cache, balance, error budget, alerts, and what is running.",
    rows=[NOW, REQUESTS, STACK],
    variables=["replica"],
)
