"""A steady load: sends requests at a fixed rate whatever their results are, and records the results."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

Kind = str


@dataclass(frozen=True)
class Outcome:
    """The result of one request. `status` is 0 without a response; `began` is a `time.monotonic()`."""

    kind: Kind
    status: int
    began: float
    seconds: float
    headers: httpx.Headers | None = None
    body: Any = None
    error: str = ""


Shot = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


class Load:
    """Sends each kind of request `rate` times per second, at its own due times (open loop).

    Requests that it is too late for are not made up for: on a busy machine that would make it busier still.
    """

    def __init__(self, urls: Sequence[str], shots: dict[Kind, Shot], rate: float = 20.0, timeout: float = 60.0) -> None:
        self._urls = urls
        self._shots = shots
        self._rate = rate
        self._timeout = timeout
        self.outcomes: list[Outcome] = []
        self._sent = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Sends while the block runs, and waits for the last responses."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
        clients = [httpx.AsyncClient(base_url=url, timeout=self._timeout, limits=limits) for url in self._urls]
        ended = asyncio.Event()
        senders = [asyncio.create_task(self._send(kind, clients, ended)) for kind in self._shots]
        try:
            yield self
        finally:
            ended.set()
            await asyncio.gather(*senders)
            for client in clients:
                await client.aclose()

    async def answered(self, kind: Kind, count: int, timeout: float = 120.0) -> list[Outcome]:
        """Waits until `count` further requests of a kind have ended, and returns them."""
        start = time.monotonic()
        return await self._until(kind, lambda found: len(found) >= count, start, timeout)

    async def each_answered(self, count: int, timeout: float = 120.0) -> dict[Kind, list[Outcome]]:
        """Waits until `count` further requests of every kind have ended, and returns them."""
        start = time.monotonic()
        return {
            kind: await self._until(kind, lambda found: len(found) >= count, start, timeout) for kind in self._shots
        }

    def statuses(self, kind: Kind, since: float = 0.0) -> Counter[int]:
        """The number of responses by status, for requests that began at `since` or later."""
        return Counter(each.status for each in self.outcomes if each.kind == kind and each.began >= since)

    async def _until(
        self, kind: Kind, is_enough: Callable[[list[Outcome]], bool], start: float, timeout: float
    ) -> list[Outcome]:
        while True:
            found = [each for each in self.outcomes if each.kind == kind and each.began >= start]
            if is_enough(found):
                return found
            assert time.monotonic() < start + timeout, f"{kind}: {len(found)} answers in {timeout:g} s"
            await asyncio.sleep(0.02)

    async def _send(self, kind: Kind, clients: Sequence[httpx.AsyncClient], ended: asyncio.Event) -> None:
        flying: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not ended.is_set():
            self._sent += 1
            task = asyncio.create_task(self._shoot(kind, clients[self._sent % len(clients)]))
            flying.add(task)
            task.add_done_callback(flying.discard)
            due = max(due + 1 / self._rate, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*flying)

    async def _shoot(self, kind: Kind, client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        try:
            answer = await self._shots[kind](client)
        except httpx.HTTPError as error:
            # pytest shows this for a failed test
            print(f"{kind}: {error!r} after {time.monotonic() - began:.2f} s")
            self.outcomes.append(Outcome(kind, 0, began, time.monotonic() - began, error=repr(error)))
            return
        seconds = time.monotonic() - began
        is_json = "json" in answer.headers.get("content-type", "")
        body = answer.json() if is_json and answer.content else None
        self.outcomes.append(Outcome(kind, answer.status_code, began, seconds, answer.headers, body))
