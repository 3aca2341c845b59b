"""The HTTP session to an OTLP collector, with a time limit for the whole export."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from weakref import WeakSet

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

RECHECK_SECONDS = 0.05


class TimeUp(Exception):  # noqa: N818 (it reads as what happened)
    """The export has reached its time limit. OpenTelemetry's exporter does not retry after this error."""


class LimitedAdapter(HTTPAdapter):
    """Keeps track of its connections, so that they can be cut."""

    def __init__(self) -> None:
        connections: WeakSet[HTTPConnection] = WeakSet()

        class Plain(HTTPConnection):
            def connect(self) -> None:
                connections.add(self)
                super().connect()

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                connections.add(self)
                super().connect()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Creates the connection pools."""
        super().init_poolmanager(*args, **kwargs)
        self._use_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        """Creates the connection pools of a proxy."""
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        self._use_pools(manager)
        return manager

    def cut(self) -> None:
        """Shuts down every connection, also one that another thread is reading from."""
        for connection in list(self._connections):
            if connection.sock is not None:
                with suppress(OSError):
                    # the method of the plain socket, since a TLS socket must not be used by two threads
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _use_pools(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


class CollectorSession(Session):
    """Limits the whole export: connecting, sending, and receiving the complete response.

    The timeouts of requests and urllib3 apply to each read, so that a collector that sends a byte now and then would
    block them for ever. DNS lookups are not limited.
    """

    def __init__(self, limit_seconds: float) -> None:
        super().__init__()
        self._limit = limit_seconds
        self._adapter = LimitedAdapter()
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)
        self._due = 0.0
        self._closes_at = float("inf")
        self.answer: Response | None = None
        """The response to the last request; None if there was none."""
        self.reason = ""
        """Why the last request failed."""

    def begin(self) -> None:
        """Starts the clock of one export."""
        self.answer, self.reason = None, "it could not be encoded, or is too large"
        self._due = min(time.monotonic() + self._limit, self._closes_at)

    def end_soon(self) -> None:
        """Limits everything that is still to be exported to the time of one export."""
        self._closes_at = time.monotonic() + self._limit

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Sends a request and reads the whole response within the export's time limit. Raises `TimeUp`."""
        self.answer, self.reason = None, "no answer in time"
        due = min(self._due, self._closes_at)
        left = due - time.monotonic()
        if left <= 0:
            raise TimeUp
        kwargs["timeout"] = left
        # otherwise requests would prefer REQUESTS_CA_BUNDLE to the exporter's certificate
        if isinstance(self.verify, str):
            kwargs["verify"] = self.verify
        try:
            with self._cut_at(due):
                answer = super().send(request, **kwargs)
        except RequestException as error:
            if time.monotonic() >= due:
                raise TimeUp from error
            self.reason = _innermost(error)
            raise
        # a response without Content-Length looks complete when its connection is cut
        if time.monotonic() >= due:
            raise TimeUp
        self.answer = answer
        self.reason = "" if answer.status_code < HTTPStatus.MULTIPLE_CHOICES else f"HTTP status {answer.status_code}"
        return answer

    @contextmanager
    def _cut_at(self, due: float) -> Iterator[None]:
        is_over = threading.Event()

        def watch() -> None:
            if not is_over.wait(due - time.monotonic()):
                # repeatedly, since a connection that is being established has no socket yet
                self._adapter.cut()
                while not is_over.wait(RECHECK_SECONDS):
                    self._adapter.cut()

        watcher = threading.Thread(target=watch, name="export-limit", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()


def _innermost(error: BaseException) -> str:
    """The innermost cause of an error, such as that of the operating system."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"
