"""Replicas and gateway: is the load shared, and has each replica room to breathe?"""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    NUMBERED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WARNING,
)
from observability.dashboards.panels import lines, number
from observability.dashboards.queries import Query, by_replica, or_zero, threshold

BALANCE = Row(
    "Balance",
    [
        number(
            "Imbalance (good: 1)",
            "The highest share over the mean share: 1 is perfect balance, 3 of three replicas is one doing all.",
            "none",
            "replica:http_requests:imbalance1m",
            steps=((0, GOOD), (1.25, WARNING), (1.5, BAD)),
            decimals=2,
        ),
        number(
            "Replicas up",
            "Replicas that Prometheus reaches. If fewer than were started, see restarts below and the replica's log.",
            "none",
            or_zero('sum(up{job="todo"})'),
            steps=((0, BAD), (1, WARNING), (2, GOOD)),
        ),
        number(
            "Youngest replica (bad: new)",
            "Time since the newest process started. Small without a deployment: something restarts; see its log.",
            "s",
            or_zero("min(time() - replica:process_start_time_seconds:max)"),
        ),
        number(
            "Turned away, 5 min (good: 0)",
            "Answered 503 at once, since too many were in flight. If any: more replicas, or find what got slow.",
            "short",
            or_zero("sum(increase(http_server_requests_shed_total[5m]))"),
            steps=((0, GOOD), (1, BAD)),
        ),
        number(
            "Gateway's connections",
            "Open client connections at nginx. At its limit new clients wait.",
            "short",
            or_zero("sum(nginx_connections_active)"),
        ),
        number(
            "Gateway up",
            "Whether the gateway's exporter reaches nginx. Down: clients see connection errors; start it again.",
            "none",
            or_zero("min(nginx_up)"),
            steps=((0, BAD), (1, GOOD)),
            states={0: ("down", BAD), 1: ("up", GOOD)},
        ),
        lines(
            "Share of each replica (good: equal)",
            "Part of the requests that each replica answers. One below the others is slow or just started.",
            "percentunit",
            [Query('replica:http_requests:share1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
        ),
        lines(
            "Imbalance against the alert's threshold (good: 1)",
            "The highest share over the mean. "
            "Above the dashed line one replica carries too much: compare their durations.",
            "none",
            [Query("replica:http_requests:imbalance1m", "imbalance", BLUE), threshold("ReplicaImbalance")],
        ),
        lines(
            "95th percentile of duration by replica (good: alike)",
            "One replica far above the others is overloaded, throttled or on a slow machine.",
            "s",
            [Query('replica:http_request_duration_seconds:p95{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
        ),
    ],
)

ROOM = Row(
    "Room to breathe",
    [
        lines(
            "Processor time against its limit (bad: near 100 %)",
            "Share of the processor time that the replica may use. Near 100 % it is saturated: add replicas.",
            "percentunit",
            [Query('replica:process_cpu:ratio_rate1m{replica=~"$replica"}', "{{replica}}")],
            colours=NUMBERED,
        ),
        lines(
            "Held back at the processor limit (good: 0)",
            "Part of the time in which the cgroup held the replica back. "
            "Above the dashed line requests wait for the limit.",
            "percentunit",
            [
                Query(by_replica("rate(process_cpu_throttled_seconds_total[1m])"), "{{replica}}"),
                threshold("CPUThrottled"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Memory against its limit (bad: climbs, or near 100 %)",
            "Resident memory over the limit. A steady climb is a leak; at the limit the replica is killed.",
            "percentunit",
            [
                Query(
                    by_replica('process_resident_memory_bytes{job="todo"} / on (instance) process_memory_limit_bytes'),
                    "{{replica}}",
                ),
                threshold("MemoryNearLimit"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Event loop lag, 99th percentile (good: under 10 ms)",
            "How late timers run. High: something blocks the loop, or the processor is full, and every request waits.",
            "s",
            [
                Query('replica:event_loop_lag_seconds:p99{replica=~"$replica"}', "{{replica}}"),
                threshold("EventLoopLagHigh"),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Requests in flight against the bound",
            "Requests that a replica works on. At the dashed line new ones are turned away with 503.",
            "short",
            [
                Query(by_replica("http_server_active_requests"), "{{replica}}"),
                Query("min(http_server_active_requests_limit) or vector(0)", "bound", VERMILLION, is_dashed=True),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Restarts in 10 minutes (good: 0)",
            "How often each replica's process began anew. "
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
            "Requests at the gateway and at the replicas (good: alike)",
            "What nginx takes in, health checks of others included, beside what the replicas answer. "
            "A gap is lost between.",
            "reqps",
            [
                Query("sum(rate(nginx_http_requests_total[1m])) or vector(0)", "gateway", BLUE),
                Query("http:requests:rate1m", "replicas", ORANGE, is_dashed=True),
            ],
        ),
        lines(
            "Connections at the gateway",
            "Open connections by what they do. Many writing: clients or replicas are slow. "
            "Many waiting: idle keepalive.",
            "short",
            [
                Query(f"sum(nginx_connections_{state}) or vector(0)", state, colour)
                for state, colour in (("reading", GREEN), ("writing", ORANGE), ("waiting", SKY))
            ],
            is_stacked=True,
        ),
        lines(
            "Trouble at the gateway (good: 0)",
            "Upstream errors, requests tried again elsewhere, and 5xx answers, a second. "
            "Retries without 5xx: clients saw none.",
            "reqps",
            [
                Query("sum(rate(gateway_upstream_errors_total[1m])) or vector(0)", "upstream errors", VERMILLION),
                Query("sum(rate(gateway_upstream_retries_total[1m])) or vector(0)", "retries", SKY),
                Query("sum(rate(gateway_responses_5xx_total[1m])) or vector(0)", "answers 5xx", PURPLE),
            ],
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="replicas-gateway",
    title="Replicas and gateway",
    description="Balance of the load, processor, memory and event loop of each replica, and the gateway before them.",
    rows=[BALANCE, ROOM, GATEWAY],
    variables=["replica"],
)
