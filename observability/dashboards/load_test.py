"""Load test: the client's view next to the server's, and where the bottleneck is."""

from lab.panels import NOT_MEASURED
from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.machine import machine
from observability.dashboards.palette import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    IDLE,
    NUMBERED,
    ORANGE,
    PURPLE,
    SKY,
    STATUSES,
    VERMILLION,
)
from observability.dashboards.panels import NO_REQUESTS, heatmap, lines, number, timeline
from observability.dashboards.queries import (
    SERVED,
    SHOWN,
    Query,
    bound,
    buckets,
    by_replica,
    counted,
    gateway_errors,
    measured,
    quantile,
    share_of_replicas,
    threshold,
)

NO_LOAD = "no load in this time"
CLIENT = "load:request_duration_seconds_bucket:rate1m"
FAILED = "load:errors:ratio_rate1m"

NOW = Row(
    "Load now",
    [
        number(
            "Target rate",
            "Requests per second that the load profile schedules now; 0 while no load runs.",
            "reqps",
            "load:target_rate",
            decimals=1,
        ),
        number(
            "Goodput",
            "Requests per second that were answered without an error. Far below the target rate: see the saturation "
            "panels below.",
            "reqps",
            'sum(load:requests:rate1m{result="answered"})',
            decimals=1,
        ),
        number(
            "Error rate",
            "Share of requests that failed or were dropped, over one minute; good is 0. The panel Error rate below "
            "compares it with the server's view.",
            "percentunit",
            FAILED,
            steps=((0, GOOD), (0.001, BAD)),
            before="no load",
        ),
        number(
            "Client p95",
            "95th percentile of latency, measured from the time at which a request was due, so that queueing in the "
            "generator counts too.",
            "s",
            measured("load:request_duration_seconds:p95"),
            steps=((0, GOOD), (0.1, ORANGE), (0.5, BAD)),
            before="no load",
        ),
        number(
            "Users",
            "Concurrent users of the generator; each has at most one request in flight.",
            "short",
            "load:users",
        ),
        number(
            "Generator",
            "Whether the load generator is the bottleneck. If it is saturated, the results describe the generator "
            "rather than the service.",
            "none",
            "load:generator_saturated",
            steps=((0, GOOD), (1, BAD)),
            states={0: ("has room", GOOD), 1: ("saturated", BAD)},
        ),
    ],
)

OUTSIDE_INSIDE = Row(
    "RED: client beside server",
    [
        lines(
            "Request rate: client, server",
            "Requests per second that were due, that were answered, and that the replicas received. Where the lines "
            "diverge, requests are lost or wait.",
            "reqps",
            [
                Query("load:requests_offered:rate1m", "offered", SKY),
                Query('sum(load:requests:rate1m{result="answered"})', "answered", BLUE),
                Query("http:requests:rate1m", "seen by the replicas", ORANGE),
                Query("load:target_rate", "target", PURPLE),
            ],
        ),
        lines(
            "Failed and dropped requests",
            "Requests per second that failed, and that were dropped because no user was free to send them; good is 0.",
            "reqps",
            [
                Query('sum(load:requests:rate1m{result="failed"})', "failed", VERMILLION),
                Query('sum(load:requests:rate1m{result="dropped"})', "dropped", PURPLE),
            ],
        ),
        lines(
            "Outstanding requests",
            "Requests that were due and have no response yet. If it grows: the service hangs, or there are too few "
            "users.",
            "short",
            [Query("load:requests_outstanding", "outstanding", ORANGE)],
        ),
        lines(
            "Error rate: client, server",
            "Share of failed requests. If the client sees failures that the server does not: connections that never "
            "reached a replica.",
            "percentunit",
            [
                Query(FAILED, "client", ORANGE),
                Query("http:errors:ratio_rate1m", "server", BLUE),
            ],
            before=NO_LOAD,
        ),
        lines(
            "p95 latency: client, server",
            "Client: from the time at which a request was due. Server: measured by the replicas. The difference is "
            "queueing before the replica.",
            "s",
            [
                Query(measured("load:request_duration_seconds:p95"), "client", ORANGE),
                Query(quantile(0.95, SERVED), "server", BLUE),
            ],
            before=NO_LOAD,
        ),
        lines(
            "p99 latency: client, server",
            "99th percentiles; the dashed line is the alert threshold. If only the client's rises: gateway or "
            "generator.",
            "s",
            [
                Query(measured("load:request_duration_seconds:p99"), "client", ORANGE),
                Query(measured("http:request_duration_seconds:p99"), "server", BLUE),
                threshold("LatencyP99High", "s", "server threshold"),
            ],
            before=NO_LOAD,
        ),
        lines(
            "Response rate by status",
            "Responses per second of the replicas, by status. 429 is expected with the profile abuse; 503 shows the "
            "limit of the stack.",
            "reqps",
            [Query("status:http_requests:rate1m", "{{http_response_status_code}}")],
            is_stacked=True,
            colours=STATUSES,
            width=8,
            before=NO_REQUESTS,
        ),
        heatmap(
            "Client latency heatmap",
            "Requests per second by latency, measured from the time at which they were due. A second band above is "
            "a new kind of slow request.",
            Query(counted(f"{CLIENT}{{{SHOWN}}}", f'{CLIENT}{{le="+Inf"}}'), "{{le}}"),
            width=8,
            before=NO_LOAD,
        ),
        heatmap(
            "Server duration heatmap",
            "Durations measured by the replicas over the same time, for comparison with the client's; a point opens "
            "a trace.",
            Query(buckets(SERVED), "{{le}}", has_exemplars=True),
            width=8,
        ),
    ],
)

