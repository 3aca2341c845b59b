"""Overview: is the service healthy? For a wall screen or the first look on call; fits 1,920 x 1,080 in kiosk mode."""

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
from observability.dashboards.panels import NO_REQUESTS, NO_REQUESTS_YET, bars, gauge, heatmap, lines, number
from observability.dashboards.queries import (
    REAL_ALERTS,
    SERVED,
    Query,
    buckets,
    measured,
    or_zero,
    quantile,
    share_of_replicas,
    threshold,
)

BUDGET_STEPS = ((0, BAD), (0.1, WARNING), (0.5, GOOD))

NOW = Row(
    "Health",
    [
        number(
            "Alerts",
            "Pages and tickets that are firing. Above 0: Alert tuning shows which, and its runbook says what to do.",
            "none",
            or_zero(f'count(ALERTS{{alertstate="firing", {REAL_ALERTS}}})'),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Requests",
            "Requests per second that the replicas answer, without health checks. 0 while clients send: look at the "
            "gateway.",
            "reqps",
            "http:requests:rate1m",
            decimals=1,
        ),
        number(
            "Error rate",
            "Share of requests answered 5xx over one minute; good is under 0.1 %. If it rises, Requests shows the "
            "route and Database the usual cause.",
            "percentunit",
            "http:errors:ratio_rate1m",
            steps=((0, GOOD), (0.001, WARNING), (0.01, BAD)),
            before="no requests",
        ),
        number(
            "p99",
            "99th percentile of request durations over one minute; good is under 100 ms. If it rises, Requests "
            "shows which route.",
            "s",
            measured("http:request_duration_seconds:p99"),
            steps=((0, GOOD), (0.1, WARNING), (0.5, BAD)),
            before="no requests",
        ),
        number(
            "Hit ratio",
            "Share of reads that the cache answered over one minute. If low, see Cache and Redis.",
            "percentunit",
            "cache:requests:hit_ratio1m_all",
            steps=((0, WARNING), (0.5, GOOD)),
            before="no reads",
        ),
        number(
            "Replicas up",
            "Replicas that Prometheus can scrape. If fewer than were started, see Replicas and gateway.",
            "none",
            or_zero('sum(up{job="todo"})'),
            steps=((0, BAD), (1, WARNING), (2, GOOD)),
        ),
    ],
)

REQUESTS = Row(
    "RED: rate, errors, duration",
    [
        lines(
            "Request rate by status",
            "Responses per second by status code. 5xx are server errors; many 429 mean that the rate limit rejects "
            "clients.",
            "reqps",
            [Query("status:http_requests:rate1m", "{{http_response_status_code}}")],
            is_stacked=True,
            colours=STATUSES,
            height=7,
            before=NO_REQUESTS,
        ),
        lines(
            "5xx error rate",
            "Share of requests answered 5xx. Above the dashed line for long enough, an alert fires: follow its "
            "runbook.",
            "percentunit",
            [
                Query("http:errors:ratio_rate1m", "error rate", ORANGE),
                threshold("ErrorRatioHigh", "percentunit", near="max(http:errors:ratio_rate1m)"),
            ],
            height=7,
            before=NO_REQUESTS,
        ),
        lines(
            "Latency",
            "Percentiles over one minute. All rise: saturation. Only p99 rises: one route or replica.",
            "s",
            [
                Query(measured("http:request_duration_seconds:p50"), "p50", SKY),
                Query(measured("http:request_duration_seconds:p95"), "p95", BLUE),
                Query(quantile(0.99, SERVED), "p99", ORANGE),
                threshold("LatencyP99High", "s", "p99 threshold"),
            ],
            height=7,
            before=NO_REQUESTS,
        ),
        heatmap(
            "Request duration heatmap",
            "Requests per second by duration; each point opens a trace. Two bands are cache hits and misses; a band "
            "near a time limit is a timeout.",
            # not a recording rule: recorded series have no exemplars
            Query(buckets(SERVED), "{{le}}", has_exemplars=True),
            height=6,
        ),
        lines(
            "Hit ratio by cache",
            "Share of reads answered by the cache. "
            "A drop to 0: the cache is unavailable; a slow rise from 0: a cold start.",
            "percentunit",
            [
                Query('max(cache:requests:hit_ratio1m{cache="task"})', "tasks", BLUE),
                Query('max(cache:requests:hit_ratio1m{cache="list"})', "lists", ORANGE),
                threshold("CacheHitRatioLow", "percentunit", "tasks threshold"),
            ],
            most=1,
            width=6,
            height=6,
            before="no reads in this time",
        ),
        lines(
            "Traffic share by replica",
            "Share of the requests that each replica answers, while there is traffic. Lines that diverge: one "
            "replica is slow, or has just started.",
            "percentunit",
            [share_of_replicas()],
            colours=NUMBERED,
            most=1,
            width=6,
            height=6,
            before="no traffic in this time",
        ),
    ],
)

STACK = Row(
    "Budget and saturation",
    [
        gauge(
            "Error budget",
            "Share of the errors allowed in three days that is still available; negative: overspent. Below 10 %: no "
            "risky change until it recovers. While the gateway is down nothing is counted: GatewayDown covers that.",
            "percentunit",
            "max(slo:availability:error_budget_remaining)",
            most=1,
            steps=BUDGET_STEPS,
            width=5,
            height=6,
            before=NO_REQUESTS_YET,
        ),
        gauge(
            "Latency budget",
            "Share of the slow reads allowed in three days that is still available; negative: overspent. Below "
            "10 %: find what became slower.",
            "percentunit",
            "max(slo:latency:error_budget_remaining)",
            most=1,
            steps=BUDGET_STEPS,
            width=5,
            height=6,
            before=NO_REQUESTS_YET,
        ),
        lines(
            "CPU utilization by replica",
            "CPU time relative to what one event loop can use: one core, or the replica's limit if that is lower. "
            "Near 100 % it is saturated: add replicas.",
            "percentunit",
            [Query('replica:process_cpu:ratio_rate1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
            most=1,
            width=7,
            height=6,
        ),
        bars(
            "Targets up",
            "Targets of each job that Prometheus can scrape; for Redis, nodes that answer. A job at 0 is down, or "
            "cannot be scraped.",
            "none",
            Query(
                # `up` of a Redis node is its exporter's, which is up even if the node is down
                "sum by (job) (up unless on (job, instance) redis_up == 0) or 0 * max by (job) (up)",
                "{{job}}",
            ),
            steps=((0, VERMILLION), (1, GREEN)),
            has_least_first=True,
            width=7,
            height=6,
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
