"""Detects a load generator that is itself the bottleneck, so that its figures do not describe the service."""

from collections.abc import Sequence

from lab.runs.second import Second

# A request that starts later than this is late.
LATE_SECONDS = 0.1
# A process that uses more of its core also measures its own queue.
BUSY_CPU = 0.9
# A share of the requests (or seconds, for the CPU), because a few late ones are no bottleneck.
TOLERATED_SHARE = 0.01
LEAST_SECONDS = 2


def limit_of(seconds: Sequence[Second]) -> str | None:
    """`generator` if it was too slow itself, `users` if no user was free, None if neither.

    Either must be so in at least two seconds, and for more than 1 % of the requests.
    """
    offered = sum(each.offered for each in seconds)
    busy = sum(each.cpu > BUSY_CPU for each in seconds)
    if _is_more(sum(each.late_dispatch for each in seconds), offered) and _in_two(
        [each.late_dispatch > 0 for each in seconds]
    ):
        return "generator"
    if busy >= LEAST_SECONDS and _is_more(busy, len(seconds)):
        return "generator"
    if _is_more(sum(each.late_start for each in seconds), offered) and _in_two(
        [each.late_start > 0 for each in seconds]
    ):
        return "users"
    return None


def _is_more(count: int, total: int) -> bool:
    return count > total * TOLERATED_SHARE


def _in_two(seconds: list[bool]) -> bool:
    return sum(seconds) >= LEAST_SECONDS
