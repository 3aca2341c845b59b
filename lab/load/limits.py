"""Whether the figures tell of the service, or of a generator that could not send what was due."""

from collections.abc import Sequence

from lab.runs.second import Second

# A request that starts later than this is late.
LATE_SECONDS = 0.1
# A process that uses more of its core measures its own queue as well.
BUSY_CPU = 0.9
# A share of the requests (or of the seconds, for the processor), since one that is late by chance limits nothing.
TOLERATED_SHARE = 0.01
LEAST_SECONDS = 2


def limit_of(seconds: Sequence[Second]) -> str | None:
    """`generator` where it was too slow itself, `users` where no user was free, None where neither held it up.

    Either has to be so in two seconds at least, and for more than a hundredth of the requests.
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
