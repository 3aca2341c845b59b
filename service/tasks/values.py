"""The format of cached tasks: `epoch:version:due:` and then the task as JSON. The key contains the format's number.

An empty body means that there is no such task. The body `?` holds no value: it is a miss, and only keeps values older
than its version out of the cache.
"""

from typing import NamedTuple
from uuid import UUID

from service.infrastructure.cluster import Script

# Raise it with every change of the format, so that replicas of two releases never read each other's values.
FORMAT = 2
UNKNOWN = b"?"
PAGES_KEY = f"{{tasks:{FORMAT}}}:pages"


def task_key(task_id: UUID | str) -> str:
    """The cache key of a task."""
    return f"task:{FORMAT}:{task_id}"


class Value(NamedTuple):
    """A parsed cache value."""

    epoch: int
    version: int
    due_ms: int
    """When to refresh it, in milliseconds since 1970."""
    body: bytes


def write_value(epoch: int, version: int, due_ms: int, body: bytes) -> bytes:
    """Encodes a value."""
    return b"%d:%d:%d:%b" % (epoch, version, due_ms, body)


def read_value(task_id: str, text: bytes) -> Value | None:
    """Decodes the value of a task's key. None if this service cannot have written it for this task."""
    try:
        epoch, version, due_ms, body = text.split(b":", 3)
        value = Value(int(epoch), int(version), int(due_ms), body)
    except ValueError:
        return None
    is_task = body.startswith(b'{"id":"%b"' % task_id.encode()) and body.endswith(b"}")
    return value if is_task or body in (b"", UNKNOWN) else None


def newest(old: bytes | None, epoch: int, version: int) -> tuple[int, bool]:
    """The decision of the script `SET_NEWEST`, in Python: the epoch to write, and whether to write at all."""
    try:
        old_epoch, old_version = map(int, (old or b"").split(b":", 2)[:2])
    except ValueError:
        return epoch, True
    return max(epoch, old_epoch), old_version <= version


# Keeps a value of a higher version, and the higher of both epochs. Overwrites whatever is not in this format.
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
# also keeps a value of the same version: it is up to date
INVALIDATE = Script(_OLD.replace("{refuses}", ">="))
# deletes a value that is not in this format, unless it has changed since it was read
DISCARD = Script("if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
SET = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")
