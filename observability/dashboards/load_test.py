"""Load test: what the generator saw outside, beside what the service saw inside, and where the limit was."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, GREEN, IDLE, NUMBERED, ORANGE, SKY, STATUSES, VERMILLION
from observability.dashboards.panels import heat, lines, number, timeline
from observability.dashboards.queries import Query, by_replica, or_zero, quantile, threshold

SERVED = 'http_server_request_duration_seconds_bucket{http_route!~"/health.*"}'

NOW = Row(
    "The load now",
    [
        number(
            "Aimed at",
            "Requests a second that the profile wants now; 0 while no load runs.",
            "reqps",
            or_zero("max(load_target_rate)"),
            decimals=1,
        ),
        number(
            "Answered without error",
            "Requests a second that came back well. Far under what is aimed at: look where the limit is, below.",
            "reqps",
            or_zero('sum(load:requests:rate1m{result="ok"})'),
            decimals=1,
        ),
        number(
            "Failed for the client (good: 0)",
            "Share of requests that failed as the client saw it, over a minute. The server's side is beside it below.",
            "percentunit",
            'sum(load:requests:rate1m{result="error"}) / (sum(load:requests:rate1m) > 0) or vector(0)',
            steps=((0, GOOD), (0.001, BAD)),
        ),
        number(
            "95th percentile for the client",
            "From when a request was due, so that waiting to be sent counts too.",
            "s",
            "load:request_duration_seconds:p95",
            steps=((0, GOOD), (0.1, ORANGE), (0.5, BAD)),
        ),
        number(
            "Users",
            "Concurrent users that the generator keeps; each has at most one request under way.",
            "short",
            or_zero("max(load_users)"),
        ),
        number(
            "Generator (good: has room)",
            "Whether the generator itself is the bottleneck. If saturated, the figures tell of it, not of the service.",
            "none",
            or_zero("max(load_generator_saturated)"),
            steps=((0, GOOD), (1, BAD)),
            states={0: ("has room", GOOD), 1: ("saturated", BAD)},
        ),
    ],
)

OUTSIDE_INSIDE = Row(
    "Outside beside inside",
    [
        lines(
            "Offered and answered (bad: they part)",
            "Requests a second that came due, that were answered, and that the replicas saw. "
            "Where they part, is the loss.",
            "reqps",
            [
                Query("load:requests_offered:rate1m", "offered", SKY),
                Query(or_zero("sum(load:requests:rate1m)"), "answered", BLUE),
                Query("http:requests:rate1m", "seen by the replicas", ORANGE, is_dashed=True),
                Query(or_zero("max(load_target_rate)"), "aimed at", VERMILLION, is_dashed=True),
            ],
            width=12,
        ),
        lines(
            "95th percentile outside and inside (bad: they part)",
            "The client's view from when a request was due, and the replicas' own. "
            "The gap is queueing before the replica.",
            "s",
            [
                Query("load:request_duration_seconds:p95", "outside", ORANGE),
                Query(quantile(0.95, SERVED), "inside", BLUE, has_exemplars=True),
            ],
            width=12,
        ),
        lines(
            "Slowest 1 % outside and inside",
            "99th percentiles; the dashed line is where an alert is raised. Outside alone: gateway or generator.",
            "s",
            [
                Query("load:request_duration_seconds:p99", "outside", ORANGE),
                Query("http:request_duration_seconds:p99", "inside", BLUE),
                threshold("LatencyP99High"),
            ],
        ),
        lines(
            "Failures outside and inside (good: 0)",
            "Share of failed requests. Failed outside and not inside: connections that never reached a replica.",
            "percentunit",
            [
                Query(
                    'sum(load:requests:rate1m{result="error"}) / (sum(load:requests:rate1m) > 0) or vector(0)',
                    "outside",
                    ORANGE,
                ),
                Query("http:errors:ratio_rate1m", "inside", BLUE),
            ],
        ),
        lines(
            "Answers by status (429: rejected)",
            "What the replicas answered a second. 429 belongs to profile abuse; 503 marks the limit.",
            "reqps",
            [Query("status:http_requests:rate1m", "{{http_response_status_code}}")],
            is_stacked=True,
            colours=STATUSES,
        ),
        heat(
            "Latency outside, spread (bad: a second band above)",
            "Requests a second in each span of latency, from when they were due.",
            "load:request_duration_seconds_bucket:rate1m",
        ),
        heat(
            "Duration inside, spread (bad: a second band above)",
            "The replicas' own durations over the same time, to lay beside the client's.",
            "http:request_duration_seconds_bucket:rate1m",
        ),
    ],
)

LIMIT = Row(
    "Where the limit was",
    [
        lines(
            "Processor time of the replicas (limit: 100 %)",
            "Share of what each replica may use. First to reach 100 %: the replicas are the limit; add some.",
            "percentunit",
            [Query('replica:process_cpu:ratio_rate1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
        ),
        lines(
            "Requests in flight against the bound",
            "At the dashed line replicas turn requests away: the limit is behind them, or in them.",
            "short",
            [
                Query(by_replica("http_server_active_requests"), "{{replica}}"),
                Query("min(http_server_active_requests_limit) or vector(0)", "bound", VERMILLION, is_dashed=True),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Database pool in use (limit: 100 %)",
            "Share of each replica's pool in use. At 100 % the database is the limit.",
            "percentunit",
            [
                Query(
                    by_replica(
                        'sum by (instance) (db_client_connection_count{db_client_connection_state="used"})'
                        " / sum by (instance) (db_client_connection_max)"
                    ),
                    "{{replica}}",
                )
            ],
            colours=NUMBERED,
        ),
        lines(
            "Generator's lag (good: under 10 ms)",
            "How late requests start. It grows: the generator is the limit; use --workers or another machine.",
            "s",
            [Query(or_zero("max(load_generator_lag_seconds)"), "lag", ORANGE)],
        ),
        lines(
            "Hit ratio under this load (good: high)",
            "Share of reads that the cache answered. A profile of misses puts the load on the database.",
            "percentunit",
            [Query("cache:requests:hit_ratio1m_all", "hits", GREEN)],
            most=1,
        ),
        timeline(
            "Phase of the load",
            "When a load ran, and by which profile. Use it to line up the panels above.",
            Query(
                'max by (profile, phase) (load_phase_info{phase!="idle"})'
                ' or 0 * max by (profile, phase) (load_phase_info{phase="idle"})',
                "{{profile}} {{phase}}",
            ),
            {0: ("idle", IDLE), 1: ("running", BLUE)},
            width=8,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="load-test",
    title="Load test",
    description=(
        "The client's view beside the service's: offered and answered, latency outside and inside, and the limit."
    ),
    rows=[NOW, OUTSIDE_INSIDE, LIMIT],
    variables=["replica"],
)
