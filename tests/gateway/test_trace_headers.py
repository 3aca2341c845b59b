"""The `traceparent` that the gateway passes on."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from testbed import Gateway

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ThreadingHTTPServer]:
    """A replica that responds with the `traceparent` that it received."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (self.headers["traceparent"] or "none").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: ThreadingHTTPServer) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), [upstream.server_port]) as made:
        yield made


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (f"{TRACE}-01", f"{TRACE}-00"),
        (f"{TRACE}-03", f"{TRACE}-00"),
        (f"{TRACE}-00", f"{TRACE}-00"),
        ("not a traceparent", "none"),
        (f"{TRACE}-01-more", "none"),
        (None, "none"),
    ],
)
def test_a_client_cannot_force_sampling_of_its_request(gateway: Gateway, given: str | None, passed: str) -> None:
    headers = {"traceparent": given} if given else {}
    assert httpx.get(f"{gateway.url}/tasks", headers=headers).text == passed


def test_a_client_in_a_trusted_network_can_choose_its_address(tmp_path: Path, upstream: ThreadingHTTPServer) -> None:
    with Gateway(tmp_path, [upstream.server_port]) as gateway:
        config = tmp_path / "nginx.conf"
        text = config.read_text()
        assert "geo $may_sample { default 0; }" in text
        config.write_text(
            text.replace("geo $may_sample { default 0; }", "geo $may_sample { default 0; 127.0.0.0/8 1; }")
        )
        gateway.stop()
        gateway.start()
        headers = {"traceparent": f"{TRACE}-01"}
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport) as client:
            assert client.get(f"{gateway.url}/tasks", headers=headers).text == f"{TRACE}-01"
