"""Faults that the lab has caused: stored for a while, and exposed as the ground truth for backtests of alerts."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, get, put
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from lab.stack.events import FaultEvent

# how many are listed; Prometheus has the older ones
MAX_FAULTS = 200
# how long an ended fault is exposed as 0, so that a scrape sees its end
SHOWN_SECONDS = 20.0
MAX_CHARACTERS = 200


class Faults:
    """The newest faults, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str, float], FaultEvent] = {}

    def put(self, event: FaultEvent) -> None:
        """Records the start or end of a fault. Raises `ValueError` if it is too long, or ends before it starts."""
        if max(len(event.part), len(event.kind), len(event.drill)) > MAX_CHARACTERS or not event.part:
            raise ValueError(f"part, kind and drill: a part, and at most {MAX_CHARACTERS} characters each")
        if event.end is not None and event.end < event.begin:
            raise ValueError("a fault ends after it has begun")
        self._kept[(event.part, event.kind, event.drill, event.begin)] = event
        while len(self._kept) > MAX_FAULTS:
            del self._kept[next(iter(self._kept))]

    def newest(self) -> list[FaultEvent]:
        """The recorded faults, newest first."""
        return list(reversed(self._kept.values()))

    def exposition(self) -> str:
        """`fault_active` in Prometheus' text format: 1 while a fault is active, then 0 for a while, then no series."""
        registry = CollectorRegistry()
        active = Gauge(
            "fault_active",
            "1 while a fault of the lab is active.",
            ["part", "kind", "drill"],
            registry=registry,
        )
        now = self._clock()
        for event in self._kept.values():
            if event.end is None:
                active.labels(event.part, event.kind, event.drill).set(1)
            elif now - event.end < SHOWN_SECONDS:
                shown = active.labels(event.part, event.kind, event.drill)
                shown.inc(0)
        return generate_latest(registry).decode()


def fault_handlers(faults: Faults) -> list[HTTPRouteHandler]:
    """The routes for recording and listing faults."""

    @put("/faults", status_code=204)
    async def take_fault(request: Request[Any, Any, Any]) -> None:
        faults.put(msgspec.json.decode(await request.body(), type=FaultEvent))

    @get("/faults.json")
    async def list_faults() -> list[dict[str, Any]]:
        return [msgspec.to_builtins(each) for each in faults.newest()]

    return [take_fault, list_faults]
