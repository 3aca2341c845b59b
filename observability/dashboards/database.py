"""Database: latency and errors of queries, and how close PostgreSQL is to its limits."""

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.machine import part_cpu, part_memory
from observability.dashboards.palette import BAD, BLUE, GOOD, GREEN, NUMBERED, ORANGE, PURPLE, SKY, VERMILLION, WARNING
from observability.dashboards.panels import bars, heatmap, lines, number, timeline
from observability.dashboards.queries import ZERO, Query, bound, buckets, by_replica, measured, or_zero, threshold

OPERATIONS = (("SELECT", BLUE), ("INSERT", ORANGE), ("UPDATE", PURPLE), ("DELETE", VERMILLION))
OURS = 'datname!~"template.*"'

REPLICAS = Row(
    "Queries, as the replicas see them",
    [
        number(
            "Server",
            "Whether the exporter reaches PostgreSQL. Down: cached reads succeed, everything else is answered 503; "
            "start PostgreSQL.",
            "none",
            or_zero("min(pg_up)"),
            steps=((0, BAD), (1, GOOD)),
            states={0: ("down", BAD), 1: ("up", GOOD)},
        ),
        number(
            "Query p95",
            "Highest 95th percentile among the operations. If high: look for locks and for an exhausted pool below.",
            "s",
            measured("max(operation:db_client_operation_duration_seconds:p95)"),
            steps=((0, GOOD), (0.05, WARNING), (0.5, BAD)),
            before="no queries",
        ),
        number(
            "Pool used",
            "Connections in use relative to the limit, on the replica with the fullest pool; good is under 80 %. At "
            "100 % queries wait for a connection.",
            "percentunit",
            or_zero(
                'max(sum by (instance) (db_client_connection_count{db_client_connection_state="used"})'
                " / sum by (instance) (db_client_connection_max))"
            ),
            steps=((0, GOOD), (0.8, WARNING), (1, BAD)),
        ),
        number(
            "Slots used",
            "Share of PostgreSQL's max_connections in use. Near 100 % new replicas cannot connect.",
            "percentunit",
            or_zero("sum(pg_stat_database_numbackends) / max(pg_settings_max_connections)"),
            steps=((0, GOOD), (0.8, WARNING), (0.95, BAD)),
        ),
        number(
            "Buffer hits",
            "Share of blocks found in PostgreSQL's memory over five minutes; good is over 99 %. "
            "Low: more shared_buffers.",
            "percentunit",
            "database:block_hits:ratio_rate5m",
            steps=((0, BAD), (0.9, WARNING), (0.99, GOOD)),
            before="no reads",
        ),
        number(
            "Deadlocks",
            "Transactions that PostgreSQL aborted because they waited for each other; good is 0. If there are any: "
            "PostgreSQL's log has the statements.",
            "short",
            "database:deadlocks:increase5m",
            steps=((0, GOOD), (1, BAD)),
        ),
        lines(
            "p95 latency by operation",
            "Includes the wait for a connection. All rise: pool or disk. Only writes rise: a lock.",
            "s",
            [
                Query(
                    measured(f'max(operation:db_client_operation_duration_seconds:p95{{db_operation_name="{name}"}})'),
                    name,
                    colour,
                )
                for name, colour in OPERATIONS
            ]
            + [threshold("DatabaseSlow", "s")],
            before="no queries in this time",
        ),
        lines(
            "Query rate by operation",
            "Statements per second by kind. More SELECT than usual: the cache does not answer. None under traffic: "
            "the circuit breaker is open.",
            "ops",
            [
                Query(
                    or_zero(f'sum(operation:db_client_operations:rate1m{{db_operation_name="{name}"}})'),
                    name,
                    colour,
                )
                for name, colour in OPERATIONS
            ],
            is_stacked=True,
        ),
        lines(
            "Pool connections in use",
            "Connections in use in each replica's pool. At the limit queries wait, and all latencies rise.",
            "short",
            [
                Query(by_replica('db_client_connection_count{db_client_connection_state="used"}'), "{{replica}}"),
                bound(
                    "min(db_client_connection_max)",
                    near='max(db_client_connection_count{db_client_connection_state="used"})',
                ),
            ],
            colours=NUMBERED,
        ),
        heatmap(
            "Query duration heatmap",
            "Queries per second by duration. A band near two seconds is the statement timeout.",
            Query(buckets("db_client_operation_duration_seconds_bucket"), "{{le}}"),
            before="no queries in this time",
        ),
        timeline(
            "Circuit breaker",
            "Open: the replica answers 503 immediately instead of waiting. It closes once the database answers again.",
            Query(by_replica('max by (instance) (circuit_breaker_state{dependency="database"})', "max"), "{{replica}}"),
            {0: ("closed", GOOD), 1: ("half-open", WARNING), 2: ("open", BAD)},
        ),
    ],
)

SERVER = Row(
    "PostgreSQL server",
    [
        lines(
            "Transaction rate",
            "Transactions per second. Rollbacks together with errors at the replicas: see PostgreSQL's log.",
            "ops",
            [
                Query("database:commits:rate1m", "committed", BLUE),
                Query("database:rollbacks:rate1m", "rolled back", VERMILLION),
            ],
        ),
        lines(
            "Connections by state",
            "Connections by activity. Idle in transaction holds locks while nothing runs: find the client that did "
            "not commit.",
            "short",
            [
                Query(or_zero('sum(pg_stat_activity_count{state="active"})'), "active", BLUE),
                Query(or_zero('sum(pg_stat_activity_count{state="idle"})'), "idle", SKY),
                Query(
                    or_zero('sum(pg_stat_activity_count{state=~"idle in transaction.*"})'),
                    "idle in transaction",
                    VERMILLION,
                ),
            ],
            is_stacked=True,
        ),
        lines(
            "Longest transaction",
            "Age of the oldest open transaction; good is under a second. One that never ends blocks other "
            "transactions and vacuum.",
            "s",
            [Query(or_zero("max(pg_stat_activity_max_tx_duration)"), "longest", ORANGE)],
            is_log=False,
        ),
        bars(
            "Locks by mode",
            "Locks in the service's database now. An access exclusive lock that stays blocks every query on its "
            "table: find the session that holds it.",
            "short",
            Query(
                f'sum by (mode) (pg_locks_count{{{OURS}}}) > 0 or on () label_replace({ZERO}, "mode", "none", "", "")',
                "{{mode}}",
            ),
            has_names_above=True,
        ),
        lines(
            "Rows written",
            "Rows inserted, updated and deleted per second, as counted by PostgreSQL.",
            "ops",
            [
                Query(f"database:rows_{name}:rate1m", name, colour)
                for name, colour in (("inserted", ORANGE), ("updated", PURPLE), ("deleted", VERMILLION))
            ],
        ),
        part_cpu("postgres", "PostgreSQL CPU"),
        part_memory("postgres", "PostgreSQL memory", width=12),
        lines(
            "Size on disk",
            "Size of the databases in bytes. It grows with the number of tasks; a jump without new tasks is bloat.",
            "bytes",
            [Query(f"sum(pg_database_size_bytes{{{OURS}}})", "size", GREEN)],
            width=12,
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="database",
    title="Database",
    description=(
        "Query latency, pool and breaker as the replicas see them; transactions, connections and locks of PostgreSQL."
    ),
    rows=[REPLICAS, SERVER],
    variables=["replica"],
)
