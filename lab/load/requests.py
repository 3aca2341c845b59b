"""The stream of requests, which depends on a seed, but not on the service's responses."""

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate, count
from typing import NamedTuple

from msgspec import Struct

# A created task is used by other requests only this many seconds after its creation was due, so that its id is known.
GRACE_SECONDS = 2.0
# The share of reads and changes that use tasks created in this run; the others use prepared tasks.
FRESH_SHARE = 0.1
WORDS = (
    "water",
    "plants",
    "call",
    "bank",
    "buy",
    "milk",
    "fix",
    "bike",
    "write",
    "letter",
    "read",
    "book",
    "pay",
    "rent",
)


class Operation(StrEnum):
    """The operations of the API."""

    CREATE = "create"
    LIST = "list"
    READ = "read"
    CHANGE = "change"
    DELETE = "delete"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return METHODS[self]

    @property
    def route(self) -> str:
        """The route's template, as in the service's metrics."""
        return "/tasks" if self in (Operation.CREATE, Operation.LIST) else "/tasks/{task_id}"


METHODS = {
    Operation.CREATE: "POST",
    Operation.LIST: "GET",
    Operation.READ: "GET",
    Operation.CHANGE: "PATCH",
    Operation.DELETE: "DELETE",
}


class Traffic(Struct, frozen=True):
    """The mix of requests of a profile.

    `mix` has the share of each operation. `prepared` tasks are created before the run; the n-th is chosen with a weight
    of 1/n**`skew` (Zipf's law), or, with `sweep`, each in turn. `clients` has each client's share of the traffic, if
    several addresses are simulated; only the first client may be rejected.
    """

    mix: Mapping[Operation, float]
    prepared: int = 200
    skew: float = 1.0
    sweep: bool = False
    clients: tuple[float, ...] = (1.0,)


class Request(NamedTuple):
    """One request: when it is due (in seconds from the start of its round), and what it does.

    `task` is the number of a task: prepared tasks have those below `Traffic.prepared`, tasks of this stream the others.
    """

    due: float
    operation: Operation
    task: int
    text: str
    client: int


class RequestStream:
    """Generates the requests of one worker. The same seed, worker and due times give the same requests."""

    def __init__(self, traffic: Traffic, seed: int, worker: int = 0, workers: int = 1) -> None:
        self._traffic = traffic
        # Not for secrets. A string seeds the whole state, so that the streams of the workers are independent.
        self._random = random.Random(f"{seed}/{worker}")  # noqa: S311
        self._operations = list(traffic.mix)
        self._shares = list(accumulate(traffic.mix.values()))
        self._clients = list(accumulate(traffic.clients))
        self._weights = list(accumulate(1 / n**traffic.skew for n in range(1, traffic.prepared + 1)))
        self._next_task = traffic.prepared
        self._created: list[tuple[float, int]] = []
        self._usable: list[int] = []
        self._sweep = count(worker, workers)

    def draw(self, due_times: Iterable[float], began: float = 0.0) -> Iterator[Request]:
        """The requests that are due at `due_times`, in a round that started `began` seconds into the run."""
        for due in due_times:
            self._release_created(began + due)
            operation = self._operations[self._pick(self._shares)]
            if operation is Operation.DELETE and not self._usable:
                operation = Operation.READ
            yield Request(due, operation, self._task(operation, began + due), self._text(), self._pick(self._clients))

    def _release_created(self, now: float) -> None:
        while self._created and self._created[0][0] <= now - GRACE_SECONDS:
            self._usable.append(self._created.pop(0)[1])

    def _task(self, operation: Operation, now: float) -> int:
        if operation is Operation.CREATE:
            self._created.append((now, self._next_task))
            self._next_task += 1
            return self._next_task - 1
        if operation is Operation.DELETE:
            return self._usable.pop(self._random.randrange(len(self._usable)))
        if self._traffic.sweep:
            return next(self._sweep) % self._traffic.prepared
        if self._usable and self._random.random() < FRESH_SHARE:
            return self._random.choice(self._usable)
        return self._pick(self._weights)

    def _pick(self, cumulated: list[float]) -> int:
        return min(bisect_left(cumulated, self._random.random() * cumulated[-1]), len(cumulated) - 1)

    def _text(self) -> str:
        return " ".join(self._random.choices(WORDS, k=self._random.randint(2, 12)))