LIMIT = Row(
    "Saturation: where the limit was",
    [
        lines(
            "CPU utilization by replica",
            "CPU time relative to what one event loop can use: one core, or the replica's limit if that is lower. "
            "If this reaches 100 % first, the replicas are the bottleneck: add some.",
            "percentunit",
            [Query('replica:process_cpu:ratio_rate1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
            most=1,
        ),
        lines(
            "CPU throttling by replica",
            "Share of time in which the cgroup throttled the replica; good is 0. Above the threshold requests wait "
            "because of the CPU limit.",
            "percentunit",
            [
                Query(by_replica("rate(process_cpu_throttled_seconds_total[1m])"), "{{replica}}"),
                threshold("CPUThrottled", "percentunit", near="max(rate(process_cpu_throttled_seconds_total[1m]))"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "p99 event loop lag",
            "How late timers run; good is under 10 ms. High: something blocks the loop, or the CPU is saturated.",
            "s",
            [
                Query('replica:event_loop_lag_seconds:p99{replica=~"$replica"}', "{{replica}}"),
                threshold("EventLoopLagHigh", "s"),
            ],
            colours=NUMBERED,
            before=NOT_MEASURED,
        ),
        lines(
            "Traffic share by replica",
            "Share of the requests that each replica answers, while there is traffic. Good is equal shares: a "
            "replica below the others is slow.",
            "percentunit",
            [share_of_replicas()],
            colours=NUMBERED,
            most=1,
            before="no traffic in this time",
        ),
        lines(
            "In-flight requests",
            "Requests that each replica is processing. At the limit, which is drawn once a replica comes near it, "
            "new requests are shed with 503.",
            "short",
            [
                Query(by_replica("http_server_active_requests"), "{{replica}}"),
                bound("min(http_server_active_requests_limit)", near="max(http_server_active_requests)"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Gateway errors and retries",
            "Upstream errors, requests retried on another replica, and 5xx responses, per second; good is 0. "
            "Retries without 5xx: clients noticed nothing.",
            "reqps",
            gateway_errors(),
        ),
        lines(
            "Database pool utilization",
            "Share of each replica's pool in use. At 100 % the database is the bottleneck.",
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
            most=1,
        ),
        lines(
            "Cache hit ratio",
            "Share of reads that the cache answered. A profile with many misses puts the load on the database.",
            "percentunit",
            [Query("cache:requests:hit_ratio1m_all", "hit ratio", GREEN)],
            most=1,
            before="no reads in this time",
        ),
        lines(
            "Generator lag",
            "Age of the oldest request that waits to be sent; good is under 10 ms. If it grows, the generator is "
            "the bottleneck: use --users, --workers or another machine.",
            "s",
            [Query(measured("load:generator_lag_seconds"), "lag", ORANGE)],
            before=NO_LOAD,
        ),
        *machine(),
        timeline(
            "Load phase",
            "When a load ran, and in which phase. Use it to line up the panels above.",
            Query("max by (phase) (load:phase)", "{{phase}}"),
            {0: ("idle", IDLE), 1: ("running", BLUE)},
            width=24,
            height=8,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="load-test",
    title="Load test",
    description=(
        "The client's view beside the server's: offered and answered, latency outside and inside, and the limit."
    ),
    rows=[NOW, OUTSIDE_INSIDE, LIMIT],
    variables=["replica"],
)
