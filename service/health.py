"""Health checks. The dependencies are checked at most once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from service.infrastructure.breaker import CLOSED, HALF_OPEN, OPEN, Unavailable
from service.options import options
from service.telemetry.failure import Failure
from service.telemetry.request import current, note_failure

# an unhealthy result that is older than this no longer keeps writes away: the next write shows whether they succeed
KNOWN_SECONDS = 10.0
FRESH_SECONDS = 1.0
BREAKER_NAMES = {CLOSED: "closed", HALF_OPEN: "half-open", OPEN: "open"}


class DependencyHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a dependency's last check."""

    status: Literal["up", "down"]
    latency_ms: float
    breaker: str
    error: str = ""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of `/health`: degraded without Redis, unhealthy without the database."""

    status: Literal["healthy", "degraded", "unhealthy"]
    dependencies: dict[str, DependencyHealth]
    error: str = ""


class Status(msgspec.Struct, frozen=True):
    """The body of `/health/live` and `/health/ready`."""

    status: str


class Dependency(msgspec.Struct, frozen=True):
    """A dependency: `ping` raises `Unavailable`; `breaker_state` returns CLOSED, HALF_OPEN or OPEN."""

    ping: Callable[[], Awaitable[None]]
    breaker_state: Callable[[], int]
    is_vital: bool


class HealthChecks:
    """Checks the dependencies concurrently. Requests within a second share one check."""

    def __init__(self, dependencies: Mapping[str, Dependency]) -> None:
        self._dependencies = dependencies
        self._asked_at = 0.0
        self._asking: asyncio.Task[Health] | None = None
        self._was_unhealthy = False
        self.is_draining = False

    def takes_writes(self) -> bool:
        """Whether a write is likely to succeed, from the last check and the breakers, without a new check."""
        if self._was_unhealthy and time.monotonic() - self._asked_at < KNOWN_SECONDS:
            return False
        return all(each.breaker_state() == CLOSED for each in self._dependencies.values() if each.is_vital)

    async def health(self) -> Health:
        """The result of a check that began at most a second ago."""
        now = time.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at > FRESH_SECONDS):
            self._asked_at = now
            self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Health:
        answers = await asyncio.gather(*(self._ask_one(each) for each in self._dependencies.values()))
        dependencies = dict(zip(self._dependencies, answers, strict=True))
        down = [name for name, answer in dependencies.items() if answer.status == "down"]
        is_vital = any(self._dependencies[name].is_vital for name in down)
        self._was_unhealthy = is_vital
        if not down:
            return Health("healthy", dependencies)
        error = "; ".join(dependencies[name].error for name in down)
        return Health("unhealthy" if is_vital else "degraded", dependencies, error)

    async def _ask_one(self, dependency: Dependency) -> DependencyHealth:
        started = time.perf_counter()
        error = ""
        try:
            await dependency.ping()
        except Unavailable as raised:
            error = str(raised)
        latency = round((time.perf_counter() - started) * 1000, 2)
        breaker = BREAKER_NAMES[dependency.breaker_state()]
        return DependencyHealth("down" if error else "up", latency, breaker, error)


def health_routes(checks: HealthChecks) -> Router:
    """The routes under `/health`."""

    @get(
        "/",
        responses={
            200: ResponseSpec(Health, description="Healthy or degraded: requests are served.", generate_examples=False),
            503: ResponseSpec(Health, description="Unhealthy, with the error.", generate_examples=False),
        },
        summary="The health of the service and its dependencies",
    )
    async def health() -> Response[Health]:
        found = await checks.health()
        if found.status == "unhealthy":
            note_failure(current(), _failure(found))
        return Response(found, status_code=503 if found.status == "unhealthy" else 200)

    @get("/live", summary="Whether the process runs", sync_to_thread=False)
    def live() -> Response[Status]:
        return Response(Status("live"))

    @get(
        "/ready",
        responses={
            200: ResponseSpec(Status, description="Send requests here.", generate_examples=False),
            503: ResponseSpec(Status, description="Send none: unhealthy, or about to stop.", generate_examples=False),
        },
        summary="Whether the service accepts requests",
    )
    async def ready() -> Response[Status]:
        if checks.is_draining:
            note_failure(current(), Failure("it is about to stop", "draining"))
            return Response(Status("draining"), status_code=503)
        found = await checks.health()
        is_ready = found.status != "unhealthy"
        if not is_ready:
            note_failure(current(), _failure(found))
        return Response(Status("ready" if is_ready else "unhealthy"), status_code=200 if is_ready else 503)

    def _failure(found: Health) -> Failure:
        down = [name for name, each in found.dependencies.items() if each.status == "down"]
        return Failure(found.error, "unhealthy", ",".join(down), asked=True)

    option_routes = [options(path, "GET", "HEAD") for path in ("/", "/live", "/ready")]
    return Router("/health", route_handlers=[*option_routes, health, live, ready], tags=["health"])
