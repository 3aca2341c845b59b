"""One worker: hands each request to a free user when it is due, and counts what comes of it.

Open loop, with one bound. A Locust user is one greenlet with one request under way, so no more requests can be
outstanding than there are users. What comes beyond waits in the queue here, and its wait counts in its latency and
shows as lag: the latencies stay true (no coordinated omission), only the service sees fewer requests at a time than
it would from unbounded clients.
"""

import time
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.queue import Queue
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.runners import Runner

from lab.load.arrivals import due_times, share_of
from lab.load.messages import Round, RouteSample, Sample, decode_round, encode
from lab.load.profiles import PROFILES
from lab.load.requests import Request, RequestStream
from lab.load.target import client_address, on_loopback
from lab.load.tasks import Tasks

SAMPLE_SECONDS = 1.0


class Worker:
    """Sends its share of the arrivals. The users take requests from it; the conductor gets samples every second."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self.tasks = Tasks()
        self.addresses: list[str] = []
        """Where the profile's clients connect from; empty where all come from wherever this process is."""
        self.users = 0
        """How many there are in this worker."""
        self.has_abuser = False
        """Whether the first of the profile's clients may be rejected."""
        self._runner = runner
        self._due: Queue[tuple[float, Request]] = Queue()
        self._sample = Sample()
        self._routes: dict[tuple[str, str], RouteSample] = {}
        self._outstanding = 0
        self._round = 0
        self._stream: RequestStream | None = None
        environment.events.request.add_listener(self._on_request)  # type: ignore[no-untyped-call]
        runner.register_message("round", self._on_round)
        runner.greenlet.spawn(self._report)

    def take(self) -> tuple[float, Request]:
        """Waits for the next request and gives it with the moment at which it was due (`time.perf_counter`)."""
        due, request = self._due.get()
        self._sample.lag = max(self._sample.lag, time.perf_counter() - due)
        return due, request

    def _on_round(self, msg: Message, **_: Any) -> None:
        self._runner.greenlet.spawn(self._play, decode_round(msg.data["json"]))

    def _play(self, order: Round) -> None:
        began = time.perf_counter()
        self._round = order.number
        self._dispatch(began, self._requests(order))
        # the round is over when its time is, not when its last request was answered, whichever comes later
        gevent.sleep(max(0.0, began + sum(phase.seconds for phase in order.phases) - time.perf_counter()))
        while self._outstanding:
            gevent.sleep(0.02)
        self._send(finished=True)

    def _requests(self, order: Round) -> Iterator[Request]:
        traffic = PROFILES[order.plan.profile].traffic
        # Clients that cannot be told apart by loopback addresses are told apart by the worker that plays them.
        apart = len(traffic.clients) > 1 and order.workers > 1 and not on_loopback(order.plan.host)
        worker, workers = (0, 1) if apart else (order.worker, order.workers)
        if self._stream is None:
            self.tasks.prepared(order.plan.tasks)
            self.users = order.plan.users
            self.has_abuser = len(traffic.clients) > 1
            self._stream = RequestStream(traffic, order.plan.seed, worker, workers)
            if len(traffic.clients) > 1 and on_loopback(order.plan.host):
                self.addresses = [client_address(client) for client in range(len(traffic.clients))]
        requests = self._stream.draw(share_of(due_times(order.phases), worker, workers), order.began)
        if not apart:
            return requests
        return (each for each in requests if _player_of(each.client, order.workers) == order.worker)

    def _dispatch(self, began: float, requests: Iterator[Request]) -> None:
        for request in requests:
            due = began + request.due
            gevent.sleep(max(0.0, due - time.perf_counter()))
            self._sample.dispatch_lag = max(self._sample.dispatch_lag, time.perf_counter() - due)
            self._sample.offered += 1
            self._outstanding += 1
            self._due.put((due, request))

    def _on_request(
        self,
        request_type: str,
        name: str,
        response_time: float,
        exception: Exception | None,
        response: Any,
        **_: Any,
    ) -> None:
        self._outstanding -= 1
        route = self._routes.setdefault((request_type, name), RouteSample(request_type, name))
        route.latencies.add(response_time / 1000)
        status = str(response.status_code) if response.status_code else "none"
        self._sample.statuses[status] = self._sample.statuses.get(status, 0) + 1
        if exception is None:
            route.ok += 1
        else:
            route.errors += 1
            reason = f"{request_type} {name}: {exception}"
            self._sample.failures[reason] = self._sample.failures.get(reason, 0) + 1

    def _report(self) -> None:
        while True:
            gevent.sleep(SAMPLE_SECONDS)
            self._send()

    def _send(self, finished: bool = False) -> None:
        sample, routes = self._sample, self._routes
        self._sample, self._routes = Sample(), {}
        sample.routes = list(routes.values())
        sample.round = self._round
        sample.users = self._runner.user_count
        sample.outstanding = self._outstanding
        sample.finished = finished
        self._runner.send_message("sample", {"json": encode(sample).decode()})


def _player_of(client: int, workers: int) -> int:
    """The worker that plays a client: the first of them the first client, the others share the rest."""
    return client and 1 + (client - 1) % (workers - 1)
