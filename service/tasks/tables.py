"""The tables, for the statements of this package. `service/migrations` creates and changes them."""

import sqlalchemy as sa

metadata = sa.MetaData()

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    # the idempotency key of the request that created the task: a retry with the same key creates no second task
    sa.Column("idempotency_key", sa.Text),
    sa.Column("idempotency_body", sa.Text),
    sa.Index("tasks_done_id", "done", "id"),
    sa.Index(
        "tasks_idempotency_key",
        "idempotency_key",
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    ),
)

# Which request deleted which task, kept for ten minutes. If a replica dies after a delete and before its response, the
# gateway repeats the request at another replica, which finds here that it was already done.
deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("task_id", sa.Uuid, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False, index=True),
)

# One row. Cached values of an earlier epoch are misses.
cache_epoch = sa.Table(
    "cache_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("cluster_epoch", sa.BigInteger, nullable=False),
)

# The formats of cached values that are in use: two during a rolling deployment that changes the format.
cache_formats = sa.Table(
    "cache_formats", metadata, sa.Column("format", sa.Integer, primary_key=True, autoincrement=False)
)

# The outbox: each change of a task, for each format, until the cache has taken it. A trigger inserts the rows, in the
# transaction of the change itself.
task_changes = sa.Table(
    "task_changes",
    metadata,
    sa.Column("format", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("task_id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
