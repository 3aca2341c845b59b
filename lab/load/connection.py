"""The HTTP/1.1 connection of one user: sends a request and reads the whole response within a deadline.

Locust's own client is not used, because it follows redirects and does not detect truncated responses.
"""

import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import brotli
import gevent.monkey
import gevent.socket
from geventhttpclient.response import HTTPParseError, HTTPResponse

from lab.load.target import Address
from lab.runs.tally import Kind

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 1 << 16
# limit of a body, also after decompression; the largest page of tasks has about 100 KB
MAX_BODY_BYTES = 16 << 20
# Methods that may be retried if a connection was closed while idle (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset({"GET", "DELETE"})
FIRST_FINAL = 200
# the original poll: gevent's would switch to its event loop, although this poll does not wait
_poll = gevent.monkey.get_original("select", "poll")


class FailedRequestError(Exception):
    """A request without a complete, correct response. `kind` is the reason, the message has details."""

    def __init__(self, kind: Kind | str, details: str, status: int = 0) -> None:
        super().__init__(details)
        self.kind = kind
        self.status = status


@dataclass
class Sent:
    """Counts how many times a request was written to a connection."""

    times: int = 0


@dataclass(frozen=True)
class Answer:
    """A complete response with its decoded body."""

    status: int
    headers: Any
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """The value of a header; empty if it is missing."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class Connection:
    """A keep-alive connection, for one greenlet."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: Any = None

    def close(self) -> None:
        """Closes the connection; the next request opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, method: str, path: str, body: bytes, headers: str, deadline: float, sent: Sent) -> Answer:
        """Sends a request and returns the complete response. Raises `FailedRequestError`, at the latest at `deadline`.

        `deadline` is a time of `time.perf_counter`, `headers` are lines that end in CRLF. `sent` counts each write,
        including failed ones.
        """
        length = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n" if body else ""
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.host}\r\nUser-Agent: glasshouse-load\r\n"
            f"Accept-Encoding: gzip, deflate, br\r\n{length}{headers}\r\n"
        ).encode() + body
        try:
            is_reused = self._open(deadline)
            try:
                return self._exchange(request, method, deadline, sent)
            except FailedRequestError as error:
                self.close()
                if error.kind != Kind.CLOSED or not is_reused or method not in IDEMPOTENT:
                    raise
            self._open(deadline)
            return self._exchange(request, method, deadline, sent)
        except BaseException:
            self.close()
            raise

    def _open(self, deadline: float) -> bool:
        """Opens the connection if necessary, and returns whether it was already open."""
        if self._socket is not None and not _is_readable(self._socket):
            return True
        # readable although no request is outstanding: the server has closed it, or sent unsolicited data
        self.close()
        connection = gevent.socket.socket(self._address.family, gevent.socket.SOCK_STREAM)
        try:
            connection.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            connection.settimeout(min(CONNECT_SECONDS, _remaining(deadline)))
            if self._address.source:
                connection.bind((self._address.source, 0))
            connection.connect(self._address.socket_address)
        except OSError as error:
            connection.close()
            raise FailedRequestError(Kind.NO_CONNECTION, str(error)) from error
        self._socket = connection
        return False

    def _exchange(self, request: bytes, method: str, deadline: float, sent: Sent) -> Answer:
        answer = _Parser(method)
        try:
            sent.times += 1
            self._socket.settimeout(_remaining(deadline))
            self._socket.sendall(request)
            while not (answer.message_complete and answer.get_code() >= FIRST_FINAL):
                self._socket.settimeout(_remaining(deadline))
                data = self._socket.recv(CHUNK_BYTES)
                answer.received += len(data)
                answer.feed(data)
                if len(answer.body) > MAX_BODY_BYTES:
                    raise FailedRequestError(Kind.TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes", answer.status)
                if not data:
                    break
        except TimeoutError as error:
            details = f"{answer.received} bytes received" if answer.received else "nothing received"
            raise FailedRequestError(Kind.TIMEOUT, details, answer.status) from error
        except HTTPParseError as error:
            # empty data signals the end of the connection to the parser
            kind = Kind.MALFORMED if data else Kind.TRUNCATED
            raise FailedRequestError(kind, answer.describe(str(error)), answer.status) from error
        except OSError as error:
            kind = Kind.TRUNCATED if answer.received else Kind.CLOSED
            raise FailedRequestError(kind, answer.describe(str(error)), answer.status) from error
        if not answer.received:
            raise FailedRequestError(Kind.CLOSED, "nothing received")
        if not answer.message_complete:
            raise FailedRequestError(Kind.TRUNCATED, answer.describe("connection closed"), answer.status)
        if answer.should_close():
            self.close()
        return Answer(answer.get_code(), answer, decoded(bytes(answer.body), answer))


class _Parser(HTTPResponse):
    """llhttp's parser. Keeps the body, and counts the received bytes."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.received = 0
        self.body = bytearray()

    @property
    def status(self) -> int:
        """The status; 0 before the headers are complete."""
        return int(self.get_code()) if self.headers_complete else 0

    def describe(self, end: str) -> str:
        """What was received of the response, for error messages."""
        length = self.get("content-length") if self.headers_complete else None
        of = f" of {length}" if length else ""
        return f"{end.lower()}; status {self.status or '-'}, {len(self.body)}{of} bytes of the body"

    def _on_body(self, buf: bytearray) -> None:
        # the rest of a too large body is discarded
        if len(self.body) <= MAX_BODY_BYTES:
            self.body += buf


def decoded(body: bytes, headers: Any) -> bytes:
    """The body without its content codings. Raises `FailedRequestError` if it does not match its headers."""
    if not body:
        return body
    codings = headers.get("content-encoding") or ""
    for coding in reversed([each.strip().lower() for each in str(codings).split(",") if each.strip()]):
        try:
            body = _decompress(coding, body)
            if len(body) > MAX_BODY_BYTES:
                raise FailedRequestError(
                    Kind.TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes after decompression", headers.get_code()
                )
        except (zlib.error, brotli.error, ValueError) as error:
            raise FailedRequestError(Kind.ENCODING, f"{coding}: {error}", headers.get_code()) from error
    return body


def _decompress(coding: str, body: bytes) -> bytes:
    if coding == "identity":
        return body
    if coding == "br":
        return _decompress_brotli(body)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError("not in Accept-Encoding")
    # 32: detects gzip or zlib by the header
    inflating = zlib.decompressobj(32 + zlib.MAX_WBITS)
    text = inflating.decompress(body, MAX_BODY_BYTES + 1)
    if len(text) > MAX_BODY_BYTES:
        return text
    if not inflating.eof or inflating.unused_data:
        raise ValueError("truncated, or followed by other data")
    return text


def _decompress_brotli(body: bytes) -> bytes:
    """The decompressed body, or more bytes of it than the limit."""
    inflating = brotli.Decompressor()
    text: bytes = inflating.process(body, output_buffer_limit=MAX_BODY_BYTES + 1)
    if len(text) <= MAX_BODY_BYTES and not inflating.is_finished():
        raise ValueError("truncated, or followed by other data")
    return text


def _is_readable(connection: Any) -> bool:
    poll = _poll()
    poll.register(connection.fileno(), 1)  # POLLIN
    return bool(poll.poll(0))


def _remaining(deadline: float) -> float:
    remaining = deadline - time.perf_counter()
    if remaining <= 0:
        raise TimeoutError("the deadline has passed")
    return remaining
