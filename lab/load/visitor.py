"""The Locust user: sends one request at a time and says whether the answer is one that may be expected."""

import time
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlsplit

import gevent.socket
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool
from locust import task
from locust.contrib.fasthttp import FastHttpSession, FastHttpUser

from lab.load.requests import Operation, Request
from lab.load.worker import Worker

# A request that takes longer has failed.
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0

SUCCESS = {
    Operation.CREATE: HTTPStatus.CREATED,
    Operation.LIST: HTTPStatus.OK,
    Operation.READ: HTTPStatus.OK,
    Operation.CHANGE: HTTPStatus.OK,
    Operation.DELETE: HTTPStatus.NO_CONTENT,
}


class AddressPool(HTTPClientPool):
    """HTTP clients that connect from one address of this machine, so that the service tells them from others."""

    def __init__(self, address: str, concurrency: int) -> None:
        super().__init__()
        self._address = address
        self._concurrency = concurrency

    def get_client(self, url: Any) -> HTTPClient:
        """The client of a URL's host and port."""
        parts = urlsplit(str(url))
        key = parts.hostname or "", parts.port
        if key not in self.clients:
            client = HTTPClient.from_url(str(url))
            client._connection_pool = _AddressConnections(self._address, *key, self._concurrency)
            self.clients[key] = client
        return self.clients[key]


class _AddressConnections(ConnectionPool):
    def __init__(self, address: str, host: str, port: int | None, size: int) -> None:
        super().__init__(
            host,
            port or 80,
            host,
            port or 80,
            size=size,
            disable_ipv6=True,
            connection_timeout=CONNECT_SECONDS,
            network_timeout=ANSWER_SECONDS,
        )
        self._address = address

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> Any:
        connection = gevent.socket.socket(family, socktype, protocol)
        connection.bind((self._address, 0))
        return connection


class Visitor(FastHttpUser):
    """Takes the next due request, sends it, judges the answer, and again."""

    connection_timeout = CONNECT_SECONDS
    network_timeout = ANSWER_SECONDS
    concurrency = 1
    default_headers = {"User-Agent": "glasshouse-load"}  # noqa: RUF012 (Locust reads it from the class)

    worker: ClassVar[Worker]
    pools: ClassVar[dict[str, AddressPool]] = {}

    def on_start(self) -> None:
        """Has no session of its own for any of the profile's clients yet."""
        self._sessions: dict[int, FastHttpSession] = {}

    def _session(self, client: int) -> FastHttpSession:
        if not self.worker.addresses:
            return self.client
        if client not in self._sessions:
            address = self.worker.addresses[client]
            pool = self.pools.setdefault(address, AddressPool(address, concurrency=self.worker.users))
            self._sessions[client] = FastHttpSession(
                base_url=self.host,
                request_event=self.environment.events.request,
                user=self,
                client_pool=pool,
                headers=self.default_headers,
            )
        return self._sessions[client]

    @task
    def visit(self) -> None:
        """One request."""
        due, request = self.worker.take()
        self._send(due, self._possible(request))

    def _possible(self, request: Request) -> Request:
        tasks = self.worker.tasks
        if request.operation in (Operation.CREATE, Operation.LIST) or tasks.knows(request.task):
            return request
        operation = Operation.READ if request.operation is Operation.DELETE else request.operation
        return request._replace(operation=operation, task=tasks.stand_in(request.task))

    def _send(self, due: float, request: Request) -> None:
        operation, tasks = request.operation, self.worker.tasks
        path, body, headers = "/tasks", None, {}
        if operation is Operation.LIST:
            path = f"/tasks?limit={20 if len(request.text) % 5 else 50}"
        elif operation is Operation.CREATE:
            body = {"task": request.text}
        else:
            path = tasks.path(request.task)
        if operation is Operation.CHANGE:
            body, headers = {"task": request.text}, {"If-Match": tasks.etag(request.task)}
        if operation is Operation.DELETE:
            tasks.deleting(request.task)
        session = self._session(request.client)
        with session.request(
            operation.method, path, name=operation.route, json=body, headers=headers, catch_response=True
        ) as response:
            response.request_meta["response_time"] = (time.perf_counter() - due) * 1000
            problem = self._problem(request, response)
            if problem is None:
                response.success()
            else:
                response.failure(problem)

    def _problem(self, request: Request, response: Any) -> str | None:
        status, tasks = response.status_code, self.worker.tasks
        if status == SUCCESS[request.operation]:
            etag = response.headers.get("etag", "")
            if request.operation is Operation.CREATE:
                tasks.created(request.task, response.headers.get("location", ""), etag)
            elif request.operation in (Operation.READ, Operation.CHANGE):
                tasks.seen(request.task, etag)
            return None
        lost_update = status == HTTPStatus.PRECONDITION_FAILED and request.operation is Operation.CHANGE
        deleted = status == HTTPStatus.NOT_FOUND and tasks.may_be_gone(request.task)
        abuser = status == HTTPStatus.TOO_MANY_REQUESTS and request.client == 0 and self.worker.has_abuser
        if lost_update or deleted or abuser:
            return None
        return f"status {status}" if status else str(response.error)
