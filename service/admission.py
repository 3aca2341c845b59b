"""Decides whether a request is served: a limit of requests in flight, and the rate limit by client."""

import asyncio
from collections.abc import Callable

from litestar.exceptions import HTTPException

from service.asgi import App, Message, Receive, Scope, Send
from service.infrastructure.breaker import Unavailable
from service.problems import send_problem
from service.rate_limit import Clients, Decision, Limiter, limit_name, policy_header
from service.requests import ELSEWHERE, FORWARDED_FOR, REFUSAL
from service.responses import ADDED, ELSEWHERE_STATUS, WRITES
from service.settings import Settings
from service.telemetry.failure import Failure
from service.telemetry.metrics import Metrics
from service.telemetry.request import note_failure

WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
# locations of gateway/nginx.conf in which it sends a write to another replica
LOCATIONS = frozenset({b"@again", b"@another", b"@last"})
EXEMPT = frozenset({"/health", "/health/live", "/health/ready"})


class AdmissionMiddleware:
    """Sheds requests beyond the limit in flight with 503, and rejects those beyond the rate limit with 429."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        limiter: Limiter | None,
        metrics: Metrics,
        template_of: Callable[[Scope], str],
        can_write: Callable[[], bool],
    ) -> None:
        """`template_of` finds the route of a request that is rejected before it is routed.

        `can_write` says whether a write is likely to succeed on this replica.
        """
        self._can_write = can_write
        self._app = app
        self._template_of = template_of
        self._limiter = limiter
        self._limits = settings.rate_limit
        self._policy = (b"ratelimit-policy", policy_header(self._limits))
        self._names = [limit_name(item) for item in self._limits]
        self._clients = Clients(settings.trusted_proxies, settings.rate_limit_ipv6_prefix)
        self._decisions = metrics.rate_limit
        self._shed = metrics.shed
        self._most = settings.max_concurrent_requests
        self._body_seconds = settings.body_timeout_seconds
        self._in_flight = 0
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or rejects it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added: list[tuple[bytes, bytes]] = scope[ADDED]
        if self.is_draining or scope[REFUSAL] is not None:
            # draining: the gateway must not reuse the connection; malformed: what follows on it may not be HTTP
            added.append((b"connection", b"close"))
        if scope[REFUSAL] is not None:
            await self._reject(scope, send, *scope[REFUSAL])
            return
        if scope["path"] in EXEMPT:
            await self._app(scope, receive, send)
            return
        if scope[ELSEWHERE] and (reason := self._why_elsewhere(scope)):
            if scope[ELSEWHERE] in LOCATIONS:
                added.append((b"x-accel-redirect", scope[ELSEWHERE]))
            await self._reject(scope, send, ELSEWHERE_STATUS, reason)
            return
        if self._in_flight >= self._most:
            self._shed.inc()
            added.append((b"retry-after", b"1"))
            note_failure(scope, Failure(f"{self._most} requests are in flight already", "overload"))
            await self._reject(scope, send, 503, "too many requests are in flight")
            return
        self._in_flight += 1
        try:
            if self._limiter is not None:
                decision = await self._decide(self._limiter, scope)
                if decision is not None:
                    added += self._headers(decision)
                    if not decision.is_allowed:
                        await self._reject(scope, send, 429, "the rate limit is used up")
                        return
            if scope["method"] not in WITHOUT_BODY:
                receive = self._in_time(receive)
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _why_elsewhere(self, scope: Scope) -> str:
        """Why the gateway should try another replica before this one begins; empty if this one should serve it."""
        if self.is_draining:
            return "this replica is about to stop"
        # not even as the breaker's trial: a write that fails may have been executed
        if scope["method"] in WRITES and not self._can_write():
            return "this replica does not reach its database"
        return ""

    def _in_time(self, receive: Receive) -> Receive:
        """`receive` with a time limit for the whole body: a slow client would count as in flight for ever."""
        due = asyncio.get_running_loop().time() + self._body_seconds

        async def receive_in_time() -> Message:
            try:
                async with asyncio.timeout_at(due):
                    return await receive()
            except TimeoutError:
                raise HTTPException(
                    status_code=408, detail="the body did not arrive in time", headers={"Connection": "close"}
                ) from None

        return receive_in_time

    async def _decide(self, limiter: Limiter, scope: Scope) -> Decision | None:
        peer = scope["client"][0] if scope["client"] else ""
        try:
            decision = await limiter.hit(self._clients.of(peer, scope[FORWARDED_FOR]))
        except Unavailable:
            self._decisions["bypassed"].inc()
            return None
        self._decisions["allowed" if decision.is_allowed else "rejected"].inc()
        return decision

    def _headers(self, decision: Decision) -> list[tuple[bytes, bytes]]:
        standing = b'"%b";r=%d;t=%d' % (self._names[decision.limit], decision.remaining, decision.reset)
        headers = [self._policy, (b"ratelimit", standing)]
        if not decision.is_allowed:
            headers.append((b"retry-after", b"%d" % max(1, decision.reset)))
        return headers

    async def _reject(self, scope: Scope, send: Send, status: int, detail: str) -> None:
        # the router does not see the request, but it must be counted under its route
        scope["path_template"] = self._template_of(scope)
        await send_problem(scope, send, status, detail)
