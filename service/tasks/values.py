"""The form of a cached task: `epoch:version:due:` and its JSON, all of it under a key that carries the form's number.

With an empty body it says that there is no such task. With the body `?` it says only that nothing older than its
version is to be believed or kept.
"""

from typing import NamedTuple
from uuid import UUID

from service.infrastructure.cluster import Script

# To be raised with every change of what a key holds, so that replicas of two releases never read each other's values.
FORMAT = 2
UNKNOWN = b"?"
PAGES_KEY = f"{{tasks:{FORMAT}}}:pages"


def task_key(task_id: UUID | str) -> str:
    """The key of a task."""
    return f"task:{FORMAT}:{task_id}"


class Value(NamedTuple):
    """What is cached of a task."""

    epoch: int
    version: int
    due_ms: int
    """When it is to be refreshed, in milliseconds since 1970."""
    body: bytes


def write_value(epoch: int, version: int, due_ms: int, body: bytes) -> bytes:
    """The value as it is cached."""
    return b"%d:%d:%d:%b" % (epoch, version, due_ms, body)


def read_value(task_id: str, text: bytes) -> Value | None:
    """The value of a task's key. None for what this service cannot have put there for this task."""
    try:
        epoch, version, due_ms, body = text.split(b":", 3)
        value = Value(int(epoch), int(version), int(due_ms), body)
    except ValueError:
        return None
    is_task = body.startswith(b'{"id":"%b"' % task_id.encode()) and body.endswith(b"}")
    return value if is_task or body in (b"", UNKNOWN) else None


def newest(old: bytes | None, epoch: int, version: int) -> tuple[int, bool]:
    """What `SET_NEWEST` decides: the epoch to write, and whether to write at all."""
    try:
        old_epoch, old_version = map(int, (old or b"").split(b":", 2)[:2])
    except ValueError:
        return epoch, True
    return max(epoch, old_epoch), old_version <= version


# A value of a higher version stays, and so does the higher epoch. What is no value of ours gives way.
_OLD = """
local epoch, version = tonumber(ARGV[1]), tonumber(ARGV[2])
local old = redis.pcall('GETRANGE', KEYS[1], 0, 40)
local old_epoch, old_version = string.match(type(old) == 'string' and old or '', '^(%d+):(%d+):')
if old_version then
  if tonumber(old_version) {refuses} version then return 0 end
  epoch = math.max(epoch, tonumber(old_epoch))
end
redis.call('SET', KEYS[1], string.format('%d:%d:', epoch, version) .. ARGV[3], 'PX', ARGV[4])
return 1
"""
SET_NEWEST = Script(_OLD.replace("{refuses}", ">"))
# of the same version, what is there is as good
INVALIDATE = Script(_OLD.replace("{refuses}", ">="))
# what is no value of ours, unless it has changed since it was read
DISCARD = Script("if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
SET = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")
