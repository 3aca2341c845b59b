"""Cache and Redis: hit ratio and latency of the cache, and the state of its Redis Cluster."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.machine import part_memory
from observability.dashboards.palette import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    IDLE,
    NUMBERED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WARNING,
)
from observability.dashboards.panels import bars, lines, number, timeline
from observability.dashboards.queries import Query, bound, by_replica, measured, or_zero, threshold

BREAKER_STATES = {0: ("closed", GOOD), 1: ("half-open", WARNING), 2: ("open", BAD)}


def _of_node(metric: str) -> str:
    return f'{metric}{{node=~"$node"}}'


CACHE = Row(
    "Cache: hits, errors, latency",
    [
        lines(
            "Cache hit ratio",
            "Share of reads answered by the cache. At 0 the cache is unavailable. Below the dashed line under "
            "traffic: see the runbook of CacheHitRatioLow.",
            "percentunit",
            [
                Query('max(cache:requests:hit_ratio1m{cache="task"})', "tasks", BLUE),
                Query('max(cache:requests:hit_ratio1m{cache="list"})', "lists", ORANGE),
                threshold("CacheHitRatioLow", "percentunit", "tasks threshold"),
            ],
            most=1,
            before="no reads in this time",
        ),
        lines(
            "Hit ratio since start",
            "Share of hits among all reads since the process started. It rises after a cold start and then stays; a "
            "slow fall means that keys are evicted or invalidated too often.",
            "percentunit",
            [
                Query(
                    by_replica('sum by (instance) (cache_requests_total{result="hit"})')
                    + " / ("
                    + by_replica("sum by (instance) (cache_requests_total)")
                    + " > 0)",
                    "{{replica}}",
                )
            ],
            most=1,
            colours=NUMBERED,
            before="no reads since the start",
        ),
        lines(
            "Cache reads by result",
            "Reads per second. Bypass: the circuit breaker is open and the database answers. Error: Redis failed or "
            "was too slow.",
            "reqps",
            [
                Query(or_zero(f'sum(cache:requests:rate1m{{result="{result}"}})'), result, colour)
                for result, colour in (("hit", BLUE), ("miss", SKY), ("bypass", ORANGE), ("error", VERMILLION))
            ],
            is_stacked=True,
        ),
        lines(
            "p95 cache latency",
            "Latency of Redis operations as the replicas measure it, including the network. Near 50 ms, operations "
            "time out.",
            "s",
            [
                Query(
                    measured(f'max(operation:cache_operation_duration_seconds:p95{{operation="{operation}"}})'),
                    operation,
                    colour,
                )
                for operation, colour in (("get", BLUE), ("set", ORANGE), ("invalidate", PURPLE))
            ],
            before="no operations in this time",
        ),
        timeline(
            "Circuit breaker",
            "Open: the replica works without Redis, reads go to the database and the rate limit is not enforced. "
            "Fix Redis first.",
            Query(by_replica('max by (instance) (circuit_breaker_state{dependency="redis"})', "max"), "{{replica}}"),
            BREAKER_STATES,
            width=8,
        ),
        lines(
            "Cache epochs raised",
            "How often in five minutes a replica invalidated the whole cache because single invalidations were "
            "lost. Good is 0.",
            "short",
            [Query(by_replica("increase(cache_epoch_raised_total[5m])"), "{{replica}}")],
            colours=NUMBERED,
        ),
    ],
)

CLUSTER = Row(
    "Redis Cluster",
    [
        number(
            "Nodes up",
            "Redis nodes that answer the exporter; good is 6. If fewer: the panel Role by node shows which, and "
            "whether a replica was promoted.",
            "none",
            or_zero("sum(redis_up)"),
            steps=((0, BAD), (4, WARNING), (6, GOOD)),
        ),
        number(
            "Cluster",
            "Whether every reachable node reports the cluster state as ok. Failed: some slots have no primary, so "
            "their keys are unavailable.",
            "none",
            or_zero("min(redis_cluster_state)"),
            steps=((0, BAD), (1, GOOD)),
            states={0: ("failed", BAD), 1: ("ok", GOOD)},
        ),
        number(
            "Slots",
            "Slots with a healthy primary, out of 16,384, in the view of the node that sees the fewest.",
            "none",
            or_zero("min(redis_cluster_slots_ok)"),
            steps=((0, BAD), (16384, GOOD)),
        ),
        number(
            "Keys",
            "Keys on the primaries. A drop to almost 0 is a flush or a lost node: expect cache misses.",
            "short",
            # a restarted node has two info series for a while; without `sum by (node)` the join would fail
            or_zero('sum(sum by (node) (redis_db_keys) and on (node) redis_instance_info{role="master"})'),
        ),
        number(
            "Evictions",
            "Keys evicted because memory was full. If there are any: add memory, or shorten the TTL.",
            "short",
            or_zero("sum(increase(redis_evicted_keys_total[5m]))"),
            steps=((0, GOOD), (1, WARNING)),
        ),
        number(
            "Replica lag",
            "Longest time since a replica last received data from its primary. If it grows, a failover would lose "
            "writes.",
            "s",
            or_zero("max(redis_connected_slave_lag_seconds)"),
            steps=((0, GOOD), (5, WARNING), (10, BAD)),
        ),
        timeline(
            "Role by node",
            "Each node as primary, replica or down; a change is a failover. A replica that becomes primary replaces "
            "one that failed.",
            Query(
                'max by (node) (redis_instance_info{node=~"$node", role="master"}) * 2'
                ' or max by (node) (redis_instance_info{node=~"$node", role="slave"})'
                ' or 0 * max by (node) (up{job="redis", node=~"$node"})',
                "{{node}}",
            ),
            {0: ("down", BAD), 1: ("replica", SKY), 2: ("primary", BLUE)},
            height=9,
        ),
        timeline(
            "Replication link by node",
            "Whether a replica is connected to its primary. If down for long, its data is too old for a failover.",
            Query(
                'min by (node) (redis_master_link_up{node=~"$node"}) + 1'
                ' or 0 * max by (node) (up{job="redis", node=~"$node"})',
                "{{node}}",
            ),
            {0: ("no link: primary, or unreachable", IDLE), 1: ("down", BAD), 2: ("up", GREEN)},
            height=9,
        ),
    ],
)

NODES = Row(
    "USE by node: utilization, saturation, errors",
    [
        lines(
            "Command rate by node",
            "Commands per second on each node. One primary far above the others has a hot key.",
            "ops",
            [Query(f"sum by (node) (rate({_of_node('redis_commands_processed_total')}[1m]))", "{{node}}")],
            colours=NUMBERED,
        ),
        lines(
            "Memory by node",
            "Memory in use on each node; the lowest limit is in the legend and is drawn once a node comes near it. "
            "At the limit, keys are evicted.",
            "bytes",
            [
                Query(f"max by (node) ({_of_node('redis_memory_used_bytes')})", "{{node}}"),
                bound("min(redis_memory_max_bytes > 0)", "bytes", near="max(redis_memory_used_bytes)"),
            ],
            colours=NUMBERED,
        ),
        bars(
            "Keys by node",
            "Keys on each node now. A primary and its replica have the same number; the primaries should have "
            "similar numbers.",
            "short",
            Query(
                f'sum by (node) ({_of_node("redis_db_keys")}) or 0 * max by (node) (up{{job="redis", node=~"$node"}})',
                "{{node}}",
            ),
        ),
        lines(
            "Evictions by node",
            "Keys per second that each node evicts for lack of memory; expired keys are normal and shown as one "
            "line. Good is 0.",
            "ops",
            [
                Query(f"sum by (node) (rate({_of_node('redis_evicted_keys_total')}[1m]))", "evicted on {{node}}"),
                Query(or_zero("sum(rate(redis_expired_keys_total[1m]))"), "expired, all nodes", GREY),
            ],
            colours=NUMBERED,
        ),
        lines(
            "Connections by node",
            "Client connections of each node. A steady rise is a leak; a sudden drop is a node that lost its clients.",
            "short",
            [Query(f"max by (node) ({_of_node('redis_connected_clients')})", "{{node}}")],
            colours=NUMBERED,
        ),
        lines(
            "CPU utilization by node",
            "CPU time relative to one core, because Redis runs commands on a single thread. Near 100 % the node is "
            "saturated.",
            "percentunit",
            [
                Query(
                    f"sum by (node) (rate({_of_node('redis_cpu_user_seconds_total')}[1m])"
                    f" + rate({_of_node('redis_cpu_sys_seconds_total')}[1m]))",
                    "{{node}}",
                )
            ],
            colours=NUMBERED,
            most=1,
        ),
        part_memory("redis-.*", "Resident memory by node", width=24),
    ],
)

DASHBOARD = Dashboard(
    uid="cache-redis",
    title="Cache and Redis",
    description=(
        "Hit ratio, operation latency and breaker as the replicas see them; nodes, slots, memory and keys of Redis."
    ),
    rows=[CACHE, CLUSTER, NODES],
    variables=["replica", "node"],
)
