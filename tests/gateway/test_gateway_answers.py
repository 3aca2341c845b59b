"""What the gateway answers itself, what it passes on, and what it retries."""

import json
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from testbed import Gateway, wait_for

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
}
HOST = b"Host: a.example\r\nConnection: close\r\n"


class Stub:
    """A replica that records requests. Under /breaks it aborts every other response, under /busy it is not ready."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                stub.asked.append((self.command, {name.lower(): value for name, value in self.headers.items()}))
                if self.path.startswith("/breaks") and len(stub.asked) % 2:
                    self.close_connection = True
                    return
                body = b"" if self.command == "HEAD" else b"{}"
                elsewhere = self.headers.get("X-Try-Elsewhere", "")
                is_handed_on = self.path.startswith("/busy") and elsewhere
                self.send_response(502 if is_handed_on else 200)
                if is_handed_on and elsewhere.startswith("@"):
                    self.send_header("X-Accel-Redirect", elsewhere)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_DELETE = do_PATCH = do_POST = do_OPTIONS = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def gateway(logs: Path, stub: Stub) -> Iterator[Gateway]:
    with Gateway(logs, [stub.server.server_port]) as made:
        yield made


def raw(gateway: Gateway, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body of the only response on a new connection."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as made:
        made.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += made.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        while len(body) < int(headers["content-length"]):
            body += made.recv(65536)
    return int(first.split()[1]), headers, body


@pytest.mark.case("request line that nginx cannot read")
@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n", {400}),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 405}),
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", {405}),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414}),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 20_000 + b"\r\n" + HOST + b"\r\n", {431}),
        (b"GET / HTTP/3.1\r\n" + HOST + b"\r\n", {400}),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", {400}),
        (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"POST /tasks HTTP/1.1\r\nTransfer-Encoding: zip\r\n" + HOST + b"\r\n", {400}),
        (b"POST /tasks HTTP/1.1\r\nContent-Length: 300000\r\n" + HOST + b"\r\n", {413}),
        (b"PUT /tasks HTTP/1.1\r\nContent-Length: 300000\r\n" + HOST + b"\r\n", {413}),
        (b"GET /-/problem HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
        (b"GET / HTTP/1.1\r\nX: \x00\r\n" + HOST + b"\r\n", {400}),
        (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"SSH-2.0-Go\r\n\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\n" + b"Content-Length: 1\r\nContent-Length: 2\r\n" + HOST + b"\r\n", {400}),
        (b"GET / HTTP/1.1\r\n" + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n", {400}),
        (b"POST /tasks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\nzz\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + HOST + b"\r\n", {400}),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9000)) + HOST + b"\r\n", {400, 431}),
    ],
    ids=lambda each: each[:24].decode("latin-1").encode("unicode_escape").decode() if isinstance(each, bytes) else None,
)
def test_the_gateways_own_rejections_are_problem_details(
    gateway: Gateway, logs: Path, stub: Stub, sent: bytes, statuses: set[int]
) -> None:
    asked = len(stub.asked)
    status, headers, body = raw(gateway, sent)
    assert status in statuses
    assert headers["content-type"] == "application/problem+json"
    assert {name: headers.get(name) for name in SECURITY} == SECURITY
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    problem = json.loads(body)
    assert (problem["status"], problem["title"]) == (status, TITLES[status])
    assert ("allow" in headers) == (status == 405)
    assert len(stub.asked) == asked
    lines = wait_for(lambda: [line for line in access(logs) if line["request_id"] == headers["x-request-id"]])
    # none of it counts as a failure of the gateway or a replica
    assert [(line["status"], line["upstream_addr"]) for line in lines] == [(status, "")]


@pytest.mark.case("request line that nginx cannot read")
def test_an_http_0_9_request_gets_no_html_page(gateway: Gateway, stub: Stub) -> None:
    asked = len(stub.asked)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as made:
        made.sendall(b"GET /\r\n")
        answer = b""
        while part := made.recv(65536):
            answer += part
    assert b"<html" not in answer.lower()
    assert len(stub.asked) == asked or answer == b"{}"


@pytest.mark.parametrize("host", ["169.254.169.254", "localhost:6379", "[::1]:5433", "metadata.internal", "a.example."])
def test_a_request_with_any_host_name_goes_to_the_service(gateway: Gateway, stub: Stub, host: str) -> None:
    for line in (b"GET /tasks HTTP/1.1\r\n", b"GET http://%s/tasks HTTP/1.1\r\n" % host.encode()):
        asked = len(stub.asked)
        status, _, _ = raw(gateway, line + b"Host: %s\r\nConnection: close\r\n\r\n" % host.encode())
        assert (status, len(stub.asked)) == (200, asked + 1)


@pytest.mark.case("request line that nginx cannot read")
def test_unreadable_requests_are_counted_separately(gateway: Gateway, logs: Path) -> None:
    def counted() -> list[str]:
        return [line for line in (logs / "requests.log").read_text().splitlines() if "|400|" in line]

    before = len(counted())
    for _ in range(5):
        raw(gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n")
    lines = wait_for(lambda: len(counted()) >= before + 5 and counted(), what="five more lines")
    assert {line.split("|")[0] for line in lines} == {"refused"}


@pytest.mark.case("probes")
def test_every_spelling_of_a_health_check_is_counted_separately(gateway: Gateway, logs: Path) -> None:
    def counted(kind: str) -> int:
        return (logs / "requests.log").read_text().count(f"{kind}|200|")

    before = {kind: counted(kind) for kind in ("probe", "read", "write")}
    paths = (
        "/health",
        "/health/",
        "/health/live",
        "/health/ready",
        "/health/ready/",
        "//health/ready",
        "/health%2fready",
    )
    for path in (*paths, "/health/ready?from=kubelet"):
        for method in (b"GET", b"HEAD"):
            assert raw(gateway, b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path.encode(), HOST))[0] == 200
    # and a path that only resembles it
    assert raw(gateway, b"GET /healthy HTTP/1.1\r\n%b\r\n" % HOST)[0] == 200
    wait_for(lambda: counted("read") == before["read"] + 1, what="the last line")
    assert counted("probe") == before["probe"] + 16
    assert counted("write") == before["write"]


def access(logs: Path) -> list[dict[str, Any]]:
    file = logs / "access.log"
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


def test_a_request_id_is_passed_on_logged_and_returned(gateway: Gateway, stub: Stub, logs: Path) -> None:
    answer = httpx.get(f"{gateway.url}/tasks", headers={"X-Request-ID": "of the client"})
    assert len(answer.headers.get_list("x-request-id")) == 1
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert stub.asked[-1][1]["x-request-id"] == request_id
    wait_for(lambda: request_id in [line["request_id"] for line in access(logs)], what="the line of the access log")


@pytest.mark.parametrize(
    ("method", "headers", "times"),
    [
        ("GET", {}, 2),
        ("HEAD", {}, 2),
        ("DELETE", {}, 2),
        ("POST", {}, 1),
        ("POST", {"Idempotency-Key": "a-key"}, 2),
        ("PATCH", {}, 1),
        ("PATCH", {"If-Match": '"1"'}, 2),
        ("PATCH", {"If-Match": '"1-gzip"'}, 2),
        ("PATCH", {"If-Match": "*"}, 1),
        ("PATCH", {"If-Match": '"1", "2"'}, 1),
        ("PATCH", {"If-Match": 'W/"1"'}, 1),
        ("PATCH", {"If-Match": "1"}, 1),
        ("PATCH", {"If-Match": '""'}, 1),
    ],
)
def test_only_requests_that_are_safe_to_repeat_are_retried(
    gateway: Gateway, stub: Stub, method: str, headers: dict[str, str], times: int
) -> None:
    stub.asked.clear()
    answer = httpx.request(method, f"{gateway.url}/breaks", headers=headers)
    assert [each[0] for each in stub.asked] == [method] * times
    assert answer.status_code == (200 if times == 2 else 503)
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    # each try has the same id
    assert len({each[1]["x-request-id"] for each in stub.asked}) == 1


KEY = {"Idempotency-Key": "a"}
TAG = {"If-Match": '"1"'}


@pytest.mark.parametrize(
    ("method", "headers", "tries"),
    [
        # nginx tries other replicas, of which there are none here, and the last try has no X-Try-Elsewhere
        ("GET", {}, ["1", None]),
        ("HEAD", {}, ["1", None]),
        ("DELETE", {}, ["1", None]),
        ("POST", KEY, ["@again", None]),
        ("PATCH", TAG, ["@again", None]),
        # nginx must not retry it, so the replica asks the gateway to try another
        ("POST", {}, ["@another", "@last", None]),
        ("PATCH", {}, ["@another", "@last", None]),
    ],
)
def test_only_at_the_last_try_may_a_replica_that_is_not_ready_serve_a_request(
    gateway: Gateway, stub: Stub, method: str, headers: dict[str, str], tries: list[str | None]
) -> None:
    stub.asked.clear()
    # a client cannot set this header itself
    body = b"{}" if method in {"POST", "PATCH"} else None
    answer = httpx.request(
        method, f"{gateway.url}/busy", headers={"X-Try-Elsewhere": "yes", **headers}, content=body, trust_env=False
    )
    assert answer.status_code == 200
    seen = [each[1].get("x-try-elsewhere") for each in stub.asked]
    # the upstream block has the one replica twice, the second time as a backup
    assert [each for number, each in enumerate(seen) if number == 0 or each != seen[number - 1]] == tries
    assert {each[0] for each in stub.asked} == {method}
