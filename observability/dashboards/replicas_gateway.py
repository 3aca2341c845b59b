"""Replicas and gateway: is the load balanced, and how close is each replica to its limits?"""

from lab.panels import NOT_MEASURED
from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.machine import part_cpu, part_memory
from observability.dashboards.palette import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    NUMBERED,
    ORANGE,
    SKY,
    WARNING,
)
from observability.dashboards.panels import NO_REQUESTS, lines, number
from observability.dashboards.queries import (
    TRAFFIC,
    Query,
    bound,
    by_replica,
    gateway_errors,
    measured,
    or_zero,
    share_of_replicas,
    threshold,
)

DEVIATION = 'max by (replica) (alert_signal{alert="ReplicaImbalance", replica=~"$replica"})'
# with only a few requests, shares are random
ENOUGH_TO_SHARE = f"replica:http_requests:imbalance1m and on () {TRAFFIC}"

BALANCE = Row(
    "Balance",
    [
        number(
            "Imbalance",
            "The highest traffic share relative to the mean: 1 is perfect balance; 3 with three replicas means that "
            "one gets everything.",
            "none",
            ENOUGH_TO_SHARE,
            steps=((0, GOOD), (1.25, WARNING), (1.5, BAD)),
            decimals=2,
            before="no traffic",
        ),
        number(
            "Replicas up",
            "Replicas that Prometheus can scrape. If fewer than were started, see restarts below and the replica's "
            "log.",
            "none",
            or_zero('sum(up{job="todo"})'),
            steps=((0, BAD), (1, WARNING), (2, GOOD)),
        ),
        number(
            "Min uptime",
            "Time since the newest process started. If it is small without a deployment, something restarts; see "
            "its log.",
            "s",
            "min(time() - replica:process_start_time_seconds:max)",
        ),
        number(
            "Shed, 5m",
            "Requests answered 503 immediately because too many were in flight; good is 0. If there are any: add "
            "replicas, or find what became slow.",
            "short",
            or_zero("sum(increase(http_server_requests_shed_total[5m]))"),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Clients",
            "Open client connections of nginx. At its limit new clients wait.",
            "short",
            or_zero("sum(nginx_connections_active)"),
        ),
        number(
            "nginx up",
            "Whether the gateway's exporter reaches nginx. Down: clients get connection errors; start it again.",
            "none",
            or_zero("min(nginx_up)"),
            steps=((0, BAD), (1, GOOD)),
            states={0: ("down", BAD), 1: ("up", GOOD)},
        ),
        lines(
            "Traffic share by replica",
            "Share of the requests that each replica answers, while there is traffic. A replica below the others is "
            "slow or has just started.",
            "percentunit",
            [share_of_replicas()],
            colours=NUMBERED,
            most=1,
            before="no traffic in this time",
        ),
        lines(
            "Imbalance by replica",
            "How far each replica's request rate is from the mean, in either direction; good is 0, and 100 % is a "
            "replica that gets nothing. Above the dashed line, compare the replicas' latencies.",
            "percentunit",
            [
                Query(f"{DEVIATION} and on () {TRAFFIC}", "{{replica}}"),
                threshold("ReplicaImbalance", "percentunit"),
            ],
            colours=NUMBERED,
            before="no traffic in this time",
        ),
        lines(
            "p95 latency by replica",
            "One replica far above the others is overloaded, throttled or on a slow machine.",
            "s",
            [Query(measured('replica:http_request_duration_seconds:p95{replica=~"$replica"}'), "{{replica}}")],
            colours=NUMBERED,
            before=NO_REQUESTS,
        ),
    ],
)

ROOM = Row(
    "USE by replica: utilization, saturation, errors",
    [
        lines(
            "CPU utilization by replica",
            "CPU time relative to what one event loop can use: one core, or the replica's limit if that is lower. "
            "Near 100 % it is saturated: add replicas.",
            "percentunit",
            [Query('replica:process_cpu:ratio_rate1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
            most=1,
        ),
        lines(
            "CPU throttling by replica",
            "Share of time in which the cgroup throttled the replica; good is 0. Above the dashed line requests "
            "wait because of the CPU limit.",
            "percentunit",
            [
                Query(by_replica("rate(process_cpu_throttled_seconds_total[1m])"), "{{replica}}"),
                threshold("CPUThrottled", "percentunit", near="max(rate(process_cpu_throttled_seconds_total[1m]))"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Memory utilization by replica",
            "Resident memory relative to the limit. A steady rise is a leak; at the limit the replica is killed.",
            "percentunit",
            [
                Query(
                    by_replica('process_resident_memory_bytes{job="todo"} / on (instance) process_memory_limit_bytes'),
                    "{{replica}}",
                ),
                threshold("MemoryNearLimit", "percentunit"),
            ],
            colours=NUMBERED,
            most=1,
        ),
        lines(
            "p99 event loop lag",
            "How late timers run; good is under 10 ms. High: "
            "something blocks the loop, or the CPU is saturated, and every request waits.",
            "s",
            [
                Query('replica:event_loop_lag_seconds:p99{replica=~"$replica"}', "{{replica}}"),
                threshold("EventLoopLagHigh", "s"),
            ],
            colours=NUMBERED,
            before=NOT_MEASURED,
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
            "Restarts, 10m",
            "How often each replica's process restarted; good is 0. "
            "Without a deployment: killed for memory, or crashed; see its log.",
            "short",
            [
                Query(
                    'changes(replica:process_start_time_seconds:max{replica=~"$replica"}[10m])',
                    "{{replica}}",
                )
            ],
            colours=NUMBERED,
        ),
    ],
)

GATEWAY = Row(
    "Gateway",
    [
        lines(
            "Request rate: gateway, replicas",
            "Requests that nginx receives, including health checks from outside, and requests that the replicas "
            "answer. The difference is lost in between.",
            "reqps",
            [
                Query(or_zero("sum(rate(nginx_http_requests_total[1m]))"), "gateway", BLUE),
                Query("http:requests:rate1m", "replicas", ORANGE),
            ],
        ),
        lines(
            "Connections by state",
            "Open connections by activity. Many writing: clients or replicas are slow. Many waiting: idle keepalive "
            "connections.",
            "short",
            [
                Query(or_zero(f"sum(nginx_connections_{state})"), state, colour)
                for state, colour in (("reading", GREEN), ("writing", ORANGE), ("waiting", SKY))
            ],
            is_stacked=True,
        ),
        lines(
            "Gateway errors and retries",
            "Upstream errors, requests retried on another replica, and 5xx responses, per second; good is 0. "
            "Retries without 5xx: clients noticed nothing.",
            "reqps",
            gateway_errors(),
        ),
        part_cpu("gateway", "Gateway CPU", width=12),
        part_memory("gateway", "Gateway memory", width=12),
    ],
)

DASHBOARD = Dashboard(
    uid="replicas-gateway",
    title="Replicas and gateway",
    description="Balance of the load, processor, memory and event loop of each replica, and the gateway before them.",
    rows=[BALANCE, ROOM, GATEWAY],
    variables=["replica"],
)
