"""The tables, as the statements of this package know them. service/migrations makes and changes them."""

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
    # of the request that created it: the same key again is the same task, not another
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

# Which request deleted what, kept for some minutes: a gateway whose replica died after the delete and before the
# answer asks the next replica, and that one finds that the request was already done.
deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("task_id", sa.Uuid, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False, index=True),
)

# One row. No cached value of an earlier epoch is believed.
cache_epoch = sa.Table(
    "cache_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("cluster_epoch", sa.BigInteger, nullable=False),
)

# The formats of cached values that are in use: two of them during a rolling deployment that changes it.
cache_formats = sa.Table(
    "cache_formats", metadata, sa.Column("format", sa.Integer, primary_key=True, autoincrement=False)
)

# The outbox: each change of a task, for each format, until the cache has taken it. A trigger fills it, so that a
# change is in it exactly when the change itself is committed.
task_changes = sa.Table(
    "task_changes",
    metadata,
    sa.Column("format", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("task_id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
