"""A worker: passes each request to a free user when it is due, and counts the outcomes.

This is an open loop with one bound. A Locust user is a greenlet with one request at a time, so that there are never
more outstanding requests than users. Further requests wait in a queue here. The wait counts as latency and shows as
lag, so that latencies remain correct (no coordinated omission); but the service sees less concurrency than without
the bound.

Every request ends as answered, failed or dropped, at the latest `ANSWER_SECONDS` after it was due.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.queue import Queue
from locust.rpc.protocol import Message
from locust.runners import Runner

from lab.load.arrivals import due_times, share_of
from lab.load.connection import Sent
from lab.load.limits import LATE_SECONDS
from lab.load.messages import STOP, Round, Sample, decode_round, encode
from lab.load.requests import Request, RequestStream
from lab.load.target import Address, client_address, on_loopback, resolve
from lab.load.tasks import Tasks
from lab.runs.tally import Failure, Kind, Tally, merge_failures

SAMPLE_SECONDS = 1.0
# A request without a complete response this long after it was due has failed.
ANSWER_SECONDS = 10.0
# A request that no user has taken this long after it was due is dropped.
DROP_SECONDS = 5.0
# How long outstanding requests may still be answered after the load was stopped.
GRACE_SECONDS = 0.5


@dataclass(eq=False)
class Due:
    """A request that came due at `moment` (`time.perf_counter`)."""

    moment: float
    request: Request
    sent: Sent = field(default_factory=Sent)
    is_ended: bool = False


class Worker:
    """Sends its share of the arrivals. Users take requests from it; it sends a sample every second."""

    def __init__(self, runner: Runner) -> None:
        self.tasks = Tasks()
        self.answer_seconds = ANSWER_SECONDS
        self.has_abuser = False
        """Whether the first of the profile's clients may be rejected."""
        self._runner = runner
        self._addresses: list[Address] = []
        self._queue: Queue[Due] = Queue()
        self._outstanding: dict[Due, None] = {}
        self._sample = Sample()
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._round = 0
        self._stream: RequestStream | None = None
        self._is_stopped = False
        self._cpu = (time.perf_counter(), time.process_time())
        runner.register_message("round", self._on_round)
        runner.register_message(STOP, self._on_stop)
        runner.greenlet.spawn(self._report)

    def address_of(self, client: int) -> Address:
        """Where a client of the profile connects to, and from."""
        return self._addresses[client % len(self._addresses)]

    def take(self) -> Due:
        """Waits for the next request, and drops those that are too old to be sent."""
        while True:
            due: Due = self._queue.get()
            waited = time.perf_counter() - due.moment
            self._note_start(waited)
            if waited <= DROP_SECONDS:
                return due
            self._drop(due)

    def answered(self, due: Due, status: int) -> None:
        """Counts a request with an expected response."""
        if self._ends(due):
            self._note_status(status)
            self._tally(due).answer(time.perf_counter() - due.moment)

    def failed(self, due: Due, kind: str, seen: str, status: int) -> None:
        """Counts a failed request. `status` is 0 if there was no response."""
        if self._ends(due):
            self._note_status(status)
            self._fail(due, kind, seen)

    def _ends(self, due: Due) -> bool:
        """Marks a request as ended. False if it had ended before, because it was given up."""
        if due.is_ended:
            return False
        due.is_ended = True
        self._outstanding.pop(due, None)
        self._sample.sent += bool(due.sent.times)
        self._sample.resent += max(0, due.sent.times - 1)
        return True

    def _drop(self, due: Due) -> None:
        self._ends(due)
        self._tally(due).drop(time.perf_counter() - due.moment)

    def _fail(self, due: Due, kind: str, seen: str) -> None:
        self._tally(due).fail(time.perf_counter() - due.moment)
        operation = due.request.operation
        name = f"{operation.method} {operation.route}: {kind}"
        merge_failures(self._sample.failures, {name: Failure(1, seen)})

    def _tally(self, due: Due) -> Tally:
        operation = due.request.operation
        key = operation.method, operation.route
        if key not in self._tallies:
            self._tallies[key] = Tally(*key)
        return self._tallies[key]

    def _note_status(self, status: int) -> None:
        name = str(status) if status else "none"
        self._sample.statuses[name] = self._sample.statuses.get(name, 0) + 1

    def _note_start(self, waited: float) -> None:
        self._sample.lag = max(self._sample.lag, waited)
        self._sample.late_start += waited > LATE_SECONDS

    def _on_round(self, msg: Message, **_: Any) -> None:
        self._runner.greenlet.spawn(self._run_round, decode_round(msg.data["json"]))

    def _on_stop(self, **_: Any) -> None:
        self._is_stopped = True

    def _run_round(self, order: Round) -> None:
        began = time.perf_counter()
        self._round = order.number
        ends = began + sum(phase.seconds for phase in order.phases)
        self._dispatch(began, self._requests(order))
        # a round lasts for its full time, and then until its last request has ended
        give_up_at = ends + ANSWER_SECONDS + GRACE_SECONDS
        while not self._is_stopped and time.perf_counter() < (give_up_at if self._outstanding else ends):
            self._drop_old()
            gevent.sleep(0.02)
        if self._outstanding:
            self._give_up()
        self._send(finished=True)

    def _give_up(self) -> None:
        deadline = time.perf_counter() + GRACE_SECONDS
        while not self._queue.empty():
            self._drop(self._queue.get())
        while self._outstanding and time.perf_counter() < deadline:
            gevent.sleep(0.02)
        for due in list(self._outstanding):
            self._ends(due)
            self._note_status(0)
            self._fail(due, Kind.UNANSWERED, f"after {time.perf_counter() - due.moment:.1f} s")

    def _requests(self, order: Round) -> Iterator[Request]:
        traffic = order.plan.traffic
        has_clients = len(traffic.clients) > 1
        # Without loopback addresses for the simulated clients, the addresses of the workers are those of the clients:
        # each worker generates all requests, and sends only those of its clients.
        by_client = has_clients and order.workers > 1 and not on_loopback(order.plan.host)
        worker, workers = (0, 1) if by_client else (order.worker, order.workers)
        if self._stream is None:
            self.tasks.prepared(order.plan.tasks)
            self.has_abuser = has_clients
            self._stream = RequestStream(traffic, order.plan.seed, worker, workers)
            sources = [client_address(each) for each in range(len(traffic.clients))]
            is_local = has_clients and on_loopback(order.plan.host)
            self._addresses = [resolve(order.plan.host, source) for source in (sources if is_local else [None])]
        requests = self._stream.draw(share_of(due_times(order.phases), worker, workers), order.began)
        if not by_client:
            return requests
        return (each for each in requests if _worker_of(each.client, order.workers) == order.worker)

    def _dispatch(self, began: float, requests: Iterator[Request]) -> None:
        for request in requests:
            moment = began + request.due
            while not self._is_stopped and (wait := moment - time.perf_counter()) > 0:
                gevent.sleep(min(wait, 0.1))
            if self._is_stopped:
                return
            late = time.perf_counter() - moment
            self._sample.dispatch_lag = max(self._sample.dispatch_lag, late)
            self._sample.late_dispatch += late > LATE_SECONDS
            self._sample.offered += 1
            due = Due(moment, request)
            self._outstanding[due] = None
            self._queue.put(due)

    def _drop_old(self) -> None:
        """Drops requests that no user took in time, while all users are busy."""
        now = time.perf_counter()
        while not self._queue.empty() and now - self._queue.peek().moment > DROP_SECONDS:
            due = self._queue.get()
            self._note_start(now - due.moment)
            self._drop(due)

    def _report(self) -> None:
        while True:
            gevent.sleep(SAMPLE_SECONDS)
            self._drop_old()
            self._send()

    def _send(self, finished: bool = False) -> None:
        sample, tallies = self._sample, self._tallies
        self._sample, self._tallies = Sample(), {}
        now, cpu = time.perf_counter(), time.process_time()
        sample.tallies = list(tallies.values())
        sample.round = self._round
        sample.users = self._runner.user_count
        sample.outstanding = len(self._outstanding)
        sample.waiting = self._queue.qsize()
        if sample.waiting:
            sample.lag = max(sample.lag, now - self._queue.peek().moment)
        oldest = next(iter(self._outstanding), None)
        sample.oldest = now - oldest.moment if oldest else 0.0
        sample.cpu = (cpu - self._cpu[1]) / max(0.01, now - self._cpu[0])
        self._cpu = now, cpu
        sample.finished = finished
        self._runner.send_message("sample", {"json": encode(sample).decode()})


def _worker_of(client: int, workers: int) -> int:
    """The worker for a client: the first worker is the first client, the others share the rest."""
    return client and 1 + (client - 1) % (workers - 1)
