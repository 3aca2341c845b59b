"""Detects that the load generator itself is the bottleneck, so that its figures do not describe the service."""

from collections.abc import Sequence

from lab.runs.second import Second

# A request that starts later than this is late.
LATE_SECONDS = 0.1
# A process that uses more than this share of its core also measures its own queue.
BUSY_CPU = 0.9
# Up to this share of late requests (for the CPU: of busy seconds) is not a bottleneck.
TOLERATED_SHARE = 0.01
MIN_SECONDS = 2


def limit_of(seconds: Sequence[Second]) -> str | None:
    """The bottleneck: `generator` if it was too slow itself, `users` if no user was free; None if neither.

    A bottleneck must show in at least two seconds, and in more than 1 % of the requests (for the CPU: of the seconds).
    """
    offered = sum(each.offered for each in seconds)
    busy = sum(each.cpu > BUSY_CPU for each in seconds)
    if _is_more(sum(each.late_dispatch for each in seconds), offered) and _in_two(
        [each.late_dispatch > 0 for each in seconds]
    ):
        return "generator"
    if busy >= MIN_SECONDS and _is_more(busy, len(seconds)):
        return "generator"
    if _is_more(sum(each.late_start for each in seconds), offered) and _in_two(
        [each.late_start > 0 for each in seconds]
    ):
        return "users"
    return None


def _is_more(count: int, total: int) -> bool:
    return count > total * TOLERATED_SHARE


def _in_two(seconds: list[bool]) -> bool:
    return sum(seconds) >= MIN_SECONDS
