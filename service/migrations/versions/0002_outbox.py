"""The outbox of changes, filled by a trigger; and columns for idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NOTE = """
INSERT INTO task_changes (format, task_id, version) SELECT format, {row}.id, {version} FROM cache_formats WHERE true
ON CONFLICT DO NOTHING;
"""
FUNCTION = f"""
CREATE FUNCTION note_task_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN {NOTE.format(row="OLD", version="OLD.version + 1")}
  ELSE {NOTE.format(row="NEW", version="NEW.version")}
  END IF;
  RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER note_task_change AFTER INSERT OR UPDATE OR DELETE ON tasks
FOR EACH ROW EXECUTE FUNCTION note_task_change()
"""


def upgrade() -> None:
    """Only adds, so that replicas of 0.1.0 keep working during the deployment."""
    op.add_column("tasks", sa.Column("idempotency_key", sa.Text))
    op.add_column("tasks", sa.Column("idempotency_body", sa.Text))
    has_key = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "tasks_idempotency_key",
        "tasks",
        ["idempotency_key"],
        unique=True,
        postgresql_where=has_key,
        sqlite_where=has_key,
    )
    op.create_table("cache_formats", sa.Column("format", sa.Integer, primary_key=True, autoincrement=False))
    op.create_table(
        "task_changes",
        sa.Column("format", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("task_id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(FUNCTION)
        op.execute(TRIGGER)
        return
    for event, row, version in (
        ("INSERT", "NEW", "NEW.version"),
        ("UPDATE", "NEW", "NEW.version"),
        ("DELETE", "OLD", "OLD.version + 1"),
    ):
        note = NOTE.format(row=row, version=version)
        op.execute(f"CREATE TRIGGER note_task_{event.lower()} AFTER {event} ON tasks BEGIN {note} END")
