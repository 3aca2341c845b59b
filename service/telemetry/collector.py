"""The HTTP session to a collector, which ends in time whatever the collector does."""

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
    """The export has taken its time. Not a kind of error that OpenTelemetry's exporter would try again after."""


class LimitedAdapter(HTTPAdapter):
    """Knows the connections it has made, so that they can be cut."""

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
        """Makes the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self._use_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        """Makes the pools of connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(*args, **kwargs)
        self._use_pools(manager)
        return manager

    def cut(self) -> None:
        """Ends every connection, also one that another thread is reading from."""
        for connection in list(self._connections):
            if connection.sock is not None:
                with suppress(OSError):
                    # as of a plain socket, since one of TLS is not to be touched by two threads
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _use_pools(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


class CollectorSession(Session):
    """Posts within a limit for the whole export: connecting, sending and the answer, however it trickles in.

    requests and urllib3 limit each wait for a byte, so that a collector that sends one now and then holds them for
    ever. Name resolution is the operating system's, and is not cut short.
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
        """The answer to the last post, None where none came."""
        self.reason = ""
        """Why the last post failed."""

    def begin(self) -> None:
        """Starts the clock of one export."""
        self.answer, self.reason = None, "it could not be encoded, or is too large"
        self._due = min(time.monotonic() + self._limit, self._closes_at)

    def end_soon(self) -> None:
        """What is still to be exported has the time of one export, all together."""
        self._closes_at = time.monotonic() + self._limit

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Sends a request, and reads the whole answer, before the export's time is up."""
        self.answer, self.reason = None, "no answer in time"
        due = min(self._due, self._closes_at)
        left = due - time.monotonic()
        if left <= 0:
            raise TimeUp
        kwargs["timeout"] = left
        # requests lets REQUESTS_CA_BUNDLE go before the certificate that the exporter was given
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
        # an answer without a length ends where its connection is cut
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
                # one that is still connecting has no socket yet
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
    """What the operating system or urllib3 said, without the layers around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"
