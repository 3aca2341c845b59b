"""Who gets in: a bound on the requests in flight, and the rate limit by client."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from litestar.exceptions import HTTPException

from service.asgi import App, Message, Receive, Scope, Send
from service.coding import IDENTITY, Coding, encoding
from service.infrastructure.breaker import Unavailable
from service.problems import MEDIA_TYPE, problem
from service.rate_limit import Clients, Decision, Limiter, limit_name, policy_header
from service.requests import CODING, ELSEWHERE, FORWARDED_FOR, REFUSAL
from service.settings import Settings
from service.telemetry.failure import Failure
from service.telemetry.metrics import Metrics
from service.telemetry.request import note_failure, trace_id_of

# To the gateway: not here, but another replica may. It asks for this (X-Try-Elsewhere) where it will try another.
ELSEWHERE_STATUS = 502
# a replica that took longer to find out is not the only one that is slow
ELSEWHERE_SECONDS = 0.5
WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
EXEMPT = frozenset({"/health", "/health/live", "/health/ready"})
# of every answer; what an answer says itself of the last two takes their place
HEADERS = [
    # also of answers that are too short to be encoded: the next may be longer
    (b"vary", b"accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
DEFAULTS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class AdmissionMiddleware:
    """Sheds what is beyond the bound with 503, rejects what is beyond the limit with 429, lets the rest pass."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        limiter: Limiter | None,
        metrics: Metrics,
        template_of: Callable[[Scope], str],
    ) -> None:
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
        """Answers the request, or hands it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = list(HEADERS)
        if self.is_draining:
            # the gateway shall not keep a connection that is about to be closed
            headers.append((b"connection", b"close"))

        # no coroutine of its own, but the one that it is given: one less to be made for each part of each answer
        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                said = dict(message["headers"])
                message["headers"] = full = [*message["headers"], *headers]
                for pair in DEFAULTS:
                    if pair[0] not in said:
                        full.append(pair)
            return send(message)

        if scope[REFUSAL] is not None:
            # whatever follows on this connection may be no HTTP
            headers.append((b"connection", b"close"))
            await self._answer(scope, send_with_headers, *scope[REFUSAL])
            return
        if self.is_draining and scope[ELSEWHERE] and scope["path"] not in EXEMPT:
            await self._answer(scope, send_with_headers, ELSEWHERE_STATUS, "this replica is about to stop")
            return
        if scope["path"] in EXEMPT:
            await self._serve(scope, receive, send_with_headers)
            return
        if self._in_flight >= self._most:
            self._shed.inc()
            headers.append((b"retry-after", b"1"))
            note_failure(scope, Failure(f"{self._most} requests are in flight already", "overload"))
            await self._answer(scope, send_with_headers, 503, "too many requests are in flight")
            return
        self._in_flight += 1
        try:
            if self._limiter is not None:
                decision = await self._decide(self._limiter, scope)
                if decision is not None:
                    headers += self._headers(decision)
                    if not decision.is_allowed:
                        await self._answer(scope, send_with_headers, 429, "the rate limit is used up")
                        return
            if scope["method"] not in WITHOUT_BODY:
                receive = self._in_time(receive)
            await self._serve(scope, receive, send_with_headers)
        finally:
            self._in_flight -= 1

    def _serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Hands the request on; HEAD as GET, whose body the server leaves out."""
        coding: Coding = scope[CODING]
        if coding is not IDENTITY:
            send = encoding(send, coding)
        if scope[ELSEWHERE]:
            send = _or_elsewhere(send)
        if scope["method"] == "HEAD":
            return self._serve_as_get(scope, receive, send)
        return self._app(scope, receive, send)

    async def _serve_as_get(self, scope: Scope, receive: Receive, send: Send) -> None:
        # made before the copy, so that the answer and the layers around name the same trace
        trace_id_of(scope)
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            # what was noted about the request, for the layers around
            scope.update(as_get, method="HEAD")

    def _in_time(self, receive: Receive) -> Receive:
        """Gives up on a client that takes too long to send the body: it would hold one of the places for ever."""
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

    async def _answer(self, scope: Scope, send: Send, status: int, detail: str) -> None:
        # it never reaches the router, and shall be counted under its route all the same
        scope["path_template"] = self._template_of(scope)
        body = problem(status, detail, trace_id_of(scope))
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _or_elsewhere(send: Send) -> Send:
    """`send` that tells the gateway to ask another replica, where this one knows at once that it cannot answer."""
    due = time.monotonic() + ELSEWHERE_SECONDS

    def send_or_pass_on(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start" and message["status"] == 503 and time.monotonic() < due:
            message["status"] = ELSEWHERE_STATUS
        return send(message)

    return send_or_pass_on
